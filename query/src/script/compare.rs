//! Whether a result is the expected one.

use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{FloatHistogram, LabelSet, TimestampMs};
use pharos_promql::script::{Annotations, Eval, EvalTime, Expected, ExpectedSeries};
use pharos_promql::series::SequenceValue;

use crate::value::{Point, Series, Value, VectorElement};

/// Relative difference of floats that count as equal.
const EPSILON: f64 = 1e-6;

/// What was expected and what came instead.
#[derive(Debug)]
pub(super) struct Difference {
    pub expected: String,
    pub got: String,
}

impl Difference {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: got.into() }
    }
}

/// Compares a value with what the script expects.
pub(super) fn value(eval: &Eval, value: &Value) -> Result<(), Difference> {
    match (&eval.expected, value) {
        (Expected::Scalar(expected), Value::Scalar(sample)) => {
            let same = almost_equal(*expected, sample.value);
            same.then_some(()).ok_or_else(|| Difference::new(expected.to_string(), sample.value.to_string()))
        }
        (Expected::String(expected), Value::String { text, .. }) => {
            let expected = String::from_utf8_lossy(expected);
            (expected == text.as_str()).then_some(()).ok_or_else(|| Difference::new(expected.clone(), text))
        }
        (Expected::Series(expected), Value::Vector(elements)) => vector(expected, elements, eval.ordered),
        (Expected::Series(expected), Value::Matrix(series)) => {
            let (start_ms, step_ms) = match eval.time {
                EvalTime::Instant { at_ms } => (at_ms, 0),
                EvalTime::Range { start_ms, step_ms, .. } => (start_ms, step_ms),
            };
            matrix(expected, series, start_ms, step_ms)
        }
        (Expected::RangeVector { start_ms, step_ms, series: expected, .. }, Value::Matrix(series)) => {
            matrix(expected, series, *start_ms, *step_ms)
        }
        (expected, got) => Err(Difference::new(kind_of_expected(expected), kind_of(got))),
    }
}

fn kind_of_expected(expected: &Expected) -> &'static str {
    match expected {
        Expected::Series(_) => "a vector or matrix",
        Expected::RangeVector { .. } => "a range vector",
        Expected::Scalar(_) => "a scalar",
        Expected::String(_) => "a string",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Scalar(_) => "a scalar",
        Value::String { .. } => "a string",
        Value::Vector(_) => "a vector",
        Value::Matrix(_) => "a matrix",
    }
}

/// Compares an instant vector.
pub(super) fn vector(expected: &[ExpectedSeries], elements: &[VectorElement], ordered: bool) -> Result<(), Difference> {
    for (place, element) in (1..).zip(elements) {
        let got = || format!("{} {}", element.labels, show_point(&element.point));
        let Some(series) = expected.iter().rfind(|series| series.labels == element.labels) else {
            return Err(Difference::new("no such series", got()));
        };
        if ordered && series.position != place {
            return Err(Difference::new(
                format!("{} at place {}", series.labels, series.position),
                format!("it at place {place}"),
            ));
        }
        // Without a value it is 0, as upstream's runner has it.
        let value = series.values.first().unwrap_or(&SequenceValue::Float(0.0));
        if !is_expected(value, &element.point) {
            return Err(Difference::new(format!("{} {}", series.labels, show_expected(value)), got()));
        }
    }
    all_found(expected, |labels| elements.iter().any(|element| element.labels == *labels))
}

