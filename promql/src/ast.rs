//! The syntax tree of a PromQL expression.
//!
//! Every [`Expr`] carries the span of text it was written in. Equality and hashing ignore spans and compare
//! floats by their bits, so that equal expressions at different places are equal.
//!
//! Invariants of a tree from [`crate::parse_expr`]: types of operands and arguments are checked, no path is longer than
//! [`crate::DEPTH_MAX`], [`VectorSelector::matchers`] holds the metric name's matcher too. Durations are kept as written:
//! those that name `step()` or `range()` have no value before the query's times are known, see [`crate::duration`].

use std::hash::{Hash, Hasher};

use pharos_model::{Matcher, TimestampMs};

use crate::duration::DurationValue;
use crate::functions::Function;
pub use crate::operators::{AggregateOp, BinaryOp, UnaryOp};
use crate::span::Span;

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    /// An instant vector: at most one sample for each series.
    Vector,
    /// A range vector: any number of samples for each series.
    Matrix,
    String,
}

impl ValueType {
    /// The name the query API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name error texts use.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// One node and where it was written.
#[derive(Clone, Debug)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExprKind {
    Number(NumberLiteral),
    String(StringLiteral),
    Vector(VectorSelector),
    Matrix(MatrixSelector),
    Subquery(Subquery),
    Call(Call),
    Aggregate(Aggregate),
    Binary(Binary),
    Unary(Unary),
    Paren(Box<Expr>),
}

/// `1.5`, `0x1f`, `Inf`, and a duration in the place of a number: `5m` is 300.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// A number's value, or a duration in seconds.
    pub value: f64,
    /// Whether it was written as a duration, which is how it is printed again.
    pub is_duration: bool,
}

impl NumberLiteral {
    /// The literal behind a minus. A NaN keeps its bits, since it has no sign to print.
    pub(crate) fn negated(self) -> Self {
        let value = if self.value.is_nan() { self.value } else { -self.value };
        Self { value, ..self }
    }
}

/// The string between quotes, with escapes resolved.
///
/// Bytes rather than text: `"\xff"` is the single byte 0xff, as in Go. Where a string becomes a label name or a
/// matcher the parser refuses what is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StringLiteral {
    pub value: Vec<u8>,
}

impl StringLiteral {
    /// The text, with U+FFFD for bytes that are not UTF-8.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

/// `@`: the time at which a selector or subquery is evaluated, whatever the query's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtModifier {
    Timestamp(TimestampMs),
    /// `@ start()`: the first step of the query.
    Start,
    /// `@ end()`: the last step of the query.
    End,
}

/// `name{label="value"} offset 5m @ 10`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VectorSelector {
    /// The metric name as written before the braces; `None` when there is none, even if a matcher fixes the name.
    pub name: Option<String>,
    /// All conditions in the order written; the name's own, when there is one, comes last.
    pub matchers: Vec<Matcher>,
    /// Zero when absent; negative looks ahead.
    pub offset: DurationValue,
    pub at: Option<AtModifier>,
    pub anchored: bool,
    pub smoothed: bool,
    /// Set on the second argument of `info()`, which may match everything.
    pub bypass_empty_matcher_check: bool,
}

/// `selector[range]`. The offset and `@` written after the brackets are those of the selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    pub range: DurationValue,
}

/// `expr[range:step]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subquery {
    pub expr: Box<Expr>,
    pub range: DurationValue,
    /// `None` when left out: the engine's default evaluation interval.
    pub step: Option<DurationValue>,
    pub offset: DurationValue,
    pub at: Option<AtModifier>,
}

/// `function(args)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
}

/// `op by (grouping) (param, expr)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub expr: Box<Expr>,
    /// Present exactly when [`AggregateOp::has_param`].
    pub param: Option<Box<Expr>>,
    pub grouping: Vec<String>,
    /// `without (grouping)` rather than `by (grouping)`.
    pub without: bool,
}

