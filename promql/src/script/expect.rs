//! What a test expects of errors and annotations.

use super::{Problem, split_word};

/// How an error or annotation must read. It is matched against the text the API shows, position included.
#[derive(Clone, Debug)]
pub enum TextMatch {
    Any,
    Exact(String),
    /// A match anywhere in the text.
    Regex(Box<regex::Regex>),
}

impl TextMatch {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    pub(super) fn regex(pattern: &str) -> Result<Self, Problem> {
        match regex::Regex::new(pattern) {
            Ok(regex) => Ok(Self::Regex(Box::new(regex))),
            Err(error) => Err(Problem::Regex { pattern: pattern.to_owned(), source: Box::new(error) }),
        }
    }
}

/// What is expected of the annotations of one kind.
///
/// When texts are expected, each must match some annotation and each annotation some text. Without any, annotations
/// are ignored, unless there must be [`Annotations::none`] or [`Annotations::some`].
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    pub texts: Vec<TextMatch>,
    pub none: bool,
    pub some: bool,
}

/// One `expect` line about errors, annotations or order.
pub(super) enum Expectation {
    Ordered,
    Fail(TextMatch),
    Warn(TextMatch),
    NoWarn,
    Info(TextMatch),
    NoInfo,
}

/// Parses what follows `expect`.
pub(super) fn parse(text: &str) -> Result<Expectation, Problem> {
    let (kind, rest) = split_word(text);
    let matched = match rest.split_once(':') {
        None if rest.is_empty() => TextMatch::Any,
        Some(("msg", message)) if !message.is_empty() => TextMatch::Exact(message.trim().to_owned()),
        Some(("regex", pattern)) if !pattern.is_empty() => TextMatch::regex(pattern.trim())?,
        _ => return Err(Problem::Expect),
    };
    Ok(match kind {
        "ordered" => Expectation::Ordered,
        "fail" => Expectation::Fail(matched),
        "warn" => Expectation::Warn(matched),
        "no_warn" => Expectation::NoWarn,
        "info" => Expectation::Info(matched),
        "no_info" => Expectation::NoInfo,
        _ => return Err(Problem::Expect),
    })
}
