//! `eval`: an expression, when to evaluate it, and what must come out.

use pharos_model::{LabelSet, TimestampMs};

use super::expect::{self, Annotations, Expectation, TextMatch};
use super::{Lines, Problem, ScriptError, duration_ms, split_word, strip_word};
use crate::ast::Expr;
use crate::lexer::Lexer;
use crate::series::{SequenceValue, parse_series_description};
use crate::token::TokenKind;
use crate::{ParserOptions, literal, parse_expr};

/// One expression to evaluate.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The line of the command, counted from one.
    pub line: usize,
    /// The expression as written; positions of annotations are in it.
    pub text: String,
    pub expr: Expr,
    pub time: EvalTime,
    /// The evaluation must fail, with this error.
    pub fail: Option<TextMatch>,
    /// Results must come in the order of the expected lines.
    pub ordered: bool,
    pub warnings: Annotations,
    pub infos: Annotations,
    pub expected: Expected,
}

/// When an expression is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTime {
    Instant { at_ms: TimestampMs },
    Range { start_ms: TimestampMs, end_ms: TimestampMs, step_ms: i64 },
}

/// The result that is expected.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Of an instant evaluation one value each, of a range evaluation one for each step.
    Series(Vec<ExpectedSeries>),
    /// Of an instant evaluation that answers a range vector: sample `i` is at `start_ms + i * step_ms`, and none is behind
    /// `end_ms`.
    RangeVector {
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
        series: Vec<ExpectedSeries>,
    },
    Scalar(f64),
    String(Vec<u8>),
}

/// One series of the expected result.
#[derive(Clone, Debug)]
pub struct ExpectedSeries {
    pub line: usize,
    /// Position among the results when they are ordered, counted from one.
    pub position: usize,
    pub labels: LabelSet,
    pub values: Vec<SequenceValue>,
}

impl Eval {
    /// Whether the expression may also be evaluated over a range and its middle step be compared.
    pub fn may_run_as_range(&self) -> bool {
        !matches!(self.expected, Expected::String(_) | Expected::RangeVector { .. })
    }

    fn add(&mut self, expectation: Expectation) -> Result<(), Problem> {
        match expectation {
            Expectation::Ordered => self.ordered = true,
            Expectation::Fail(_) if self.fail.is_some() => {
                return Err(Problem::Contradiction("fail and fail"));
            }
            Expectation::Fail(matched) => self.fail = Some(matched),
            Expectation::Warn(matched) => self.warnings.texts.push(matched),
            Expectation::NoWarn => self.warnings.none = true,
            Expectation::Info(matched) => self.infos.texts.push(matched),
            Expectation::NoInfo => self.infos.none = true,
        }
        let contradicts = |annotations: &Annotations| annotations.none && !annotations.texts.is_empty();
        match () {
            () if contradicts(&self.warnings) => Err(Problem::Contradiction("warn and no_warn")),
            () if contradicts(&self.infos) => Err(Problem::Contradiction("info and no_info")),
            () => Ok(()),
        }
    }
}

pub(super) fn parse(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let mut eval = parse_command(line, text)?;
    let mut position = 0;
    while let Some((line, text)) = lines.next_in_command() {
        let failed = |problem| ScriptError { line, problem };
        position += 1;
        if eval.fail.is_some()
            && let Some(matched) = deprecated_failure(text).map_err(failed)?
        {
            eval.fail = Some(matched);
            break;
        }
        if let Some(range) = text.strip_prefix("expect range vector") {
            let (start_ms, end_ms, step_ms) = parse_range(line, range.trim_start(), Problem::ExpectRangeVector)?;
            eval.time = EvalTime::Instant { at_ms: end_ms };
            eval.expected = Expected::RangeVector { start_ms, end_ms, step_ms, series: Vec::new() };
        } else if let Some(string) = text.strip_prefix("expect string") {
            eval.expected = Expected::String(parse_string(string.trim_start()).ok_or(failed(Problem::ExpectString))?);
        } else if let Some(expectation) = strip_word(text, "expect") {
            position -= 1;
            eval.add(expect::parse(expectation).map_err(failed)?).map_err(failed)?;
        } else if let Some(number) = parse_scalar(text) {
            eval.expected = Expected::Scalar(number);
            break;
        } else {
            add_series(&mut eval, line, position, text)?;
        }
    }
    Ok(eval)
}

