//! Test scripts: samples to load, expressions to evaluate, and what must come out.
//!
//! The language is that of Prometheus' `promqltest`. A script is a list of commands, each of which ends at an empty line; `#`
//! starts a comment line. Nothing is run here: whoever has an engine walks the commands.
//!
//! ```text
//! load 1m
//!   http_requests{job="a"} 0+10x10
//!
//! eval instant at 5m rate(http_requests[5m])
//!   expect no_warn
//!   {job="a"} 0.16666666666666666
//! ```

mod eval;
mod expect;
mod load;

use crate::error::ParseErrors;

pub use eval::{Eval, EvalTime, Expected, ExpectedSeries};
pub use expect::{Annotations, TextMatch};
pub use load::{Load, LoadedSeries};

/// A parsed script.
#[derive(Debug)]
pub struct Script {
    pub commands: Vec<Command>,
}

/// One command and the line it starts at, counted from one.
#[derive(Debug)]
pub struct Command {
    pub line: usize,
    pub kind: CommandKind,
}

#[derive(Debug)]
pub enum CommandKind {
    /// Forget all samples.
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Why a text is no script, and the line, counted from one.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    pub line: usize,
    #[source]
    pub problem: Problem,
}

/// What is wrong with a line of a script.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("invalid command {0:?}")]
    Command(String),
    #[error("invalid load command, must be `load[_with_nhcb] <step:duration>`")]
    Load,
    #[error(
        "invalid evaluation command, must be `eval[_fail|_warn|_info|_ordered] instant at <time> <expr>` or \
         `eval[_fail|_warn|_info] range from <from> to <to> step <step> <expr>`"
    )]
    Eval,
    #[error("invalid {what} {text:?}: {source}")]
    Duration { what: &'static str, text: String, source: pharos_model::duration::DurationError },
    #[error("end {end:?} is before start {start:?}")]
    EndBeforeStart { start: String, end: String },
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    #[error("invalid `@st` item {item:?}: {why}")]
    StartTimestamp { item: String, why: &'static str },
    #[error("`@st` line has no sample line of the same labels behind it")]
    LoneStartTimestamps,
    #[error("`@st` line has {starts} values but the sample line has {samples}")]
    StartTimestampCount { starts: usize, samples: usize },
    #[error("invalid expect line, must be `expect <type> [msg|regex]: <text>`")]
    Expect,
    #[error("invalid regular expression {pattern:?}")]
    Regex { pattern: String, source: Box<regex::Error> },
    #[error("expect lines {0} contradict each other")]
    Contradiction(&'static str),
    #[error("invalid expected range vector, must be `expect range vector from <from> to <to> step <step>`")]
    ExpectRangeVector,
    #[error("the expected string must be a quoted string literal")]
    ExpectString,
    #[error("several values for an instant evaluation need an `expect range vector` line")]
    SeveralValues,
}

impl Script {
    /// Parses a whole script; expressions are parsed with everything experimental switched on.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut lines = Lines::new(text);
        let mut commands = Vec::new();
        while let Some((line, text)) = lines.next_line() {
            if text.is_empty() {
                continue;
            }
            let word = text.split([' ', '\t']).next().unwrap_or_default().to_ascii_lowercase();
            let kind = match word.as_str() {
                "clear" => CommandKind::Clear,
                word if word.starts_with("load") => CommandKind::Load(load::parse(line, text, &mut lines)?),
                word if word.starts_with("eval") => CommandKind::Eval(Box::new(eval::parse(line, text, &mut lines)?)),
                _ => return Err(ScriptError { line, problem: Problem::Command(text.to_owned()) }),
            };
            commands.push(Command { line, kind });
        }
        Ok(Self { commands })
    }
}

/// The lines of a script without comments and the space around them.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Split<'a, char>>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { lines: text.split('\n').enumerate() }
    }

    /// The next line and its number.
    fn next_line(&mut self) -> Option<(usize, &'a str)> {
        let (index, line) = self.lines.next()?;
        let line = line.trim();
        Some((index + 1, if line.starts_with('#') { "" } else { line }))
    }

    /// The next line that belongs to the current command; an empty line ends the command and is taken.
    fn next_in_command(&mut self) -> Option<(usize, &'a str)> {
        self.next_line().filter(|(_, line)| !line.is_empty())
    }
}

/// A duration of a command, in milliseconds.
fn duration_ms(line: usize, what: &'static str, text: &str) -> Result<i64, ScriptError> {
    pharos_model::duration::parse_ms(text)
        .map_err(|source| ScriptError { line, problem: Problem::Duration { what, text: text.to_owned(), source } })
}

/// Splits off the first word; what follows has no space in front.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// Takes a word that must be `word`.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = split_word(text);
    (first == word).then_some(rest)
}
