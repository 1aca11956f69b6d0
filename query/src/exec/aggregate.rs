//! Aggregations with a state of fixed size for each group and step: `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`,
//! `stdvar`.
//!
//! States are dense, [group][lane][step]. A partial aggregation sends each group's states as one row whose steps are its
//! lanes one after the other ([`state_steps`]), of which the first `n` bits of `present` count; so states travel in the
//! same shape as all else. Native histograms are beside them ([`histograms`]).

mod histograms;

use std::ops::Range;

use datafusion::common::Result;
use futures::TryStreamExt;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::histograms::{Histograms, Rule};
use super::accumulate::{Accumulator, Avg, Count, Group, Max, Min, Spread, Sum};
use super::context::QueryContext;
use super::input::{Output, RowStream, once};
use super::node::{Call, Stage};
use super::range::metric_name;
use crate::batch::{Row, RowBatch};
use crate::functions::{Notes, PointsOut};
use crate::plan::{AggregateKind, Grouping, Op};

/// Steps of a row that holds the states of `steps` steps.
pub(super) fn state_steps(op: &Op, steps: usize) -> usize {
    let Op::Aggregate { kind, .. } = op else { return steps };
    let lanes = match kind {
        AggregateKind::Sum => Sum::LANES,
        AggregateKind::Avg => Avg::LANES,
        AggregateKind::Count => Count::LANES,
        AggregateKind::Min => Min::LANES,
        AggregateKind::Max => Max::LANES,
        AggregateKind::Group => Group::LANES,
        AggregateKind::Stddev | AggregateKind::Stdvar => Spread::<false>::LANES,
    };
    steps * lanes
}

pub(super) fn run(call: Call) -> Result<RowStream> {
    let Op::Aggregate { kind, .. } = *call.op else { unreachable!("planned as an aggregation") };
    let rule = Rule::of(kind);
    Ok(match kind {
        AggregateKind::Sum => run_with::<Sum>(call, rule),
        AggregateKind::Avg => run_with::<Avg>(call, rule),
        AggregateKind::Count => run_with::<Count>(call, rule),
        AggregateKind::Min => run_with::<Min>(call, rule),
        AggregateKind::Max => run_with::<Max>(call, rule),
        AggregateKind::Group => run_with::<Group>(call, rule),
        AggregateKind::Stddev => run_with::<Spread<true>>(call, rule),
        AggregateKind::Stdvar => run_with::<Spread<false>>(call, rule),
    })
}

fn run_with<A: Accumulator>(call: Call, rule: Rule) -> RowStream {
    once(async move {
        let Op::Aggregate { grouping, .. } = &*call.op else { unreachable!("planned as an aggregation") };
        let mut input = call.rows(0)?;
        let mut groups = Groups::<A>::new(call.grid.n, rule);
        let reservation = QueryContext::reserve(&call.task, "aggregate");
        while let Some(batch) = input.try_next().await? {
            for row in batch.rows() {
                match call.stage {
                    Stage::Combine | Stage::Final => groups.merge(row),
                    Stage::Whole | Stage::Partial => groups.add(grouping, row),
                }
            }
            reservation.try_resize(groups.bytes())?;
        }
        let (sent, notes) = match call.stage {
            Stage::Partial | Stage::Combine => groups.into_states(&call.query)?,
            Stage::Whole | Stage::Final => groups.into_rows(&call.query)?,
        };
        call.add_notes(notes);
        Ok(sent)
    })
}

/// The states of all groups.
struct Groups<A> {
    steps: usize,
    words: usize,
    index: HashTable<usize>,
    hasher: hashbrown::DefaultHashBuilder,
    keys: Vec<Box<[u8]>>,
    key_bytes: usize,
    drop_name: Vec<bool>,
    present: Vec<u64>,
    lanes: Vec<f64>,
    rule: Rule,
    histograms: Histograms,
    key: Vec<u8>,
    /// Steps of the row under way whose value goes into the lanes.
    folded: Vec<u64>,
    accumulator: std::marker::PhantomData<A>,
}

impl<A: Accumulator> Groups<A> {
    fn new(steps: usize, rule: Rule) -> Self {
        Self {
            steps,
            words: steps.div_ceil(64),
            index: HashTable::new(),
            hasher: hashbrown::DefaultHashBuilder::default(),
            keys: Vec::new(),
            key_bytes: 0,
            drop_name: Vec::new(),
            present: Vec::new(),
            lanes: Vec::new(),
            rule,
            histograms: Histograms::new(rule, steps),
            key: Vec::new(),
            folded: Vec::new(),
            accumulator: std::marker::PhantomData,
        }
    }

    /// Folds the values of a series into its group.
    fn add(&mut self, grouping: &Grouping, row: Row<'_>) {
        let mut key = std::mem::take(&mut self.key);
        grouping.key_of(row.labels, &mut key);
        let at = self.slot(&key, row.drop_name);
        self.key = key;
        let mut folded = row.present;
        if self.rule != Rule::Counted && row.has_histograms() {
            self.histograms.name_group(at, metric_name(row.labels));
            self.histograms.add(at, row);
            self.folded.clear();
            self.folded.extend((0..self.words).map(|word| row.float_word(word)));
            folded = &self.folded;
        }
        let steps = self.steps;
        let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
        let present = &mut self.present[at * self.words..(at + 1) * self.words];
        each_run(present, folded, |run, first| {
            if first {
                run.for_each(|step| A::start(lanes, steps, step, row.values[step]));
            } else {
                A::add_run(lanes, steps, run.start, &row.values[run]);
            }
        });
    }

