//! A slow evaluator, written for the test alone and straight from what PromQL means: no plan, no kernels, nothing shared
//! with the engine but the syntax tree and the model.
//!
//! Every node is evaluated over a whole [`Grid`] to rows of one optional value a step, because some rules look at more than one
//! step: the parameter of `topk`, two series that collide after their names are dropped, the flag that drops a name late.
//! What is defined step by step is written step by step, see [`rows::assemble`].
//!
//! Knows floats only; a histogram would be another kind of value in [`rows::Row`] and [`rows::Element`].

mod aggregate;
mod arithmetic;
mod binary;
mod buckets;
mod date;
mod instant;
mod labels;
mod matching;
mod notes;
mod pick;
mod range;
mod rate;
mod rows;
mod scalar;
mod select;
mod windows;

use std::cell::{Cell, RefCell};

use pharos_model::{LabelSet, TimestampMs};
use pharos_promql::ast::{ExprKind, UnaryOp};
use pharos_promql::{Expr, ValueType};

pub(crate) use self::notes::Remarks;
use self::rows::{Grid, Row, Rows};
use crate::data::Series;

/// Two series that would be told apart by nothing.
pub(crate) const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

/// What a query depends on besides expression and data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    /// `None` for an instant query.
    pub step_ms: Option<i64>,
    pub lookback_ms: i64,
    pub subquery_step_ms: i64,
    /// Metric names go when the query ends rather than at once.
    pub delayed_names: bool,
}

/// Why there is no answer. Each text is one that the query may fail with: which of two failing operands is reported is
/// nobody's promise.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(pub Vec<String>);

pub(crate) type Result<T> = std::result::Result<T, Refusal>;

/// Series and their samples.
pub(crate) type Matrix = Vec<(LabelSet, Vec<(TimestampMs, f64)>)>;

/// A finished evaluation.
#[derive(Debug)]
pub(crate) struct Answer {
    pub value: Result<Matrix>,
    pub remarks: Remarks,
    /// The answer rests on something that PromQL leaves open, such as the year of a date far out of range.
    pub is_open: bool,
}

/// Evaluates an expression over series in the order given.
pub(crate) fn evaluate(expr: &Expr, series: &[Series], settings: Settings) -> Answer {
    let plain = Plain { series, settings, remarks: RefCell::default(), is_open: Cell::new(false) };
    let grid = settings.grid();
    let value = match expr.value_type() {
        ValueType::Scalar => plain.scalar(expr, &grid).map(|values| rows::samples(vec![Row::of_scalar(values)], &grid)),
        ValueType::Matrix => plain.range_vector(expr, &grid).and_then(|vector| vector.samples_at(settings.start_ms)),
        _ => plain.vector(expr, &grid).and_then(rows::finish).map(|rows| rows::samples(rows, &grid)),
    };
    Answer { value, remarks: plain.remarks.into_inner(), is_open: plain.is_open.get() }
}

impl Settings {
    /// The steps of the query.
    fn grid(&self) -> Grid {
        match self.step_ms {
            None => Grid { start_ms: self.start_ms, step_ms: 1, steps: 1 },
            Some(step_ms) => Grid::covering(self.start_ms, self.end_ms, step_ms),
        }
    }

    /// What `step()` is.
    fn step_secs(&self) -> f64 {
        match self.step_ms {
            Some(step_ms) if self.start_ms != self.end_ms => step_ms as f64 / 1000.0,
            _ => 0.0,
        }
    }
}

/// One evaluation.
struct Plain<'a> {
    series: &'a [Series],
    settings: Settings,
    remarks: RefCell<Remarks>,
    is_open: Cell<bool>,
}

impl Plain<'_> {
    /// An instant vector at each step.
    fn vector(&self, expr: &Expr, grid: &Grid) -> Result<Rows> {
        match &expr.kind {
            ExprKind::Vector(selector) => self.selector(selector, grid),
            ExprKind::Call(call) => self.call(call, expr, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            ExprKind::Binary(binary) => self.binary(binary, grid),
            ExprKind::Unary(unary) => {
                let rows = self.vector(&unary.expr, grid)?;
                match unary.op {
                    UnaryOp::Plus => Ok(rows),
                    UnaryOp::Minus => self.negate(rows),
                }
            }
            ExprKind::Paren(inner) => self.vector(inner, grid),
            other => unreachable!("no instant vector: {other:?}"),
        }
    }

    fn negate(&self, mut rows: Rows) -> Result<Rows> {
        for row in &mut rows {
            self.rename(row);
            row.values.iter_mut().flatten().for_each(|value| *value = -*value);
        }
        if self.settings.delayed_names { Ok(rows) } else { rows::merge(rows) }
    }

    /// Marks the result as open, see [`Answer::is_open`].
    fn leave_open(&self) {
        self.is_open.set(true);
    }
}

impl Refusal {
    fn new(text: impl Into<String>) -> Self {
        Self(vec![text.into()])
    }
}

/// Both, or all the reasons why not.
fn both<A, B>(left: Result<A>, right: Result<B>) -> Result<(A, B)> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(Refusal(mut left)), Err(Refusal(right))) => {
            left.extend(right);
            Err(Refusal(left))
        }
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    }
}

/// All of them, or all the reasons why not.
fn all<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut done, mut reasons) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => done.push(value),
            Err(Refusal(more)) => reasons.extend(more),
        }
    }
    if reasons.is_empty() { Ok(done) } else { Err(Refusal(reasons)) }
}
