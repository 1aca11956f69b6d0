//! Operators that make or take scalars, and the copy of what is the same at each step.

use std::convert::Infallible;

use datafusion::common::Result;
use futures::{StreamExt, TryStreamExt};

use super::input::{RowStream, batches, once};
use super::node::Call;
use crate::batch::{BatchBuilder, RowBatch};
use crate::functions::{Grid, PointsOut, RowOut};
use crate::plan::passes::apply_scalar;
use crate::plan::{Float, ScalarFunction};

pub(super) fn constant(call: &Call, value: f64) -> Result<RowStream> {
    row(&call.grid, |_| value)
}

pub(super) fn time(call: &Call) -> Result<RowStream> {
    let grid = call.grid;
    row(&grid, |step| grid.at(step) as f64 / 1000.0)
}

pub(super) fn values(call: &Call, values: &[Float]) -> Result<RowStream> {
    row(&call.grid, |step| values[step].0)
}

/// The row of a scalar.
fn row(grid: &Grid, value: impl Fn(usize) -> f64) -> Result<RowStream> {
    let mut builder = BatchBuilder::new(grid.n);
    let written = builder.push_with(&[], false, |mut out: RowOut<'_>| {
        (0..grid.n).for_each(|step| out.set(step, value(step)));
        Ok::<_, Infallible>(())
    });
    let Ok(()) = written;
    Ok(batches(vec![builder.finish()?]))
}

pub(super) fn binary(call: Call, function: ScalarFunction) -> Result<RowStream> {
    let made = async move {
        let left = call.param(crate::plan::Param::Input(0)).await?;
        let right = call.param(crate::plan::Param::Input(1)).await?;
        let mut stream = row(&call.grid, |step| apply_scalar(function, left.at(step), right.at(step)))?;
        stream.try_next().await.map(|batch| batch.into_iter().collect())
    };
    Ok(once(made))
}

/// `scalar(v)`: the value of the only float, NaN when there is none or more than one.
pub(super) fn scalar_of(call: Call) -> Result<RowStream> {
    let made = async move {
        let mut input = call.rows(0)?;
        let mut values = vec![f64::NAN; call.grid.n];
        let mut seen = vec![0u64; call.grid.words()];
        while let Some(batch) = input.try_next().await? {
            for element in batch.rows() {
                for step in element.float_steps() {
                    let again = crate::functions::grid::is_set(&seen, step);
                    values[step] = if again { f64::NAN } else { element.values[step] };
                    seen[step / 64] |= 1 << (step % 64);
                }
            }
        }
        let mut stream = row(&call.grid, |step| values[step])?;
        stream.try_next().await.map(|batch| batch.into_iter().collect())
    };
    Ok(once(made))
}

/// Copies the only step of each row to all steps.
pub(super) fn repeat(call: Call) -> Result<RowStream> {
    let steps = call.grid.n;
    let copied = call.rows(0)?.map_ok(move |batch| futures::stream::iter(copies(batch, steps)));
    Ok(copied.try_flatten().boxed())
}

/// One batch at a time, made when it is asked for: the copies of a batch of short rows would be as large as the grid is long.
fn copies(source: RowBatch, steps: usize) -> impl Iterator<Item = Result<RowBatch>> {
    let mut builder = BatchBuilder::new(steps);
    let mut next = 0;
    std::iter::from_fn(move || {
        while next < source.len() && !builder.is_full() {
            let row = source.row(next);
            let point = row.point(0);
            let Ok(()) = builder.push_points(row.labels, row.drop_name, |mut out: PointsOut<'_>| {
                (0..steps).for_each(|step| out.set(step, point.clone()));
                Ok::<_, Infallible>(())
            });
            next += 1;
        }
        (!builder.is_empty()).then(|| builder.finish())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BATCH_BYTES, Row};

    #[test]
    fn copies_come_in_batches_of_the_usual_size() {
        let mut builder = BatchBuilder::new(1);
        (0..100).for_each(|i| {
            let (present, values) = (&[1], &[f64::from(i)]);
            builder.push(Row { labels: &[], drop_name: i == 9, present, values, histograms: None });
        });
        let steps = 10_000;
        let made: Vec<RowBatch> = copies(builder.finish().unwrap(), steps).map(|batch| batch.unwrap()).collect();
        let rows_max = BATCH_BYTES / (steps * 8) + 1;
        assert!(made.iter().all(|batch| (1..=rows_max).contains(&batch.len())));
        let rows: Vec<_> = made.iter().flat_map(RowBatch::rows).collect();
        assert_eq!(
            rows.iter().map(|row| row.values[steps - 1]).collect::<Vec<_>>(),
            Vec::from_iter((0..100).map(f64::from))
        );
        assert!(rows.iter().enumerate().all(|(i, row)| row.drop_name == (i == 9)));
    }
}
