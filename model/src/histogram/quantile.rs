//! Quantiles of native histograms.

use super::disjoint::Spread;
use super::{Bucket, FloatHistogram};

/// A quantile, and what NaN observations did to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    pub value: f64,
    /// For the info that the caller emits.
    pub nan_effect: Option<NanEffect>,
}

/// What observations of NaN, which are in no bucket, did to a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanEffect {
    /// The quantile is among them, and so NaN.
    ResultIsNan,
    /// They count as above everything else, which makes the quantile higher than without them.
    SkewedHigher,
}

impl From<f64> for Quantile {
    fn from(value: f64) -> Self {
        Self { value, nan_effect: None }
    }
}

impl FloatHistogram {
    /// The `q`-quantile: -Inf below 0, +Inf above 1, NaN for NaN or without observations. Within a bucket observations are
    /// spread evenly, in exponential buckets over the logarithms; a zero bucket ends at zero if there are buckets on one
    /// side only. As Prometheus' `HistogramQuantile`.
    pub fn quantile(&self, q: f64) -> Quantile {
        if q < 0.0 {
            return f64::NEG_INFINITY.into();
        }
        if q > 1.0 {
            return f64::INFINITY.into();
        }
        if self.count == 0.0 || q.is_nan() {
            return f64::NAN.into();
        }
        // From the nearer end, which loses less to rounding. NaN observations are at the upper one, so not from there.
        let has_nan = self.sum.is_nan();
        let from_below = has_nan || q < 0.5;
        let rank = (if from_below { q } else { 1.0 - q }) * self.count;
        let mut buckets = self.disjoint_buckets();
        let (bucket, count) = if from_below { reach(rank, &mut buckets) } else { reach(rank, buckets.by_ref().rev()) };
        let bucket = match self.bounded(bucket) {
            Ok(bucket) => bucket,
            Err(value) => return value.into(),
        };
        let count = if count > self.count { self.count } else { count };
        if count < rank {
            if has_nan {
                return Quantile { value: f64::NAN, nan_effect: Some(NanEffect::ResultIsNan) };
            }
            // Counts and buckets disagree.
            return bucket.upper.into();
        }
        let rank_in_bucket = if from_below { rank - (count - bucket.count) } else { count - rank };
        if has_nan {
            return self.skewed(bucket, count, rank_in_bucket, buckets);
        }
        self.within(bucket, rank_in_bucket).into()
    }

    /// The bucket with bounds that can be interpolated. `Err` is the quantile, if there is none: in the outermost custom
    /// buckets nothing is known but their inner bound.
    fn bounded(&self, bucket: Bucket) -> Result<Bucket, f64> {
        if !self.uses_custom_buckets() {
            let is_around_zero = bucket.lower < 0.0 && bucket.upper > 0.0;
            return Ok(if is_around_zero { self.on_its_side(bucket) } else { bucket });
        }
        if bucket.lower == f64::NEG_INFINITY {
            return if bucket.upper <= 0.0 { Err(bucket.upper) } else { Ok(Bucket { lower: 0.0, ..bucket }) };
        }
        if bucket.upper == f64::INFINITY { Err(bucket.lower) } else { Ok(bucket) }
    }

    /// The quantile where the sum is NaN: because of NaN observations, if the buckets do not count all, or of both
    /// infinities.
    fn skewed(&self, bucket: Bucket, count: f64, rank: f64, rest: impl Iterator<Item = Bucket>) -> Quantile {
        let (mut last, mut total) = (bucket, count);
        for bucket in rest {
            total += bucket.count;
            last = bucket;
        }
        // Prometheus 3.14 loses the bucket that it found while it counts on, and interpolates in the last one. Kept, because
        // answers have to be the same.
        let nan_effect = (total < self.count).then_some(NanEffect::SkewedHigher);
        Quantile { value: self.within(last, rank), nan_effect }
    }

    /// The value that has `rank` of the bucket's observations at or below it.
    fn within(&self, bucket: Bucket, rank: f64) -> f64 {
        let fraction = rank / bucket.count;
        if self.spread_over(&bucket) == Spread::Linear {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        }
    }

    pub(super) fn spread_over(&self, bucket: &Bucket) -> Spread {
        let is_zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if self.uses_custom_buckets() || is_zero_bucket { Spread::Linear } else { Spread::Logarithmic }
    }
}

/// The bucket in which the count gets to `rank`, and the count with that bucket; else the last one. Empty ones are passed.
fn reach(rank: f64, buckets: impl Iterator<Item = Bucket>) -> (Bucket, f64) {
    let mut last = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut count = 0.0;
    for bucket in buckets {
        last = bucket;
        count += bucket.count;
        if bucket.count != 0.0 && count >= rank {
            break;
        }
    }
    (last, count)
}

#[cfg(test)]
mod tests;
