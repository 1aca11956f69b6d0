//! The fraction of observations between two values.

use super::disjoint::Spread;
use super::{Bucket, FloatHistogram};

/// A fraction, and whether observations of NaN were left out of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fraction {
    pub value: f64,
    /// For the info that the caller emits.
    pub has_nan: bool,
}

impl From<f64> for Fraction {
    fn from(value: f64) -> Self {
        Self { value, has_nan: false }
    }
}

impl FloatHistogram {
    /// The fraction of observations between `lower` and `upper`: NaN if one of them is NaN or without observations, 0 if they
    /// leave no room. Interpolated as a quantile is. NaN observations are in no fraction. As Prometheus'
    /// `HistogramFraction`.
    pub fn fraction(&self, lower: f64, upper: f64) -> Fraction {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN.into();
        }
        if lower >= upper {
            return 0.0.into();
        }
        let (mut lower_rank, mut upper_rank, mut rank) = (None, None, 0.0);
        for bucket in self.disjoint_buckets() {
            lower_rank = lower_rank.or_else(|| self.rank_in(bucket, rank, lower));
            upper_rank = upper_rank.or_else(|| self.rank_in(bucket, rank, upper));
            rank += bucket.count;
        }
        // With NaN observations only those in buckets are all there is.
        let is_sum_nan = self.sum.is_nan();
        let all = if is_sum_nan { rank } else { self.count };
        let bounded = |rank: Option<f64>| rank.map_or(all, |rank| if rank > all { all } else { rank });
        let value = (bounded(upper_rank) - bounded(lower_rank)) / self.count;
        Fraction { value, has_nan: is_sum_nan && all < self.count }
    }

    /// How many observations lie below `value`, if it is in this bucket or below; `rank` of them are below the bucket.
    fn rank_in(&self, bucket: Bucket, rank: f64, value: f64) -> Option<f64> {
        let spread = self.spread_over(&bucket);
        let is_around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        let bucket = if is_around_zero { self.on_its_side(bucket) } else { bucket };
        if bucket.lower >= value {
            return Some(rank);
        }
        (bucket.upper > value).then(|| match spread {
            // Nothing is known within a bucket that goes down to -Inf; above it is all of it.
            Spread::Linear if bucket.lower == f64::NEG_INFINITY => bucket.count,
            spread => rank + bucket.count * bucket.fraction_below(value, spread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    fn near(histogram: &FloatHistogram, lower: f64, upper: f64, expected: f64) {
        let fraction = histogram.fraction(lower, upper).value;
        assert!((fraction - expected).abs() < 1e-12, "{lower} to {upper}: {fraction}, not {expected}");
    }

    #[test]
    fn exponential_buckets_are_cut_by_logarithm() {
        // As `histogram_fraction_2` of upstream's scripts.
        let histogram = exponential(0, &[(0, &[2.0, 3.0, 0.0, 1.0, 4.0])]).with_zero(0.001, 2.0).with_sum(100.0);
        for (lower, upper, expected) in [
            (3.0, 42.0, 5.0 / 12.0),
            (0.0, 1.0, 4.0 / 12.0),
            (1.0, 2.0, 0.25),
            (f64::NEG_INFINITY, -0.001, 0.0),
            (0.0, 1.5, 0.4795739585136224),
            (1.5, 6.0, 0.15250624987980724),
            (0.0, 0.0005, 1.0 / 12.0),
            (-0.001, 0.0, 0.0),
            (f64::NEG_INFINITY, f64::INFINITY, 1.0),
            (42.0, 3.0, 0.0),
        ] {
            near(&histogram, lower, upper, expected);
        }
        assert!(histogram.fraction(f64::NAN, 1.0).value.is_nan());
        assert!(FloatHistogram::default().fraction(0.0, 1.0).value.is_nan());
    }

    #[test]
    fn negative_buckets_mirror_positive_ones() {
        let positive = exponential(0, &[(0, &[2.0, 3.0])]);
        let negative = exponential(0, &[]).with_negative(&[(0, &[2.0, 3.0])]);
        for (lower, upper) in [(0.7, 1.5), (0.5, 1.0), (1.1, 1.2), (0.1, 9.0)] {
            near(&negative, -upper, -lower, positive.fraction(lower, upper).value);
        }
    }

    #[test]
    fn custom_buckets_are_cut_evenly() {
        let histogram = custom(&[-2.0, 2.0, 6.0], &[1.0, 2.0, 4.0, 1.0]);
        near(&histogram, 2.0, 4.0, 0.25);
        // A bucket around zero begins at zero, because custom buckets are on no negative side.
        near(&histogram, 0.0, 1.0, 0.125);
        // Where a bucket has no other end, all of it is below.
        near(&histogram, f64::NEG_INFINITY, -3.0, 0.125);
        near(&histogram, f64::NEG_INFINITY, 10.0, 7.0 / 8.0);
    }

    #[test]
    fn nan_observations_are_in_no_fraction() {
        let histogram = FloatHistogram { count: 15.0, sum: f64::NAN, ..exponential(0, &[(0, &[12.0])]) };
        let all = histogram.fraction(f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!(all, Fraction { value: 0.8, has_nan: true });
        assert!((histogram.fraction(f64::NEG_INFINITY, std::f64::consts::FRAC_1_SQRT_2).value - 0.4).abs() < 1e-12);
        let infinities = FloatHistogram { count: 12.0, ..histogram };
        assert!(!infinities.fraction(0.0, 1.0).has_nan);
    }
}
