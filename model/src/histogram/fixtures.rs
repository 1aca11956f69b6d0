//! Histograms for tests, in few words.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};

/// Spans, and the buckets of all of them, from the offset and the counts of each span.
pub(super) fn side(runs: &[(i32, &[f64])]) -> (Vec<Span>, Vec<f64>) {
    let spans = runs.iter().map(|&(offset, counts)| Span { offset, length: counts.len() as u32 }).collect();
    (spans, runs.iter().flat_map(|(_, counts)| counts.iter().copied()).collect())
}

/// Positive buckets, and as many observations as they count.
pub(super) fn exponential(schema: i32, runs: &[(i32, &[f64])]) -> FloatHistogram {
    let (positive_spans, positive_buckets) = side(runs);
    let count = positive_buckets.iter().sum();
    FloatHistogram { schema, count, positive_spans, positive_buckets, ..FloatHistogram::default() }
}

/// Custom buckets from the first bound on, and as many observations as they count.
pub(super) fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
    FloatHistogram { custom_values: bounds.to_vec(), ..exponential(CUSTOM_BUCKETS_SCHEMA, &[(0, counts)]) }
}

impl FloatHistogram {
    pub(super) fn with_zero(self, zero_threshold: f64, zero_count: f64) -> Self {
        Self { zero_threshold, zero_count, count: self.count + zero_count, ..self }
    }

    pub(super) fn with_negative(self, runs: &[(i32, &[f64])]) -> Self {
        let (negative_spans, negative_buckets) = side(runs);
        let count = self.count + negative_buckets.iter().sum::<f64>();
        Self { negative_spans, negative_buckets, count, ..self }
    }

    pub(super) fn with_sum(self, sum: f64) -> Self {
        Self { sum, ..self }
    }

    pub(super) fn with_hint(self, counter_reset_hint: super::CounterResetHint) -> Self {
        Self { counter_reset_hint, ..self }
    }
}
