//! From rows to the value that is answered: names that were marked go, rows that then look the same are joined, and
//! everything is put in the order the API shows.
//!
//! A batch of rows is given up as soon as its samples have been taken over, and those are paid for before.

use datafusion::common::Result;
use hashbrown::{HashMap, HashSet};
use pharos_model::{LabelSet, Sample, TimestampMs};

use crate::batch::{Row, RowBatch, RowBuffer};
use crate::error::QueryError;
use crate::exec::SAME_LABELSET;
use crate::exec::context::fail;
use crate::functions::Grid;
use crate::functions::grid::set_steps;
use crate::plan::names::drop_metadata;
use crate::plan::{Plan, Shape};
use crate::value::{Series, Value, VectorElement};

/// The answer of an instant query.
pub(super) fn instant(plan: &Plan, mut rows: RowBuffer, at: TimestampMs) -> Result<Value> {
    if plan.shape == Shape::Scalar {
        let value = rows.rows().next().expect("a scalar has one row").values[0];
        return Ok(Value::Scalar(Sample { ts: at, value }));
    }
    let memory = rows.reserve_beside();
    let mut elements: Vec<VectorElement> = Vec::new();
    while let Some(batch) = rows.pop() {
        memory.try_grow(answer_bytes(&batch))?;
        let made = |row| VectorElement { labels: final_labels(row), sample: Sample { ts: at, value: row.values[0] } };
        elements.extend(batch.rows().map(made));
    }
    refuse_equal(elements.iter().map(|element| &element.labels))?;
    if !plan.is_ordered() {
        elements.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(Value::Vector(elements))
}

fn refuse_equal<'a>(labels: impl Iterator<Item = &'a LabelSet>) -> Result<()> {
    let mut seen = HashSet::new();
    for labels in labels {
        if !seen.insert(labels) {
            return Err(same_labelset());
        }
    }
    Ok(())
}

/// The answer of a range query, or a subquery's own samples.
pub(super) fn matrix(mut rows: RowBuffer, grid: &Grid) -> Result<Value> {
    let memory = rows.reserve_beside();
    let mut series: Vec<Series> = Vec::new();
    let mut places: HashMap<LabelSet, usize> = HashMap::new();
    let mut joined: HashSet<usize> = HashSet::new();
    while let Some(batch) = rows.pop() {
        memory.try_grow(answer_bytes(&batch))?;
        for row in batch.rows() {
            let samples = set_steps(row.present).map(|step| Sample { ts: grid.at(step), value: row.values[step] });
            let labels = final_labels(row);
            match places.get(&labels) {
                Some(&place) => {
                    series[place].samples.extend(samples);
                    joined.insert(place);
                }
                None => {
                    let mut own = Vec::with_capacity(points(row));
                    own.extend(samples);
                    places.insert(labels.clone(), series.len());
                    series.push(Series { labels, samples: own });
                }
            }
        }
    }
    for place in joined {
        put_in_order(&mut series[place].samples)?;
    }
    Ok(sorted(series))
}

/// Samples of several rows. Two at one time are an error.
fn put_in_order(samples: &mut [Sample]) -> Result<()> {
    samples.sort_by_key(|sample| sample.ts);
    if samples.windows(2).any(|pair| pair[0].ts == pair[1].ts) {
        return Err(same_labelset());
    }
    Ok(())
}

/// A matrix in the order of its labels.
pub(super) fn sorted(mut series: Vec<Series>) -> Value {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Value::Matrix(series)
}

/// Bytes that the rows of a batch take in an answer.
fn answer_bytes(batch: &RowBatch) -> usize {
    let of_row = |row: Row<'_>| row.labels.len() + size_of::<Series>() + points(row) * size_of::<Sample>();
    batch.rows().map(of_row).sum()
}

fn points(row: Row<'_>) -> usize {
    row.present.iter().map(|word| word.count_ones() as usize).sum()
}

fn final_labels(row: Row<'_>) -> LabelSet {
    let labels = LabelSet::from_canonical_trusted(row.labels);
    if row.drop_name { drop_metadata(&labels) } else { labels }
}

fn same_labelset() -> datafusion::common::DataFusionError {
    fail(QueryError::Execution(SAME_LABELSET.into()))
}
