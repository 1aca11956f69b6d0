//! Regular expressions of matchers: RE2's dialect on Rust's engine, anchored at both ends, dot matches newline.
//!
//! [`parser`] reads the pattern as Go's `regexp/syntax` does (same dialect, same refusals, same error texts) into a
//! small syntax tree; [`emit`] prints the tree in the dialect of the `regex` crate without relying on any of that
//! crate's defaults; [`shape`] finds out whether the pattern is simple enough to be matched without an engine; [`template`]
//! fills captures into a replacement, as `label_replace` and relabelling need.
//!
//! Stricter than Go in three places, so that a query cannot take the node's memory: [`PATTERN_BYTES_MAX`],
//! [`COMPILED_BYTES_MAX`] and a nesting of 250.

mod class;
mod emit;
mod parser;
mod shape;
mod template;

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::regex::shape::Shape;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 128 << 10;
/// Largest compiled program, in bytes. Patterns that are matched without one are not compiled until captures are asked for.
pub const COMPILED_BYTES_MAX: usize = 32 << 20;
/// Longest pattern of literals with gaps between them that is not compiled at once: its program is surely small.
const GLOB_BYTES_MAX: usize = 1 << 10;

/// Why a pattern does not compile; reads as Go's `regexp` package puts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub(crate) String);

/// A compiled matcher pattern, equivalent to RE2's `^(?s:pattern)$`. Cheap to clone.
#[derive(Clone)]
pub struct LabelRegex(Arc<Compiled>);

struct Compiled {
    pattern: String,
    /// The pattern in the dialect of the `regex` crate, anchored.
    translated: String,
    /// Names of the capture groups; the whole match is group 0.
    capture_names: Vec<Option<String>>,
    prefix: String,
    shape: Shape,
    /// Filled by `new`, unless nothing but captures needs it.
    engine: OnceLock<regex::Regex>,
}

impl LabelRegex {
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(RegexError(format!(
                "expression too large: {} bytes, the limit is {PATTERN_BYTES_MAX}",
                pattern.len()
            )));
        }
        let parsed = parser::parse(pattern)?;
        let translated = emit::anchored(&parsed);
        let anchored = shape::without_outer_anchors(parsed.root);
        let shape = Shape::of(&anchored);
        let engine = OnceLock::new();
        if !shape.is_small(pattern.len() <= GLOB_BYTES_MAX) {
            let compiled = compile(&translated, COMPILED_BYTES_MAX).map_err(|error| compile_error(pattern, &error))?;
            engine.get_or_init(|| compiled);
        }
        Ok(Self(Arc::new(Compiled {
            pattern: pattern.to_owned(),
            translated,
            capture_names: parsed.capture_names,
            prefix: shape::prefix(&anchored),
            shape,
            engine,
        })))
    }

    pub fn is_match(&self, value: &str) -> bool {
        match &self.0.shape {
            Shape::Literals(set) => set.binary_search_by(|literal| literal.as_str().cmp(value)).is_ok(),
            Shape::AnyOf(globs) => globs.iter().any(|glob| glob.is_match(value)),
            Shape::Engine => shape::has_prefix(value, self.prefix()) && self.engine().is_match(value),
        }
    }

    /// The pattern as written.
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// The whole language when it is a small set of strings, such as `a|b|c`: an index looks those up instead of
    /// scanning. Sorted, without duplicates; may be empty or hold the empty string.
    pub fn literal_set(&self) -> Option<&[String]> {
        match &self.0.shape {
            Shape::Literals(set) => Some(set),
            _ => None,
        }
    }

    /// A prefix that every match has; may be empty.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// A string that every match contains, where the pattern shows one: an index looks for it in many values at once.
    pub fn inner_literal(&self) -> Option<&str> {
        match &self.0.shape {
            Shape::AnyOf(globs) => match &globs[..] {
                [only] => Some(only.longest_literal()),
                _ => None,
            },
            Shape::Literals(_) | Shape::Engine => None,
        }
        .filter(|literal| !literal.is_empty())
    }

    /// The anchored engine. Captures are numbered as in the pattern; for names and templates see [`Self::captures`].
    pub fn engine(&self) -> &regex::Regex {
        // What comes here uncompiled is bounded in size by the pattern.
        self.0.engine.get_or_init(|| compile(&self.0.translated, usize::MAX).expect("literals and gaps compile"))
    }

    /// What the groups of the pattern took of a value; `None` when the value does not match.
    pub fn captures<'r, 'v>(&'r self, value: &'v str) -> Option<Captures<'r, 'v>> {
        Some(Captures { names: &self.0.capture_names, groups: self.engine().captures(value)? })
    }
}

/// The groups of one match.
#[derive(Debug)]
pub struct Captures<'r, 'v> {
    names: &'r [Option<String>],
    groups: regex::Captures<'v>,
}

impl Captures<'_, '_> {
    /// Fills a template, in which `$1`, `${1}`, `$name` and `${name}` stand for groups and `$$` for a dollar sign, by the
    /// rules of Go's `Regexp.Expand` (so `$1x` means the group named `1x`).
    pub fn expand(&self, template: &str) -> String {
        template::expand(template, self.names, &self.groups)
    }
}

fn compile(translated: &str, compiled_bytes_max: usize) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(translated)
        .size_limit(compiled_bytes_max)
        // A level of the pattern becomes at most three levels of the translation.
        .nest_limit(4 * parser::NESTING_MAX)
        .build()
}

fn compile_error(pattern: &str, error: &regex::Error) -> RegexError {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            RegexError(format!("expression too large: `{pattern}` compiles to more than {limit} bytes"))
        }
        other => RegexError(format!("regexp/syntax: internal error: `{pattern}`: {other}")),
    }
}

impl fmt::Debug for LabelRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelRegex({:?})", self.0.pattern)
    }
}

#[cfg(test)]
mod tests;
