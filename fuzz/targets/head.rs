//! Commands of all kinds, at all times that 64 bits can name, through a partition: it never panics, every answer names what was sent,
//! and what is read is what was taken, before and after a checkpoint, a restart and a move to another directory.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pharos_model::{LabelSet, MatchOp, Matcher, TenantId, TimeRange, TimestampMs};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::partition::{Metrics, Partition, PartitionOptions};
use pharos_storage::record::{
    AppendAnswer, AppendLimits, AppendRecordBuilder, Place, SeriesRef, StartRule, decode_delete_answer, delete_series,
    drop_covered, seal_floor,
};
use pharos_storage::select::{SampleColumns, SelectRequest};
use tempfile::TempDir;

const OPS_MAX: usize = 48;
const SAMPLES_MAX: usize = 16;
const START_MS: TimestampMs = 1_700_000_000_000;
/// Small files, so that chunks reach them.
const OPTIONS: PartitionOptions =
    PartitionOptions { hash_seed: 0, exemplars_max: 8, segment_bytes_max: 4 << 10, unwritten_bytes_max: 1 << 20 };

static METRICS: LazyLock<Metrics> =
    LazyLock::new(|| Metrics::register(&prometheus::Registry::new()).expect("a registry of its own"));

#[derive(Arbitrary, Debug)]
enum Op {
    Append {
        window_ms: Option<u32>,
        newest_allowed: Option<Time>,
        series_max: u8,
        samples: Vec<Sample>,
    },
    /// Samples of one series at even times: enough for a chunk.
    Run {
        series: Series,
        from: Time,
        step_ms: u16,
        count: u8,
        value: Value,
    },
    Seal(Time),
    Drop(Time),
    Delete {
        series: Series,
        from: Time,
        to: Time,
    },
    Restart,
    Move,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Sample {
    series: Series,
    at: Time,
    value: Value,
    start: Option<Time>,
    has_labels: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Series(u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Time {
    Seconds(u16),
    Millis(u8),
    Far(i64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Integer(i8),
    Bits(u64),
}

impl Series {
    fn labels(self) -> LabelSet {
        LabelSet::from_pairs([("__name__", "m"), ("series", &(self.0 % 4).to_string())])
    }
}

impl Time {
    fn ms(self) -> TimestampMs {
        match self {
            Self::Seconds(secs) => START_MS + i64::from(secs) * 1000,
            Self::Millis(ms) => START_MS + i64::from(ms),
            Self::Far(ms) => ms,
        }
    }
}

impl Value {
    fn get(self) -> f64 {
        match self {
            Self::Integer(value) => f64::from(value),
            Self::Bits(bits) => f64::from_bits(bits),
        }
    }
}

fuzz_target!(|ops: Vec<Op>| {
    let mut world = World::new();
    for op in ops.iter().take(OPS_MAX) {
        world.run(op);
    }
    world.check();
});

/// A partition and what it should hold.
struct World {
    dir: TempDir,
    partition: Partition,
    /// Every reference that was given out; none is used twice.
    refs: HashMap<SeriesRef, LabelSet>,
    newest_refs: HashMap<LabelSet, SeriesRef>,
    /// Bits of the values that were taken, and their start timestamps.
    taken: HashMap<LabelSet, BTreeMap<TimestampMs, Bits>>,
    /// What was deleted: nothing is claimed of it any more.
    deleted: Vec<(LabelSet, TimeRange)>,
}

/// A value and its start timestamp, 0 where it has none.
type Bits = (u64, TimestampMs);

/// A sample as it was put into a record.
type Sent = (LabelSet, TimestampMs, Bits);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let partition = open(dir.path());
        Self {
            dir,
            partition,
            refs: HashMap::new(),
            newest_refs: HashMap::new(),
            taken: HashMap::new(),
            deleted: Vec::new(),
        }
    }

    fn run(&mut self, op: &Op) {
        let tenant = TenantId::anonymous();
        match op {
            Op::Append { window_ms, newest_allowed, series_max, samples } => {
                let limits = AppendLimits {
                    out_of_order_window_ms: i64::from(window_ms.unwrap_or(0)),
                    newest_allowed_ms: newest_allowed.map_or(TimestampMs::MAX, Time::ms),
                    series_max: u32::from(*series_max),
                };
                let samples = samples.iter().take(SAMPLES_MAX);
                let bits = |it: &Sample| (it.value.get().to_bits(), it.start.map_or(0, Time::ms));
                self.append(limits, samples.map(|it| (it.series, it.at.ms(), bits(it), it.has_labels)));
            }
            Op::Run { series, from, step_ms, count, value } => {
                let at = |i: i64| from.ms().saturating_add(i * i64::from(*step_ms));
                let limits = AppendLimits {
                    out_of_order_window_ms: 3_600_000,
                    newest_allowed_ms: TimestampMs::MAX,
                    series_max: u32::MAX,
                };
                let bits = |i: i64| ((value.get() + i as f64).to_bits(), if series.0 % 2 == 0 { 0 } else { from.ms() });
                let run = (0..i64::from(*count)).map(|i| (*series, at(i), bits(i), i == 0));
                self.append(limits, run);
            }
            Op::Seal(until) => assert!(self.partition.apply(&seal_floor(&tenant, until.ms())).is_empty()),
            Op::Drop(until) => {
                assert!(self.partition.apply(&drop_covered(&tenant, until.ms())).is_empty());
                self.taken.values_mut().for_each(|samples| *samples = samples.split_off(&until.ms()));
            }
            Op::Delete { series, from, to } => {
                let range = TimeRange::new(from.ms(), to.ms());
                let value = (series.0 % 4).to_string();
                let matchers = [Matcher::new(MatchOp::Equal, "series", value).expect("no pattern to compile")];
                let command = delete_series(&tenant, &matchers, range).expect("one matcher");
                let answer = self.partition.apply(&command);
                decode_delete_answer(&answer).expect("an answer to a delete");
                self.deleted.push((series.labels(), range));
            }
            Op::Restart => {
                self.check();
                self.partition.checkpoint(b"state").expect("a disk that works");
                self.partition = open(self.dir.path());
                self.check();
            }
            Op::Move => {
                let dir = tempfile::tempdir().expect("a folder");
                let moved = open(dir.path());
                moved.install_checkpoint(&self.partition.export_checkpoint(), b"state").expect("a disk that works");
                (self.partition, self.dir) = (moved, dir);
                self.check();
            }
        }
    }

    fn append(&mut self, limits: AppendLimits, samples: impl Iterator<Item = (Series, TimestampMs, Bits, bool)>) {
        let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), limits);
        builder.use_starts(StartRule { stored: true, zero_samples: false });
        let (mut known, mut fresh): (Vec<Sent>, Vec<Sent>) = (Vec::new(), Vec::new());
        for (series, ts, (bits, start), has_labels) in samples {
            let (labels, value) = (series.labels(), f64::from_bits(bits));
            match self.newest_refs.get(&labels).filter(|_| !has_labels) {
                Some(series) => {
                    builder.push_known(*series, ts, value);
                    builder.start_known(start);
                    known.push((labels, ts, (bits, start)));
                }
                None => {
                    builder.push_fresh(&labels, ts, value);
                    builder.start_fresh(start);
                    fresh.push((labels, ts, (bits, start)));
                }
            }
        }
        let answer = AppendAnswer::decode(&self.partition.apply(&builder.finish())).expect("an answer to an append");
        self.learn(&answer, &fresh);
        let refused = |place| answer.refused.iter().any(|refused| refused.place == place);
        for (at, sent) in (0..).zip(&known) {
            if !answer.stale.contains(&at) && !refused(Place::Known(at)) {
                self.take(sent);
            }
        }
        for (at, sent) in (0..).zip(&fresh) {
            if !refused(Place::Fresh(at)) {
                self.take(sent);
            }
        }
    }

