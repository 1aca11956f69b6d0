//! The typed plan of a query: what is computed, without data, clocks or DataFusion.
//!
//! [`crate::lower`] makes a plan from a syntax tree; the passes here rewrite it; [`crate::exec`] binds it to a grid of
//! evaluation times and runs it. Types were checked by the parser, durations are milliseconds, `start()`, `end()` and the like are
//! numbers. No node knows its grid: that of the query reaches all nodes but those below a [`Op::RangeOverSubquery`]
//! (its own grid) and an [`Op::Repeat`] (one step), so a pass may move subtrees freely.
//!
//! A scalar is a vector of one row without labels that has a value at each step ([`Shape::Scalar`]).

pub mod arithmetic;
mod estimate;
mod explain;
pub mod names;
pub mod op;
pub mod passes;
pub mod time;

pub use estimate::Figures;
pub use names::NameRule;
pub use op::{
    AggregateKind, DatePart, Float, Grouping, HistogramCall, InfoCall, KKind, MapFunction, Matching, Op, Param,
    RangeCall, Read, Relabel, ScalarFunction, Scan, Selector, SetOp, Share, SortBy,
};
use pharos_promql::Span;
pub use time::{STEPS_MAX, SubqueryWindow, TimeShift};

/// What the rows of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One row without labels, with a value at each step.
    Scalar,
    /// Any number of rows.
    Vector,
}

/// One node with its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub op: Op,
    pub inputs: Vec<Plan>,
    pub shape: Shape,
    /// Where warnings point to.
    pub span: Span,
}

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// A scalar, or a vector at each step.
    Rows(Plan),
    /// A string literal.
    Text(String),
    /// A range selector evaluated once: raw samples.
    Raw { selector: Selector, range: RawRange, span: Span },
    /// A subquery evaluated once: its inner plan on its own grid.
    Subquery { window: SubqueryWindow, inner: Plan },
}

/// The window of a range selector that is shown as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawRange {
    pub range_ms: i64,
    pub selection: crate::functions::Selection,
    pub lookback_ms: i64,
}

impl Plan {
    pub fn vector(op: Op, inputs: Vec<Plan>, span: Span) -> Self {
        Self { op, inputs, shape: Shape::Vector, span }
    }

    pub fn scalar(op: Op, inputs: Vec<Plan>, span: Span) -> Self {
        Self { op, inputs, shape: Shape::Scalar, span }
    }

    pub fn constant(value: f64, span: Span) -> Self {
        Self::scalar(Op::Constant(Float(value)), Vec::new(), span)
    }

    /// The value of a scalar that is known now.
    pub fn as_constant(&self) -> Option<f64> {
        match self.op {
            Op::Constant(value) => Some(value.0),
            _ => None,
        }
    }

    /// Whether the order of rows says something: it is kept up to the answer of an instant query.
    pub fn is_ordered(&self) -> bool {
        match &self.op {
            Op::Sort(_) => true,
            Op::AggregateK { kind, .. } => matches!(kind, KKind::Topk | KKind::Bottomk),
            Op::Map { .. }
            | Op::Relabel(_)
            | Op::Merge { .. }
            | Op::Repeat
            | Op::Share(_)
            | Op::Match { .. }
            | Op::Set { .. } => self.inputs[0].is_ordered(),
            _ => false,
        }
    }
}