fn matrix(expected: &[ExpectedSeries], got: &[Series], start_ms: TimestampMs, step_ms: i64) -> Result<(), Difference> {
    if !got.is_sorted_by(|a, b| a.labels <= b.labels) {
        return Err(Difference::new("series sorted by labels", "another order"));
    }
    for series in got {
        let points = points_of(series);
        let show_got = || {
            let points: Vec<String> = points.iter().map(|(ts, point)| format!("{}@{ts}", show_point(point))).collect();
            format!("{} {}", series.labels, points.join(" "))
        };
        let Some(own) = expected.iter().rfind(|expected| expected.labels == series.labels) else {
            return Err(Difference::new("no such series", show_got()));
        };
        let wanted: Vec<(TimestampMs, &SequenceValue)> = (0i64..)
            .zip(&own.values)
            .filter(|(_, value)| !matches!(value, SequenceValue::Omitted))
            .map(|(i, value)| (start_ms + i * step_ms, value))
            .collect();
        let same = wanted.len() == points.len()
            && wanted.iter().zip(&points).all(|((at, value), (ts, point))| at == ts && is_expected(value, point));
        if !same {
            let wanted: Vec<String> =
                wanted.iter().map(|(ts, value)| format!("{}@{ts}", show_expected(value))).collect();
            return Err(Difference::new(format!("{} {}", own.labels, wanted.join(" ")), show_got()));
        }
    }
    all_found(expected, |labels| got.iter().any(|series| series.labels == *labels))
}

/// The samples of both kinds by time.
fn points_of(series: &Series) -> Vec<(TimestampMs, Point)> {
    let floats = series.samples.iter().map(|sample| (sample.ts, Point::Float(sample.value)));
    let histograms =
        series.histograms.iter().map(|sample| (sample.ts, Point::Histogram(Arc::clone(&sample.histogram))));
    let mut points: Vec<_> = floats.chain(histograms).collect();
    points.sort_by_key(|(ts, _)| *ts);
    points
}

/// Floats within [`EPSILON`]; histograms too, and with the same hint if one was written down.
fn is_expected(expected: &SequenceValue, got: &Point) -> bool {
    match (expected, got) {
        (SequenceValue::Float(expected), Point::Float(got)) => almost_equal(*expected, *got),
        (SequenceValue::Histogram { histogram, hint_given }, Point::Histogram(got)) => {
            let same_hint = histogram.counter_reset_hint == got.counter_reset_hint;
            histogram.almost_equals(got, EPSILON) && (same_hint || !hint_given)
        }
        _ => false,
    }
}

fn show_expected(value: &SequenceValue) -> String {
    match value {
        SequenceValue::Omitted => "_".into(),
        SequenceValue::Float(value) => value.to_string(),
        SequenceValue::Histogram { histogram, hint_given: false } => histogram.to_string(),
        SequenceValue::Histogram { histogram, .. } => show_with_hint(histogram),
    }
}

fn show_point(point: &Point) -> String {
    match point {
        Point::Float(value) => value.to_string(),
        Point::Histogram(histogram) => show_with_hint(histogram),
    }
}

fn show_with_hint(histogram: &FloatHistogram) -> String {
    format!("{histogram}/{:?}", histogram.counter_reset_hint)
}

fn all_found(expected: &[ExpectedSeries], found: impl Fn(&LabelSet) -> bool) -> Result<(), Difference> {
    match expected.iter().find(|series| !found(&series.labels)) {
        Some(missing) => Err(Difference::new(format!("{} {:?}", missing.labels, missing.values), "nothing")),
        None => Ok(()),
    }
}

/// Compares warnings or infos with what the script expects.
pub(super) fn annotations(kind: &str, expected: &Annotations, got: &[String]) -> Result<(), Difference> {
    let shown = || format!("{got:?}");
    if expected.some && got.is_empty() {
        return Err(Difference::new(format!("some {kind}"), "none"));
    }
    if expected.none && !got.is_empty() {
        return Err(Difference::new(format!("no {kind}"), shown()));
    }
    if expected.texts.is_empty() {
        return Ok(());
    }
    for text in &expected.texts {
        if !got.iter().any(|got| text.matches(got)) {
            return Err(Difference::new(format!("{kind} {text:?}"), shown()));
        }
    }
    match got.iter().find(|got| !expected.texts.iter().any(|text| text.matches(got))) {
        Some(surplus) => Err(Difference::new(format!("no other {kind}"), surplus.as_str())),
        None => Ok(()),
    }
}

/// Equal within [`EPSILON`]; NaNs are equal, but the staleness marker only to itself.
fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
