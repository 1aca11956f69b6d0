//! Random commands against a naive model, with restarts and moves to another directory in between.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::record::{Place, Refused, StartRule, delete_series, drop_covered, seal_floor};

const SERIES: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Append {
        window_ms: i64,
        samples: Vec<(usize, i64, u8)>,
    },
    /// Enough for several chunks of one series.
    Run {
        series: usize,
        from: i64,
        count: i64,
        kind: Kind,
    },
    /// Late samples at odd times, enough for a chunk of their own.
    LateRun {
        series: usize,
        from: i64,
        count: i64,
        kind: Kind,
    },
    Seal(i64),
    Drop(i64),
    Delete {
        series: usize,
        from: i64,
        to: i64,
    },
    Flush,
    Checkpoint,
    Reopen,
    Move,
}

/// What the samples of a run are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Floats,
    Histograms,
    /// By turns, some of each.
    Mixed,
}

impl Kind {
    fn bits(self, i: i64) -> u64 {
        let is_histogram = match self {
            Self::Floats => false,
            Self::Histograms => true,
            Self::Mixed => i / 30 % 2 == 1,
        };
        if is_histogram { histogram_bits(i as u32) } else { (i as f64 * 0.7).to_bits() }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![2 => Just(Kind::Floats), 1 => Just(Kind::Histograms), 1 => Just(Kind::Mixed)]
}

/// When the counter of a sample began. Some series never say, some always, some do now and then.
fn start_of(series: usize, ts: i64) -> i64 {
    match series % 3 {
        0 => 0,
        1 => ts.wrapping_sub(30_000),
        _ if ts.div_euclid(30_000) % 50 < 20 => 0,
        _ => ts.div_euclid(HOUR_MS),
    }
}

fn times() -> impl Strategy<Value = i64> {
    prop_oneof![4 => (0..400_i64).prop_map(|t| t * 30_000), 1 => 0..4 * HOUR_MS, 1 => Just(2_000 * HOUR_MS), 1 => Just(i64::MIN)]
}

fn floors() -> impl Strategy<Value = i64> {
    (0..24_i64).prop_map(|t| t * HOUR_MS / 6)
}

fn ops() -> impl Strategy<Value = Op> {
    let windows = prop_oneof![Just(0), Just(HOUR_MS / 2), Just(2 * HOUR_MS)];
    prop_oneof![
        6 => (windows, prop::collection::vec((0..SERIES, times(), 0..5_u8), 1..20)).prop_map(|(window_ms, samples)| Op::Append { window_ms, samples }),
        4 => (0..SERIES, 0..240_i64, 1..200_i64, kinds()).prop_map(|(series, from, count, kind)| Op::Run { series, from: from * 30_000, count, kind }),
        3 => (0..SERIES, 0..240_i64, 1..80_i64, kinds()).prop_map(|(series, from, count, kind)| Op::LateRun { series, from: from * 30_000 + 7, count, kind }),
        1 => floors().prop_map(Op::Seal),
        2 => floors().prop_map(Op::Drop),
        1 => (0..SERIES, times(), times()).prop_map(|(series, from, to)| Op::Delete { series, from, to }),
        1 => Just(Op::Flush),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::Reopen),
        1 => Just(Op::Move),
    ]
}

#[derive(Debug)]
struct ModelSeries {
    reference: SeriesRef,
    newest: (i64, u64),
    samples: BTreeMap<i64, u64>,
    deleted: Vec<(i64, i64)>,
}

/// What a head should be, said as plainly as can be.
#[derive(Debug, Default)]
struct Model {
    series: BTreeMap<LabelSet, ModelSeries>,
    references_seen: HashSet<SeriesRef>,
    max_ts: Option<i64>,
    /// Whether there is a head: the first append makes it.
    exists: bool,
    floor: i64,
    dropped: i64,
}

enum Verdict {
    Stored,
    Duplicate,
    Refused(Refusal),
}

/// The newest time of the head before the record, and the out-of-order window.
type Bounds = (Option<i64>, i64);

fn note(verdict: Verdict, place: Place, answer: &mut AppendAnswer) {
    match verdict {
        Verdict::Stored => {}
        Verdict::Duplicate => answer.duplicates += 1,
        Verdict::Refused(refusal) => answer.refused.push(Refused { place, refusal }),
    }
}

impl Model {
    fn new() -> Self {
        Self { floor: i64::MIN, dropped: i64::MIN, ..Self::default() }
    }

