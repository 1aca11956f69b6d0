//! A data file with bytes changed, by itself and beside its index: reading gives an error or, where the index vouches for every page,
//! exactly what was written.
//!
//! Without its index object the file's own footer is believed as far as it goes: the index is made from it, under a manifest
//! that names the changed file's checksum. What is read then may be anything, but reading ends and does not panic.
#![no_main]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use object_store::memory::InMemory;
use pharos_model::histogram::Span;
use pharos_model::{FloatHistogram, LabelSet, PartitionId, TenantId, TimeRange, TimestampMs};
use pharos_storage::datafile::{FileCache, FileColumns, FileSummary, LabelCensus, Writer};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::manifest::{Catalog, Edit, FileEntry, MemoryPointers, Owner};
use pharos_storage::metrics::StorageMetrics;
use pharos_storage::object::{Bucket, ObjectMetrics};
use pharos_storage::partition::{Metrics, Partition, PartitionOptions};
use pharos_storage::select::{PartitionReader, ReadError, SampleColumns, SampleSlices, SelectRequest};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const KEY: &str = "file.parquet";
const INDEX_KEY: &str = "file.idx";
const PARTITION: PartitionId = PartitionId(0);
const OWNER: Owner = Owner { node: 1, term: 1 };
const START_MS: TimestampMs = 1_700_000_000_000;
const SERIES: usize = 12;
const EDITS_MAX: usize = 16;

#[derive(Arbitrary, Debug)]
struct Input {
    has_index: bool,
    edits: Vec<Overwrite>,
    /// Bytes that are missing at the end.
    cut: Option<u16>,
}

#[derive(Arbitrary, Debug)]
struct Overwrite {
    at: u16,
    bytes: [u8; 4],
    len: u8,
}

fuzz_target!(|input: Input| {
    let original = &FIXTURE.file;
    let file = damaged(original, &input);
    let entry = if input.has_index { entry(original) } else { entry(&file) };
    let read = FIXTURE.runtime.block_on(read(file, input.has_index, entry));
    if input.has_index
        && let Ok(read) = read
    {
        assert_eq!(read, FIXTURE.rows, "the index let a wrong value pass");
    }
});

type Rows = BTreeMap<LabelSet, Row>;

/// Floats by their bits and histograms by all that can be printed of them, because a NaN equals nothing.
#[derive(Debug, Default, PartialEq)]
struct Row {
    floats: Vec<(TimestampMs, u64)>,
    histograms: Vec<(TimestampMs, String)>,
    starts: [Vec<TimestampMs>; 2],
}

impl Row {
    fn new(samples: SampleSlices<'_>) -> Self {
        let SampleSlices { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } = samples;
        let printed = histograms.iter().map(|histogram| format!("{histogram:?}"));
        Self {
            floats: ts.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect(),
            histograms: histogram_ts.iter().copied().zip(printed).collect(),
            starts: [start_ts.to_vec(), histogram_start_ts.to_vec()],
        }
    }
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// What all runs share: a file as it was written, and a partition whose head is empty.
struct Fixture {
    file: Vec<u8>,
    summary: FileSummary,
    rows: Rows,
    runtime: Runtime,
    partition: Arc<Partition>,
    object_metrics: ObjectMetrics,
    storage_metrics: StorageMetrics,
    #[expect(dead_code, reason = "held for its drop")]
    dir: TempDir,
}

/// A panic inside the parquet crate, on a file that nothing but its own checksum vouches for, is an error of the read: it happens on
/// a blocking thread. Only panics of our own code count as findings.
fn forgive_parquet() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| location.file().contains("/parquet-")) {
            hook(info);
        }
    }));
}

impl Fixture {
    fn new() -> Self {
        forgive_parquet();
        let samples: BTreeMap<LabelSet, SampleColumns> = (0..SERIES).map(|i| (labels(i), samples(i))).collect();
        let rows: Rows = samples.iter().map(|(labels, samples)| (labels.clone(), Row::new(samples.slices()))).collect();
        let mut census = LabelCensus::default();
        rows.keys().for_each(|labels| census.count(labels));
        let columns = FileColumns { promoted: census.promoted(), starts: true };
        let mut writer = Writer::new(Vec::new(), columns).expect("a schema of a few labels");
        for (labels, samples) in &samples {
            writer.append(labels, samples).expect("sorted rows");
        }
        let (summary, file) = writer.finish().expect("writing to memory");
        let registry = prometheus::Registry::new();
        let dir = tempfile::tempdir().expect("a folder");
        let metrics = Metrics::register(&registry).expect("a registry of its own");
        let opened = Partition::open(dir.path(), Arc::new(OsFileSystem), PartitionOptions::default(), &metrics);
        Self {
            file,
            summary,
            rows,
            runtime: Builder::new_current_thread().build().expect("a runtime without drivers"),
            partition: Arc::new(opened.expect("an empty folder").partition),
            object_metrics: ObjectMetrics::register(&registry).expect("names that differ"),
            storage_metrics: StorageMetrics::register(&registry).expect("names that differ"),
            dir,
        }
    }
}

