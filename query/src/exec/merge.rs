//! Rows of one label set become one row.

use std::sync::Arc;

use datafusion::common::Result;
use futures::TryStreamExt;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use super::context::{QueryContext, fail};
use super::input::{Output, RowStream, once};
use super::node::Call;
use crate::batch::{Row, RowBatch};
use crate::error::QueryError;
use crate::functions::HistogramSteps;
use crate::plan::Op;

/// What Prometheus says when names are gone and two series look the same.
pub const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Merge { strict } = *call.op else { unreachable!("planned as a merge") };
        let mut input = call.rows(0)?;
        let mut merger = RowMerger::new(call.grid.n);
        let reservation = QueryContext::reserve(&call.task, "merge");
        while let Some(batch) = input.try_next().await? {
            call.query.check_deadline()?;
            for row in batch.rows() {
                if strict && merger.contains(row.labels) {
                    return Err(fail(same_labelset()));
                }
                merger.add(row)?;
            }
            reservation.try_resize(merger.bytes())?;
        }
        merger.finish(&call.query)
    }))
}

pub(super) fn same_labelset() -> QueryError {
    QueryError::Execution(SAME_LABELSET.into())
}

/// Collects rows, joining those of equal labels; two values at one step are an error. Keeps the order of first appearance.
pub(super) struct RowMerger {
    steps: usize,
    words: usize,
    index: HashTable<usize>,
    hasher: hashbrown::DefaultHashBuilder,
    labels: Vec<Box<[u8]>>,
    label_bytes: usize,
    drop_name: Vec<bool>,
    present: Vec<u64>,
    values: Vec<f64>,
    /// Of the rows that have any.
    histograms: HashMap<usize, HistogramSteps>,
    histogram_bytes: usize,
}

impl RowMerger {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            steps,
            words: steps.div_ceil(64),
            index: HashTable::new(),
            hasher: hashbrown::DefaultHashBuilder::default(),
            labels: Vec::new(),
            label_bytes: 0,
            drop_name: Vec::new(),
            present: Vec::new(),
            values: Vec::new(),
            histograms: HashMap::new(),
            histogram_bytes: 0,
        }
    }

    pub(super) fn contains(&self, labels: &[u8]) -> bool {
        self.index.find(hash(&self.hasher, labels), |at| *self.labels[*at] == *labels).is_some()
    }

    /// Joins a row in.
    pub(super) fn add(&mut self, row: Row<'_>) -> Result<()> {
        let at = self.slot(row.labels, row.drop_name);
        let present = &mut self.present[at * self.words..(at + 1) * self.words];
        if present.iter().zip(row.present).any(|(own, more)| own & more != 0) {
            return Err(fail(same_labelset()));
        }
        let values = &mut self.values[at * self.steps..(at + 1) * self.steps];
        if present.iter().all(|word| *word == 0) {
            values.copy_from_slice(row.values);
        } else {
            crate::functions::grid::set_steps(row.present).for_each(|step| values[step] = row.values[step]);
        }
        present.iter_mut().zip(row.present).for_each(|(own, more)| *own |= more);
        for (step, histogram) in row.histogram_steps() {
            self.histogram_bytes += histogram.size_bytes();
            self.histograms.entry(at).or_default().set(step, Arc::clone(histogram));
        }
        Ok(())
    }

    fn slot(&mut self, labels: &[u8], drop_name: bool) -> usize {
        let entry = self.index.entry(
            hash(&self.hasher, labels),
            |at| *self.labels[*at] == *labels,
            |at| hash(&self.hasher, &self.labels[*at]),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let at = self.labels.len();
                vacant.insert(at);
                self.labels.push(labels.into());
                self.label_bytes += labels.len();
                self.drop_name.push(drop_name);
                self.present.resize((at + 1) * self.words, 0);
                self.values.resize((at + 1) * self.steps, 0.0);
                at
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let floats = (self.present.len() + self.values.len()) * 8;
        floats + self.histogram_bytes + self.label_bytes + self.labels.len() * 32
    }

    pub(super) fn finish(self, query: &QueryContext) -> Result<Vec<RowBatch>> {
        let mut output = Output::new(self.steps);
        for (at, labels) in self.labels.iter().enumerate() {
            query.check_deadline()?;
            output.builder()?.push(Row {
                labels,
                drop_name: self.drop_name[at],
                present: &self.present[at * self.words..(at + 1) * self.words],
                values: &self.values[at * self.steps..(at + 1) * self.steps],
                histograms: self.histograms.get(&at),
            });
        }
        output.finish()
    }
}

fn hash(hasher: &hashbrown::DefaultHashBuilder, labels: &[u8]) -> u64 {
    use std::hash::BuildHasher;
    hasher.hash_one(labels)
}
