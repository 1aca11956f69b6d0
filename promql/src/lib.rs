//! PromQL: lexer, parser, spanned syntax tree, printer, and the test-script language.
//!
//! Nothing is evaluated here, and nothing is read or written: text in, trees and errors out.

pub mod ast;
pub mod duration;
pub mod functions;
pub mod operators;
pub mod span;

pub use ast::{Expr, ExprKind, ValueType};
pub use functions::{Function, FunctionId};
pub use span::Span;

/// Longest path from the root of an expression to a leaf, in nodes. Deeper ones are refused, so that whoever walks
/// a tree may recurse.
pub const DEPTH_MAX: usize = 256;

/// Longest text that is parsed, in bytes.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Parts of the language that are off unless asked for, each with the feature flag that Prometheus has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserOptions {
    /// `promql-experimental-functions`: functions marked so, `limitk` and `limit_ratio`.
    pub experimental_functions: bool,
    /// `promql-duration-expr`: arithmetic on durations in brackets and offsets.
    pub duration_expressions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
}

impl ParserOptions {
    /// Everything on.
    pub const ALL: Self = Self {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
    };
}
