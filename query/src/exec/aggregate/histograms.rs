//! Native histograms in aggregations: states beside those of the floats, for the few groups and steps that have any.
//!
//! A group with floats and histograms at a step has no result there, nor has one with exponential and custom buckets; both
//! get a warning. In the row of a group's states ([`super`]), step `s` of the first lane has the histogram summed so far
//! and step `s` of the second one what rounding has lost of it, with figures as floats in the places of the lanes:
//! which hints were seen, and the count and kind of a mean. A step without a result has its bits in both lanes and no
//! histogram in either.

use std::collections::BTreeMap;

use pharos_model::histogram::add::{IncompatibleSchemas, Settled};
use pharos_model::histogram::aggregate::{self, Mean, Sum};

use crate::batch::Row;
use crate::functions::annotations::{self, Operation};
use crate::functions::grid::{is_set, set_bits};
use crate::functions::{Notes, PointsOut};
use crate::plan::AggregateKind;
use crate::value::Point;

/// What an aggregation makes of histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Sum,
    Mean,
    /// They count as floats do.
    Counted,
    /// They are left out, and the user is told so.
    Ignored(&'static str),
}

impl Rule {
    pub(super) fn of(kind: AggregateKind) -> Self {
        match kind {
            AggregateKind::Sum => Self::Sum,
            AggregateKind::Avg => Self::Mean,
            AggregateKind::Count | AggregateKind::Group => Self::Counted,
            AggregateKind::Min => Self::Ignored("min"),
            AggregateKind::Max => Self::Ignored("max"),
            AggregateKind::Stddev => Self::Ignored("stddev"),
            AggregateKind::Stdvar => Self::Ignored("stdvar"),
        }
    }
}

/// The states of all groups.
#[derive(Debug)]
pub(super) struct Histograms {
    rule: Rule,
    steps: usize,
    /// By group and step.
    states: BTreeMap<(usize, usize), State>,
    bytes: usize,
    /// Of each group, a metric that has histograms: for what there is to say.
    metric_names: BTreeMap<usize, Box<str>>,
    pub(super) notes: Notes,
}

#[derive(Debug)]
enum State {
    Sum(Sum),
    Mean(Mean),
    /// There were exponential and custom buckets, or floats and histograms.
    NoResult,
}

/// Bits of the figure that says which hints were seen.
const RESET_SEEN: u32 = 1;
const NOT_RESET_SEEN: u32 = 2;

