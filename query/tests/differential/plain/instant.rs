//! Functions of instant vectors, and which file has the others.

use pharos_promql::ast::{Call, ExprKind};
use pharos_promql::{Expr, FunctionId, ValueType};

use super::rows::{Element, Grid, Rows, assemble, vector_at};
use super::{Plain, Result, both, date, labels};

impl Plain<'_> {
    pub(super) fn call(&self, call: &Call, expr: &Expr, grid: &Grid) -> Result<Rows> {
        use FunctionId as F;
        if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) {
            return self.range_call(call, grid);
        }
        match call.function.id {
            F::Vector => {
                let values = self.scalar(&call.args[0], grid)?;
                assemble(self, grid, |step| Ok(vec![labels::unlabelled(values[step])]))
            }
            F::Absent => self.absent(&call.args[0], grid),
            F::Timestamp => self.timestamp(&call.args[0], grid),
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => {
                if self.settings.step_ms.is_some() && self.settings.start_ms != self.settings.end_ms {
                    let text = "sort is ineffective for range queries since results are always ordered by labels";
                    self.warn(expr.span, text);
                }
                self.vector(&call.args[0], grid)
            }
            F::LabelReplace => self.label_replace(call, grid),
            F::LabelJoin => self.label_join(call, grid),
            F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction => self.buckets_call(call, grid),
            F::DayOfMonth | F::DayOfWeek | F::DayOfYear | F::DaysInMonth | F::Hour | F::Minute | F::Month | F::Year => {
                self.date_call(call, grid)
            }
            id => self.math_call(id, call, grid),
        }
    }

    fn absent(&self, arg: &Expr, grid: &Grid) -> Result<Rows> {
        let rows = self.vector(arg, grid)?;
        let labels = labels::certain(arg);
        assemble(self, grid, |step| {
            let is_absent = vector_at(&rows, step).is_empty();
            Ok(is_absent
                .then(|| Element { labels: labels.clone(), drop_name: false, value: 1.0 })
                .into_iter()
                .collect())
        })
    }

    /// The time of the sample for a bare selector, the evaluation time for all else.
    fn timestamp(&self, arg: &Expr, grid: &Grid) -> Result<Rows> {
        let is_selector = matches!(&arg.without_parens().kind, ExprKind::Vector(selector) if !selector.smoothed);
        let rows = match &arg.without_parens().kind {
            ExprKind::Vector(selector) if is_selector => self.sample_times(selector, grid)?,
            _ => self.vector(arg, grid)?,
        };
        self.map(&rows, grid, |step, value| if is_selector { value } else { grid.at(step) as f64 / 1000.0 })
    }

    fn date_call(&self, call: &Call, grid: &Grid) -> Result<Rows> {
        let part = |secs: f64| {
            date::part(call.function.id, secs).unwrap_or_else(|| {
                self.leave_open();
                0.0
            })
        };
        let Some(arg) = call.args.first() else {
            return assemble(self, grid, |step| Ok(vec![labels::unlabelled(part(grid.at(step) as f64 / 1000.0))]));
        };
        let rows = self.vector(arg, grid)?;
        self.map(&rows, grid, |_, value| part(value))
    }

    /// A function of the value alone, and of scalars.
    fn math_call(&self, id: FunctionId, call: &Call, grid: &Grid) -> Result<Rows> {
        let (rows, scalars) = both(self.vector(&call.args[0], grid), self.scalars(&call.args[1..], grid))?;
        let scalar = |i: usize, step: usize| scalars.get(i).map(|values| values[step]);
        assemble(self, grid, |step| {
            let (first, second) = (scalar(0, step), scalar(1, step));
            let bounds = match id {
                FunctionId::Clamp => Some((first.unwrap_or(f64::NAN), second.unwrap_or(f64::NAN))),
                FunctionId::ClampMin => Some((first.unwrap_or(f64::NAN), f64::INFINITY)),
                FunctionId::ClampMax => Some((f64::NEG_INFINITY, first.unwrap_or(f64::NAN))),
                _ => None,
            };
            if bounds.is_some_and(|(min, max)| max < min) {
                return Ok(Vec::new());
            }
            let value = |value: f64| match bounds {
                Some((min, max)) => larger(min, smaller(max, value)),
                None if id == FunctionId::Round => round(value, first.unwrap_or(1.0)),
                None => math(id, value),
            };
            Ok(vector_at(&rows, step).iter().map(|element| self.changed(element, value(element.value))).collect())
        })
    }

    /// Changes values step by step.
    pub(super) fn map(&self, rows: &Rows, grid: &Grid, value: impl Fn(usize, f64) -> f64) -> Result<Rows> {
        assemble(self, grid, |step| {
            let elements = vector_at(rows, step);
            Ok(elements.iter().map(|element| self.changed(element, value(step, element.value))).collect())
        })
    }
}

/// To the nearest multiple, halves upwards. The inverse is what is rounded with, because 0.1 is not a tenth.
fn round(value: f64, nearest: f64) -> f64 {
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Nothing is smaller than -Inf, then NaN comes.
fn smaller(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => a.min(b),
    }
}

/// Nothing is larger than +Inf, then NaN comes.
fn larger(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => a.max(b),
    }
}

fn math(id: FunctionId, x: f64) -> f64 {
    use FunctionId as F;
    match id {
        F::Abs => x.abs(),
        F::Ceil => x.ceil(),
        F::Floor => x.floor(),
        F::Exp => x.exp(),
        F::Sqrt => x.sqrt(),
        F::Ln => x.ln(),
        F::Log2 => x.log2(),
        F::Log10 => x.log10(),
        F::Sin => x.sin(),
        F::Cos => x.cos(),
        F::Tan => x.tan(),
        F::Asin => x.asin(),
        F::Acos => x.acos(),
        F::Atan => x.atan(),
        F::Sinh => x.sinh(),
        F::Cosh => x.cosh(),
        F::Tanh => x.tanh(),
        F::Asinh => x.asinh(),
        F::Acosh => x.acosh(),
        F::Atanh => x.atanh(),
        F::Rad => x * std::f64::consts::PI / 180.0,
        F::Deg => x * 180.0 / std::f64::consts::PI,
        F::Sgn if x < 0.0 => -1.0,
        F::Sgn if x > 0.0 => 1.0,
        F::Sgn => x,
        other => unreachable!("no function of a float: {other:?}"),
    }
}