    fn learn(&mut self, answer: &AppendAnswer, fresh: &[Sent]) {
        assert!(answer.fresh.len() == fresh.len() || answer.fresh.is_empty(), "a reference for each fresh sample");
        for ((labels, ..), series) in fresh.iter().zip(&answer.fresh) {
            let Some(series) = series else { continue };
            let owner = self.refs.entry(*series).or_insert_with(|| labels.clone());
            assert_eq!(owner, labels, "a reference was used again");
            self.newest_refs.insert(labels.clone(), *series);
        }
    }

    fn take(&mut self, (labels, ts, bits): &Sent) {
        let samples = self.taken.entry(labels.clone()).or_default();
        let before = *samples.entry(*ts).or_insert(*bits);
        let is_uncertain = self.deleted.iter().any(|(of, range)| of == labels && range.contains(*ts));
        assert!(before.0 == bits.0 || is_uncertain, "two values at {ts} of {labels}");
    }

    /// Reads everything and compares.
    fn check(&self) {
        let request = SelectRequest {
            tenant: TenantId::anonymous(),
            matchers: Vec::new(),
            range: TimeRange::ALL,
            newest_only: false,
            totals_only: false,
            starts: true,
        };
        let selection = self.partition.select(&request);
        let mut read = HashMap::new();
        let mut columns = SampleColumns::default();
        for i in 0..selection.len() {
            selection.read(i, TimeRange::ALL, &mut columns).expect("nothing is damaged");
            assert!(columns.ts.is_sorted_by(|a, b| a < b), "times of {} ascend", selection.labels(i));
            let starts = columns.start_ts.iter().copied().chain(std::iter::repeat(0));
            let bits = columns.values.iter().map(|value| value.to_bits()).zip(starts);
            let samples = columns.ts.iter().copied().zip(bits);
            assert!(read.insert(selection.labels(i), samples.collect()).is_none(), "a series comes once");
        }
        assert_eq!(self.certain(&read), self.certain(&self.taken));
    }

    /// Samples of which something is claimed, of series that have any.
    fn certain<'a>(
        &self,
        samples: &'a HashMap<LabelSet, BTreeMap<TimestampMs, Bits>>,
    ) -> BTreeMap<(&'a LabelSet, TimestampMs), Bits> {
        let all =
            samples.iter().flat_map(|(labels, samples)| samples.iter().map(move |(ts, bits)| (labels, *ts, *bits)));
        let deleted = |labels: &LabelSet, ts| self.deleted.iter().any(|(of, range)| of == labels && range.contains(ts));
        all.filter(|(labels, ts, _)| !deleted(labels, *ts)).map(|(labels, ts, bits)| ((labels, ts), bits)).collect()
    }
}

fn open(dir: &Path) -> Partition {
    let opened = Partition::open(dir, Arc::new(OsFileSystem), OPTIONS, &METRICS).expect("a disk that works");
    assert_eq!(opened.quarantined, []);
    opened.partition
}
