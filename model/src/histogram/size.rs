//! What a histogram weighs against the limit of samples in a query.

use super::{FloatHistogram, Span};

/// What Prometheus' struct takes without its spans and buckets.
const FIXED_BYTES: usize = 168;
/// A float sample: timestamp and value.
const FLOAT_SAMPLE_BYTES: usize = 16;
const TIMESTAMP_BYTES: usize = 8;

impl FloatHistogram {
    /// Bytes that Prometheus counts for a histogram (`FloatHistogram.Size`). The memory that it takes here is near that, not
    /// equal; limits have to mean the same in both.
    pub fn size_bytes(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let values = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        FIXED_BYTES + spans * size_of::<Span>() + values * size_of::<f64>()
    }

    /// How many float samples a histogram counts as, with its timestamp, against the most samples of a query (`HPoint.size`).
    /// In an instant vector Prometheus counts [`Self::size_bytes`] divided by 16 and one more (`Vector.TotalSamples`).
    pub fn size_in_samples(&self) -> usize {
        (self.size_bytes() + TIMESTAMP_BYTES) / FLOAT_SAMPLE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    #[test]
    fn sizes_are_those_of_prometheus() {
        assert_eq!(FloatHistogram::default().size_bytes(), 168);
        assert_eq!(FloatHistogram::default().size_in_samples(), 11);
        let runs: [(i32, &[f64]); 2] = [(-2, &[1.0]), (2, &[3.3, 4.2, 0.1])];
        let large = exponential(1, &runs).with_negative(&runs);
        assert_eq!(large.size_bytes(), 168 + 4 * 8 + 8 * 8);
        assert_eq!(large.size_in_samples(), 17);
        assert_eq!(custom(&[1.0, 2.0], &[1.0]).size_bytes(), 168 + 8 + 8 + 16);
    }
}
