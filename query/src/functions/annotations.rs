//! The texts of warnings and infos, as upstream words them. Without position: the operator adds it.

use pharos_model::LabelSet;
use pharos_model::histogram::quantile::NanEffect;
use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME, TYPE_LABEL, quote};
use pharos_model::number::format_g;

use crate::functions::notes::{Monotonicity, Note, Severity};

/// Endings of names that counters have.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

fn warning(argument: u8, text: String) -> Note {
    Note { severity: Severity::Warning, text: format!("PromQL warning: {text}"), argument, monotonicity: None }
}

fn info(argument: u8, text: String) -> Note {
    Note { severity: Severity::Info, text: format!("PromQL info: {text}"), argument, monotonicity: None }
}

/// ` for metric name "x"`, or nothing when the name is not known.
fn for_metric(metric_name: &str) -> String {
    if metric_name.is_empty() { String::new() } else { format!(" for metric name {}", quote(metric_name)) }
}

/// A quantile that is NaN or not between 0 and 1. About the first argument; `histogram_quantiles` has more of them.
pub fn invalid_quantile(phi: f64) -> Note {
    warning(0, format!("quantile value should be between 0 and 1, got {}", format_g(phi)))
}

/// A ratio of `limit_ratio` beyond 1 or -1, and what is used instead.
pub fn invalid_ratio(ratio: f64, used: f64) -> Note {
    let text = "ratio value should be between -1 and 1";
    warning(0, format!("{text}, got {}, capping to {}", format_g(ratio), format_g(used)))
}

/// A bucket whose bound is missing or no number.
pub fn bad_bucket_label(metric_name: &str, bound: &str, argument: u8) -> Note {
    let text = format!("bucket label {} is missing or has a malformed value of {}", quote(BUCKET_LABEL), quote(bound));
    warning(argument, text + &for_metric(metric_name))
}

/// Classic buckets that were not cumulative at one step.
pub fn forced_monotonicity(metric_name: &str, details: Monotonicity, argument: u8) -> Note {
    let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
    Note { monotonicity: Some(details), ..info(argument, text.to_owned() + &for_metric(metric_name)) }
}

/// Histograms combined: the word in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

const MIXED_KINDS: &str = "encountered a mix of histograms and floats for";

/// Floats and histograms in one window of a function that needs one kind.
pub fn mixed_kinds(metric_name: &str) -> Note {
    warning(0, format!("{MIXED_KINDS} metric name {}", quote(metric_name)))
}

/// Floats and histograms in one group of an aggregation.
pub fn mixed_kinds_in_aggregation() -> Note {
    warning(0, format!("{MIXED_KINDS} aggregation"))
}

/// Exponential and custom buckets in one window or group.
pub fn mixed_schemas(metric_name: &str) -> Note {
    let text = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
    warning(0, format!("{text} {}", quote(metric_name)))
}

/// Buckets of a classic histogram and a native one with the same labels at one step.
pub fn mixed_classic_and_native(metric_name: &str, argument: u8) -> Note {
    let text = "vector contains a mix of classic and native histograms";
    warning(argument, text.to_owned() + &for_metric(metric_name))
}

/// Gauge histograms where counters are expected.
pub fn not_a_counter(metric_name: &str) -> Note {
    warning(0, format!("this native histogram metric is not a counter: {}", quote(metric_name)))
}

/// Counter histograms where gauges are expected.
pub fn not_a_gauge(metric_name: &str) -> Note {
    warning(0, format!("this native histogram metric is not a gauge: {}", quote(metric_name)))
}

/// Histograms in the window of a function of floats.
pub fn ignored_in_mixed_window(metric_name: &str) -> Note {
    let text = "ignored histograms in a range containing both floats and histograms for metric name";
    info(0, format!("{text} {}", quote(metric_name)))
}

/// Histograms in an aggregation of floats.
pub fn ignored_in_aggregation(aggregation: &str) -> Note {
    info(0, format!("ignored histogram in {aggregation} aggregation"))
}

/// Of two histograms, one says that there was a counter reset and the other that there was none.
pub fn hints_collided(operation: Operation) -> Note {
    warning(0, format!("conflicting counter resets during histogram {}", operation.as_str()))
}

/// Custom bounds that differ, brought to those that all have.
pub fn bounds_reconciled(operation: Operation) -> Note {
    info(0, format!("mismatched custom buckets were reconciled during {}", operation.as_str()))
}

