//! `resets` and `changes` of windows with native histograms. From one kind to the other counts as both.

use pharos_model::{FloatHistogram, TimestampMs};

use super::SeriesSamples;
use super::samples::start_of;
use crate::functions::range::starts::is_start_reset;

#[derive(Clone, Copy)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

#[derive(Clone, Copy)]
struct Timed<'a> {
    /// When the counter began, if that is known, and the time of the sample.
    times: (TimestampMs, TimestampMs),
    value: Value<'a>,
}

pub(in crate::functions) fn resets(seen: SeriesSamples<'_>) -> f64 {
    count(seen, |before, sample| match (before.value, sample.value) {
        (Value::Float(from), Value::Float(to)) => to < from || is_start_reset(before.times, sample.times),
        (Value::Histogram(from), Value::Histogram(to)) => {
            is_start_reset(before.times, sample.times) || to.detect_reset(from)
        }
        _ => true,
    })
}

pub(in crate::functions) fn changes(seen: SeriesSamples<'_>) -> f64 {
    count(seen, |before, sample| match (before.value, sample.value) {
        (Value::Float(from), Value::Float(to)) => to != from && !(to.is_nan() && from.is_nan()),
        (Value::Histogram(from), Value::Histogram(to)) => !to.has_same_data(from),
        _ => true,
    })
}

fn count(seen: SeriesSamples<'_>, is_event: impl Fn(Timed<'_>, Timed<'_>) -> bool) -> f64 {
    let mut samples = in_order(seen);
    let Some(mut before) = samples.next() else { return 0.0 };
    let mut events = 0u32;
    for sample in samples {
        events += u32::from(is_event(before, sample));
        before = sample;
    }
    f64::from(events)
}

/// The samples of both kinds by time.
fn in_order(seen: SeriesSamples<'_>) -> impl Iterator<Item = Timed<'_>> {
    let (mut float, mut histogram) = (0, 0);
    std::iter::from_fn(move || {
        let (float_ts, histogram_ts) = (seen.floats.ts.get(float), seen.histograms.ts.get(histogram));
        match (float_ts, histogram_ts) {
            (Some(&ts), other) if other.is_none_or(|other| ts <= *other) => {
                float += 1;
                let times = (start_of(seen.float_start_ts, float - 1), ts);
                Some(Timed { times, value: Value::Float(seen.floats.values[float - 1]) })
            }
            (_, Some(&ts)) => {
                histogram += 1;
                let times = (start_of(seen.histograms.start_ts, histogram - 1), ts);
                Some(Timed { times, value: Value::Histogram(&seen.histograms.list[histogram - 1]) })
            }
            _ => None,
        }
    })
}

/// What an anchored window counts: the last sample at or before its start, of whichever kind, and all after it. `None`
/// when nothing is after its start.
pub(in crate::functions) fn anchored(seen: SeriesSamples<'_>, start_ms: TimestampMs) -> Option<SeriesSamples<'_>> {
    let floats = seen.floats.ts.partition_point(|ts| *ts <= start_ms);
    let histograms = seen.histograms.ts.partition_point(|ts| *ts <= start_ms);
    if floats == seen.floats.ts.len() && histograms == seen.histograms.ts.len() {
        return None;
    }
    let float_anchor = floats.checked_sub(1).map(|at| seen.floats.ts[at]);
    let histogram_anchor = histograms.checked_sub(1).map(|at| seen.histograms.ts[at]);
    let is_float = float_anchor.is_some() && float_anchor >= histogram_anchor;
    let floats = if is_float { floats - 1 } else { floats };
    let histograms = if histogram_anchor.is_some() && !is_float { histograms - 1 } else { histograms };
    Some(seen.slice(floats..seen.floats.ts.len(), histograms..seen.histograms.ts.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::functions::grid::Samples;
    use crate::functions::histogram::HistogramSamples;

    fn with_samples(floats: &[(i64, f64)], histograms: &[(i64, f64)], check: impl FnOnce(SeriesSamples<'_>)) {
        let (ts, values): (Vec<_>, Vec<_>) = floats.iter().copied().unzip();
        let histogram = |count| Arc::new(FloatHistogram { count, ..FloatHistogram::default() });
        let (histogram_ts, list): (Vec<_>, Vec<_>) =
            histograms.iter().map(|(ts, count)| (*ts, histogram(*count))).unzip();
        check(SeriesSamples {
            floats: Samples { ts: &ts, values: &values },
            float_start_ts: &[],
            histograms: HistogramSamples { ts: &histogram_ts, list: &list, start_ts: &[] },
        });
    }

    #[test]
    fn from_one_kind_to_the_other_is_an_event() {
        with_samples(&[(1, 1.0), (4, 1.0), (5, 0.0)], &[(2, 3.0), (3, 2.0)], |seen| {
            assert_eq!((resets(seen), changes(seen)), (4.0, 4.0));
        });
        with_samples(&[], &[(2, 2.0), (3, 2.0), (4, 3.0)], |seen| {
            assert_eq!((resets(seen), changes(seen)), (0.0, 1.0));
        });
    }

    #[test]
    fn an_anchor_is_the_last_sample_before_of_whichever_kind() {
        let lengths =
            |seen: Option<SeriesSamples<'_>>| seen.map(|seen| (seen.floats.ts.len(), seen.histograms.ts.len()));
        with_samples(&[(1, 1.0), (2, 1.0), (9, 1.0)], &[(3, 1.0), (8, 1.0)], |seen| {
            assert_eq!(lengths(anchored(seen, 3)), Some((1, 2)));
            assert_eq!(lengths(anchored(seen, 2)), Some((2, 2)));
            assert_eq!(lengths(anchored(seen, 0)), Some((3, 2)));
            assert_eq!(lengths(anchored(seen, 9)), None);
        });
    }
}
