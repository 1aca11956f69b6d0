//! Buckets from the lowest to the highest, none of which reaches into the zero bucket.

use super::{Bucket, FloatHistogram, Side};

impl FloatHistogram {
    /// All buckets that are present, the empty ones too, in ascending order, and the zero bucket if it counts more than
    /// nothing. Unlike in [`Self::buckets`], a bucket that overlaps the zero bucket begins where that ends. This is
    /// what quantiles and the HTTP API go by (Prometheus' `AllBucketIterator`).
    pub fn disjoint_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        let collect = |side| self.side(side).map(|bucket| self.outside_zero_bucket(bucket)).collect::<Vec<_>>();
        let zero = self.zero_bucket().filter(|bucket| bucket.count > 0.0);
        collect(Side::Negative).into_iter().rev().chain(zero).chain(collect(Side::Positive))
    }

    fn outside_zero_bucket(&self, bucket: Bucket) -> Bucket {
        let threshold = self.zero_threshold;
        if bucket.upper < 0.0 && bucket.upper > -threshold {
            Bucket { upper: -threshold, ..bucket }
        } else if bucket.lower > 0.0 && bucket.lower < threshold {
            Bucket { lower: threshold, ..bucket }
        } else {
            bucket
        }
    }

    /// A bucket around zero cut at zero, if the histogram has buckets on one side only: there can be no observations on the
    /// other one.
    pub(super) fn on_its_side(&self, bucket: Bucket) -> Bucket {
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => Bucket { lower: 0.0, ..bucket },
            (false, true) => Bucket { upper: 0.0, ..bucket },
            _ => bucket,
        }
    }
}

impl Bucket {
    /// Which bounds belong to the bucket, as the HTTP API tells it: 0 the upper one, 1 the lower one, 2 none, 3 both. Empty
    /// buckets are left out there.
    pub fn boundary_rule(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }

    /// The part of the bucket's observations that lies at or below `at`, which is between its bounds; those are finite.
    /// Observations are spread evenly, in an exponential bucket (`Spread::Logarithmic`) over the logarithms.
    pub(super) fn fraction_below(&self, at: f64, spread: Spread) -> f64 {
        if spread == Spread::Linear {
            return (at - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, log] = [self.lower, self.upper, at].map(|bound| bound.abs().log2());
        if at > 0.0 { (log - lower) / (upper - lower) } else { 1.0 - (log - upper) / (lower - upper) }
    }
}

/// How observations are taken to be spread over their bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// Custom buckets and the zero bucket.
    Linear,
    /// Exponential buckets: as buckets of a finer schema would have them.
    Logarithmic,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    fn bounds(histogram: &FloatHistogram) -> Vec<(f64, f64, u8, f64)> {
        let bounds = |b: Bucket| (b.lower, b.upper, b.boundary_rule(), b.count);
        let ascending: Vec<_> = histogram.disjoint_buckets().map(bounds).collect();
        let mut descending: Vec<_> = histogram.disjoint_buckets().rev().map(bounds).collect();
        descending.reverse();
        assert_eq!(ascending, descending);
        ascending
    }

    #[test]
    fn what_overlaps_the_zero_bucket_begins_where_it_ends() {
        let histogram =
            exponential(0, &[(0, &[1.0, 0.0])]).with_negative(&[(0, &[2.0]), (1, &[3.0])]).with_zero(0.75, 4.0);
        assert_eq!(
            bounds(&histogram),
            [
                (-4.0, -2.0, 1, 3.0),
                (-1.0, -0.75, 1, 2.0),
                (-0.75, 0.75, 3, 4.0),
                (0.75, 1.0, 0, 1.0),
                (1.0, 2.0, 0, 0.0)
            ]
        );
        // Without observations the zero bucket is no bucket, but still in the way.
        let histogram = exponential(0, &[(0, &[1.0])]).with_zero(0.75, 0.0);
        assert_eq!(bounds(&histogram), [(0.75, 1.0, 0, 1.0)]);
    }

    #[test]
    fn custom_buckets_have_closed_ends() {
        let (below, above) = (f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!(bounds(&custom(&[5.0], &[1.0, 2.0])), [(below, 5.0, 3, 1.0), (5.0, above, 0, 2.0)]);
    }
}
