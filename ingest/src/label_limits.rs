//! Ceilings on what one series may carry, whichever way it comes in.

use pharos_model::labels::{METRIC_NAME, quote};

/// Limits of one label set; a limit of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelLimits {
    /// Labels of a series, the metric name counted.
    pub labels_max: usize,
    pub name_bytes_max: usize,
    pub value_bytes_max: usize,
    /// Names and values of a series together.
    pub set_bytes_max: usize,
}

/// A label set beyond a limit. Texts and names of limits are Prometheus' where it has them; it has none for a whole set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelLimitError {
    #[error("label_limit exceeded (metric: {metric}, number of labels: {labels}, limit: {limit})")]
    Labels { metric: String, labels: usize, limit: usize },
    #[error("label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {bytes}, limit: {limit})")]
    Name { metric: String, name: String, bytes: usize, limit: usize },
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {}, length: {bytes}, limit: {limit})",
        quote(value)
    )]
    Value { metric: String, name: String, value: String, bytes: usize, limit: usize },
    #[error("label set is too long (metric: {metric}, length: {bytes}, limit: {limit})")]
    Set { metric: String, bytes: usize, limit: usize },
}

impl LabelLimits {
    /// What no series may pass, whatever is configured: far beyond honest use, and small enough that a hostile sender
    /// cannot fill an index with a few samples, nor a log entry with one series.
    pub const CEILING: Self =
        Self { labels_max: 512, name_bytes_max: 4 << 10, value_bytes_max: 64 << 10, set_bytes_max: 128 << 10 };

    /// Each limit or this ceiling's, whichever is lower.
    pub fn within_ceiling(self) -> Self {
        let lower = |limit: usize, ceiling: usize| if limit == 0 { ceiling } else { limit.min(ceiling) };
        Self {
            labels_max: lower(self.labels_max, Self::CEILING.labels_max),
            name_bytes_max: lower(self.name_bytes_max, Self::CEILING.name_bytes_max),
            value_bytes_max: lower(self.value_bytes_max, Self::CEILING.value_bytes_max),
            set_bytes_max: lower(self.set_bytes_max, Self::CEILING.set_bytes_max),
        }
    }

    /// Whether a series may have this many labels. A reader need not collect more.
    pub fn allows_labels(&self, labels: usize) -> bool {
        self.labels_max == 0 || labels <= self.labels_max
    }

    /// Checks the number of labels alone.
    pub fn check_count<'a>(&self, labels: usize, metric: impl FnOnce() -> &'a str) -> Result<(), LabelLimitError> {
        if self.allows_labels(labels) {
            return Ok(());
        }
        Err(LabelLimitError::Labels { metric: shorten(metric()), labels, limit: self.labels_max })
    }

    /// Checks the labels of one series, the metric name among them.
    pub fn check<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Result<(), LabelLimitError> {
        let exceeds = |bytes: usize, limit: usize| limit > 0 && bytes > limit;
        let full_metric = || labels.clone().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value);
        let metric = || shorten(full_metric());
        self.check_count(labels.clone().count(), full_metric)?;
        let mut set_bytes = 0;
        for (name, value) in labels.clone() {
            set_bytes += name.len() + value.len();
            if exceeds(name.len(), self.name_bytes_max) {
                let (bytes, limit) = (name.len(), self.name_bytes_max);
                return Err(LabelLimitError::Name { metric: metric(), name: shorten(name), bytes, limit });
            }
            if exceeds(value.len(), self.value_bytes_max) {
                return Err(LabelLimitError::Value {
                    metric: metric(),
                    name: shorten(name),
                    value: shorten(value),
                    bytes: value.len(),
                    limit: self.value_bytes_max,
                });
            }
        }
        if exceeds(set_bytes, self.set_bytes_max) {
            return Err(LabelLimitError::Set { metric: metric(), bytes: set_bytes, limit: self.set_bytes_max });
        }
        Ok(())
    }
}

/// The first 50 characters, as Prometheus prints them in these errors.
fn shorten(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named_with_its_offender() {
        let limits = LabelLimits { labels_max: 2, name_bytes_max: 8, value_bytes_max: 4, set_bytes_max: 15 };
        let check = |labels: &[(&str, &str)]| limits.check(labels.iter().copied()).map_err(|e| e.to_string());
        assert_eq!(check(&[("__name__", "up"), ("a", "1234")]), Ok(()));
        for (labels, error) in [
            (
                &[("__name__", "up"), ("a", "1"), ("b", "1")][..],
                "label_limit exceeded (metric: up, number of labels: 3, limit: 2)",
            ),
            (
                &[("__name__", "up"), ("namenamename", "1")],
                "label_name_length_limit exceeded (metric: up, label name: namenamename, length: 12, limit: 8)",
            ),
            (
                &[("__name__", "up"), ("a", "12\"45")],
                r#"label_value_length_limit exceeded (metric: up, label name: a, value: "12\"45", length: 5, limit: 4)"#,
            ),
            (&[("__name__", "up"), ("ab", "1234")], "label set is too long (metric: up, length: 16, limit: 15)"),
        ] {
            assert_eq!(check(labels), Err(error.to_owned()));
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = LabelLimits { labels_max: 0, name_bytes_max: 0, value_bytes_max: 0, set_bytes_max: 0 };
        let long = "x".repeat(1 << 20);
        assert_eq!(limits.check([(long.as_str(), long.as_str())].into_iter()), Ok(()));
    }
}
