//! What functions ask of one histogram: quantiles, fractions, spread.

use super::histogram::{Bucket, Histogram};

/// The square of the distance from the mean, on average; observations lie in the middle of their buckets.
pub(super) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let middle = |bucket: &Bucket| match () {
        () if histogram.is_custom() => (bucket.lower + bucket.upper) / 2.0,
        () if bucket.lower <= 0.0 && bucket.upper >= 0.0 => 0.0,
        () if bucket.upper < 0.0 => -(bucket.lower * bucket.upper).sqrt(),
        () => (bucket.lower * bucket.upper).sqrt(),
    };
    let buckets = histogram.buckets();
    let filled = buckets.iter().filter(|bucket| bucket.count != 0.0);
    filled.map(|bucket| bucket.count * (middle(bucket) - mean).powi(2)).sum::<f64>() / histogram.count
}

/// The value that a share of the observations is below.
pub(super) fn quantile(phi: f64, histogram: &Histogram) -> f64 {
    match () {
        () if phi < 0.0 => return f64::NEG_INFINITY,
        () if phi > 1.0 => return f64::INFINITY,
        () if phi.is_nan() || histogram.count == 0.0 => return f64::NAN,
        () => {}
    }
    // Counted from the nearer end.
    let upwards = phi < 0.5;
    let mut buckets = histogram.buckets();
    if !upwards {
        buckets.reverse();
    }
    let rank = if upwards { phi } else { 1.0 - phi } * histogram.count;
    let mut sofar = 0.0;
    let mut found = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    for bucket in buckets {
        found = bucket;
        sofar += bucket.count;
        if bucket.count != 0.0 && sofar >= rank {
            break;
        }
    }
    if histogram.is_custom() {
        // Of what lies beyond the outermost bounds nothing more is known, but that it mostly is above zero.
        match () {
            () if found.lower == f64::NEG_INFINITY && found.upper <= 0.0 => return found.upper,
            () if found.lower == f64::NEG_INFINITY => found.lower = 0.0,
            () if found.upper == f64::INFINITY => return found.lower,
            () => {}
        }
    } else {
        found = on_its_side(histogram, found);
    }
    if sofar > histogram.count {
        sofar = histogram.count;
    }
    if sofar < rank {
        return found.upper;
    }
    let within = if upwards { rank - (sofar - found.count) } else { sofar - rank };
    let share = within / found.count;
    if histogram.is_custom() || spans_zero(&found) {
        return found.lower + (found.upper - found.lower) * share;
    }
    found.lower * (found.upper / found.lower).powf(share)
}

/// The share of observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> f64 {
    match () {
        () if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() => f64::NAN,
        () if lower >= upper => 0.0,
        () => (below(upper, histogram) - below(lower, histogram)) / histogram.count,
    }
}

/// Observations below a value.
fn below(value: f64, histogram: &Histogram) -> f64 {
    let mut sofar = 0.0;
    for bucket in histogram.buckets() {
        let is_linear = histogram.is_custom() || spans_zero(&bucket);
        let bucket = if spans_zero(&bucket) { on_its_side(histogram, bucket) } else { bucket };
        let rank = match () {
            () if bucket.lower >= value => sofar,
            () if bucket.upper <= value => {
                sofar += bucket.count;
                continue;
            }
            () if is_linear && bucket.lower == f64::NEG_INFINITY => bucket.count,
            () if is_linear => sofar + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower),
            () => {
                let share = (value / bucket.lower).abs().ln() / (bucket.upper / bucket.lower).abs().ln();
                sofar + bucket.count * share
            }
        };
        return if rank > histogram.count { histogram.count } else { rank };
    }
    histogram.count
}

fn spans_zero(bucket: &Bucket) -> bool {
    bucket.lower <= 0.0 && bucket.upper >= 0.0
}

/// A zero bucket ends at zero when all other buckets are on one side.
fn on_its_side(histogram: &Histogram, bucket: Bucket) -> Bucket {
    let is_around_zero = bucket.lower < 0.0 && bucket.upper > 0.0;
    match (is_around_zero, histogram.negative.is_empty(), histogram.positive.is_empty()) {
        (true, true, false) => Bucket { lower: 0.0, ..bucket },
        (true, false, true) => Bucket { upper: 0.0, ..bucket },
        _ => bucket,
    }
}
