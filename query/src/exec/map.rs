//! Functions and operators that work on each row by itself.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use pharos_promql::ast::BinaryOp;

use super::input::{Output, RowStream, batches};
use super::node::Call;
use crate::functions::date::Civil;
use crate::functions::grid::set_steps;
use crate::functions::math::MathKernel;
use crate::functions::{Grid, RowOut, ScalarArg};
use crate::plan::arithmetic::{compare, is_trim, scalar_op};
use crate::plan::{DatePart, MapFunction, NameRule, Op};

pub(super) fn run(call: Call) -> Result<RowStream> {
    let rows = call.rows(0)?;
    let mapped = async move {
        let op = Arc::clone(&call.op);
        let Op::Map { function, params, names } = &*op else { unreachable!("planned as a map") };
        let mut mapper = Mapper {
            kernel: Kernel::new(function, call.params(params).await?),
            names: *names,
            grid: call.grid,
            labels: Vec::new(),
            trimmed_floats: None,
        };
        Ok::<_, DataFusionError>(rows.map(move |batch| mapper.map(&batch?, &call).map(batches)).try_flatten())
    };
    Ok(futures::stream::once(mapped).try_flatten().boxed())
}

struct Mapper {
    kernel: Kernel,
    names: NameRule,
    grid: Grid,
    labels: Vec<u8>,
    /// The operator that met floats though it works on histograms only.
    trimmed_floats: Option<BinaryOp>,
}

/// What happens to the values of a row.
enum Kernel {
    Negate,
    Math(MathKernel),
    Date(DatePart),
    EvaluationTime,
    WithScalar { op: BinaryOp, scalar_left: bool, return_bool: bool, scalar: ScalarArg },
}

impl Kernel {
    fn new(function: &MapFunction, mut params: Vec<ScalarArg>) -> Self {
        match function {
            MapFunction::Negate => Self::Negate,
            MapFunction::Math(id) => {
                Self::Math(MathKernel::new(*id, params).expect("lowering leaves only math functions here"))
            }
            MapFunction::Date(part) => Self::Date(*part),
            MapFunction::EvaluationTime => Self::EvaluationTime,
            MapFunction::WithScalar { op, scalar_left, return_bool } => Self::WithScalar {
                op: *op,
                scalar_left: *scalar_left,
                return_bool: *return_bool,
                scalar: params.pop().expect("an operator has its scalar"),
            },
        }
    }
}

impl Mapper {
    fn map(&mut self, batch: &crate::batch::RowBatch, call: &Call) -> Result<Vec<crate::batch::RowBatch>> {
        let mut output = Output::new(self.grid.n);
        for row in batch.rows() {
            let (labels, marked) = self.names.apply(row.labels, row.drop_name, &mut self.labels);
            let (kernel, grid, trimmed) = (&self.kernel, &self.grid, &mut self.trimmed_floats);
            let written = output.builder()?.push_with(labels, marked, |out: RowOut<'_>| {
                out.present.copy_from_slice(row.present);
                out.values.copy_from_slice(row.values);
                apply(kernel, grid, out, trimmed);
                Ok::<_, std::convert::Infallible>(())
            });
            let Ok(()) = written;
        }
        if let Some(op) = self.trimmed_floats.take() {
            call.query.annotations.info(incompatible_floats(op), call.span);
        }
        output.finish()
    }
}

/// What is said of an operator for histograms between two floats.
pub(super) fn incompatible_floats(op: BinaryOp) -> String {
    let op = op.as_str();
    format!("PromQL info: incompatible sample types encountered for binary operator \"{op}\": float {op} float")
}

/// Changes a row in place.
fn apply(kernel: &Kernel, grid: &Grid, row: RowOut<'_>, trimmed_floats: &mut Option<BinaryOp>) {
    let RowOut { present, values } = row;
    match kernel {
        Kernel::Negate => values.iter_mut().for_each(|value| *value = -*value),
        Kernel::Math(math) => math.apply(present, values),
        Kernel::Date(part) => set_steps(present).for_each(|step| values[step] = date_part(*part, values[step])),
        Kernel::EvaluationTime => set_steps(present).for_each(|step| values[step] = grid.at(step) as f64 / 1000.0),
        Kernel::WithScalar { op, .. } if is_trim(*op) => {
            *trimmed_floats = Some(*op);
            present.fill(0);
        }
        Kernel::WithScalar { op, scalar_left, return_bool, scalar } => {
            let sides = |value: f64, step: usize| {
                let scalar = scalar.at(step);
                if *scalar_left { (scalar, value) } else { (value, scalar) }
            };
            if op.is_comparison() && !return_bool {
                filter(present, |step| {
                    let (left, right) = sides(values[step], step);
                    compare(*op, left, right)
                });
            } else {
                // Steps without a value are computed too: that is cheaper than to leave them out.
                values.iter_mut().enumerate().for_each(|(step, value)| {
                    let (left, right) = sides(*value, step);
                    *value = scalar_op(*op, left, right);
                });
            }
        }
    }
}

/// Clears the bits of steps that `keep` refuses.
fn filter(present: &mut [u64], keep: impl Fn(usize) -> bool) {
    for (word, bits) in present.iter_mut().enumerate() {
        for bit in set_steps(&[*bits]) {
            if !keep(word * 64 + bit) {
                *bits &= !(1 << bit);
            }
        }
    }
}

fn date_part(part: DatePart, seconds: f64) -> f64 {
    let date = Civil::from_value(seconds);
    (match part {
        DatePart::DayOfMonth => date.day,
        DatePart::DayOfWeek => date.day_of_week(),
        DatePart::DayOfYear => date.day_of_year(),
        DatePart::DaysInMonth => date.days_in_month(),
        DatePart::Hour => date.hour,
        DatePart::Minute => date.minute,
        DatePart::Month => date.month,
        DatePart::Year => date.year,
    }) as f64
}
