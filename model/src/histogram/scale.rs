//! Histograms times and divided by a number.

use super::{CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Multiplies all counts and the sum. A negative factor makes it a gauge. Not compacted. As Prometheus'
    /// `FloatHistogram.Mul`.
    pub fn mul(&mut self, factor: f64) {
        self.for_each_value(|value| *value *= factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum. A negative divisor makes it a gauge; zero leaves totals and zero count that are
    /// infinite or NaN, and no buckets. Not compacted. As Prometheus' `FloatHistogram.Div`.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.negative_spans.clear();
            self.positive_buckets.clear();
            self.negative_buckets.clear();
        }
        self.for_each_value(|value| *value /= divisor);
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn for_each_value(&mut self, mut change: impl FnMut(&mut f64)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&mut change);
        self.positive_buckets.iter_mut().chain(&mut self.negative_buckets).for_each(change);
    }

    /// Whether a total, a count or a custom bound is infinite. As Prometheus' `FloatHistogram.HasOverflow`.
    pub fn has_overflow(&self) -> bool {
        self.any_value(f64::is_infinite)
    }

    pub(super) fn any_value(&self, is_it: impl Fn(f64) -> bool) -> bool {
        let totals = [self.zero_count, self.count, self.sum];
        let counts = self.positive_buckets.iter().chain(&self.negative_buckets).chain(&self.custom_values);
        totals.iter().chain(counts).any(|value| is_it(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    fn sample() -> FloatHistogram {
        exponential(0, &[(0, &[1.0, 2.0])]).with_negative(&[(1, &[4.0])]).with_zero(0.1, 8.0).with_sum(-3.0)
    }

    #[test]
    fn counts_and_sum_scale_and_bounds_stay() {
        let mut histogram = sample().with_hint(CounterResetHint::CounterReset);
        histogram.mul(2.0);
        assert_eq!(histogram.to_string(), "{count:30, sum:-6, [-2,-1):8, [-0.1,0.1]:16, (0.5,1]:2, (1,2]:4}");
        assert_eq!(histogram.counter_reset_hint, CounterResetHint::CounterReset);
        histogram.div(-4.0);
        assert_eq!(histogram.to_string(), "{count:-7.5, sum:1.5, [-2,-1):-2, [-0.1,0.1]:-4, (0.5,1]:-0.5, (1,2]:-1}");
        assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
    }

    #[test]
    fn division_by_zero_leaves_no_buckets() {
        let mut histogram = sample();
        histogram.div(0.0);
        assert_eq!(histogram.to_string(), "{count:+Inf, sum:-Inf, [-0.1,0.1]:+Inf}");
        assert_eq!((histogram.positive_spans, histogram.negative_spans), (vec![], vec![]));
        let mut empty = FloatHistogram { zero_threshold: 0.001, ..FloatHistogram::default() };
        empty.div(0.0);
        assert_eq!(empty.to_string(), "{count:NaN, sum:NaN, [-0.001,0.001]:NaN}");
    }

    #[test]
    fn only_infinity_overflows() {
        assert!(!sample().with_sum(f64::NAN).has_overflow());
        assert!(sample().with_sum(f64::NEG_INFINITY).has_overflow());
        assert!(custom(&[1.0], &[1.0, f64::INFINITY]).has_overflow());
    }
}