fn add_series(eval: &mut Eval, line: usize, position: usize, text: &str) -> Result<(), ScriptError> {
    let failed = |problem| ScriptError { line, problem };
    let description = parse_series_description(text).map_err(|errors| failed(errors.into()))?;
    let is_range = matches!(eval.time, EvalTime::Range { .. });
    let series = match &mut eval.expected {
        Expected::RangeVector { series, .. } => series,
        Expected::Series(series) if is_range || description.values.len() <= 1 => series,
        Expected::Series(_) => return Err(failed(Problem::SeveralValues)),
        Expected::Scalar(_) | Expected::String(_) => {
            return Err(failed(Problem::Contradiction("string and series")));
        }
    };
    series.retain(|other| other.labels != description.labels);
    series.push(ExpectedSeries { line, position, labels: description.labels, values: description.values });
    Ok(())
}

/// The command line itself.
fn parse_command(line: usize, text: &str) -> Result<Eval, ScriptError> {
    let failed = |problem| ScriptError { line, problem };
    let (command, rest) = split_word(text);
    let (kind, rest) = split_word(rest);
    let (time, text) = match kind {
        "instant" => {
            let rest = strip_word(rest, "at").ok_or(failed(Problem::Eval))?;
            let (at, expr) = split_word(rest);
            (EvalTime::Instant { at_ms: duration_ms(line, "time", at)? }, expr)
        }
        "range" => {
            let (range, expr) = split_range(rest).ok_or(failed(Problem::Eval))?;
            let (start_ms, end_ms, step_ms) = range.parse(line)?;
            (EvalTime::Range { start_ms, end_ms, step_ms }, expr)
        }
        _ => return Err(failed(Problem::Eval)),
    };
    let expr = parse_expr(text, &ParserOptions::ALL).map_err(|errors| failed(errors.into()))?;
    let mut eval = Eval {
        line,
        text: text.to_owned(),
        expr,
        time,
        fail: None,
        ordered: false,
        warnings: Annotations::default(),
        infos: Annotations::default(),
        expected: Expected::Series(Vec::new()),
    };
    match command {
        "eval" => {}
        "eval_fail" => eval.fail = Some(TextMatch::Any),
        "eval_warn" => eval.warnings.some = true,
        "eval_info" => eval.infos.some = true,
        "eval_ordered" if kind == "instant" => eval.ordered = true,
        _ => return Err(failed(Problem::Eval)),
    }
    Ok(eval)
}

/// `from ... to ... step ...` with its durations as written.
struct Range<'a> {
    from: &'a str,
    to: &'a str,
    step: &'a str,
}

/// Splits the durations of a range from what follows.
fn split_range(text: &str) -> Option<(Range<'_>, &str)> {
    let (from, rest) = split_word(strip_word(text, "from")?);
    let (to, rest) = split_word(strip_word(rest, "to")?);
    let (step, rest) = split_word(strip_word(rest, "step")?);
    Some((Range { from, to, step }, rest))
}

impl Range<'_> {
    /// Start, end and step in milliseconds.
    fn parse(&self, line: usize) -> Result<(i64, i64, i64), ScriptError> {
        let start_ms = duration_ms(line, "start", self.from)?;
        let end_ms = duration_ms(line, "end", self.to)?;
        if end_ms < start_ms {
            let problem = Problem::EndBeforeStart { start: self.from.to_owned(), end: self.to.to_owned() };
            return Err(ScriptError { line, problem });
        }
        Ok((start_ms, end_ms, duration_ms(line, "step", self.step)?))
    }
}

/// A range that must be the whole text.
fn parse_range(line: usize, text: &str, otherwise: Problem) -> Result<(i64, i64, i64), ScriptError> {
    match split_range(text) {
        Some((range, "")) => range.parse(line),
        _ => Err(ScriptError { line, problem: otherwise }),
    }
}

/// The old forms of `expect fail`, which end the command.
fn deprecated_failure(text: &str) -> Result<Option<TextMatch>, Problem> {
    if let Some(message) = text.strip_prefix("expected_fail_message") {
        return Ok(Some(TextMatch::Exact(message.trim().to_owned())));
    }
    match text.strip_prefix("expected_fail_regexp") {
        Some(pattern) => TextMatch::regex(pattern.trim()).map(Some),
        None => Ok(None),
    }
}

/// A string literal that is the whole text; as in Go, single quotes are not for strings.
fn parse_string(text: &str) -> Option<Vec<u8>> {
    let token = Lexer::new(text).next_token().ok()?;
    let whole = token.kind == TokenKind::String && token.text == text && !text.starts_with('\'');
    whole.then(|| literal::unquote(text))
}

/// A number that is the whole text.
fn parse_scalar(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    let value = literal::parse_number(unsigned).ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}