/// `lhs op rhs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Box<Expr>,
    pub rhs: Box<Expr>,
    /// `bool`: a comparison that answers 0 or 1 rather than filtering.
    pub return_bool: bool,
    /// Present exactly when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
}

/// `op expr`; a sign before a number literal is part of the literal instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unary {
    pub op: UnaryOp,
    pub expr: Box<Expr>,
}

/// How many series of each side one match group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// How series of the two sides of a binary operator find each other.
#[derive(Clone, Debug)]
pub struct VectorMatching {
    pub card: Cardinality,
    /// Labels of `on (...)` or `ignoring (...)`.
    pub labels: Vec<String>,
    /// `on` rather than `ignoring`.
    pub on: bool,
    /// Labels that `group_left (...)` or `group_right (...)` copies from the "one" side.
    pub include: Vec<String>,
    /// Value of a left side that has no series for a right one.
    pub fill_left: Option<f64>,
    /// Value of a right side that has no series for a left one.
    pub fill_right: Option<f64>,
}

impl Expr {
    pub fn new(span: Span, kind: ExprKind) -> Self {
        Self { span, kind }
    }

    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Unary(unary) => unary.expr.value_type(),
            ExprKind::Paren(inner) => inner.value_type(),
        }
    }

    /// The direct children that are expressions, in Prometheus' order: an aggregation's operand precedes its parameter.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
            ExprKind::Call(call) => call.args.iter().collect(),
            ExprKind::Aggregate(aggregate) => {
                std::iter::once(&*aggregate.expr).chain(aggregate.param.as_deref()).collect()
            }
            ExprKind::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            ExprKind::Unary(unary) => vec![&unary.expr],
            ExprKind::Paren(inner) => vec![inner],
        }
    }

    /// As [`Expr::children`], for change in place.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&mut subquery.expr],
            ExprKind::Call(call) => call.args.iter_mut().collect(),
            ExprKind::Aggregate(aggregate) => {
                std::iter::once(&mut *aggregate.expr).chain(aggregate.param.as_deref_mut()).collect()
            }
            ExprKind::Binary(binary) => vec![&mut binary.lhs, &mut binary.rhs],
            ExprKind::Unary(unary) => vec![&mut unary.expr],
            ExprKind::Paren(inner) => vec![inner],
        }
    }

    /// Calls `visit` on this node, then on all below it, depth first and left to right.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// As [`Expr::walk`], for change in place. `visit` sees a node before its children.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        visit(self);
        for child in self.children_mut() {
            child.walk_mut(visit);
        }
    }

    /// The selector of a vector or matrix selector node.
    pub fn selector(&self) -> Option<&VectorSelector> {
        match &self.kind {
            ExprKind::Vector(selector) => Some(selector),
            ExprKind::Matrix(matrix) => Some(&matrix.selector),
            _ => None,
        }
    }

    /// As [`Expr::selector`], for change in place.
    pub fn selector_mut(&mut self) -> Option<&mut VectorSelector> {
        match &mut self.kind {
            ExprKind::Vector(selector) => Some(selector),
            ExprKind::Matrix(matrix) => Some(&mut matrix.selector),
            _ => None,
        }
    }

    /// The expression inside any number of parentheses.
    pub fn without_parens(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Expr {}

impl Hash for Expr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        (self.value.to_bits(), self.is_duration) == (other.value.to_bits(), other.is_duration)
    }
}

impl Eq for NumberLiteral {}

impl Hash for NumberLiteral {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.value.to_bits(), self.is_duration).hash(state);
    }
}

impl VectorMatching {
    fn key(&self) -> impl Eq + Hash {
        (
            self.card,
            &self.labels,
            self.on,
            &self.include,
            self.fill_left.map(f64::to_bits),
            self.fill_right.map(f64::to_bits),
        )
    }
}

impl PartialEq for VectorMatching {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for VectorMatching {}

impl Hash for VectorMatching {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