impl Histograms {
    pub(super) fn new(rule: Rule, steps: usize) -> Self {
        let (states, metric_names) = (BTreeMap::new(), BTreeMap::new());
        Self { rule, steps, states, bytes: 0, metric_names, notes: Notes::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The name that [`Histograms::name_group`] got.
    pub(super) fn name_of(&self, group: usize) -> &str {
        self.metric_names.get(&group).map_or("", |name| name)
    }

    pub(super) fn name_group(&mut self, group: usize, metric_name: &str) {
        if !metric_name.is_empty() && self.name_of(group) != metric_name {
            self.metric_names.insert(group, metric_name.into());
        }
    }

    /// Folds in the histograms of a series. The floats at its other steps are the caller's.
    pub(super) fn add(&mut self, group: usize, row: Row<'_>) {
        if let Rule::Ignored(name) = self.rule {
            self.notes.add(annotations::ignored_in_aggregation(name));
            return;
        }
        for (step, histogram) in row.histogram_steps() {
            let result = match self.states.get_mut(&(group, step)) {
                None => {
                    self.bytes += 2 * histogram.size_bytes();
                    let first = (**histogram).clone();
                    let state = match self.rule {
                        Rule::Mean => State::Mean(Mean::new(first)),
                        _ => State::Sum(Sum::new(first)),
                    };
                    self.states.insert((group, step), state);
                    continue;
                }
                Some(State::Sum(sum)) => sum.add(histogram).map(|()| sum.settled()),
                Some(State::Mean(mean)) => mean.add(histogram).map(|()| mean.settled()),
                Some(State::NoResult) => continue,
            };
            self.settle(group, step, result);
        }
    }

    fn settle(&mut self, group: usize, step: usize, result: Result<Settled, IncompatibleSchemas>) {
        match result {
            Ok(settled) if settled.bounds_reconciled => {
                self.notes.add(annotations::bounds_reconciled(Operation::Aggregation));
            }
            Ok(_) => {}
            Err(IncompatibleSchemas) => {
                let note = annotations::mixed_schemas(self.name_of(group));
                self.notes.add(note);
                self.states.insert((group, step), State::NoResult);
            }
        }
    }

    /// Folds in the states of another partition's group, at steps that are not floats alone.
    pub(super) fn merge(&mut self, group: usize, row: Row<'_>) {
        for step in (0..self.steps).filter(|step| is_set(row.present, *step)) {
            let Some(other) = self.read(row, step) else { continue };
            let result = match (self.states.get_mut(&(group, step)), other) {
                (Some(State::NoResult), _) => continue,
                (Some(State::Sum(sum)), State::Sum(other)) => sum.merge(&other).map(|()| sum.settled()),
                (Some(State::Mean(mean)), State::Mean(other)) => mean.merge(other).map(|()| mean.settled()),
                (_, other) => {
                    self.bytes += row.histograms.and_then(|all| all.get(step)).map_or(0, |h| 2 * h.size_bytes());
                    self.states.insert((group, step), other);
                    continue;
                }
            };
            self.settle(group, step, result);
        }
    }

    /// Whether a row of states has any of histograms.
    pub(super) fn are_in(row: Row<'_>, steps: usize) -> bool {
        let mut beyond = row.present.iter().skip(steps / 64);
        let first = beyond.next().map_or(0, |word| word >> (steps % 64));
        row.histograms.is_some() || first != 0 || beyond.any(|word| *word != 0)
    }

    /// Clears the bits of steps whose state is not one of floats.
    pub(super) fn leave_floats(row: Row<'_>, steps: usize, bits: &mut [u64]) {
        for (word, bits) in bits.iter_mut().enumerate() {
            for bit in set_bits(*bits) {
                let step = word * 64 + bit;
                if step >= steps || Self::is_at(row, steps, step) {
                    *bits &= !(1 << bit);
                }
            }
        }
    }

    fn is_at(row: Row<'_>, steps: usize, step: usize) -> bool {
        row.histograms.is_some_and(|histograms| histograms.has(step)) || is_set(row.present, steps + step)
    }

    fn read(&self, row: Row<'_>, step: usize) -> Option<State> {
        if !Self::is_at(row, self.steps, step) {
            return None;
        }
        let histogram = |step: usize| row.histograms?.get(step).map(|histogram| (**histogram).clone());
        let Some(value) = histogram(step) else { return Some(State::NoResult) };
        let hints = row.values[step] as u32;
        let is_mean = self.rule == Rule::Mean;
        let state = aggregate::State {
            value,
            lost: histogram(self.steps + step),
            count: if is_mean { row.values[2 * self.steps + step] } else { 0.0 },
            is_mean: is_mean && row.values[3 * self.steps + step] != 0.0,
            reset_seen: hints & RESET_SEEN != 0,
            not_reset_seen: hints & NOT_RESET_SEEN != 0,
        };
        Some(if is_mean { State::Mean(state.into()) } else { State::Sum(state.into()) })
    }

    /// The states of a group by step, taken out. A float at such a step leaves no result.
    fn take(&mut self, group: usize, present: &[u64]) -> Vec<(usize, State)> {
        let mut taken = Vec::new();
        while let Some((&(at, step), _)) = self.states.range((group, 0)..(group + 1, 0)).next() {
            let state = self.states.remove(&(at, step)).expect("just found");
            let mixed = is_set(present, step);
            if mixed {
                self.notes.add(annotations::mixed_kinds_in_aggregation());
            }
            taken.push((step, if mixed { State::NoResult } else { state }));
        }
        taken
    }

    /// Writes the results of a group over those of its floats.
    pub(super) fn finish(&mut self, group: usize, out: &mut PointsOut<'_>) {
        for (step, state) in self.take(group, out.present) {
            let (settled, mut result) = match state {
                State::NoResult => {
                    out.unset(step);
                    continue;
                }
                State::Sum(sum) => (sum.settled(), sum.finish()),
                State::Mean(mean) => (mean.settled(), mean.finish()),
            };
            if settled.hints_collided {
                self.notes.add(annotations::hints_collided(Operation::Aggregation));
            }
            result.compact();
            out.set(step, result);
        }
    }

    /// Writes the states of a group beside those of its floats.
    pub(super) fn write(&mut self, group: usize, out: &mut PointsOut<'_>) {
        for (step, state) in self.take(group, out.present) {
            let state = match state {
                State::NoResult => {
                    out.set(step, 0.0);
                    out.set(self.steps + step, 0.0);
                    continue;
                }
                State::Sum(sum) => sum.into_state(),
                State::Mean(mean) => mean.into_state(),
            };
            let hints = u32::from(state.reset_seen) * RESET_SEEN + u32::from(state.not_reset_seen) * NOT_RESET_SEEN;
            out.values[step] = f64::from(hints);
            if self.rule == Rule::Mean {
                out.values[2 * self.steps + step] = state.count;
                out.values[3 * self.steps + step] = f64::from(state.is_mean);
            }
            out.set(step, Point::from(state.value));
            if let Some(lost) = state.lost {
                out.set(self.steps + step, Point::from(lost));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::{BatchBuilder, RowBatch};
    use pharos_model::histogram::CUSTOM_BUCKETS_SCHEMA;
    use pharos_model::{CounterResetHint, FloatHistogram};

    const STEPS: usize = 3;
    const LANES: usize = 4;

    fn histogram(count: f64) -> FloatHistogram {
        FloatHistogram { count, counter_reset_hint: CounterResetHint::NotCounterReset, ..FloatHistogram::default() }
    }

    fn custom() -> FloatHistogram {
        FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, ..histogram(1.0) }
    }

    fn row_of(steps: usize, write: impl FnOnce(&mut PointsOut<'_>)) -> RowBatch {
        let mut builder = BatchBuilder::new(steps);
        let written = builder.push_points(&[], false, |mut out| {
            write(&mut out);
            Ok::<_, std::convert::Infallible>(())
        });
        written.unwrap();
        builder.finish().unwrap()
    }

    fn series(points: [Option<FloatHistogram>; STEPS]) -> RowBatch {
        row_of(STEPS, |out| {
            let points = points.into_iter().enumerate().filter_map(|(step, histogram)| Some((step, histogram?)));
            points.for_each(|(step, histogram)| out.set(step, Arc::new(histogram)));
        })
    }

    /// The states of one partition, as they travel. Floats are present at the steps in `floats`.
    fn states(rule: Rule, series: &[RowBatch], floats: u64) -> RowBatch {
        let mut partition = Histograms::new(rule, STEPS);
        series.iter().for_each(|batch| partition.add(0, batch.row(0)));
        row_of(LANES * STEPS, |out| {
            out.present[0] |= floats;
            partition.write(0, out);
        })
    }

    fn finished(rule: Rule, partitions: &[RowBatch]) -> (Vec<Option<f64>>, Vec<String>) {
        let mut all = Histograms::new(rule, STEPS);
        let mut floats = 0;
        for batch in partitions {
            let row = batch.row(0);
            let mut bits = [row.present[0]];
            Histograms::leave_floats(row, STEPS, &mut bits);
            floats |= bits[0];
            all.merge(0, row);
        }
        let batch = row_of(STEPS, |out| {
            out.present[0] |= floats;
            all.finish(0, out);
        });
        let counts = match batch.len() {
            0 => vec![None; STEPS],
            _ => (0..STEPS).map(|step| Some(batch.row(0).histograms?.get(step)?.count)).collect(),
        };
        (counts, all.notes.iter().map(|note| note.text.clone()).collect())
    }

    #[test]
    fn states_of_several_partitions_meet() {
        let first =
            [series([Some(histogram(1.0)), Some(histogram(2.0)), None]), series([Some(histogram(5.0)), None, None])];
        let second = [series([Some(histogram(6.0)), None, Some(histogram(7.0))])];
        for (rule, expected) in [(Rule::Sum, [12.0, 2.0, 7.0]), (Rule::Mean, [4.0, 2.0, 7.0])] {
            let partitions = [states(rule, &first, 0), states(rule, &second, 0)];
            assert!(partitions.iter().all(|batch| Histograms::are_in(batch.row(0), STEPS)));
            assert_eq!(finished(rule, &partitions), (expected.map(Some).to_vec(), vec![]), "{rule:?}");
        }
    }

    #[test]
    fn hints_that_were_seen_apart_collide_where_they_meet() {
        let reset = FloatHistogram { counter_reset_hint: CounterResetHint::CounterReset, ..histogram(1.0) };
        let states = |histogram| states(Rule::Sum, &[series([Some(histogram), None, None])], 0);
        let (_, texts) = finished(Rule::Sum, &[states(reset), states(histogram(1.0))]);
        assert_eq!(texts, ["PromQL warning: conflicting counter resets during histogram aggregation"]);
    }

    #[test]
    fn a_step_without_a_result_stays_without_one() {
        let mixed_schemas = [series([Some(histogram(1.0)), None, None]), series([Some(custom()), None, None])];
        let more = [series([Some(histogram(1.0)), Some(histogram(2.0)), Some(histogram(3.0))])];
        // One partition has floats at the second step too, the other one at the third.
        let partitions = [states(Rule::Sum, &mixed_schemas, 0b100), states(Rule::Sum, &more, 0b010)];
        let (counts, texts) = finished(Rule::Sum, &partitions);
        assert_eq!(counts, [None, None, None]);
        assert!(texts.iter().all(|text| text.contains("a mix of histograms")), "{texts:?}");
        let apart = [states(Rule::Sum, &mixed_schemas[..1], 0), states(Rule::Sum, &mixed_schemas[1..], 0)];
        assert_eq!(finished(Rule::Sum, &apart).0, [None, None, None]);
    }
}
