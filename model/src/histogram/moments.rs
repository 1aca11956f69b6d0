//! Mean and spread of the observations in a histogram.

use super::count::Compensated;
use super::{Bucket, FloatHistogram};

impl FloatHistogram {
    /// The mean of all observations. NaN without any.
    pub fn average(&self) -> f64 {
        self.sum / self.count
    }

    /// The population variance, from one value for each bucket: the geometric mean of its bounds, their arithmetic mean in a
    /// custom bucket, 0 in the zero bucket. As Prometheus' `histogram_stdvar`.
    pub fn variance(&self) -> f64 {
        let mean = self.average();
        let squares = self.disjoint_buckets().filter(|bucket| bucket.count != 0.0).map(|bucket| {
            let delta = self.middle(bucket) - mean;
            bucket.count * delta * delta
        });
        let sum = squares.fold(Compensated::default(), Compensated::plus_float);
        (sum.value + sum.lost) / self.count
    }

    /// The root of [`Self::variance`].
    pub fn standard_deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    fn middle(&self, bucket: Bucket) -> f64 {
        let Bucket { lower, upper, .. } = bucket;
        if self.uses_custom_buckets() {
            return (upper + lower) / 2.0;
        }
        if lower <= 0.0 && upper >= 0.0 {
            return 0.0;
        }
        (upper * lower).sqrt().copysign(upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9 * expected, "{value}, not {expected}");
    }

    #[test]
    fn spread_is_that_of_upstreams_scripts() {
        // Observations 1, 2, 3, 4.
        let histogram = exponential(2, &[(0, &[1.0]), (3, &[1.0]), (2, &[1.0, 1.0])]).with_sum(10.0);
        near(histogram.standard_deviation(), 1.0787993180043811);
        near(histogram.variance(), 1.163807968526718);
        near(histogram.average(), 2.5);
    }

    #[test]
    fn the_zero_bucket_is_at_zero_and_negative_buckets_below() {
        // One observation each at 0, and at the middle of (1,4] and [-4,-1), which is 2 and -2.
        let histogram = exponential(-1, &[(1, &[1.0])]).with_negative(&[(1, &[1.0])]).with_zero(0.1, 1.0);
        near(histogram.variance(), 8.0 / 3.0);
    }

    #[test]
    fn custom_buckets_lie_in_their_middle() {
        near(custom(&[0.0, 4.0], &[0.0, 2.0]).with_sum(2.0).variance(), 1.0);
        assert!(custom(&[0.0], &[1.0]).variance().is_infinite());
    }

    #[test]
    fn without_observations_there_is_no_mean() {
        assert!(FloatHistogram::default().average().is_nan());
        assert!(FloatHistogram::default().variance().is_nan());
    }
}
