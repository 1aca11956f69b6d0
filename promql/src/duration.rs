//! Durations inside brackets and after `offset`, some of which are known only when the query's times are.

use crate::ast::NumberLiteral;
use crate::span::Span;

/// A range, a subquery step or an offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DurationValue {
    /// A literal, in milliseconds; only an offset may be negative.
    Ms(i64),
    /// Arithmetic on durations, evaluated when start, end and step of the query are known.
    Expr(DurationExpr),
}

impl DurationValue {
    pub const ZERO: Self = Self::Ms(0);
}

/// One node of duration arithmetic.
#[derive(Clone, Debug)]
pub struct DurationExpr {
    pub span: Span,
    /// Whether it was written in parentheses.
    pub wrapped: bool,
    pub kind: DurationExprKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DurationExprKind {
    /// Seconds.
    Number(NumberLiteral),
    /// `step()`: the query's step, zero for an instant query.
    Step,
    /// `range()`: end minus start of the query.
    Range,
    /// What is inside, unchanged: carries the parentheses around a literal. A plus that is written is dropped.
    Plus(Box<DurationExpr>),
    Minus(Box<DurationExpr>),
    Binary {
        op: DurationOp,
        lhs: Box<DurationExpr>,
        rhs: Box<DurationExpr>,
    },
}

/// An operator or two-argument function on durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    /// `min_of(a, b)`
    MinOf,
    /// `max_of(a, b)`
    MaxOf,
}

impl DurationOp {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::MinOf => "min_of",
            Self::MaxOf => "max_of",
        }
    }
}

impl PartialEq for DurationExpr {
    fn eq(&self, other: &Self) -> bool {
        (self.wrapped, &self.kind) == (other.wrapped, &other.kind)
    }
}

impl Eq for DurationExpr {}

impl std::hash::Hash for DurationExpr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.wrapped, &self.kind).hash(state);
    }
}
