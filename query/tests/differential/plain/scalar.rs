//! Scalars: numbers, time, and vectors of one element.

use pharos_promql::ast::{Binary, Call, ExprKind, UnaryOp};
use pharos_promql::{Expr, FunctionId};

use super::arithmetic::{calculate, holds};
use super::rows::{Grid, vector_at};
use super::{Plain, Result, all, both};

impl Plain<'_> {
    /// A number at each step.
    pub(super) fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        match &expr.kind {
            ExprKind::Number(literal) => Ok(vec![literal.value; grid.steps]),
            ExprKind::Paren(inner) => self.scalar(inner, grid),
            ExprKind::Unary(unary) => {
                let sign = if unary.op == UnaryOp::Minus { -1.0 } else { 1.0 };
                Ok(self.scalar(&unary.expr, grid)?.into_iter().map(|value| sign * value).collect())
            }
            ExprKind::Binary(binary) => self.scalar_binary(binary, grid),
            ExprKind::Call(call) => self.scalar_call(call, grid),
            other => unreachable!("no scalar: {other:?}"),
        }
    }

    fn scalar_binary(&self, binary: &Binary, grid: &Grid) -> Result<Vec<f64>> {
        let (left, right) = both(self.scalar(&binary.lhs, grid), self.scalar(&binary.rhs, grid))?;
        let value = |(a, b): (f64, f64)| match binary.op.is_comparison() {
            true => f64::from(u8::from(holds(binary.op, a, b))),
            false => calculate(binary.op, a, b),
        };
        Ok(left.into_iter().zip(right).map(value).collect())
    }

    fn scalar_call(&self, call: &Call, grid: &Grid) -> Result<Vec<f64>> {
        let settings = &self.settings;
        let constant = |value| Ok(vec![value; grid.steps]);
        match call.function.id {
            FunctionId::Time => Ok((0..grid.steps).map(|step| grid.at(step) as f64 / 1000.0).collect()),
            FunctionId::Pi => constant(std::f64::consts::PI),
            FunctionId::Start => constant(settings.start_ms as f64 / 1000.0),
            FunctionId::End => constant(settings.end_ms as f64 / 1000.0),
            FunctionId::Range => constant((settings.end_ms - settings.start_ms) as f64 / 1000.0),
            FunctionId::Step => constant(settings.step_secs()),
            FunctionId::Scalar => {
                let rows = self.vector(&call.args[0], grid)?;
                let only = |step| match vector_at(&rows, step).as_slice() {
                    [element] => element.value,
                    _ => f64::NAN,
                };
                Ok((0..grid.steps).map(only).collect())
            }
            other => unreachable!("no scalar: {other:?}"),
        }
    }

    /// The scalar arguments of a call, step by step for each.
    pub(super) fn scalars(&self, args: &[Expr], grid: &Grid) -> Result<Vec<Vec<f64>>> {
        all(args.iter().map(|arg| self.scalar(arg, grid)))
    }
}
