//! Functions and operators that work on each row by itself.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use pharos_model::FloatHistogram;
use pharos_promql::ast::BinaryOp;

use super::input::{Output, RowStream, batches};
use super::node::Call;
use crate::functions::date::Civil;
use crate::functions::grid::set_steps;
use crate::functions::histogram::{Outcome, binary};
use crate::functions::math::MathKernel;
use crate::functions::{Grid, HistogramStat, Notes, PointsOut, RowOut, ScalarArg, annotations};
use crate::plan::arithmetic::{compare, is_trim, scalar_op};
use crate::plan::{DatePart, MapFunction, NameRule, Op};
use crate::value::Point;

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
            notes: Notes::default(),
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
    /// What an operator had to say.
    notes: Notes,
}

/// What happens to the values of a row.
enum Kernel {
    Negate,
    Math(MathKernel),
    Date(DatePart),
    EvaluationTime,
    HistogramStat(HistogramStat),
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
            MapFunction::HistogramStat(stat) => Self::HistogramStat(*stat),
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
            let (kernel, grid, notes) = (&self.kernel, &self.grid, &mut self.notes);
            let written = output.builder()?.push_points(labels, marked, |mut out: PointsOut<'_>| {
                out.present.iter_mut().enumerate().for_each(|(at, word)| *word = row.float_word(at));
                out.values.copy_from_slice(row.values);
                apply(kernel, grid, out.floats(), notes);
                for (step, histogram) in row.histogram_steps() {
                    if let Some(point) = apply_to_histogram(kernel, grid, step, histogram, notes) {
                        out.set(step, point);
                    }
                }
                Ok::<_, std::convert::Infallible>(())
            });
            let Ok(()) = written;
        }
        call.add_notes(std::mem::take(&mut self.notes));
        output.finish()
    }
}

/// What becomes of a histogram.
fn apply_to_histogram(
    kernel: &Kernel,
    grid: &Grid,
    step: usize,
    histogram: &Arc<FloatHistogram>,
    notes: &mut Notes,
) -> Option<Point> {
    match kernel {
        Kernel::Negate => {
            let mut negated = (**histogram).clone();
            negated.mul(-1.0);
            Some(negated.into())
        }
        Kernel::EvaluationTime => Some(Point::Float(grid.at(step) as f64 / 1000.0)),
        Kernel::HistogramStat(stat) => Some(Point::Float(stat.of(histogram))),
        Kernel::WithScalar { op, scalar_left, scalar, .. } => {
            let (own, scalar) = (Point::Histogram(Arc::clone(histogram)), Point::Float(scalar.at(step)));
            let (left, right) = if *scalar_left { (scalar, own) } else { (own, scalar) };
            match binary::apply(*op, &left, &right, notes) {
                Outcome::Value(point) => Some(point),
                Outcome::Nothing => None,
                Outcome::Holds(_) => unreachable!("histograms are not compared with floats"),
            }
        }
        Kernel::Math(_) | Kernel::Date(_) => None,
    }
}

/// Changes the floats of a row in place.
fn apply(kernel: &Kernel, grid: &Grid, row: RowOut<'_>, notes: &mut Notes) {
    let RowOut { present, values } = row;
    match kernel {
        Kernel::Negate => values.iter_mut().for_each(|value| *value = -*value),
        Kernel::Math(math) => math.apply(present, values),
        Kernel::Date(part) => set_steps(present).for_each(|step| values[step] = date_part(*part, values[step])),
        Kernel::EvaluationTime => set_steps(present).for_each(|step| values[step] = grid.at(step) as f64 / 1000.0),
        Kernel::HistogramStat(_) => present.fill(0),
        Kernel::WithScalar { op, .. } if is_trim(*op) => {
            if present.iter().any(|word| *word != 0) {
                notes.add(annotations::incompatible_types("float", op.as_str(), "float"));
            }
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
