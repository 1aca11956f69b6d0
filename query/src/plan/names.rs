//! What becomes of the metric name. Prometheus has two ways, and both change what queries answer: dropping it at once, and
//! (`promql-delayed-name-removal`) marking the row so that the name goes when the query ends.

use pharos_model::LabelSet;
use pharos_model::labels::{METRIC_NAME, iter_canonical, push_label};

/// What an operator does to the name of its rows. With it go `__type__` and `__unit__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameRule {
    Keep,
    /// Remove it now.
    Drop,
    /// Mark the row.
    Mark,
}

impl NameRule {
    /// The rule of an operator that changes what a series means.
    pub fn of_change(delayed: bool) -> Self {
        if delayed { Self::Mark } else { Self::Drop }
    }

    /// Applies the rule: the labels to send (in `buffer` when they change) and the row's mark.
    pub fn apply<'a>(self, labels: &'a [u8], marked: bool, buffer: &'a mut Vec<u8>) -> (&'a [u8], bool) {
        match self {
            Self::Keep => (labels, marked),
            Self::Mark => (labels, true),
            Self::Drop => (without_metadata(labels, buffer), marked),
        }
    }
}

/// Labels that describe the metric rather than the series.
pub fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// Canonical bytes without the labels that describe the metric.
pub fn without_metadata<'a>(labels: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    // Metadata labels sort before lower-case names, so the common case ends at the first label that is none.
    if !iter_canonical(labels).any(|label| is_metadata_label(label.name)) {
        return labels;
    }
    buffer.clear();
    for label in iter_canonical(labels).filter(|label| !is_metadata_label(label.name)) {
        push_label(buffer, label.name, label.value);
    }
    buffer
}

/// A label set without the labels that describe the metric.
pub fn drop_metadata(labels: &LabelSet) -> LabelSet {
    labels.filter(|name| !is_metadata_label(name))
}