    fn judge(&self, labels: &LabelSet, ts: i64, bits: u64, bounds: Bounds) -> Verdict {
        let (max_ts, window) = bounds;
        let behind = |ms: i64| max_ts.map_or(i64::MIN, |max| max - ms).max(self.floor);
        let series = self.series.get(labels);
        let newest = series.map(|series| series.newest.0);
        if ts > limits(0).newest_allowed_ms || ts == i64::MIN {
            return Verdict::Refused(Refusal::OutOfBounds);
        }
        let same_time = |found: u64| {
            if found == bits { Verdict::Duplicate } else { Verdict::Refused(Refusal::DuplicateTimestamp) }
        };
        if newest == Some(ts) {
            return same_time(series.unwrap().newest.1);
        }
        let in_order_from = behind(window.max(HOUR_MS));
        if newest.is_none_or(|newest| ts > newest) && ts >= in_order_from {
            return Verdict::Stored;
        }
        if window > 0 && ts >= behind(window) {
            return match series.and_then(|series| series.samples.get(&ts)) {
                Some(&found) => same_time(found),
                None => Verdict::Stored,
            };
        }
        Verdict::Refused(match (window > 0, ts < in_order_from) {
            (true, _) => Refusal::TooOld,
            (false, true) => Refusal::OutOfBounds,
            (false, false) => Refusal::OutOfOrder,
        })
    }

    fn take(&mut self, labels: &LabelSet, ts: i64, bits: u64, bounds: Bounds) -> Verdict {
        let verdict = self.judge(labels, ts, bits, bounds);
        if matches!(verdict, Verdict::Stored) {
            let series = self.series.get_mut(labels).unwrap();
            series.samples.insert(ts, bits);
            series.newest = series.newest.max((ts, bits));
            self.max_ts = self.max_ts.max(Some(ts));
        }
        verdict
    }

    fn seal_floor(&mut self, until: i64) {
        if self.exists {
            self.floor = self.floor.max(until);
        }
    }

    fn drop_covered(&mut self, until: i64) {
        if !self.exists || until <= self.dropped {
            return;
        }
        self.dropped = until;
        self.floor = self.floor.max(until);
        self.series.retain(|_, series| series.newest.0 >= until);
        for series in self.series.values_mut() {
            series.samples.retain(|&ts, _| ts >= until);
        }
    }

    fn delete(&mut self, labels: &LabelSet, from: i64, to: i64) {
        if let Some(series) = self.series.get_mut(labels) {
            series.deleted.push((from, to.min(series.newest.0)));
        }
    }

    fn dump(&self) -> Vec<(LabelSet, Vec<(i64, u64)>)> {
        let visible = |series: &ModelSeries| {
            let hidden = |ts: i64| series.deleted.iter().any(|&(from, to)| from <= ts && ts <= to);
            series.samples.iter().map(|(&ts, &bits)| (ts, bits)).filter(|&(ts, _)| !hidden(ts)).collect()
        };
        self.series.iter().map(|(labels, series)| (labels.clone(), visible(series))).collect()
    }
}

