//! Whether two answers are the same.

use pharos_model::{LabelSet, TimestampMs};
use pharos_promql::{Expr, ExprKind, FunctionId};
use pharos_query::{HistogramSample, Point, QueryError, QueryOutcome, Series, Value, VectorElement};

use crate::plain::native::{Histogram, spread};
use crate::plain::{Answer, Matrix};

/// How far values may be apart that count as equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub relative: f64,
    /// For what is left when values cancel out.
    pub absolute: f64,
}

pub(crate) const TIGHT: Tolerance = Tolerance { relative: 1e-9, absolute: 1e-18 };
/// Of histograms much is a difference of sums.
pub(crate) const NATIVE: Tolerance = Tolerance { relative: 1e-9, absolute: 1e-9 };
/// Prometheus 2.42 adds up without compensation.
pub(crate) const LOOSE: Tolerance = Tolerance { relative: 1e-6, absolute: 1e-9 };

/// An answer in one form, sorted by labels.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Series(Matrix),
    /// The texts of which one is, or begins, the error.
    Error(Vec<String>),
}

/// An answer, and what was said about it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub outcome: Outcome,
    /// With positions, sorted; figures left out.
    pub remarks: Vec<String>,
    /// In the order that the expression asks for, if it does.
    pub is_sorted: bool,
}

impl Reply {
    pub(crate) fn of_plain(answer: Answer, text: &str) -> Self {
        let outcome = match answer.value {
            Err(refusal) => Outcome::Error(refusal.0),
            Ok(matrix) => series(matrix),
        };
        Self { outcome, remarks: answer.remarks.render(text), is_sorted: true }
    }

    pub(crate) fn of_engine(result: Result<QueryOutcome, QueryError>, expr: &Expr) -> Self {
        match result {
            Err(error) => {
                let outcome = Outcome::Error(vec![error.to_string()]);
                Self { outcome, remarks: Vec::new(), is_sorted: true }
            }
            Ok(outcome) => {
                let remarks = outcome.warnings.iter().chain(&outcome.infos);
                let mut remarks: Vec<String> = remarks.map(|text| without_figures(text)).collect();
                remarks.sort();
                Self { outcome: of_value(&outcome.value), remarks, is_sorted: is_sorted(expr, &outcome.value) }
            }
        }
    }

    /// Of native histograms the plain evaluator has nothing to say.
    pub(crate) fn without_remarks(self) -> Self {
        Self { remarks: Vec::new(), ..self }
    }
}

fn of_value(value: &Value) -> Outcome {
    series(match value {
        Value::Scalar(sample) => vec![(LabelSet::empty(), vec![(sample.ts, sample.value)])],
        Value::Vector(elements) => elements.iter().flat_map(of_element).collect(),
        Value::Matrix(series) => series.iter().flat_map(of_series).collect(),
        Value::String { .. } => unreachable!("no string is asked for"),
    })
}

fn of_element(element: &VectorElement) -> Matrix {
    match &element.point {
        Point::Float(value) => vec![(element.labels.clone(), vec![(element.ts, *value)])],
        Point::Histogram(histogram) => spread(&element.labels, &[(element.ts, Histogram::from(&**histogram))]),
    }
}

/// The floats of a series, and its histograms field by field.
fn of_series(series: &Series) -> Matrix {
    let floats: Vec<(TimestampMs, f64)> = series.samples.iter().map(|sample| (sample.ts, sample.value)).collect();
    let of = |sample: &HistogramSample| (sample.ts, Histogram::from(&*sample.histogram));
    let mut all = spread(&series.labels, &series.histograms.iter().map(of).collect::<Vec<_>>());
    if !floats.is_empty() {
        all.push((series.labels.clone(), floats));
    }
    all
}

/// Sorts by labels.
pub(crate) fn series(mut list: Matrix) -> Outcome {
    list.sort_by(|a, b| a.0.cmp(&b.0));
    Outcome::Series(list)
}

/// A remark without the figures that grow from step to step. The place of one with figures goes too: for
/// `histogram_quantiles` upstream names that of the label, where the buckets are meant.
fn without_figures(text: &str) -> String {
    text.find(", from buckets ").map_or(text, |figures| &text[..figures]).to_owned()
}

/// The first difference, as expected and got; `None` when the replies are the same.
pub(crate) fn difference(expected: &Reply, got: &Reply, tolerance: Tolerance) -> Option<(String, String)> {
    if let Some(found) = outcomes(&expected.outcome, &got.outcome, tolerance) {
        return Some(found);
    }
    if !got.is_sorted {
        return Some(("sorted values".into(), show(&got.outcome)));
    }
    let is_answer = matches!(expected.outcome, Outcome::Series(_));
    let differ = is_answer && expected.remarks != got.remarks;
    differ.then(|| (format!("{:#?}", expected.remarks), format!("{:#?}", got.remarks)))
}

/// As [`difference`], of the answers alone.
pub(crate) fn outcomes(expected: &Outcome, got: &Outcome, tolerance: Tolerance) -> Option<(String, String)> {
    match (expected, got) {
        (Outcome::Error(texts), Outcome::Error(got)) => {
            let is_one = texts.iter().any(|text| got.iter().any(|got| got.starts_with(text.as_str())));
            (!is_one).then(|| (format!("error {texts:?}"), format!("error {got:?}")))
        }
        (Outcome::Series(series), Outcome::Series(got)) => {
            let labels = |list: &Matrix| -> Vec<LabelSet> { list.iter().map(|(labels, _)| labels.clone()).collect() };
            if labels(series) != labels(got) {
                return Some((show(expected), show(&Outcome::Series(got.clone()))));
            }
            let differing = series.iter().zip(got).find(|(a, b)| !same_samples(&a.1, &b.1, tolerance))?;
            Some((show_series(differing.0), show_series(differing.1)))
        }
        (expected, got) => Some((show(expected), show(got))),
    }
}

/// Whether an instant vector is in the order that its expression asks for.
fn is_sorted(expr: &Expr, value: &Value) -> bool {
    let (ExprKind::Call(call), Value::Vector(elements)) = (&expr.kind, value) else { return true };
    let ascends = |a: f64, b: f64| b.is_nan() || a <= b;
    elements.windows(2).all(|pair| {
        // Histograms are not sorted.
        let (Point::Float(a), Point::Float(b)) = (&pair[0].point, &pair[1].point) else { return true };
        let (a, b) = (*a, *b);
        match call.function.id {
            FunctionId::Sort => ascends(a, b),
            FunctionId::SortDesc => ascends(-a, -b),
            _ => true,
        }
    })
}

fn same_samples(a: &[(TimestampMs, f64)], b: &[(TimestampMs, f64)], tolerance: Tolerance) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1, tolerance))
}

fn almost_equal(a: f64, b: f64, tolerance: Tolerance) -> bool {
    let allowed = tolerance.absolute.max(tolerance.relative * a.abs().max(b.abs()));
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed
}

fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Error(texts) => format!("error {texts:?}"),
        Outcome::Series(list) if list.is_empty() => "nothing".into(),
        Outcome::Series(list) => list.iter().map(show_series).collect::<Vec<String>>().join("\n"),
    }
}

fn show_series((labels, samples): &(LabelSet, Vec<(TimestampMs, f64)>)) -> String {
    let samples: Vec<String> = samples.iter().map(|(ts, value)| format!("{value}@{ts}")).collect();
    format!("{labels} {}", samples.join(" "))
}
