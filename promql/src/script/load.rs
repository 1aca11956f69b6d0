//! `load`: series and their samples, one each step from the epoch on.

use pharos_model::LabelSet;

use super::{Lines, Problem, ScriptError, duration_ms, split_word};
use crate::series::{SEQUENCE_VALUES_MAX, SequenceValue, parse_series_description};

/// Samples to add.
#[derive(Clone, Debug)]
pub struct Load {
    /// Distance of two values of a sequence; the first is at the epoch.
    pub step_ms: i64,
    /// Whether classic histograms are also to be loaded as native ones with custom buckets.
    pub with_nhcb: bool,
    /// At most one entry for a label set.
    pub series: Vec<LoadedSeries>,
}

/// One series of a [`Load`].
#[derive(Clone, Debug)]
pub struct LoadedSeries {
    pub line: usize,
    pub labels: LabelSet,
    pub values: Vec<SequenceValue>,
    /// For each value how far from its own time its start timestamp is, in milliseconds; empty when no value has one.
    pub start_offsets_ms: Vec<Option<i64>>,
}

/// Start timestamps that wait for their sample line.
struct PendingStarts {
    line: usize,
    labels: LabelSet,
    offsets: Vec<Option<i64>>,
}

pub(super) fn parse(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let (word, step) = split_word(text);
    let with_nhcb = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(ScriptError { line, problem: Problem::Load }),
    };
    if step.is_empty() {
        return Err(ScriptError { line, problem: Problem::Load });
    }
    let mut load = Load { step_ms: duration_ms(line, "step", step)?, with_nhcb, series: Vec::new() };
    let mut default_starts = Vec::new();
    let mut pending: Option<PendingStarts> = None;
    while let Some((line, text)) = lines.next_in_command() {
        if let Some((metric, sequence)) = split_start_line(text) {
            lone(pending.take())?;
            let offsets = parse_offsets(line, sequence)?;
            if metric.is_empty() {
                default_starts = offsets;
            } else {
                let labels = parse_series(line, metric)?.labels;
                pending = Some(PendingStarts { line, labels, offsets });
            }
            continue;
        }
        let description = parse_series(line, text)?;
        let samples = description.values.len();
        let start_offsets_ms = match pending.take() {
            Some(starts) if starts.labels != description.labels => return lone(Some(starts)).map(|()| load),
            Some(PendingStarts { line, offsets, .. }) if offsets.len() != samples => {
                let problem = Problem::StartTimestampCount { starts: offsets.len(), samples };
                return Err(ScriptError { line, problem });
            }
            Some(starts) => starts.offsets,
            None => default_starts.iter().copied().cycle().take(samples).collect(),
        };
        let (labels, values) = (description.labels, description.values);
        load.series.retain(|other| other.labels != labels);
        load.series.push(LoadedSeries { line, labels, values, start_offsets_ms });
    }
    lone(pending)?;
    Ok(load)
}

/// Refuses start timestamps that no sample line follows.
fn lone(pending: Option<PendingStarts>) -> Result<(), ScriptError> {
    match pending {
        Some(starts) => Err(ScriptError { line: starts.line, problem: Problem::LoneStartTimestamps }),
        None => Ok(()),
    }
}

fn parse_series(line: usize, text: &str) -> Result<crate::series::SeriesDescription, ScriptError> {
    parse_series_description(text).map_err(|errors| ScriptError { line, problem: errors.into() })
}

/// The metric and the sequence of a line of start timestamps, `metric{labels}@st sequence`.
fn split_start_line(text: &str) -> Option<(&str, &str)> {
    let (metric, sequence) = text.split_once([' ', '\t'])?;
    Some((metric.strip_suffix("@st")?, sequence))
}

/// Start timestamps relative to their samples: as the values of a series, but signed durations, and `*` repeats the last one.
fn parse_offsets(line: usize, text: &str) -> Result<Vec<Option<i64>>, ScriptError> {
    let mut offsets: Vec<Option<i64>> = Vec::new();
    for item in text.split_whitespace() {
        let invalid = |why| ScriptError { line, problem: Problem::StartTimestamp { item: item.to_owned(), why } };
        let last = offsets.iter().rev().flatten().next().copied().unwrap_or(0);
        let (count, mut offset, step) = parse_offset_item(item, last).map_err(invalid)?;
        if offsets.len().saturating_add(count) > SEQUENCE_VALUES_MAX {
            return Err(invalid("too many values"));
        }
        for _ in 0..count {
            offsets.push(offset);
            offset = offset.map(|offset| offset.saturating_add(step));
        }
    }
    Ok(offsets)
}

/// How many values an item stands for, the first of them, and the step between them.
fn parse_offset_item(item: &str, last: i64) -> Result<(usize, Option<i64>, i64), &'static str> {
    let repetition = |text: &str| match text.strip_prefix('x') {
        Some(count) => count.parse::<usize>().map_err(|_| "invalid repeat count"),
        None if text.is_empty() => Ok(0),
        None => Err("expected `x<count>`"),
    };
    if let Some(rest) = item.strip_prefix('_') {
        return match (rest.is_empty(), repetition(rest)?) {
            (true, _) => Ok((1, None, 0)),
            (false, 0) => Err("invalid repeat count"),
            (false, count) => Ok((count, None, 0)),
        };
    }
    if let Some(rest) = item.strip_prefix('*') {
        return Ok((repetition(rest)?.saturating_add(1), Some(last), 0));
    }
    let (offset, rest) = split_duration(item)?;
    if rest.starts_with(['+', '-']) {
        let (step, rest) = split_duration(rest)?;
        if rest.is_empty() {
            return Err("expected `x<count>` after the step");
        }
        return Ok((repetition(rest)?.saturating_add(1), Some(offset), step));
    }
    Ok((repetition(rest)?.saturating_add(1), Some(offset), 0))
}

/// A signed duration in milliseconds at the start of `text`, and the rest.
fn split_duration(text: &str) -> Result<(i64, &str), &'static str> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    // No unit has an `x`, which begins the count.
    let letters = unsigned.bytes().skip(digits).take_while(|b| b.is_ascii_alphabetic() && *b != b'x').count();
    let (duration, rest) = unsigned.split_at(digits + letters);
    let ms = pharos_model::duration::parse_ms(duration).map_err(|_| "invalid duration")?;
    Ok((if text.starts_with('-') { -ms } else { ms }, rest))
}
