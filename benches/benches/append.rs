//! A steady sample's way into the store: one append record for a partition encoded by the router, and applied to the head as the
//! log gives it back, which is decode, judge, compress, and write what is full.
//!
//! A record has one sample of each series. 2,000 series of a partition stay in the CPU's caches; 100,000 do not. What the head
//! holds is dropped now and then, as sealing does. An element is a sample.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use pharos_benches::versus::data::{Fleet, SERIES_PER_HOST, labels};
use pharos_model::{LabelSet, TenantId, TimestampMs};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::partition::{Metrics, Partition, PartitionOptions};
use pharos_storage::record::{AppendAnswer, AppendLimits, AppendRecordBuilder, SeriesRef, drop_covered};

const START_MS: TimestampMs = 1_700_000_000_000;
const INTERVAL_MS: i64 = 15_000;
const LIMITS: AppendLimits =
    AppendLimits { out_of_order_window_ms: 0, newest_allowed_ms: TimestampMs::MAX, series_max: u32::MAX };
/// Series of one record: few enough that it never is full.
const SERIES_PER_RECORD: usize = 2000;
/// Rounds after which the head forgets all but the newest of them.
const DROP_EVERY: usize = 480;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(SERIES_PER_RECORD as u64));
    for series in [2_000, 100_000] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the partition");
        let mut writer = Writer::open(dir.path(), series);
        encode(&mut group, &writer);
        apply(&mut group, &mut writer);
    }
    group.finish();
    criterion.final_summary();
}

fn encode(group: &mut BenchmarkGroup<'_, WallTime>, writer: &Writer) {
    let values: Vec<f64> = (0..SERIES_PER_RECORD).map(|series| writer.fleet.value(series, 1)).collect();
    group.bench_function(format!("encode/{}_series", writer.refs.len()), |bencher| {
        bencher.iter(|| writer.record(0, START_MS, &values));
    });
}

fn apply(group: &mut BenchmarkGroup<'_, WallTime>, writer: &mut Writer) {
    group.bench_function(format!("apply/{}_series", writer.refs.len()), |bencher| {
        let partition = Arc::clone(&writer.partition);
        bencher.iter_batched(
            || writer.next_record(),
            |record| assert_eq!(partition.apply(&record), b"", "every sample is taken"),
            BatchSize::PerIteration,
        );
    });
}

/// Sends rounds of samples of known series.
struct Writer {
    partition: Arc<Partition>,
    fleet: Fleet,
    refs: Vec<SeriesRef>,
    round: usize,
    next_series: usize,
}

impl Writer {
    /// Creates the series, as a first scrape does.
    fn open(dir: &Path, series: usize) -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        let opened = Partition::open(dir, Arc::new(OsFileSystem), PartitionOptions::default(), &metrics);
        let partition = Arc::new(opened.expect("an empty folder").partition);
        let mut refs = Vec::with_capacity(series);
        for first in (0..series).step_by(SERIES_PER_RECORD) {
            let mut record = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
            for i in first..first + SERIES_PER_RECORD {
                let labels = labels(i / SERIES_PER_HOST, i % SERIES_PER_HOST);
                record.push_fresh(&LabelSet::from_pairs(labels), START_MS, 0.0);
            }
            let answer = partition.apply(&record.finish());
            let answer = AppendAnswer::decode(&Bytes::from(answer)).expect("an answer to an append");
            refs.extend(answer.fresh.into_iter().map(|series| series.expect("there is no limit")));
        }
        Self { partition, fleet: Fleet::new(series), refs, round: 1, next_series: 0 }
    }

    fn record(&self, first: usize, ts: TimestampMs, values: &[f64]) -> Bytes {
        let mut record = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
        for (series, value) in self.refs[first..].iter().zip(values) {
            record.push_known(*series, ts, *value);
        }
        record.finish()
    }

    fn next_record(&mut self) -> Bytes {
        let ts = START_MS + self.round as i64 * INTERVAL_MS;
        let (first, round) = (self.next_series, self.round);
        if first == 0 && round % DROP_EVERY == 0 {
            self.partition.apply(&drop_covered(&TenantId::anonymous(), ts - INTERVAL_MS));
        }
        let values: Vec<f64> = (first..first + SERIES_PER_RECORD).map(|i| self.fleet.value(i, round)).collect();
        self.next_series = (first + SERIES_PER_RECORD) % self.refs.len();
        self.round += usize::from(self.next_series == 0);
        self.record(first, ts, &values)
    }
}
