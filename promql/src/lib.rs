//! PromQL: lexer, parser, spanned syntax tree, printer, and the test-script language.
//!
//! Nothing is evaluated here, and nothing is read or written: text in, trees and errors out.

pub mod ast;
pub mod duration;
pub mod functions;
pub mod operators;
pub mod script;
pub mod series;
pub mod span;

mod check;
mod error;
mod json;
mod lexer;
mod literal;
mod parser;
mod pretty;
mod printer;
mod token;

use pharos_model::Matcher;

pub use ast::{Expr, ExprKind, ValueType};
pub use error::{ParseError, ParseErrors};
pub use functions::{Function, FunctionId};
pub use script::Script;
pub use series::parse_series_description;
pub use span::Span;

/// Longest path from the root of an expression to a leaf, in nodes. Deeper ones are refused, so that whoever walks
/// a tree may recurse. A chain of operators, `a + b + c`, is as deep as it has operands.
pub const DEPTH_MAX: usize = 256;

/// Most parentheses, calls, brackets and signs around any part of an expression.
pub const NESTING_MAX: usize = 100;

/// Longest text that is parsed, in bytes.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Parts of the language that can be switched, each with the feature flag that Prometheus has for it.
/// The default is that of Prometheus 3.14: only duration expressions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Everything off.
    pub const NONE: Self = Self {
        experimental_functions: false,
        duration_expressions: false,
        extended_range_selectors: false,
        binop_fill_modifiers: false,
    };
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self { duration_expressions: true, ..Self::NONE }
    }
}

/// Parses an expression and checks its types.
///
/// Errors read as Prometheus': `1:5: parse error: unexpected identifier "b" in aggregation`. A text longer than
/// [`TEXT_BYTES_MAX`], nested deeper than [`NESTING_MAX`] or of a tree deeper than [`DEPTH_MAX`] is refused.
pub fn parse_expr(text: &str, options: &ParserOptions) -> Result<Expr, ParseErrors> {
    parser::parse(text, options)
}

/// Parses a selector such as `up{job="x"}`, as the `match[]` parameters of the API have it. One that every series satisfies
/// is taken: only some callers have to refuse that.
pub fn parse_metric_selector(text: &str, options: &ParserOptions) -> Result<Vec<Matcher>, ParseErrors> {
    parser::parse_selector(text, options)
}
