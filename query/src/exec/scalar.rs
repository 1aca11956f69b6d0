//! Operators that make or take scalars, and the copy of what is the same at each step.

use std::convert::Infallible;

use datafusion::common::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};

use super::input::{Output, RowStream, batches, once};
use super::node::Call;
use crate::batch::BatchBuilder;
use crate::functions::grid::set_steps;
use crate::functions::{Grid, RowOut};
use crate::plan::ScalarFunction;
use crate::plan::passes::apply_scalar;

pub(super) fn constant(call: &Call, value: f64) -> Result<RowStream> {
    row(&call.grid, |_| value)
}

pub(super) fn time(call: &Call) -> Result<RowStream> {
    let grid = call.grid;
    row(&grid, |step| grid.at(step) as f64 / 1000.0)
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

/// `scalar(v)`: the value of the only element, NaN when there is none or more than one.
pub(super) fn scalar_of(call: Call) -> Result<RowStream> {
    let made = async move {
        let mut input = call.rows(0)?;
        let mut values = vec![f64::NAN; call.grid.n];
        let mut seen = vec![0u64; call.grid.words()];
        while let Some(batch) = input.try_next().await? {
            for element in batch.rows() {
                for step in set_steps(element.present) {
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
    let grid = call.grid;
    let copied = call.rows(0)?.and_then(move |batch| async move {
        let mut output = Output::new(grid.n);
        for source in batch.rows() {
            let value = source.values[0];
            let Ok(()) = output.builder()?.push_with(source.labels, source.drop_name, |mut out: RowOut<'_>| {
                (0..grid.n).for_each(|step| out.set(step, value));
                Ok::<_, Infallible>(())
            });
        }
        Ok::<_, DataFusionError>(batches(output.finish()?))
    });
    Ok(copied.try_flatten().boxed())
}
