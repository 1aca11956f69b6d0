//! The labels of a series text, parsed on demand.
//!
//! Writes bucket bounds and quantiles as Prometheus 3 stores them (`le="1"` becomes `le="1.0"`). Leaves the labels of
//! the target and relabelling to the scrape loop.

use std::borrow::Cow;

use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::number::{format_openmetrics, parse_float_checked};
use pharos_model::{LabelSetBuilder, MetricType};

use super::error::{ParseErrorKind, lossy, quote_bytes};
use crate::label_limits::LabelLimits;

/// The label of a summary's quantile.
pub(super) const QUANTILE_LABEL: &str = "quantile";

/// A label's name and value.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Undoes the escapes of a name or label value: `\"`, `\\` and `\n`; any other backslash stands for itself.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    unescape_some(text, true)
}

/// Undoes the escapes of a help text, where quotes are not escaped.
pub(super) fn unescape_help(text: &str) -> Cow<'_, str> {
    unescape_some(text, false)
}

fn unescape_some(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (plain, length) = match rest.as_bytes().get(at + 1) {
            Some(b'n') => ("\n", 2),
            Some(b'\\') => ("\\", 2),
            Some(b'"') if quotes => ("\"", 2),
            _ => ("\\", 1),
        };
        out.push_str(plain);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Bounds of a classic histogram and quantiles of a summary in OpenMetrics' form, whatever the target wrote.
pub(super) fn normalize_bound<'a>(metric_type: MetricType, name: &str, text: Cow<'a, str>) -> Cow<'a, str> {
    let is_bound = match metric_type {
        MetricType::Histogram => name == BUCKET_LABEL,
        MetricType::Summary => name == QUANTILE_LABEL,
        _ => false,
    };
    if !is_bound {
        return text;
    }
    parse_float_checked(&text).map_or(text, |bound| Cow::Owned(format_openmetrics(bound)))
}

/// Checks the labels of a series, the metric name among them, and makes them a builder. `text` is the series as the
/// target wrote it, for errors.
pub(super) fn build(
    mut pairs: Vec<Pair<'_>>,
    limits: &LabelLimits,
    text: &[u8],
) -> Result<LabelSetBuilder, ParseErrorKind> {
    if !pairs.iter().any(|(name, value)| name == METRIC_NAME && !value.is_empty()) {
        return Err(ParseErrorKind::NoName);
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(ParseErrorKind::Names(lossy(text)));
    }
    build_without_name(&mut pairs, limits)
}

/// As [`build`] for the labels of an exemplar, which has no metric name.
pub(super) fn build_without_name(
    pairs: &mut [Pair<'_>],
    limits: &LabelLimits,
) -> Result<LabelSetBuilder, ParseErrorKind> {
    limits.check(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))?;
    pairs.sort_unstable();
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(ParseErrorKind::DuplicateLabel(quote_bytes(twice[0].0.as_bytes())));
    }
    let mut builder = LabelSetBuilder::default();
    for (name, value) in pairs {
        builder.set(name, value);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_escapes_are_undone() {
        assert_eq!(unescape(r#"a\"b\\n\n\x\"#), "a\"b\\n\n\\x\\");
        assert_eq!(unescape_help(r#"a\"b\\n\n"#), "a\\\"b\\n\n");
        assert!(matches!(unescape("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn bounds_are_normalised_only_where_they_are_bounds() {
        let normal = |metric_type, name, text| normalize_bound(metric_type, name, Cow::Borrowed(text)).into_owned();
        assert_eq!(normal(MetricType::Histogram, "le", "1"), "1.0");
        assert_eq!(normal(MetricType::Histogram, "le", "+Inf"), "+Inf");
        assert_eq!(normal(MetricType::Histogram, "le", "none"), "none");
        assert_eq!(normal(MetricType::Histogram, "quantile", "1"), "1");
        assert_eq!(normal(MetricType::Summary, "quantile", "0.50"), "0.5");
        assert_eq!(normal(MetricType::Summary, "le", "1"), "1");
        assert_eq!(normal(MetricType::Unknown, "le", "1"), "1");
    }
}
