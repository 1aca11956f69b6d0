//! From syntax tree to plan: resolves times and durations, decides where metric names go, and picks an operator for
//! each node. Pure: no clock, no data. Expects a tree whose types the parser has checked.

mod aggregate;
mod binary;
mod call;
mod duration;
mod info;
mod selector;
mod unique;

use pharos_model::TimestampMs;
use pharos_promql::ast::{ExprKind, UnaryOp};
use pharos_promql::{Expr, ValueType};

use crate::annotation::Annotation;
use crate::error::QueryError;
use crate::plan::{MapFunction, NameRule, Op, Plan, Query, Shape};

/// What a plan depends on besides the expression.
#[derive(Clone, Debug)]
pub struct Settings {
    pub start_ms: TimestampMs,
    /// As asked for, which may lie after the last step.
    pub end_ms: TimestampMs,
    /// `None` for an instant query.
    pub step_ms: Option<i64>,
    pub lookback_ms: i64,
    /// Step of a subquery that names none.
    pub subquery_step_ms: i64,
    /// Keep metric names to the end of the query.
    pub delayed_names: bool,
    /// Series carry `__type__` and `__unit__`.
    pub type_and_unit_labels: bool,
    /// Start timestamps are looked at.
    pub use_start_timestamps: bool,
}

/// A plan, and what is to be said about it whatever the data.
#[derive(Debug)]
pub struct Lowered {
    pub query: Query,
    pub annotations: Vec<Annotation>,
}

/// Makes the plan of an expression.
///
/// Errors: [`QueryError::Parse`] for types and durations that the parser cannot judge, [`QueryError::Execution`] for what
/// Prometheus refuses when it evaluates.
pub fn lower(expr: &Expr, settings: &Settings) -> Result<Lowered, QueryError> {
    let mut lowering = Lowering { settings, annotations: Vec::new(), buckets: Buckets::NotCounted };
    let query = lowering.query(expr)?;
    Ok(Lowered { query, annotations: lowering.annotations })
}

struct Lowering<'a> {
    settings: &'a Settings,
    annotations: Vec<Annotation>,
    buckets: Buckets,
}

/// What the functions around an expression make of the buckets of native histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buckets {
    /// No function around it says anything about them.
    NotCounted,
    /// `histogram_count` and its like look at the totals only.
    Unused,
    /// Some operator needs them, wherever it is.
    Needed,
}

impl Lowering<'_> {
    fn query(&mut self, expr: &Expr) -> Result<Query, QueryError> {
        let value_type = expr.value_type();
        if self.settings.step_ms.is_some() && !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::Parse(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                value_type.documented()
            )));
        }
        let expr = expr.without_parens();
        match &expr.kind {
            ExprKind::String(literal) => Ok(Query::Text(literal.text().into_owned())),
            ExprKind::Matrix(matrix) => self.raw(matrix, expr.span),
            ExprKind::Subquery(subquery) => {
                let (window, inner) = self.subquery(subquery)?;
                Ok(Query::Subquery { window, inner })
            }
            _ => Ok(Query::Rows(self.plan(expr)?)),
        }
    }

    /// The plan of a scalar or an instant vector.
    fn plan(&mut self, expr: &Expr) -> Result<Plan, QueryError> {
        match &expr.kind {
            ExprKind::Number(literal) => Ok(Plan::constant(literal.value, expr.span)),
            ExprKind::Vector(selector) => self.instant_selector(selector, expr.span),
            ExprKind::Call(call) => self.call(call, expr.span),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.span),
            ExprKind::Binary(binary) => self.binary(binary, expr.span),
            ExprKind::Unary(unary) => {
                let input = self.plan(&unary.expr)?;
                match unary.op {
                    UnaryOp::Plus => Ok(input),
                    UnaryOp::Minus => Ok(self.negate(input, expr)),
                }
            }
            ExprKind::Paren(inner) => self.plan(inner),
            ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                unreachable!("the parser lets a {} stand only where it is looked for", expr.value_type().documented())
            }
        }
    }

    fn negate(&self, input: Plan, expr: &Expr) -> Plan {
        let names = match input.shape {
            Shape::Scalar => NameRule::Keep,
            Shape::Vector => self.changed(),
        };
        self.map(MapFunction::Negate, vec![input], names, expr.span)
    }

    /// Lowers what is inside of something that uses buckets, or does not.
    fn with_buckets<T>(&mut self, buckets: Buckets, lower: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.buckets;
        if outside != Buckets::Needed {
            self.buckets = buckets;
        }
        let lowered = lower(self);
        self.buckets = outside;
        lowered
    }

    /// What happens to the name of a series that now means something else.
    fn changed(&self) -> NameRule {
        NameRule::of_change(self.settings.delayed_names)
    }

    /// A map over the first input; the others are its scalar arguments.
    fn map(&self, function: MapFunction, inputs: Vec<Plan>, names: NameRule, span: pharos_promql::Span) -> Plan {
        let params = (1..inputs.len()).map(crate::plan::Param::Input).collect();
        let (shape, unique) = (inputs[0].shape, self.is_unique_without_names(&inputs[0]));
        let plan = Plan { op: Op::Map { function, params, names }, inputs, shape, span };
        if names.drops() && !unique { merged(plan, false) } else { plan }
    }
}

/// The node that sees to it that no two rows have the same labels.
fn merged(plan: Plan, strict: bool) -> Plan {
    let span = plan.span;
    Plan::vector(Op::Merge { strict }, vec![plan], span)
}

#[cfg(test)]
mod tests;
