//! What an operator is called and what it does, as `explain` shows it.

use std::fmt;

use pharos_model::duration::format_ms;
use pharos_model::labels::quote;

use super::op::{Float, Grouping, HistogramCall, MapFunction, Op, Param, Read, Relabel, ScalarFunction, Scan, SortBy};
use super::time::TimeShift;

impl Op {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant(_) => "Constant",
            Self::Time => "Time",
            Self::Values(_) => "Values",
            Self::Empty => "Empty",
            Self::Raw { .. } => "Samples",
            Self::Scan(_) => "Scan",
            Self::RangeOverSubquery { .. } => "RangeOverSubquery",
            Self::Map { .. } => "Map",
            Self::Relabel(_) => "Relabel",
            Self::Merge { .. } => "Merge",
            Self::ScalarBinary(_) => "ScalarBinary",
            Self::ScalarOf => "ScalarOf",
            Self::VectorOf => "VectorOf",
            Self::Aggregate { .. } => "Aggregate",
            Self::AggregateK { .. } => "AggregateK",
            Self::Quantile { .. } => "Quantile",
            Self::CountValues { .. } => "CountValues",
            Self::Match { .. } => "Match",
            Self::Set { .. } => "Set",
            Self::Histogram { .. } => "Histogram",
            Self::Absent { .. } => "Absent",
            Self::Info(_) => "Info",
            Self::Sort(_) => "Sort",
            Self::Repeat => "Repeat",
            Self::Share(_) => "Share",
        }
    }

    /// What the name leaves open; empty where that is nothing.
    pub fn detail(&self) -> String {
        match self {
            Self::Time | Self::Empty | Self::ScalarOf | Self::VectorOf | Self::Info(_) | Self::Repeat => String::new(),
            Self::Constant(value) => value.to_string(),
            Self::Values(values) => format!("{} known before", values.len()),
            Self::Scan(scan) => scan.to_string(),
            Self::Raw { selector, range } => format!("[{}]{}", format_ms(range.range_ms), selector.shift),
            Self::RangeOverSubquery { window, call, .. } => {
                let (range, step) = (format_ms(window.range_ms), format_ms(window.step_ms));
                format!("{}[{range}:{step}]{}", snake(call.function), window.shift)
            }
            Self::Map { function, .. } => function.to_string(),
            Self::Relabel(Relabel::Replace { destination, .. }) => format!("label_replace to {}", quote(destination)),
            Self::Relabel(Relabel::Join { destination, .. }) => format!("label_join to {}", quote(destination)),
            Self::Merge { strict: true } => "rows have different labels".into(),
            Self::Merge { strict: false } => "rows of equal labels become one".into(),
            Self::ScalarBinary(ScalarFunction::Operator(op)) => op.as_str().into(),
            Self::ScalarBinary(function) => snake(function),
            Self::Aggregate { kind, grouping } => format!("{} {grouping}", snake(kind)),
            Self::AggregateK { kind, grouping, k, .. } => format!("{}({k}) {grouping}", snake(kind)),
            Self::Quantile { grouping, phi, .. } => format!("quantile({phi}) {grouping}"),
            Self::CountValues { grouping, label } => format!("{} {grouping}", quote(label)),
            Self::Match { op, matching, .. } => {
                format!("{} {} {}", op.as_str(), matching.card.as_str(), as_matching(&matching.on))
            }
            Self::Set { op, grouping } => format!("{} {}", snake(op), as_matching(grouping)),
            Self::Histogram { call: HistogramCall::Quantiles { label }, .. } => {
                format!("quantiles to {}", quote(label))
            }
            Self::Histogram { call, .. } => snake(call),
            Self::Absent { labels } => labels.to_string(),
            Self::Share(share) => format!("#{} place {} of {}", share.id, share.place + 1, share.places),
            Self::Sort(SortBy::Value { descending }) => format!("by value{}", down(*descending)),
            Self::Sort(SortBy::Labels { names, descending }) => format!("by {}{}", names.join(", "), down(*descending)),
        }
    }
}

/// Name and detail in one line.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail();
        f.write_str(self.name())?;
        if detail.is_empty() { Ok(()) } else { write!(f, " {detail}") }
    }
}

/// A selector with what is made of its samples: `rate {__name__="x"}[5m] offset 1m`.
impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.read {
            Read::Instant { .. } => {}
            Read::SampleTime { .. } | Read::FloatTime { .. } => f.write_str("time of ")?,
            Read::StartTime { .. } => f.write_str("start of ")?,
            Read::Smoothed { .. } => f.write_str("smoothed ")?,
            Read::Range { call, .. } => write!(f, "{} ", snake(call.function))?,
        }
        f.write_str("{")?;
        for (i, matcher) in self.selector.matchers.iter().enumerate() {
            write!(f, "{}{matcher}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("}")?;
        if let Read::Range { range_ms, .. } = &self.read {
            write!(f, "[{}]", format_ms(*range_ms))?;
        }
        write!(f, "{}", self.selector.shift)
    }
}

/// As PromQL writes it behind a selector, space before.
impl fmt::Display for TimeShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset_ms != 0 {
            let sign = if self.offset_ms < 0 { "-" } else { "" };
            write!(f, " offset {sign}{}", format_ms(self.offset_ms.saturating_abs()))?;
        }
        self.at.map_or(Ok(()), |at| write!(f, " @ {}", at as f64 / 1000.0))
    }
}

impl fmt::Display for MapFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negate => f.write_str("-"),
            Self::Math(function) => f.write_str(&snake(function)),
            Self::Date(part) => f.write_str(&snake(part)),
            Self::EvaluationTime => f.write_str("evaluation time"),
            Self::HistogramStat(stat) => f.write_str(&snake(stat)),
            Self::WithScalar { op, scalar_left, return_bool } => {
                let (left, right) = if *scalar_left { ("scalar", "vector") } else { ("vector", "scalar") };
                write!(f, "{left} {}{} {right}", op.as_str(), if *return_bool { " bool" } else { "" })
            }
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => value.fmt(f),
            Self::Input(_) => f.write_str("…"),
        }
    }
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.labels.join(", "))
    }
}

fn as_matching(grouping: &Grouping) -> String {
    format!("{} ({})", if grouping.without { "ignoring" } else { "on" }, grouping.labels.join(", "))
}

fn down(descending: bool) -> &'static str {
    if descending { ", descending" } else { "" }
}

/// `AvgOverTime` as PromQL has it: `avg_over_time`.
fn snake(name: impl fmt::Debug) -> String {
    let mut out = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
