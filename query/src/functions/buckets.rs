//! Classic histograms: series that differ in their `le` label only are the cumulative buckets of one histogram.
//!
//! Works on the buckets of one group at one step. Putting series into groups is [`group_key`] and [`upper_bound`];
//! everything that the user should know comes back as a value, because only the caller knows metric name and argument.

use std::cmp::Ordering;

use pharos_model::labels::{BUCKET_LABEL, iter_canonical, push_label};
use pharos_model::number::parse_float_checked;

/// Relative difference of two counts that is taken for noise.
const NOISE: f64 = 1e-12;

/// Observations at or below a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub upper_bound: f64,
    pub count: f64,
}

/// Where counts decreased from bucket to bucket and had to be raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raised {
    /// Lowest and highest upper bound of a raised bucket.
    pub min_bucket: f64,
    pub max_bucket: f64,
    pub max_diff: f64,
}

/// Replaces `key` by the canonical labels of the histogram that a bucket belongs to: all but `le`.
pub fn group_key(labels: &[u8], key: &mut Vec<u8>) {
    key.clear();
    for label in iter_canonical(labels).filter(|label| label.name != BUCKET_LABEL) {
        push_label(key, label.name, label.value);
    }
}

/// The bound in a bucket's `le` label, or the text that is none.
pub fn upper_bound(labels: &[u8]) -> Result<f64, &str> {
    let text = iter_canonical(labels).find(|label| label.name == BUCKET_LABEL).map_or("", |label| label.value);
    parse_float_checked(text).map_err(|_| text)
}

/// The `phi`-quantile, on the assumption that observations spread evenly within a bucket, and what had to be raised.
///
/// NaN without observations, without a bucket of bound `+Inf`, with fewer than two buckets or when `phi` is NaN; an infinity
/// when `phi` is not between 0 and 1. Sorts and repairs the buckets.
pub fn quantile(phi: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Raised>) {
    if phi.is_nan() {
        return (f64::NAN, None);
    }
    if phi < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if phi > 1.0 {
        return (f64::INFINITY, None);
    }
    if !sort_and_merge(buckets) {
        return (f64::NAN, None);
    }
    let raised = make_cumulative(buckets);
    let [.., last_bounded, unbounded] = buckets.as_slice() else { return (f64::NAN, None) };
    if unbounded.count == 0.0 {
        return (f64::NAN, None);
    }
    let rank = phi * unbounded.count;
    let bounded = &buckets[..buckets.len() - 1];
    // The first bucket that reaches the rank. A NaN reaches nothing.
    let at = bounded.partition_point(|bucket| bucket.count.partial_cmp(&rank).is_none_or(Ordering::is_lt));
    let value = match at {
        at if at == bounded.len() => last_bounded.upper_bound,
        // Nothing is known of what is below the first bound, unless zero is.
        0 if bounded[0].upper_bound <= 0.0 => bounded[0].upper_bound,
        0 => bounded[0].upper_bound * (rank / bounded[0].count),
        at => {
            let (below, bucket) = (bounded[at - 1], bounded[at]);
            let share = (rank - below.count) / (bucket.count - below.count);
            below.upper_bound + (bucket.upper_bound - below.upper_bound) * share
        }
    };
    (value, raised)
}

/// The share of observations between two values, on the same assumption. NaN as for [`quantile`], and when either value is
/// NaN; 0 when they are in the wrong order. Sorts the buckets.
pub fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !sort_and_merge(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count
}

/// How many observations are below a value.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let mut below =
        Bucket { upper_bound: if buckets[0].upper_bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 }, count: 0.0 };
    for &bucket in buckets {
        let rank = if below.upper_bound >= value {
            below.count
        } else if bucket.upper_bound <= value {
            below = bucket;
            continue;
        } else if below.upper_bound == f64::NEG_INFINITY {
            bucket.count
        } else {
            let width = bucket.upper_bound - below.upper_bound;
            below.count + (bucket.count - below.count) * (value - below.upper_bound) / width
        };
        return if rank > count { count } else { rank };
    }
    count
}

/// Sorts by bound and adds up buckets of the same bound; whether the last bound is `+Inf`.
fn sort_and_merge(buckets: &mut Vec<Bucket>) -> bool {
    // A bound of NaN comes after +Inf, so that such a histogram has no meaning.
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|next, kept| {
        let same = next.upper_bound == kept.upper_bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    buckets.last().is_some_and(|last| last.upper_bound == f64::INFINITY)
}

/// Levels counts that differ by noise, in either direction, and raises those that are below an earlier one.
fn make_cumulative(buckets: &mut [Bucket]) -> Option<Raised> {
    let mut raised: Option<Raised> = None;
    let mut highest = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if bucket.count == highest {
            continue;
        }
        if is_noise(highest, bucket.count) {
            bucket.count = highest;
        } else if bucket.count < highest {
            let (bound, diff) = (bucket.upper_bound, highest - bucket.count);
            let sum = raised.get_or_insert(Raised { min_bucket: bound, max_bucket: bound, max_diff: 0.0 });
            sum.min_bucket = sum.min_bucket.min(bound);
            sum.max_bucket = sum.max_bucket.max(bound);
            sum.max_diff = sum.max_diff.max(diff);
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    raised
}

/// Whether two different counts are as good as equal.
fn is_noise(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < NOISE * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < NOISE
}

#[cfg(test)]
mod tests;
