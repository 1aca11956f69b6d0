//! What is wrong with an exposition, in Prometheus' words: they end up as `lastError` on the targets page.

use std::fmt;

use pharos_model::labels::quote;

use super::lexer::Token;
use super::value::FloatError;
use crate::label_limits::LabelLimitError;
use crate::wire::WireError;

/// Longest piece of a body that an error repeats.
const EXCERPT_BYTES_MAX: usize = 1024;

/// Where in the body a parser gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Line of a text format, counted from 1.
    Line(usize),
    /// Byte of a protobuf body, counted from 0.
    Byte(usize),
}

/// Why an exposition is refused. Displays as Prometheus' error, without the position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    pub kind: ParseErrorKind,
    pub at: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    #[error("{expected}, got {got} (\"{token}\") while parsing: {line}")]
    Unexpected { expected: &'static str, got: String, token: Token, line: String },
    #[error("expected text in {0}")]
    NoText(&'static str),
    #[error("invalid metric type {0}")]
    MetricType(String),
    #[error("help text {0} is not a valid utf8 string")]
    HelpNotUtf8(String),
    #[error("unit {unit} not a suffix of metric {metric}")]
    Unit { unit: String, metric: String },
    #[error("unit {unit} not a suffix of counter {metric}")]
    CounterUnit { unit: String, metric: String },
    #[error("invalid UTF-8 label value: {0}")]
    LabelValueNotUtf8(String),
    #[error("metric name already set while parsing: {0}")]
    NameAlreadySet(String),
    #[error("metric name not set while parsing: {0}")]
    NameNotSet(String),
    #[error("{reason} while parsing: {line}")]
    Float { reason: FloatError, line: String },
    #[error("strconv.ParseInt: parsing {text}: value out of range while parsing: {line}")]
    TimestampRange { text: String, line: String },
    #[error("invalid timestamp {0}")]
    Timestamp(&'static str),
    #[error("invalid exemplar timestamp {0}")]
    ExemplarTimestamp(&'static str),
    #[error("data does not end with # EOF")]
    NoEof,
    #[error("unexpected data after # EOF")]
    DataAfterEof,
    #[error("missing metric name (__name__ label)")]
    NoName,
    #[error("invalid metric name or label names: {0}")]
    Names(String),
    #[error("label name {0} is not unique: invalid sample")]
    DuplicateLabel(String),
    #[error(transparent)]
    Limit(#[from] LabelLimitError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("invalid metric name: {0}")]
    MetricName(String),
    #[error("invalid help for metric {metric}: {help}")]
    Help { metric: String, help: String },
    #[error("unknown metric type for metric {metric}: {number}")]
    MetricTypeNumber { metric: String, number: u64 },
    #[error("{0}")]
    Histogram(String),
    #[error("metric has more than {limit} buckets or quantiles")]
    Points { limit: usize },
    #[error("invalid label name: {0}")]
    LabelName(String),
    #[error("invalid label value: {0}")]
    LabelValue(String),
}

impl ParseErrorKind {
    /// Whether the text was read well and what is wrong is the label set that it says.
    pub fn is_about_labels(&self) -> bool {
        matches!(self, Self::DuplicateLabel(_) | Self::Limit(_))
    }
}

/// As Go's `%q` of a byte string: invalid UTF-8 as `\xff`. Long strings are cut short.
pub(super) fn quote_bytes(bytes: &[u8]) -> String {
    let (bytes, is_cut) = match bytes.get(..EXCERPT_BYTES_MAX) {
        Some(head) if bytes.len() > EXCERPT_BYTES_MAX => (head, true),
        _ => (bytes, false),
    };
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    if is_cut {
        out.push_str("...");
    }
    out
}

/// As Go's `%s` of a byte string, cut short.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES_MAX)]).into_owned()
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}