    /// Folds in the states of another partition's group.
    fn merge(&mut self, row: Row<'_>) {
        let (key, metric_name) = split_state_key(row.labels);
        let at = self.slot(key, row.drop_name);
        let steps = self.steps;
        self.folded.clear();
        self.folded.extend_from_slice(&row.present[..self.words]);
        if Histograms::are_in(row, steps) {
            self.histograms.name_group(at, metric_name);
            self.histograms.merge(at, row);
            Histograms::leave_floats(row, steps, &mut self.folded);
        }
        let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
        let present = &mut self.present[at * self.words..(at + 1) * self.words];
        each_run(present, &self.folded, |run, first| {
            if first {
                let of_lane = |lane: usize| lane * steps + run.start..lane * steps + run.end;
                (0..A::LANES).map(of_lane).for_each(|run| lanes[run.clone()].copy_from_slice(&row.values[run]));
            } else {
                run.for_each(|step| A::merge(lanes, row.values, steps, step));
            }
        });
    }

    fn slot(&mut self, key: &[u8], drop_name: bool) -> usize {
        use std::hash::BuildHasher;
        let hasher = &self.hasher;
        let entry = self.index.entry(
            hasher.hash_one(key),
            |at| *self.keys[*at] == *key,
            |at| hasher.hash_one(&*self.keys[*at]),
        );
        let at = match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let at = self.keys.len();
                vacant.insert(at);
                self.keys.push(key.into());
                self.key_bytes += key.len();
                self.drop_name.push(false);
                self.present.resize((at + 1) * self.words, 0);
                self.lanes.resize((at + 1) * A::LANES * self.steps, 0.0);
                at
            }
        };
        self.drop_name[at] |= drop_name;
        at
    }

    fn bytes(&self) -> usize {
        let floats = (self.present.capacity() + self.lanes.capacity()) * 8;
        floats + self.histograms.bytes() + self.key_bytes + self.keys.len() * 32
    }

    fn into_rows(mut self, query: &QueryContext) -> Result<(Vec<RowBatch>, Notes)> {
        let (steps, words) = (self.steps, self.words);
        let mut output = Output::new(steps);
        for (at, key) in self.keys.iter().enumerate() {
            query.check_deadline()?;
            let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
            let present = &self.present[at * words..(at + 1) * words];
            crate::functions::grid::set_steps(present).for_each(|step| lanes[step] = A::finish(lanes, steps, step));
            let histograms = &mut self.histograms;
            let written = output.builder()?.push_points(key, self.drop_name[at], |mut out: PointsOut<'_>| {
                out.present.copy_from_slice(present);
                out.values.copy_from_slice(&lanes[..steps]);
                histograms.finish(at, &mut out);
                Ok::<_, std::convert::Infallible>(())
            });
            let Ok(()) = written;
        }
        Ok((output.finish()?, self.histograms.notes))
    }

    fn into_states(mut self, query: &QueryContext) -> Result<(Vec<RowBatch>, Notes)> {
        let width = A::LANES * self.steps;
        let mut output = Output::new(width);
        for (at, key) in self.keys.iter().enumerate() {
            query.check_deadline()?;
            let labels = state_key(key, self.histograms.name_of(at));
            let histograms = &mut self.histograms;
            let written = output.builder()?.push_points(&labels, self.drop_name[at], |mut out: PointsOut<'_>| {
                out.present[..self.words].copy_from_slice(&self.present[at * self.words..(at + 1) * self.words]);
                out.values.copy_from_slice(&self.lanes[at * width..(at + 1) * width]);
                histograms.write(at, &mut out);
                Ok::<_, std::convert::Infallible>(())
            });
            let Ok(()) = written;
        }
        Ok((output.finish()?, self.histograms.notes))
    }
}

/// The labels of a row of states: the key of its group, and a metric of it for what there is to say.
fn state_key(key: &[u8], metric_name: &str) -> Vec<u8> {
    let length = u32::try_from(key.len()).expect("a label set is far smaller");
    [&length.to_le_bytes(), key, metric_name.as_bytes()].concat()
}

fn split_state_key(labels: &[u8]) -> (&[u8], &str) {
    let (length, rest) = labels.split_first_chunk().expect("written by `state_key`");
    let (key, metric_name) = rest.split_at(u32::from_le_bytes(*length) as usize);
    (key, std::str::from_utf8(metric_name).expect("written by `state_key`"))
}

/// Calls `visit` for each run of steps that a row has, saying whether they are the group's first values there, and marks
/// them as seen. A run ends with its bitmap word at the latest.
#[inline]
fn each_run(seen: &mut [u64], row: &[u64], mut visit: impl FnMut(Range<usize>, bool)) {
    for (word, (seen, row)) in seen.iter_mut().zip(row).enumerate() {
        runs(row & *seen).for_each(|run| visit(word * 64 + run.start..word * 64 + run.end, false));
        runs(row & !*seen).for_each(|run| visit(word * 64 + run.start..word * 64 + run.end, true));
        *seen |= *row;
    }
}

/// The runs of bits that are set.
fn runs(word: u64) -> impl Iterator<Item = Range<usize>> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let start = rest.trailing_zeros();
        (start < 64).then(|| {
            let end = start + (rest >> start).trailing_ones();
            // Clears the run: shifted out when it ends the word.
            rest = u64::MAX.checked_shl(end).map_or(0, |above| rest & above);
            start as usize..end as usize
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_the_bits() {
        for (word, want) in [
            (0, &[][..]),
            (u64::MAX, &[(0, 64)]),
            (1 | 1 << 63, &[(0, 1), (63, 64)]),
            (0b0110_0111, &[(0, 3), (5, 7)]),
            (u64::MAX << 60, &[(60, 64)]),
        ] {
            assert_eq!(runs(word).map(|run| (run.start, run.end)).collect::<Vec<_>>(), want, "{word:b}");
        }
    }
}
