//! When two histograms are the same: for PromQL's `==`, and for the expectations of test scripts.

use super::FloatHistogram;
use super::spans::spans_match;
use crate::sample::is_stale;

impl FloatHistogram {
    /// Whether both hold the same data: same layout, empty buckets included, and the same bits in all counts and the sum, so
    /// that NaNs compare. The hint is not data. What PromQL's `==`, `!=` and `changes` go by, for histograms that
    /// are compact. As Prometheus' `FloatHistogram.Equals`.
    pub fn has_same_data(&self, other: &Self) -> bool {
        self.matches(other, |a, b| a.to_bits() == b.to_bits())
    }

    /// Whether both are the same after compaction, with counts and sums that differ by less than `epsilon` times the sum of
    /// their magnitudes. Hints are left to the caller, since an expectation need not give one. As `compareNativeHistogram`
    /// of Prometheus' script runner.
    pub fn almost_equals(&self, other: &Self, epsilon: f64) -> bool {
        let [a, b] = [self, other].map(|histogram| {
            let mut compact = histogram.clone();
            compact.compact();
            compact
        });
        a.matches(&b, |a, b| almost_equal(a, b, epsilon))
    }

    fn matches(&self, other: &Self, equal: impl Fn(f64, f64) -> bool) -> bool {
        let all_equal = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(*a, *b));
        self.schema == other.schema
            && equal(self.count, other.count)
            && equal(self.sum, other.sum)
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && equal(self.zero_count, other.zero_count)
            && spans_match(&self.negative_spans, &other.negative_spans)
            && all_equal(&self.negative_buckets, &other.negative_buckets)
            && spans_match(&self.positive_spans, &other.positive_spans)
            && all_equal(&self.positive_buckets, &other.positive_buckets)
    }
}

/// As Prometheus' `almost.Equal`: a staleness marker equals only another one, other NaNs equal each other.
fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (magnitude, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || magnitude < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / magnitude.min(f64::MAX) < epsilon
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CounterResetHint;
    use crate::histogram::fixtures::{custom, exponential};
    use crate::sample::stale_nan;

    #[test]
    fn data_is_equal_by_its_bits_and_layout() {
        let histogram = exponential(0, &[(1, &[1.0]), (1, &[2.0])]).with_sum(f64::NAN);
        assert!(histogram.has_same_data(&histogram.clone().with_hint(CounterResetHint::Gauge)));
        assert!(!histogram.has_same_data(&histogram.clone().with_sum(stale_nan())));
        assert!(histogram.has_same_data(&exponential(0, &[(1, &[1.0]), (0, &[]), (1, &[2.0])]).with_sum(f64::NAN)));
        // An empty bucket makes another layout, so does a seam within a span.
        assert!(!histogram.has_same_data(&exponential(0, &[(1, &[1.0, 0.0, 2.0])]).with_sum(f64::NAN)));
        assert!(!exponential(0, &[(1, &[1.0, 2.0])]).has_same_data(&exponential(0, &[(1, &[1.0]), (0, &[2.0])])));
        assert!(!custom(&[1.0], &[1.0]).has_same_data(&custom(&[2.0], &[1.0])));
    }

    #[test]
    fn expectations_are_compared_when_compact_and_within_epsilon() {
        let histogram = exponential(0, &[(1, &[1.0]), (1, &[2.0])]).with_sum(f64::NAN);
        let loose = exponential(0, &[(0, &[0.0, 1.0 + 1e-7, 0.0, 2.0])]).with_sum(stale_nan());
        assert!(!histogram.almost_equals(&loose, 1e-6));
        assert!(histogram.almost_equals(&loose.clone().with_sum(-f64::NAN), 1e-6));
        assert!(!histogram.almost_equals(&loose.with_sum(f64::NAN), 1e-8));
        assert!(!histogram.almost_equals(&histogram.clone().with_zero(1e-9, 0.0), 1e-6));
    }

    #[test]
    fn nothing_is_close_to_zero() {
        assert!(!almost_equal(0.0, 1e-300, 1e-6));
        assert!(almost_equal(0.0, 1e-320, 1e-6));
        assert!(almost_equal(f64::INFINITY, f64::INFINITY, 1e-6));
        assert!(!almost_equal(f64::INFINITY, f64::MAX, 1e-6));
    }
}
