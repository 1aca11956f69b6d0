//! Why a text is no PromQL, in Prometheus' words and with its positions.

use std::fmt;

use crate::span::Span;

/// One thing wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {message}")]
pub struct ParseError {
    pub span: Span,
    /// `line:column` of the start of [`ParseError::span`].
    pub position: String,
    pub message: String,
}

/// Everything found wrong with a text, at least one error, in the order in which it was found.
///
/// Displays only the first, as Prometheus does. A syntax error ends the parse, so what follows it is not reported;
/// type errors are reported together, and only when the syntax is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors(pub(crate) Vec<ParseError>);

impl ParseErrors {
    /// The error that [`fmt::Display`] shows.
    pub fn first(&self) -> &ParseError {
        &self.0[0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &ParseError> {
        self.0.iter()
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first().fmt(f)
    }
}

impl std::error::Error for ParseErrors {}
