//! Aggregations with a state of fixed size for each group and step: `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`,
//! `stdvar`.
//!
//! States are dense, [group][lane][step]. A partial aggregation sends each group's states as one row whose steps are its
//! lanes one after the other ([`state_steps`]), of which the first `n` bits of `present` count; so states travel in the
//! same shape as all else.

use std::ops::Range;

use datafusion::common::Result;
use futures::TryStreamExt;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::accumulate::{Accumulator, Avg, Count, Group, Max, Min, Spread, Sum};
use super::context::QueryContext;
use super::input::{Output, RowStream, once};
use super::node::{Call, Stage};
use crate::batch::{Row, RowBatch};
use crate::functions::RowOut;
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
    Ok(match kind {
        AggregateKind::Sum => run_with::<Sum>(call),
        AggregateKind::Avg => run_with::<Avg>(call),
        AggregateKind::Count => run_with::<Count>(call),
        AggregateKind::Min => run_with::<Min>(call),
        AggregateKind::Max => run_with::<Max>(call),
        AggregateKind::Group => run_with::<Group>(call),
        AggregateKind::Stddev => run_with::<Spread<true>>(call),
        AggregateKind::Stdvar => run_with::<Spread<false>>(call),
    })
}

fn run_with<A: Accumulator>(call: Call) -> RowStream {
    once(async move {
        let Op::Aggregate { grouping, .. } = &*call.op else { unreachable!("planned as an aggregation") };
        let mut input = call.rows(0)?;
        let mut groups = Groups::<A>::new(call.grid.n);
        let reservation = QueryContext::reserve(&call.task, "aggregate");
        while let Some(batch) = input.try_next().await? {
            for row in batch.rows() {
                match call.stage {
                    Stage::Final => groups.merge(row),
                    Stage::Whole | Stage::Partial => groups.add(grouping, row),
                }
            }
            reservation.try_resize(groups.bytes())?;
        }
        match call.stage {
            Stage::Partial => groups.into_states(),
            Stage::Whole | Stage::Final => groups.into_rows(),
        }
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
    key: Vec<u8>,
    accumulator: std::marker::PhantomData<A>,
}

impl<A: Accumulator> Groups<A> {
    fn new(steps: usize) -> Self {
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
            key: Vec::new(),
            accumulator: std::marker::PhantomData,
        }
    }

    /// Folds the values of a series into its group.
    fn add(&mut self, grouping: &Grouping, row: Row<'_>) {
        let mut key = std::mem::take(&mut self.key);
        grouping.key_of(row.labels, &mut key);
        let at = self.slot(&key, row.drop_name);
        self.key = key;
        let steps = self.steps;
        let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
        let present = &mut self.present[at * self.words..(at + 1) * self.words];
        each_run(present, row.present, |run, first| {
            if first {
                run.for_each(|step| A::start(lanes, steps, step, row.values[step]));
            } else {
                A::add_run(lanes, steps, run.start, &row.values[run]);
            }
        });
    }

    /// Folds in the states of another partition's group.
    fn merge(&mut self, row: Row<'_>) {
        let at = self.slot(row.labels, row.drop_name);
        let steps = self.steps;
        let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
        let present = &mut self.present[at * self.words..(at + 1) * self.words];
        each_run(present, &row.present[..self.words], |run, first| {
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
        (self.present.capacity() + self.lanes.capacity()) * 8 + self.key_bytes + self.keys.len() * 32
    }

    fn into_rows(mut self) -> Result<Vec<RowBatch>> {
        let (steps, words) = (self.steps, self.words);
        let mut output = Output::new(steps);
        for (at, key) in self.keys.iter().enumerate() {
            let lanes = &mut self.lanes[at * A::LANES * steps..(at + 1) * A::LANES * steps];
            let present = &self.present[at * words..(at + 1) * words];
            crate::functions::grid::set_steps(present).for_each(|step| lanes[step] = A::finish(lanes, steps, step));
            let drop_name = self.drop_name[at];
            output.builder()?.push(Row { labels: key, drop_name, present, values: &lanes[..steps] });
        }
        output.finish()
    }

    fn into_states(self) -> Result<Vec<RowBatch>> {
        let width = A::LANES * self.steps;
        let mut output = Output::new(width);
        for (at, key) in self.keys.iter().enumerate() {
            let written = output.builder()?.push_with(key, self.drop_name[at], |out: RowOut<'_>| {
                out.present[..self.words].copy_from_slice(&self.present[at * self.words..(at + 1) * self.words]);
                out.values.copy_from_slice(&self.lanes[at * width..(at + 1) * width]);
                Ok::<_, std::convert::Infallible>(())
            });
            let Ok(()) = written;
        }
        output.finish()
    }
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
