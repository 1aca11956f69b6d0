//! From rows to the value that is answered: names that were marked go, rows that then look the same are joined, and
//! everything is put in the order the API shows.

use hashbrown::HashMap;
use pharos_model::{LabelSet, Sample, TimestampMs};

use crate::batch::{Row, RowBuffer};
use crate::error::QueryError;
use crate::exec::SAME_LABELSET;
use crate::functions::Grid;
use crate::functions::grid::set_steps;
use crate::plan::names::drop_metadata;
use crate::plan::{Plan, Shape};
use crate::value::{Series, Value, VectorElement};

/// The answer of an instant query.
pub(super) fn instant(plan: &Plan, rows: &RowBuffer, at: TimestampMs) -> Result<Value, QueryError> {
    if plan.shape == Shape::Scalar {
        let value = rows.rows().next().expect("a scalar has one row").values[0];
        return Ok(Value::Scalar(Sample { ts: at, value }));
    }
    let mut elements: Vec<VectorElement> = rows
        .rows()
        .map(|row| VectorElement { labels: final_labels(row), sample: Sample { ts: at, value: row.values[0] } })
        .collect();
    refuse_equal(elements.iter().map(|element| &element.labels))?;
    if !plan.is_ordered() {
        elements.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(Value::Vector(elements))
}

fn refuse_equal<'a>(labels: impl Iterator<Item = &'a LabelSet>) -> Result<(), QueryError> {
    let mut seen = hashbrown::HashSet::new();
    for labels in labels {
        if !seen.insert(labels) {
            return Err(QueryError::Execution(SAME_LABELSET.into()));
        }
    }
    Ok(())
}

/// The answer of a range query, or a subquery's own samples.
pub(super) fn matrix(rows: &RowBuffer, grid: &Grid) -> Result<Value, QueryError> {
    let mut by_labels: HashMap<LabelSet, Vec<Sample>> = HashMap::new();
    for row in rows.rows() {
        let samples = set_steps(row.present).map(|step| Sample { ts: grid.at(step), value: row.values[step] });
        by_labels.entry(final_labels(row)).or_default().extend(samples);
    }
    let mut series: Vec<Series> = by_labels.into_iter().map(|(labels, samples)| Series { labels, samples }).collect();
    for one in &mut series {
        // In order already, unless rows were joined.
        one.samples.sort_by_key(|sample| sample.ts);
        if one.samples.windows(2).any(|pair| pair[0].ts == pair[1].ts) {
            return Err(QueryError::Execution(SAME_LABELSET.into()));
        }
    }
    Ok(sorted(series))
}

/// A matrix in the order of its labels.
pub(super) fn sorted(mut series: Vec<Series>) -> Value {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Value::Matrix(series)
}

fn final_labels(row: Row<'_>) -> LabelSet {
    let labels = LabelSet::from_canonical_trusted(row.labels);
    if row.drop_name { drop_metadata(&labels) } else { labels }
}
