//! What becomes of the metric name. Prometheus has two ways, and both change what queries answer: dropping it at once, and
//! (`promql-delayed-name-removal`) marking the row so that the name goes when the query ends.

use pharos_model::LabelSet;
use pharos_model::labels::{EncodedLabel, METRIC_NAME, TYPE_LABEL, UNIT_LABEL, iter_encoded};

/// What an operator does to the name of its rows. With it go `__type__` and `__unit__`, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameRule {
    Keep,
    /// Remove it now.
    Drop,
    /// Remove it now and leave type and unit, as Prometheus does where count, sum or spread of histograms is asked for.
    DropNameAlone,
    /// Mark the row.
    Mark,
}

impl NameRule {
    /// The rule of an operator that changes what a series means.
    pub fn of_change(delayed: bool) -> Self {
        if delayed { Self::Mark } else { Self::Drop }
    }

    /// As [`Self::of_change`], where type and unit stay.
    pub fn of_histogram_stat(delayed: bool) -> Self {
        if delayed { Self::Mark } else { Self::DropNameAlone }
    }

    /// Whether rows that differ in their names alone become equal.
    pub fn drops(self) -> bool {
        matches!(self, Self::Drop | Self::DropNameAlone)
    }

    /// Applies the rule: the labels to send (in `buffer` when they change) and the row's mark.
    pub fn apply<'a>(self, labels: &'a [u8], marked: bool, buffer: &'a mut Vec<u8>) -> (&'a [u8], bool) {
        match self {
            Self::Keep => (labels, marked),
            Self::Mark => (labels, true),
            Self::Drop => (without_metadata(labels, buffer), marked),
            Self::DropNameAlone => (without(labels, buffer, |name| name == METRIC_NAME.as_bytes()), marked),
        }
    }
}

/// Labels that describe the metric rather than the series, in order.
pub const METADATA_LABELS: [&str; 3] = [METRIC_NAME, TYPE_LABEL, LAST_METADATA];
const LAST_METADATA: &str = UNIT_LABEL;

/// Whether a label describes the metric rather than the series.
pub fn is_metadata_label(name: &str) -> bool {
    METADATA_LABELS.contains(&name)
}

/// Canonical bytes without the labels that describe the metric.
pub fn without_metadata<'a>(labels: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    without(labels, buffer, |name| METADATA_LABELS.iter().any(|metadata| metadata.as_bytes() == name))
}

/// Canonical bytes without some of the labels that describe the metric.
fn without<'a>(labels: &'a [u8], buffer: &'a mut Vec<u8>, goes: impl Fn(&[u8]) -> bool) -> &'a [u8] {
    let goes = |label: &EncodedLabel<'_>| goes(label.name);
    // The name mostly comes first, and what follows is the answer as it lies there.
    let leading = iter_encoded(labels).take_while(goes).map(|label| label.encoded.len()).sum();
    let rest = &labels[leading..];
    // Labels are in the order of their names: after the last that may go, none does.
    if !iter_encoded(rest).take_while(|label| label.name <= LAST_METADATA.as_bytes()).any(|label| goes(&label)) {
        return rest;
    }
    buffer.clear();
    for label in iter_encoded(rest).filter(|label| !goes(label)) {
        buffer.extend_from_slice(label.encoded);
    }
    buffer
}

/// A label set without the labels that describe the metric.
pub fn drop_metadata(labels: &LabelSet) -> LabelSet {
    labels.filter(|name| !is_metadata_label(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_goes_wherever_it_stands() {
        for (labels, want) in [
            (vec![("__name__", "m"), ("a", "1")], vec![("a", "1")]),
            (vec![("A", "0"), ("__name__", "m"), ("__type__", "gauge"), ("a", "1")], vec![("A", "0"), ("a", "1")]),
            (vec![("__name__", "m"), ("__o__", "2"), ("__type__", "gauge"), ("__unit__", "s")], vec![("__o__", "2")]),
            (vec![("a", "1")], vec![("a", "1")]),
            (vec![("__name__", "m")], vec![]),
            (vec![], vec![]),
        ] {
            let (labels, want) = (LabelSet::from_pairs(labels), LabelSet::from_pairs(want));
            assert_eq!(without_metadata(labels.as_bytes(), &mut Vec::new()), want.as_bytes(), "{labels}");
            assert_eq!(drop_metadata(&labels), want);
        }
    }
}
