//! The short way through ordinary lines: one pass that finds the end of a series and reads a plain number, or the parts of
//! a HELP or TYPE line.
//!
//! Does not look into labels, so the series text is checked only when someone asks for its labels. Answers nothing for
//! any line that is not perfectly ordinary; [`super::line`] then reads it strictly.
//!
//! Invariant: where the strict way takes a line too, both find the same.

use std::ops::Range;

use pharos_model::TimestampMs;

use super::lexer::{Dialect, is_name_byte, is_name_start};
use super::value::short_decimal;

/// An ordinary sample line.
pub(super) struct Sample {
    pub series: Range<usize>,
    pub value: f64,
    pub ts: Option<TimestampMs>,
    /// Where the next line starts.
    pub end: usize,
}

/// An ordinary HELP or TYPE line.
pub(super) struct Metadata<'a> {
    pub is_help: bool,
    pub family: &'a str,
    /// Not blank; escapes are not undone.
    pub text: &'a str,
    /// Where the next line starts.
    pub end: usize,
}

/// Which bytes go on with a metric name.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        byte += 1;
    }
    table
};

/// Reads the line that starts at `start`; `None` when it takes the strict way.
#[inline]
pub(super) fn sample(body: &[u8], start: usize, dialect: Dialect) -> Option<Sample> {
    debug_assert!((0..=255).all(|byte| NAME_BYTES[usize::from(byte)] == is_name_byte(byte)));
    let first = *body.get(start)?;
    let name_end = match first {
        b'{' => start,
        byte if is_name_start(byte) => start + name_length(&body[start..]),
        _ => return None,
    };
    let brace = skip_blanks(body, name_end, dialect);
    let series_end = match body.get(brace)? {
        b'{' if brace == name_end || dialect == Dialect::Text => labels_end(body, brace + 1)?,
        _ if brace > name_end || dialect == Dialect::OpenMetrics => name_end,
        _ => return None,
    };
    let value_at = skip_one_or_more(body, series_end, dialect)?;
    let (value, length) = short_decimal(&body[value_at..])?;
    let (ts, end) = timestamp(body, value_at + length, dialect)?;
    Some(Sample { series: start..series_end, value, ts, end })
}

/// Reads the line that starts at `start`: `# HELP` or `# TYPE`, a legacy name and something after it, one space between each.
pub(super) fn metadata(body: &[u8], start: usize) -> Option<Metadata<'_>> {
    let line = body.get(start..)?;
    let is_help = line.starts_with(b"# HELP ");
    if !is_help && !line.starts_with(b"# TYPE ") {
        return None;
    }
    let name_at = b"# HELP ".len();
    let name_end = name_at + name_length(&line[name_at..]);
    let newline = name_end + memchr::memchr(b'\n', &line[name_end..])?;
    let text = std::str::from_utf8(line[name_end..newline].strip_prefix(b" ")?).ok()?;
    let family = std::str::from_utf8(&line[name_at..name_end]).ok()?;
    let is_ordinary =
        family.bytes().next().is_some_and(is_name_start) && !text.starts_with([' ', '\t']) && !text.is_empty();
    is_ordinary.then_some(Metadata { is_help, family, text, end: start + newline + 1 })
}

#[inline]
fn name_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]).unwrap_or(bytes.len())
}

/// The position after the closing brace. Only strings are told from the rest.
#[inline]
fn labels_end(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match body.get(at)? {
            b'"' => at = string_end(body, at + 1)?,
            b'}' => return Some(at + 1),
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

/// The position after the closing quote of a string without newlines.
#[inline]
fn string_end(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match body.get(at)? {
            b'"' => return Some(at + 1),
            b'\n' => return None,
            b'\\' if body.get(at + 1) == Some(&b'\n') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Blanks that may stand before a brace: none in OpenMetrics.
#[inline]
fn skip_blanks(body: &[u8], mut at: usize, dialect: Dialect) -> usize {
    while dialect == Dialect::Text && matches!(body.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Exactly one space in OpenMetrics, one or more blanks in the text format.
#[inline]
fn skip_one_or_more(body: &[u8], at: usize, dialect: Dialect) -> Option<usize> {
    match (body.get(at)?, dialect) {
        (b' ', Dialect::OpenMetrics) => Some(at + 1),
        (b' ' | b'\t', Dialect::Text) => Some(skip_blanks(body, at, dialect)),
        _ => None,
    }
}

/// What follows the value: the end of the line, or a timestamp before it.
#[inline]
fn timestamp(body: &[u8], at: usize, dialect: Dialect) -> Option<(Option<TimestampMs>, usize)> {
    if body.get(at) == Some(&b'\n') {
        return Some((None, at + 1));
    }
    let at = skip_one_or_more(body, at, dialect)?;
    let (number, length) = short_decimal(&body[at..])?;
    let ts = match dialect {
        Dialect::Text if body[at..at + length].iter().all(u8::is_ascii_digit) => number as TimestampMs,
        Dialect::Text => return None,
        Dialect::OpenMetrics => (number * 1000.0) as TimestampMs,
    };
    (body.get(at + length) == Some(&b'\n')).then_some((Some(ts), at + length + 1))
}
