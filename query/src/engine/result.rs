//! From rows to the value that is answered: names that were marked go, rows that then look the same are joined, and
//! everything is put in the order the API shows.
//!
//! A batch of rows is given up as soon as its samples have been taken over, and those are paid for before.

use std::sync::Arc;

use datafusion::common::Result;
use hashbrown::{HashMap, HashSet};
use pharos_model::{FloatHistogram, LabelSet, Sample, TimestampMs};

use crate::batch::{Row, RowBatch, RowBuffer};
use crate::error::QueryError;
use crate::exec::context::fail;
use crate::exec::{QueryContext, SAME_LABELSET, sort_by};
use crate::functions::Grid;
use crate::plan::names::drop_metadata;
use crate::plan::{Plan, Shape};
use crate::value::{HistogramSample, Series, Value, VectorElement};

/// Rows gone through before the query's deadline is looked at.
const ROWS_PER_CHECK: usize = 1_024;

/// What the rows of a query become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The only row at the only step.
    Scalar,
    /// Rows at the only step; `is_ordered` when their order says something.
    Vector { is_ordered: bool },
    /// Rows at all steps.
    Matrix,
}

impl Form {
    pub(super) fn of_instant(plan: &Plan) -> Self {
        match plan.shape {
            Shape::Scalar => Self::Scalar,
            Shape::Vector => Self::Vector { is_ordered: plan.is_ordered() },
        }
    }
}

/// The answer of rows on their grid.
pub(super) fn of(form: Form, rows: RowBuffer, grid: &Grid, query: &QueryContext) -> Result<Value> {
    let at = grid.start_ms;
    match form {
        Form::Scalar => {
            let value = rows.rows().next().expect("a scalar has one row").values[0];
            Ok(Value::Scalar(Sample { ts: at, value }))
        }
        Form::Vector { is_ordered } => vector(rows, is_ordered, at, query),
        Form::Matrix => matrix(rows, grid, query),
    }
}

fn vector(mut rows: RowBuffer, is_ordered: bool, at: TimestampMs, query: &QueryContext) -> Result<Value> {
    let memory = rows.reserve_beside();
    let mut elements: Vec<VectorElement> = Vec::new();
    while let Some(batch) = rows.pop() {
        query.check_deadline()?;
        memory.try_grow(answer_bytes(&batch))?;
        let made = |row: Row<'_>| VectorElement { labels: final_labels(row), ts: at, point: row.point(0) };
        elements.extend(batch.rows().map(made));
    }
    refuse_equal(&elements, query)?;
    if !is_ordered {
        sort_by(&mut elements, |a, b| a.labels.cmp(&b.labels), || query.check_deadline())?;
    }
    Ok(Value::Vector(elements))
}

fn refuse_equal(elements: &[VectorElement], query: &QueryContext) -> Result<()> {
    let mut seen = HashSet::new();
    for some in elements.chunks(ROWS_PER_CHECK) {
        query.check_deadline()?;
        if !some.iter().all(|element| seen.insert(&element.labels)) {
            return Err(same_labelset());
        }
    }
    Ok(())
}

/// The answer of a range query, or a subquery's own samples.
fn matrix(mut rows: RowBuffer, grid: &Grid, query: &QueryContext) -> Result<Value> {
    let memory = rows.reserve_beside();
    let mut series: Vec<Series> = Vec::new();
    let mut places: HashMap<LabelSet, usize> = HashMap::new();
    let mut joined: HashSet<usize> = HashSet::new();
    while let Some(batch) = rows.pop() {
        query.check_deadline()?;
        memory.try_grow(answer_bytes(&batch))?;
        for row in batch.rows() {
            let samples = row.float_steps().map(|step| Sample { ts: grid.at(step), value: row.values[step] });
            let histograms = row
                .histogram_steps()
                .map(|(step, histogram)| HistogramSample { ts: grid.at(step), histogram: Arc::clone(histogram) });
            let labels = final_labels(row);
            match places.get(&labels) {
                Some(&place) => {
                    series[place].samples.extend(samples);
                    series[place].histograms.extend(histograms);
                    joined.insert(place);
                }
                None => {
                    let mut own = Vec::with_capacity(floats(row));
                    own.extend(samples);
                    places.insert(labels.clone(), series.len());
                    series.push(Series { labels, samples: own, histograms: histograms.collect() });
                }
            }
        }
    }
    for place in joined {
        query.check_deadline()?;
        put_in_order(&mut series[place])?;
    }
    sorted(series, query)
}

/// Samples of several rows. Two at one time are an error.
fn put_in_order(series: &mut Series) -> Result<()> {
    let Series { samples, histograms, .. } = series;
    samples.sort_by_key(|sample| sample.ts);
    histograms.sort_by_key(|sample| sample.ts);
    let twice = samples.windows(2).any(|pair| pair[0].ts == pair[1].ts)
        || histograms.windows(2).any(|pair| pair[0].ts == pair[1].ts)
        || histograms.iter().any(|one| samples.binary_search_by_key(&one.ts, |sample| sample.ts).is_ok());
    if twice { Err(same_labelset()) } else { Ok(()) }
}

/// A matrix in the order of its labels.
pub(super) fn sorted(mut series: Vec<Series>, query: &QueryContext) -> Result<Value> {
    sort_by(&mut series, |a, b| a.labels.cmp(&b.labels), || query.check_deadline())?;
    Ok(Value::Matrix(series))
}

/// Bytes that the rows of a batch take in an answer.
fn answer_bytes(batch: &RowBatch) -> usize {
    let of_histogram = |histogram: &FloatHistogram| size_of::<HistogramSample>() + histogram.size_bytes();
    let of_row = |row: Row<'_>| {
        let histograms: usize = row.histogram_steps().map(|(_, histogram)| of_histogram(histogram)).sum();
        row.labels.len() + size_of::<Series>() + floats(row) * size_of::<Sample>() + histograms
    };
    batch.rows().map(of_row).sum()
}

fn floats(row: Row<'_>) -> usize {
    (0..row.present.len()).map(|at| row.float_word(at).count_ones() as usize).sum()
}

fn final_labels(row: Row<'_>) -> LabelSet {
    let labels = LabelSet::from_canonical_trusted(row.labels);
    if row.drop_name { drop_metadata(&labels) } else { labels }
}

fn same_labelset() -> datafusion::common::DataFusionError {
    fail(QueryError::Execution(SAME_LABELSET.into()))
}