fn labels(i: usize) -> LabelSet {
    let (series, half) = (format!("s{i:02}"), if i < SERIES / 2 { "first" } else { "" });
    LabelSet::from_pairs([("__name__", "metric"), ("series", &series), ("half", half)])
}

/// Integers, decimals, doubles that are none, both in one series, constants with histograms after them, special values.
fn samples(i: usize) -> SampleColumns {
    let value = |n: usize| match i % 6 {
        0 => (n * n) as f64,
        1 => (n * 25) as f64 / 100.0,
        2 => 1.0 / (n + 3) as f64,
        3 if n % 2 == 0 => std::f64::consts::PI * n as f64,
        3 => n as f64,
        4 => 7.0,
        _ => [f64::NAN, f64::INFINITY, -0.0, f64::from_bits(0x7ff0_0000_0000_0002)][n % 4],
    };
    let time = |n: usize| START_MS + (n * 15_000 + n % 3) as i64;
    let floats = 0..40 + i;
    let histograms = if i % 6 == 4 { floats.end..floats.end + 20 } else { 0..0 };
    SampleColumns {
        ts: floats.clone().map(time).collect(),
        values: floats.clone().map(value).collect(),
        histogram_ts: histograms.clone().map(time).collect(),
        histograms: histograms.clone().map(|n| Arc::new(histogram(n))).collect(),
        start_ts: starts(i, floats),
        histogram_start_ts: starts(i, histograms),
    }
}

/// Some series have none, some lack a few.
fn starts(i: usize, samples: Range<usize>) -> Vec<TimestampMs> {
    let start = |n: usize| if n % 7 == i % 7 { 0 } else { START_MS - (n as i64 / 20) * 1_000 };
    if i % 2 == 0 { Vec::new() } else { samples.map(start).collect() }
}

fn histogram(n: usize) -> FloatHistogram {
    FloatHistogram {
        schema: 2,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: (3 * n + 4) as f64,
        sum: n as f64 / 7.0,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![n as f64, (2 * n) as f64, 3.0],
        ..FloatHistogram::default()
    }
}

fn damaged(original: &[u8], input: &Input) -> Vec<u8> {
    let mut file = original.to_vec();
    file.truncate(original.len().saturating_sub(usize::from(input.cut.unwrap_or(0))));
    for Overwrite { at, bytes, len } in input.edits.iter().take(EDITS_MAX) {
        let places = file.iter_mut().skip(usize::from(*at)).take(usize::from(*len % 5));
        places.zip(bytes).for_each(|(place, byte)| *place = *byte);
    }
    file
}

/// What a manifest says of a file with these bytes.
fn entry(file: &[u8]) -> FileEntry {
    let FileSummary { rows, samples, times, ref index, .. } = FIXTURE.summary;
    let (min_ts, max_ts) = times.expect("the file has rows");
    FileEntry {
        key: KEY.to_owned(),
        start_ms: min_ts,
        end_ms: max_ts + 1,
        min_ts,
        max_ts,
        level: 0,
        rows,
        samples,
        bytes: file.len() as u64,
        index_bytes: index.len() as u64,
        crc: crc32fast::hash(file),
        owner: OWNER,
        read_at_version: 0,
    }
}

async fn read(file: Vec<u8>, has_index: bool, entry: FileEntry) -> Result<Rows, ReadError> {
    let bucket = Bucket::new(Arc::new(InMemory::new()), "", FIXTURE.object_metrics.clone());
    bucket.put(KEY, file.into()).await.expect("memory takes it");
    if has_index {
        bucket.put(INDEX_KEY, Bytes::from_static(&FIXTURE.summary.index)).await.expect("memory takes it");
    }
    let tenant = TenantId::anonymous();
    let catalog = Catalog::new(PARTITION, bucket, Arc::new(MemoryPointers::default()), i64::MAX);
    let committed = catalog.change().await.commit(&tenant, &Edit::AddFile(entry), OWNER, START_MS).await;
    committed.expect("the first commit");
    let cache = FileCache::new(0, FIXTURE.storage_metrics.clone());
    let reader = PartitionReader::new(Arc::clone(&FIXTURE.partition), Arc::new(catalog), Arc::new(cache));
    let request =
        SelectRequest {
            tenant,
            matchers: Vec::new(),
            range: TimeRange::ALL,
            newest_only: false,
            totals_only: false,
            starts: true,
        };
    let mut selection = reader.select(&request).await?;
    let (mut rows, mut scratch) = (Rows::new(), SampleColumns::default());
    while let Some(batch) = selection.next_batch().await? {
        for i in 0..batch.len() {
            let row = Row::new(batch.samples(i, &mut scratch)?);
            rows.insert(LabelSet::from_canonical_trusted(batch.label_bytes(i)), row);
        }
    }
    Ok(rows)
}
