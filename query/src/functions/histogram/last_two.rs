//! `irate` and `idelta` of windows with native histograms: the last two samples, whichever their kinds.

use pharos_model::{CounterResetHint, FloatHistogram};

use super::samples::start_of;
use super::{Operation, Report, SeriesSamples, annotations};
use crate::functions::range::starts::is_start_reset;
use crate::value::Point;

#[derive(Clone)]
struct Timed<'a> {
    ts: i64,
    start_ts: i64,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

/// The increase by second (`rate`), or the difference.
pub(in crate::functions) fn between_last_two(
    rate: bool,
    seen: SeriesSamples<'_>,
    report: &mut Report<'_>,
) -> Option<Point> {
    let (before, last) = last_two(seen)?;
    let secs = (last.ts - before.ts) as f64 / 1000.0;
    if secs == 0.0 {
        return None;
    }
    let by_start = is_start_reset((before.start_ts, before.ts), (last.start_ts, last.ts));
    match (before.value, last.value) {
        (Value::Float(from), Value::Float(to)) => {
            let difference = if rate && (to < from || by_start) { to } else { to - from };
            Some(Point::Float(if rate { difference / secs } else { difference }))
        }
        (Value::Histogram(from), Value::Histogram(to)) => {
            let mut difference = histogram_difference(rate, by_start, from, to, report)?;
            if rate {
                difference.div(secs);
            }
            Some(difference.into())
        }
        _ => {
            report.mixed_kinds();
            None
        }
    }
}

fn histogram_difference(
    rate: bool,
    by_start: bool,
    from: &FloatHistogram,
    to: &FloatHistogram,
    report: &mut Report<'_>,
) -> Option<FloatHistogram> {
    let is_gauge = [from, to].map(|histogram| histogram.counter_reset_hint == CounterResetHint::Gauge);
    if rate && is_gauge.contains(&true) {
        report.notes.add(annotations::not_a_counter(report.metric_name));
    }
    if !rate && is_gauge.contains(&false) {
        report.notes.add(annotations::not_a_gauge(report.metric_name));
    }
    let mut difference = to.clone();
    if !rate || !(by_start || to.detect_reset(from)) {
        let subtracted = difference.sub(from);
        report.combined(subtracted, Operation::Subtraction).then_some(())?;
    }
    difference.counter_reset_hint = CounterResetHint::Gauge;
    difference.compact();
    Some(difference)
}

/// The last two samples over both kinds; of two at one time, the histogram is taken for the earlier one.
fn last_two(seen: SeriesSamples<'_>) -> Option<(Timed<'_>, Timed<'_>)> {
    let floats = (0..seen.floats.ts.len()).rev().take(2).map(|at| Timed {
        ts: seen.floats.ts[at],
        start_ts: start_of(seen.float_start_ts, at),
        value: Value::Float(seen.floats.values[at]),
    });
    let histograms = (0..seen.histograms.ts.len()).rev().take(2).map(|at| Timed {
        ts: seen.histograms.ts[at],
        start_ts: start_of(seen.histograms.start_ts, at),
        value: Value::Histogram(&seen.histograms.list[at]),
    });
    let mut candidates: Vec<Timed<'_>> = floats.chain(histograms).collect();
    // Stable, so that a float stays before a histogram of its time.
    candidates.sort_by_key(|sample| std::cmp::Reverse(sample.ts));
    let mut candidates = candidates.into_iter();
    let last = candidates.next()?;
    Some((candidates.next()?, last))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::functions::grid::Samples;
    use crate::functions::histogram::HistogramSamples;
    use crate::functions::notes::Notes;

    /// `irate` of floats and of histograms with these counts, at these seconds; whether the user is told something.
    fn irate(floats: &[(i64, f64)], histograms: &[(i64, f64)]) -> (Option<f64>, bool) {
        let (ts, values): (Vec<_>, Vec<_>) = floats.iter().map(|(secs, value)| (secs * 1000, *value)).unzip();
        let histogram = |count| Arc::new(FloatHistogram { count, ..FloatHistogram::default() });
        let (histogram_ts, list): (Vec<_>, Vec<_>) =
            histograms.iter().map(|(secs, count)| (secs * 1000, histogram(*count))).unzip();
        let seen = SeriesSamples {
            floats: Samples { ts: &ts, values: &values },
            float_start_ts: &[],
            histograms: HistogramSamples { ts: &histogram_ts, list: &list, start_ts: &[] },
        };
        let mut notes = Notes::default();
        let found = between_last_two(true, seen, &mut Report { notes: &mut notes, metric_name: "m" });
        let value = found.map(|point| match point {
            Point::Float(value) => value,
            Point::Histogram(histogram) => histogram.count,
        });
        (value, !notes.is_empty())
    }

    #[test]
    fn the_last_two_samples_are_those_over_both_kinds() {
        assert_eq!(irate(&[(1, 5.0), (2, 7.0)], &[(0, 1.0)]), (Some(2.0), false));
        assert_eq!(irate(&[(0, 5.0)], &[(1, 1.0), (2, 4.0)]), (Some(3.0), false));
        assert_eq!(irate(&[(0, 5.0), (2, 1.0)], &[(1, 4.0)]), (None, true));
        assert_eq!(irate(&[], &[(1, 4.0), (2, 1.0)]), (Some(1.0), false));
        assert_eq!(irate(&[(2, 1.0)], &[(2, 4.0)]), (None, false));
        assert_eq!(irate(&[(2, 1.0)], &[]), (None, false));
    }
}
