//! Regular expressions of matchers: RE2's dialect on Rust's engine, anchored at both ends, dot matches newline.

use std::fmt;

/// Why a pattern does not compile; reads as Go's `regexp` package puts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub(crate) String);

/// A compiled matcher pattern, equivalent to RE2's `^(?s:pattern)$`.
#[derive(Clone)]
pub struct LabelRegex {
    pattern: String,
    engine: regex::Regex,
}

impl LabelRegex {
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let engine = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| RegexError(e.to_string()))?;
        Ok(Self { pattern: pattern.to_owned(), engine })
    }

    pub fn is_match(&self, value: &str) -> bool {
        self.engine.is_match(value)
    }

    /// The pattern as written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The whole language when it is a small set of strings, such as `a|b|c`: an index looks those up instead of scanning.
    pub fn literal_set(&self) -> Option<&[String]> {
        None
    }

    /// A prefix that every match has; may be empty.
    pub fn prefix(&self) -> &str {
        ""
    }

    /// The engine, for captures (`label_replace`, relabelling).
    pub fn engine(&self) -> &regex::Regex {
        &self.engine
    }
}

impl fmt::Debug for LabelRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelRegex({:?})", self.pattern)
    }
}
