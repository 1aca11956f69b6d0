//! Expressions as text, in Prometheus' one normal form. What is printed parses to the same expression, but for the
//! order of its matchers, which are sorted.

use std::fmt::{self, Display, Formatter, Write as _};

use pharos_model::labels::{METRIC_NAME, is_legacy_label_name, quote};
use pharos_model::{MatchOp, duration, number};

use crate::ast::{
    Aggregate, AtModifier, Binary, Cardinality, Expr, ExprKind, MatrixSelector, NumberLiteral, Subquery,
    VectorMatching, VectorSelector,
};
use crate::duration::{DurationExpr, DurationExprKind, DurationOp, DurationValue};
use crate::literal;
use crate::operators::BinaryOp;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(string) => f.write_str(&literal::quote_bytes(&string.value)),
            ExprKind::Vector(selector) => selector.fmt(f),
            ExprKind::Matrix(matrix) => matrix.fmt(f),
            ExprKind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Suffix(subquery)),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (i, arg) in call.args.iter().enumerate() {
                    let separator = if i == 0 { "" } else { ", " };
                    write!(f, "{separator}{arg}")?;
                }
                f.write_char(')')
            }
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", Head(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Binary(binary) => write!(f, "{} {} {}", Left(binary), Operator(binary), binary.rhs),
            ExprKind::Unary(unary) => write!(f, "{}{}", unary.op.as_str(), unary.expr),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&duration::format_ms((self.value * 1e9) as i64 / 1_000_000))
        } else {
            f.write_str(&number::format_f(self.value))
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_metric(f, self)?;
        write_at(f, self.at)?;
        f.write_str(extension(self))?;
        write_offset(f, &self.offset)
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_metric(f, &self.selector)?;
        write!(f, "[{}]{}", self.range, extension(&self.selector))?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

impl Display for DurationValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ms(ms) => f.write_str(&duration::format_ms(*ms)),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped {
            f.write_char('(')?;
        }
        match &self.kind {
            DurationExprKind::Number(number) => number.fmt(f)?,
            DurationExprKind::Step => f.write_str("step()")?,
            DurationExprKind::Range => f.write_str("range()")?,
            DurationExprKind::Plus(inner) => inner.fmt(f)?,
            DurationExprKind::Minus(inner) => write!(f, "-{inner}")?,
            DurationExprKind::Binary { op: op @ (DurationOp::MinOf | DurationOp::MaxOf), lhs, rhs } => {
                write!(f, "{}({lhs}, {rhs})", op.as_str())?;
            }
            DurationExprKind::Binary { op, lhs, rhs } => write!(f, "{lhs} {} {rhs}", op.as_str())?,
        }
        if self.wrapped { f.write_char(')') } else { Ok(()) }
    }
}

/// An aggregation up to its arguments: `sum by (a) `.
pub(crate) struct Head<'a>(pub(crate) &'a Aggregate);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(aggregate) = self;
        f.write_str(aggregate.op.as_str())?;
        if aggregate.without || !aggregate.grouping.is_empty() {
            f.write_str(if aggregate.without { " without " } else { " by " })?;
            write_labels(f, &aggregate.grouping)?;
            f.write_char(' ')?;
        }
        Ok(())
    }
}

/// The left side of a binary operator. Infinity prints as `+Inf`, but as the base of a power its sign would be read as one of the
/// whole power.
pub(crate) struct Left<'a>(pub(crate) &'a Binary);

impl Display for Left<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(Binary { op, lhs, .. }) = self;
        match &lhs.kind {
            ExprKind::Number(number) if *op == BinaryOp::Pow && number.value == f64::INFINITY => f.write_str("Inf"),
            _ => lhs.fmt(f),
        }
    }
}

/// A binary operator and its modifiers: `== bool on (a) group_left ()`.
pub(crate) struct Operator<'a>(pub(crate) &'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(binary) = self;
        f.write_str(binary.op.as_str())?;
        if binary.return_bool {
            f.write_str(" bool")?;
        }
        match &binary.matching {
            Some(matching) => write_matching(f, matching),
            None => Ok(()),
        }
    }
}

/// What a subquery writes behind its expression.
pub(crate) struct Suffix<'a>(pub(crate) &'a Subquery);

impl Display for Suffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(subquery) = self;
        write!(f, "[{}:", subquery.range)?;
        if let Some(step) = &subquery.step {
            step.fmt(f)?;
        }
        f.write_char(']')?;
        write_at(f, subquery.at)?;
        write_offset(f, &subquery.offset)
    }
}

fn write_matching(f: &mut Formatter<'_>, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.card {
        Cardinality::ManyToOne => Some(" group_left "),
        Cardinality::OneToMany => Some(" group_right "),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if matching.on || !matching.labels.is_empty() || group.is_some() {
        f.write_str(if matching.on { " on " } else { " ignoring " })?;
        write_labels(f, &matching.labels)?;
    }
    if let Some(group) = group {
        f.write_str(group)?;
        write_labels(f, &matching.include)?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            write!(f, " fill ({})", number::format_g(left))
        }
        (left, right) => {
            for (name, value) in [("fill_left", left), ("fill_right", right)] {
                if let Some(value) = value {
                    write!(f, " {name} ({})", number::format_g(value))?;
                }
            }
            Ok(())
        }
    }
}

fn write_labels(f: &mut Formatter<'_>, labels: &[String]) -> fmt::Result {
    f.write_char('(')?;
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        if is_legacy_label_name(label) {
            f.write_str(label)?;
        } else {
            f.write_str(&quote(label))?;
        }
    }
    f.write_char(')')
}

/// The name and the matchers, sorted by their text.
fn write_metric(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name.as_deref().unwrap_or_default();
    f.write_str(name)?;
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .filter(|matcher| {
            let is_name = matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && matcher.value == name;
            !is_name || name.is_empty()
        })
        .map(ToString::to_string)
        .collect();
    if matchers.is_empty() && !name.is_empty() {
        return Ok(());
    }
    matchers.sort_unstable();
    write!(f, "{{{}}}", matchers.join(","))
}

fn extension(selector: &VectorSelector) -> &'static str {
    match (selector.anchored, selector.smoothed) {
        (true, _) => " anchored",
        (false, true) => " smoothed",
        (false, false) => "",
    }
}

fn write_at(f: &mut Formatter<'_>, at: Option<AtModifier>) -> fmt::Result {
    match at {
        Some(AtModifier::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        Some(AtModifier::Start) => f.write_str(" @ start()"),
        Some(AtModifier::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn write_offset(f: &mut Formatter<'_>, offset: &DurationValue) -> fmt::Result {
    if *offset == DurationValue::ZERO { Ok(()) } else { write!(f, " offset {offset}") }
}
