//! PromQL's trim operators: `histogram </ limit` and `histogram >/ limit`.

use super::disjoint::Spread;
use super::{Bucket, FloatHistogram, Side};

impl FloatHistogram {
    /// Removes the observations above `limit` (`</`). Buckets that it cuts are interpolated as for a quantile. If anything
    /// went, count and sum are estimated anew from the buckets, and the result is compact; otherwise nothing changes. As
    /// Prometheus' `FloatHistogram.TrimBuckets`.
    pub fn trim_upper(&mut self, limit: f64) {
        self.trim(Kept::Below(limit));
    }

    /// Removes the observations below `limit` (`>/`), otherwise as [`Self::trim_upper`].
    pub fn trim_lower(&mut self, limit: f64) {
        self.trim(Kept::Above(limit));
    }

    fn trim(&mut self, kept: Kept) {
        let mut estimate = Estimate::default();
        let has_positive = self.trim_side(Side::Positive, kept, &mut estimate);
        let has_negative = self.trim_side(Side::Negative, kept, &mut estimate);
        if self.zero_count > 0.0 {
            let upper = if has_negative && !has_positive { 0.0 } else { self.zero_threshold };
            let lower = if has_positive && !has_negative { 0.0 } else { -self.zero_threshold };
            estimate.add(&mut self.zero_count, |count| kept.of_zero_bucket(lower, upper, count));
        }
        if estimate.is_changed {
            (self.count, self.sum) = (estimate.count, estimate.sum);
            self.compact();
        }
    }

    /// Returns whether the side counted anything.
    fn trim_side(&mut self, side: Side, kept: Kept, estimate: &mut Estimate) -> bool {
        let spread = if self.uses_custom_buckets() { Spread::Linear } else { Spread::Logarithmic };
        let buckets: Vec<Bucket> = self.side(side).collect();
        let counts = match side {
            Side::Positive => &mut self.positive_buckets,
            Side::Negative => &mut self.negative_buckets,
        };
        let mut is_populated = false;
        for (bucket, count) in buckets.into_iter().zip(counts).filter(|(bucket, _)| bucket.count != 0.0) {
            is_populated = true;
            estimate.add(count, |_| kept.of_bucket(bucket, Observations { side, spread }));
        }
        is_populated
    }
}

/// Totals from what is kept.
#[derive(Default)]
struct Estimate {
    count: f64,
    sum: f64,
    is_changed: bool,
}

impl Estimate {
    /// Takes over what is kept of one bucket.
    fn add(&mut self, count: &mut f64, kept: impl FnOnce(f64) -> Part) {
        let part = kept(*count);
        self.is_changed |= part.count != *count;
        *count = part.count;
        self.count += part.count;
        self.sum += part.middle * part.count;
    }
}

/// What is kept of one bucket: a count, and the value that its observations are taken to have.
#[derive(Clone, Copy)]
struct Part {
    count: f64,
    middle: f64,
}

impl Part {
    const NOTHING: Self = Self { count: 0.0, middle: 0.0 };
}

/// The side of the limit that is kept.
#[derive(Clone, Copy)]
enum Kept {
    Below(f64),
    Above(f64),
}

impl Kept {
    fn of_bucket(self, bucket: Bucket, observations: Observations) -> Part {
        let Bucket { lower, upper, count, .. } = bucket;
        let (is_whole, is_cut) = match self {
            Self::Below(limit) => (upper <= limit, lower < limit),
            Self::Above(limit) => (lower >= limit, upper > limit),
        };
        if is_whole {
            return Part { count, middle: observations.middle(lower, upper) };
        }
        if !is_cut {
            return Part::NOTHING;
        }
        if lower == f64::NEG_INFINITY {
            return self.of_lowest(upper, count);
        }
        if upper == f64::INFINITY {
            return self.of_highest(count);
        }
        match self {
            Self::Below(limit) => Part {
                count: count * bucket.fraction_below(limit, observations.spread),
                middle: observations.middle(lower, limit),
            },
            Self::Above(limit) => Part {
                count: count - count * bucket.fraction_below(limit, observations.spread),
                middle: observations.middle(limit, upper),
            },
        }
    }

    /// Of a bucket from `-Inf` to `upper` with the limit in it. If it reaches above zero, its observations are taken to be
    /// above zero; otherwise nothing is known but that they are below `upper`.
    fn of_lowest(self, upper: f64, count: f64) -> Part {
        let is_above_zero = upper > 0.0 && upper.is_finite();
        match self {
            Self::Below(limit) if limit > 0.0 && is_above_zero => {
                Part { count: count * limit / upper, middle: limit / 2.0 }
            }
            Self::Below(limit) if upper <= 0.0 => Part { count, middle: limit },
            Self::Above(limit) if limit >= 0.0 && is_above_zero => {
                Part { count: count * (1.0 - limit / upper), middle: (limit + upper) / 2.0 }
            }
            _ => Part::NOTHING,
        }
    }

    /// Of a bucket up to `+Inf` with the limit in it: all may be above.
    fn of_highest(self, count: f64) -> Part {
        match self {
            Self::Below(_) => Part::NOTHING,
            Self::Above(limit) => Part { count, middle: limit },
        }
    }

    fn of_zero_bucket(self, lower: f64, upper: f64, count: f64) -> Part {
        let whole = Part { count, middle: (lower + upper) / 2.0 };
        match self {
            Self::Below(limit) if limit <= lower => Part::NOTHING,
            Self::Below(limit) if limit >= upper => whole,
            Self::Below(limit) => {
                Part { count: count * ((limit - lower) / (upper - lower)), middle: (lower + limit) / 2.0 }
            }
            Self::Above(limit) if limit <= lower => whole,
            Self::Above(limit) if limit >= upper => Part::NOTHING,
            Self::Above(limit) => {
                Part { count: count * ((upper - limit) / (upper - lower)), middle: (limit + upper) / 2.0 }
            }
        }
    }
}

/// Where the observations of a bucket lie.
#[derive(Clone, Copy)]
struct Observations {
    side: Side,
    spread: Spread,
}

impl Observations {
    /// The value that observations from `lower` to `upper` are taken to have. Towards infinity it is the other end; from
    /// `-Inf` to above zero it is the middle of what is above zero.
    fn middle(self, lower: f64, upper: f64) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) if upper > 0.0 => upper / 2.0,
            (true, false) => upper,
            (false, true) => lower,
            (false, false) if self.spread == Spread::Linear => (lower + upper) / 2.0,
            (false, false) => {
                let mean = (lower * upper).abs().sqrt();
                if self.side == Side::Positive { mean } else { -mean }
            }
        }
    }
}

#[cfg(test)]
mod tests;
