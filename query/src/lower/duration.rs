//! Durations that are known only when the query's times are: `[step() * 5]`, `offset range() / 2`.

use pharos_promql::Span;
use pharos_promql::duration::{DurationExpr, DurationExprKind, DurationOp, DurationValue};

use super::Settings;
use crate::error::QueryError;

/// Milliseconds of a range or subquery step, which must be positive.
pub(super) fn positive_ms(value: &DurationValue, settings: &Settings) -> Result<i64, QueryError> {
    match value {
        DurationValue::Ms(ms) => Ok(*ms),
        DurationValue::Expr(expr) => {
            let seconds = seconds(expr, settings)?;
            if seconds <= 0.0 || seconds.is_nan() {
                return Err(refused(expr.span, "duration must be greater than 0"));
            }
            to_ms(seconds, expr.span)
        }
    }
}

/// Milliseconds of an offset, of any sign.
pub(super) fn offset_ms(value: &DurationValue, settings: &Settings) -> Result<i64, QueryError> {
    match value {
        DurationValue::Ms(ms) => Ok(*ms),
        DurationValue::Expr(expr) => to_ms(seconds(expr, settings)?, expr.span),
    }
}

/// Longest duration in seconds: 2^63 nanoseconds.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

fn to_ms(seconds: f64, span: Span) -> Result<i64, QueryError> {
    if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) {
        return Err(refused(span, "duration is out of range"));
    }
    Ok((seconds * 1000.0) as i64)
}

fn seconds(expr: &DurationExpr, settings: &Settings) -> Result<f64, QueryError> {
    Ok(match &expr.kind {
        DurationExprKind::Number(literal) => literal.value,
        DurationExprKind::Step => settings.step_secs(),
        DurationExprKind::Range => settings.range_secs(),
        DurationExprKind::Plus(inner) => seconds(inner, settings)?,
        DurationExprKind::Minus(inner) => -seconds(inner, settings)?,
        DurationExprKind::Binary { op, lhs, rhs } => {
            let (left, right) = (seconds(lhs, settings)?, seconds(rhs, settings)?);
            match op {
                DurationOp::Add => left + right,
                DurationOp::Sub => left - right,
                DurationOp::Mul => left * right,
                DurationOp::Div if right == 0.0 => return Err(refused(expr.span, "division by zero")),
                DurationOp::Div => left / right,
                DurationOp::Mod if right == 0.0 => return Err(refused(expr.span, "modulo by zero")),
                DurationOp::Mod => left % right,
                DurationOp::Pow => left.powf(right),
                DurationOp::MinOf => left.min(right),
                DurationOp::MaxOf => left.max(right),
            }
        }
    })
}

fn refused(span: Span, why: &str) -> QueryError {
    QueryError::Parse(format!("{}:{}: {why}", span.start, span.end))
}

impl Settings {
    /// What `step()` is: zero unless the query has more than one step.
    pub(super) fn step_secs(&self) -> f64 {
        match self.step_ms {
            Some(step_ms) if self.start_ms != self.end_ms => step_ms as f64 / 1000.0,
            _ => 0.0,
        }
    }

    /// What `range()` is.
    pub(super) fn range_secs(&self) -> f64 {
        self.end_ms.saturating_sub(self.start_ms) as f64 / 1000.0
    }
}