/// A partition with the log that feeds it.
struct Bench {
    dirs: Vec<TempDir>,
    partition: Partition,
    model: Model,
    /// The last reference that was given for each series; may be stale.
    references: BTreeMap<usize, SeriesRef>,
    log: Vec<(Vec<u8>, Vec<u8>)>,
    checkpoint_at: usize,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let partition = open(dir.path()).partition;
        Self {
            dirs: vec![dir],
            partition,
            model: Model::new(),
            references: BTreeMap::new(),
            log: Vec::new(),
            checkpoint_at: 0,
        }
    }

    fn apply(&mut self, command: &[u8]) -> Vec<u8> {
        let answer = self.partition.apply(command);
        self.log.push((command.to_vec(), answer.clone()));
        answer
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Append { window_ms, samples } => {
                let bits = |v: u8| if v < 3 { f64::from(v).to_bits() } else { histogram_bits(u32::from(v)) };
                let samples: Vec<_> = samples.into_iter().map(|(s, ts, v)| (s, ts, bits(v))).collect();
                self.append(window_ms, &samples);
            }
            Op::Run { series, from, count, kind } => {
                let samples: Vec<_> = (0..count).map(|i| (series, from + i * 30_000, kind.bits(i))).collect();
                self.append(HOUR_MS, &samples);
            }
            Op::LateRun { series, from, count, kind } => {
                let samples: Vec<_> = (0..count).rev().map(|i| (series, from + i * 30_000, kind.bits(i))).collect();
                self.append(2 * HOUR_MS, &samples);
            }
            Op::Seal(until) => {
                self.apply(&seal_floor(&tenant(), until));
                self.model.seal_floor(until);
            }
            Op::Drop(until) => {
                self.apply(&drop_covered(&tenant(), until));
                self.model.drop_covered(until);
            }
            Op::Delete { series, from, to } => {
                let matchers = [Matcher::equal("i", series.to_string())];
                self.apply(&delete_series(&tenant(), &matchers, TimeRange::new(from, to)).unwrap());
                self.model.delete(&labels(series), from, to);
            }
            Op::Flush => self.partition.flush().unwrap(),
            Op::Checkpoint => {
                self.partition.checkpoint(&self.log.len().to_le_bytes()).unwrap();
                self.checkpoint_at = self.log.len();
            }
            Op::Reopen => self.reopen(),
            Op::Move => self.move_to_other_directory(),
        }
    }

    /// Known samples first, then fresh ones: the order in which a record is applied.
    fn append(&mut self, window_ms: i64, samples: &[(usize, i64, u64)]) {
        let (known, fresh): (Vec<_>, Vec<_>) =
            samples.iter().partition(|(series, ..)| self.references.contains_key(series));
        let mut builder = AppendRecordBuilder::new(tenant(), limits(window_ms));
        builder.use_starts(StartRule { stored: true, zero_samples: false });
        let start = |series, ts| Some(start_of(series, ts)).filter(|start| *start != 0);
        for &&(series, ts, bits) in &known {
            match histogram_of(bits) {
                Some(histogram) => builder.push_known_histogram(self.references[&series], ts, &histogram),
                None => builder.push_known(self.references[&series], ts, f64::from_bits(bits)),
            }
            start(series, ts).into_iter().for_each(|start| builder.start_known(start));
        }
        for &&(series, ts, bits) in &fresh {
            match histogram_of(bits) {
                Some(histogram) => builder.push_fresh_histogram(&labels(series), ts, &histogram),
                None => builder.push_fresh(&labels(series), ts, f64::from_bits(bits)),
            }
            start(series, ts).into_iter().for_each(|start| builder.start_fresh(start));
        }
        let answer = AppendAnswer::decode(&self.apply(&builder.finish())).unwrap();
        self.model.exists = true;
        let bounds = (self.model.max_ts, window_ms);
        let mut expected = AppendAnswer { fresh: answer.fresh.clone(), ..AppendAnswer::default() };
        for (at, &&(series, ts, bits)) in known.iter().enumerate() {
            let reference = self.references[&series];
            if self.model.series.get(&labels(series)).is_none_or(|found| found.reference != reference) {
                expected.stale.push(at as u32);
                continue;
            }
            let verdict = self.model.take(&labels(series), ts, bits, bounds);
            note(verdict, Place::Known(at as u32), &mut expected);
        }
        assert_eq!(answer.fresh.len(), fresh.len());
        for (at, &&(series, ts, bits)) in fresh.iter().enumerate() {
            let labels = labels(series);
            self.create(
                &labels,
                matches!(self.model.judge(&labels, ts, bits, bounds), Verdict::Stored),
                answer.fresh[at],
            );
            assert_eq!(answer.fresh[at], self.model.series.get(&labels).map(|series| series.reference));
            self.references.extend(answer.fresh[at].map(|reference| (series, reference)));
            let verdict = self.model.take(&labels, ts, bits, bounds);
            note(verdict, Place::Fresh(at as u32), &mut expected);
        }
        assert_eq!(answer, expected);
        for at in &expected.stale {
            self.references.remove(&known[*at as usize].0);
        }
    }

    /// A series comes to be with the first sample that is stored.
    fn create(&mut self, labels: &LabelSet, stored: bool, reference: Option<SeriesRef>) {
        if stored && !self.model.series.contains_key(labels) {
            let reference = reference.expect("a stored sample's series has a reference");
            assert!(self.model.references_seen.insert(reference), "{reference:?} was used before");
            let series =
                ModelSeries { reference, newest: (i64::MIN, 0), samples: BTreeMap::new(), deleted: Vec::new() };
            self.model.series.insert(labels.clone(), series);
        }
    }

    /// As after `kill -9`: the newest checkpoint, then the log after it.
    fn reopen(&mut self) {
        let opened = open(self.dirs.last().unwrap().path());
        assert_eq!(opened.quarantined, []);
        let expected = (self.checkpoint_at > 0).then(|| Bytes::copy_from_slice(&self.checkpoint_at.to_le_bytes()));
        assert_eq!(opened.raft_state.filter(|_| self.checkpoint_at > 0), expected);
        self.partition = opened.partition;
        for (command, answer) in &self.log[self.checkpoint_at..] {
            assert_eq!(&self.partition.apply(command), answer, "replay answers as the first time");
        }
    }

    fn move_to_other_directory(&mut self) {
        let exported = self.partition.export_checkpoint();
        let dir = TempDir::new().unwrap();
        let other = open(dir.path()).partition;
        append_run(&other, 99, 0, 300);
        other.checkpoint(b"to be replaced").unwrap();
        other.install_checkpoint(&exported, &self.log.len().to_le_bytes()).unwrap();
        self.checkpoint_at = self.log.len();
        self.dirs.push(dir);
        self.partition = other;
    }

    fn check(&self) {
        let expected = self.model.dump();
        assert_eq!(dump(&self.partition), expected);
        let starts = expected.into_iter().map(|(labels, samples)| {
            let series = labels.get_or_empty("i").parse().unwrap();
            (labels, samples.iter().map(|(ts, _)| (*ts, start_of(series, *ts))).collect())
        });
        assert_eq!(dump_starts(&self.partition), starts.collect::<Vec<_>>());
        let extent = self.partition.extent(&tenant());
        assert_eq!(extent.map_or(0, |extent| extent.series), self.model.series.len());
        assert_eq!(extent.and_then(|extent| extent.max_ts), self.model.max_ts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn answers_and_reads_are_those_of_the_model(ops in prop::collection::vec(ops(), 1..40)) {
        let mut bench = Bench::new();
        for op in ops {
            bench.run(op);
            bench.check();
        }
        bench.reopen();
        bench.check();
    }
}