/// An operator without an answer for what is on its sides, each `float` or `histogram`.
pub fn incompatible_types(left: &str, operator: &str, right: &str) -> Note {
    let text = "incompatible sample types encountered for binary operator";
    info(0, format!("{text} {}: {left} {operator} {right}", quote(operator)))
}

/// An operator between exponential and custom buckets.
pub fn incompatible_buckets(operator: &str) -> Note {
    warning(0, format!("incompatible bucket layout encountered for binary operator {operator}"))
}

/// Observations of NaN in a native histogram whose quantile is asked for.
pub fn nan_in_quantile(metric_name: &str, effect: NanEffect, argument: u8) -> Note {
    let effect = match effect {
        NanEffect::ResultIsNan => "result is NaN",
        NanEffect::SkewedHigher => "result is skewed higher",
    };
    let text = format!("input to histogram_quantile has NaN observations, {effect}");
    info(argument, text + &for_metric(metric_name))
}

/// Observations of NaN in a native histogram whose fraction is asked for.
pub fn nan_in_fraction(metric_name: &str, argument: u8) -> Note {
    let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
    info(argument, text.to_owned() + &for_metric(metric_name))
}

/// A sample whose start timestamp is before the sample that precedes it.
pub fn overlapping_start(metric_name: &str) -> Note {
    let text = "sample has start time that overlaps with previous sample timestamp for metric";
    warning(0, format!("{text} {}", quote(metric_name)))
}

/// What `rate` and `increase` say of a series that gave values and does not look like a counter: by its `__type__`
/// when types are stored as labels, else by its name. A series without a name is not judged.
pub fn counter_check(labels: &LabelSet, types_as_labels: bool) -> Option<Note> {
    let name = labels.get(METRIC_NAME)?;
    if types_as_labels {
        let metric_type = labels.get_or_empty(TYPE_LABEL);
        let text = "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
        return (!matches!(metric_type, "counter" | "histogram"))
            .then(|| info(0, format!("{text}, got {}: {}", quote(metric_type), quote(name))));
    }
    let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
    let fits = COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    (!fits).then(|| info(0, format!("{text} {}", quote(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_upstream() {
        let details = Monotonicity::at(0, 1.0, 2.0, 0.5);
        for (note, severity, text) in [
            (
                invalid_quantile(1.5),
                Severity::Warning,
                "PromQL warning: quantile value should be between 0 and 1, got 1.5",
            ),
            (
                invalid_quantile(f64::NAN),
                Severity::Warning,
                "PromQL warning: quantile value should be between 0 and 1, got NaN",
            ),
            (
                invalid_ratio(1.1, 1.0),
                Severity::Warning,
                "PromQL warning: ratio value should be between -1 and 1, got 1.1, capping to 1",
            ),
            (
                bad_bucket_label("series", "Hello \"World", 1),
                Severity::Warning,
                r#"PromQL warning: bucket label "le" is missing or has a malformed value of "Hello \"World" for metric name "series""#,
            ),
            (
                bad_bucket_label("", "", 1),
                Severity::Warning,
                r#"PromQL warning: bucket label "le" is missing or has a malformed value of """#,
            ),
            (
                forced_monotonicity("h", details, 1),
                Severity::Info,
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"h\", from buckets 1 to 2, with a max diff of 0.5, over 1 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!((note.severity, note.to_text().as_str()), (severity, text));
        }
    }

    #[test]
    fn counters_are_told_by_name_or_by_type() {
        let series =
            |name: &str, metric_type: &str| LabelSet::from_pairs([("__name__", name), ("__type__", metric_type)]);
        let text = |labels: &LabelSet, types| counter_check(labels, types).map(|note| note.to_text());
        for name in ["a_total", "a_sum", "a_count", "a_bucket"] {
            assert_eq!(text(&series(name, ""), false), None);
        }
        assert_eq!(
            text(&series("up", "counter"), false).as_deref(),
            Some("PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\"")
        );
        assert_eq!(text(&series("up", "counter"), true), None);
        assert_eq!(text(&series("up", "histogram"), true), None);
        assert_eq!(
            text(&series("a_total", "gauge"), true).as_deref(),
            Some(
                "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \"gauge\": \"a_total\""
            )
        );
        assert_eq!(text(&LabelSet::from_pairs([("job", "x")]), false), None);
    }
}
