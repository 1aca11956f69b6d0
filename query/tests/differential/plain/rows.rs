//! Values over steps, and the rules that hold wherever an operator makes them.

use std::collections::HashMap;

use pharos_model::{LabelSet, TimestampMs};

use super::{Matrix, Plain, Refusal, Result, SAME_LABELSET, all};

/// Evenly spaced evaluation times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub start_ms: TimestampMs,
    pub step_ms: i64,
    pub steps: usize,
}

/// A series of an evaluated expression.
#[derive(Clone, Debug)]
pub(super) struct Row<V = f64> {
    pub labels: LabelSet,
    /// The name is to go when the query ends.
    pub drop_name: bool,
    /// The value at each step, where there is one.
    pub values: Vec<Option<V>>,
}

pub(super) type Rows<V = f64> = Vec<Row<V>>;

/// What one row has at one step.
#[derive(Clone, Debug)]
pub(super) struct Element<V = f64> {
    pub labels: LabelSet,
    pub drop_name: bool,
    pub value: V,
}

impl Grid {
    /// The steps from `start_ms` on that do not lie after `end_ms`.
    pub(super) fn covering(start_ms: TimestampMs, end_ms: TimestampMs, step_ms: i64) -> Self {
        let steps = usize::try_from((end_ms - start_ms).div_euclid(step_ms) + 1).unwrap_or(0);
        Self { start_ms, step_ms, steps }
    }

    pub(super) fn at(&self, step: usize) -> TimestampMs {
        self.start_ms + step as i64 * self.step_ms
    }
}

impl Row {
    pub(super) fn of_scalar(values: Vec<f64>) -> Self {
        Self { labels: LabelSet::empty(), drop_name: false, values: values.into_iter().map(Some).collect() }
    }
}

impl<V> Row<V> {
    /// Whether there is a value at any step.
    pub(super) fn is_live(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }
}

/// A label set without what describes the metric: its name, type and unit.
pub(super) fn without_metadata(labels: &LabelSet) -> LabelSet {
    labels.filter(|name| !["__name__", "__type__", "__unit__"].contains(&name))
}

/// The instant vector of one step, in the order of the rows.
pub(super) fn vector_at<V: Clone>(rows: &Rows<V>, step: usize) -> Vec<Element<V>> {
    rows.iter()
        .filter_map(|row| {
            let value = row.values[step].clone()?;
            Some(Element { labels: row.labels.clone(), drop_name: row.drop_name, value })
        })
        .collect()
}

/// The series whose values are made step by step.
///
/// Two elements of one step must differ in their labels. Upstream, a query of one step that drops names late is the exception,
/// in which only the end of the query looks: whether it answers is left open here. So is whether the name of a series goes when
/// its elements disagree, where upstream takes the word of the first.
pub(super) fn assemble<V: Clone>(
    plain: &Plain<'_>,
    grid: &Grid,
    at_step: impl FnMut(usize) -> Result<Vec<Element<V>>>,
) -> Result<Rows<V>> {
    let mut rows: Rows<V> = Vec::new();
    let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
    for (step, elements) in all((0..grid.steps).map(at_step))?.into_iter().enumerate() {
        for Element { labels, drop_name, value } in elements {
            let at = *by_labels.entry(labels.clone()).or_insert_with(|| {
                rows.push(Row { labels, drop_name, values: vec![None; grid.steps] });
                rows.len() - 1
            });
            if rows[at].drop_name != drop_name {
                plain.leave_open();
            }
            if rows[at].values[step].replace(value).is_some() {
                if grid.steps == 1 && plain.settings.delayed_names {
                    plain.leave_open();
                }
                return Err(Refusal::new(SAME_LABELSET));
            }
        }
    }
    Ok(rows)
}

/// Makes one row of those with equal labels, which must not meet at a step.
pub(super) fn merge<V>(rows: Rows<V>) -> Result<Rows<V>> {
    let mut merged: Rows<V> = Vec::new();
    for row in rows {
        let Some(known) = merged.iter_mut().find(|known| known.labels == row.labels) else {
            merged.push(row);
            continue;
        };
        for (own, value) in known.values.iter_mut().zip(row.values) {
            match (&own, &value) {
                (Some(_), Some(_)) => return Err(Refusal::new(SAME_LABELSET)),
                (None, Some(_)) => *own = value,
                (_, None) => {}
            }
        }
    }
    Ok(merged)
}

/// Refuses rows with equal labels even if they never meet.
pub(super) fn distinct<V>(rows: Rows<V>) -> Result<Rows<V>> {
    for (i, row) in rows.iter().enumerate() {
        if rows[..i].iter().any(|other| other.labels == row.labels) {
            return Err(Refusal::new(SAME_LABELSET));
        }
    }
    Ok(rows)
}

/// What happens to rows at the end of a query: names that were marked go.
pub(super) fn finish<V>(mut rows: Rows<V>) -> Result<Rows<V>> {
    rows.retain(Row::is_live);
    for row in rows.iter_mut().filter(|row| row.drop_name) {
        row.labels = without_metadata(&row.labels);
    }
    merge(rows)
}

/// The values with their times.
pub(super) fn samples(rows: Rows, grid: &Grid) -> Matrix {
    let of_row = |values: Vec<Option<f64>>| {
        let steps = values.into_iter().enumerate();
        steps.filter_map(|(step, value)| Some((grid.at(step), value?))).collect()
    };
    rows.into_iter().map(|row| (row.labels, of_row(row.values))).collect()
}

impl Plain<'_> {
    /// A series that now means something else loses its name, at once or at the end.
    pub(super) fn rename<V>(&self, row: &mut Row<V>) {
        (row.labels, row.drop_name) = self.renamed(&row.labels);
    }

    /// As [`Plain::rename`], for the labels alone.
    pub(super) fn renamed(&self, labels: &LabelSet) -> (LabelSet, bool) {
        let kept = if self.settings.delayed_names { labels.clone() } else { without_metadata(labels) };
        (kept, true)
    }

    /// An element of the same series, which now means something else.
    pub(super) fn changed<V, W>(&self, element: &Element<V>, value: W) -> Element<W> {
        let (labels, drop_name) = self.renamed(&element.labels);
        Element { labels, drop_name, value }
    }
}
