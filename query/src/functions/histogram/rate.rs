//! `rate`, `increase` and `delta` of a window of native histograms: what happened between the first and the last one,
//! extrapolated to the window as for floats.

use pharos_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::samples::{HistogramSamples, start_of};
use super::{Operation, Report, annotations};
use crate::functions::range::Extrapolation;
use crate::functions::range::starts::{is_start_overlap, is_start_reset};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::functions) struct Rate {
    /// The value only falls by a reset and never was below zero.
    pub(in crate::functions) counter: bool,
    /// What the increase is divided by.
    pub(in crate::functions) per_secs: Option<f64>,
}

/// The window proper: after `start_ms` and up to `end_ms`.
#[derive(Clone, Copy, Debug)]
pub(in crate::functions) struct Bounds {
    pub(in crate::functions) start_ms: TimestampMs,
    pub(in crate::functions) end_ms: TimestampMs,
}

/// For each histogram of a series whether there was a reset since the one before, by start timestamps or by counts.
/// The same in all windows, so it is found once.
pub(in crate::functions) fn resets(series: HistogramSamples<'_>, resets: &mut Vec<bool>) {
    resets.clear();
    resets.extend(
        (0..series.ts.len())
            .map(|at| at > 0 && (is_reset_by_start(series, at) || series.list[at].detect_reset(&series.list[at - 1]))),
    );
}

fn is_reset_by_start(series: HistogramSamples<'_>, at: usize) -> bool {
    let start = |at| start_of(series.start_ts, at);
    is_start_reset((start(at - 1), series.ts[at - 1]), (start(at), series.ts[at]))
}

/// The result for a window that is not empty. `resets` are those of the window's histograms.
pub(in crate::functions) fn rate(
    rate: Rate,
    bounds: Bounds,
    seen: HistogramSamples<'_>,
    resets: &[bool],
    report: &mut Report<'_>,
) -> Option<FloatHistogram> {
    let last = seen.ts.len() - 1;
    let increase = if last > 0 { Some(increase(rate.counter, seen, resets, report)?) } else { None };
    let extrapolation = Extrapolation {
        to_start: (seen.ts[0] - bounds.start_ms) as f64 / 1000.0,
        to_end: (bounds.end_ms - seen.ts[last]) as f64 / 1000.0,
        sampled: (seen.ts[last] - seen.ts[0]) as f64 / 1000.0,
        gaps: last as f64,
    };
    let first = &seen.list[0];
    let start = start_of(seen.start_ts, 0);
    let mut result;
    let factor = if rate.counter && start != 0 && bounds.start_ms < start && start < seen.ts[0] {
        // The counter began within the window: from zero, which is as good as a sample.
        result = match increase {
            None => (**first).clone(),
            Some(mut increase) => {
                let added = increase.add(first);
                report.combined(added, Operation::Addition).then_some(increase)?
            }
        };
        extrapolation.begin_at((seen.ts[last] - start) as f64 / 1000.0)
    } else {
        result = increase?;
        let to_zero = (rate.counter && result.count > 0.0 && first.count >= 0.0)
            .then(|| extrapolation.sampled * (first.count / result.count));
        extrapolation.factor(to_zero)
    };
    result.mul(rate.per_secs.map_or(factor, |secs| factor / secs));
    Some(result)
}

/// From the first of at least two histograms to the last, what resets lost added.
fn increase(
    counter: bool,
    seen: HistogramSamples<'_>,
    resets: &[bool],
    report: &mut Report<'_>,
) -> Option<FloatHistogram> {
    let (first, last) = (&*seen.list[0], &*seen.list[seen.list.len() - 1]);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if counter && seen.list.iter().any(|histogram| is_gauge(histogram)) {
        report.notes.add(annotations::not_a_counter(report.metric_name));
    }
    // What was before a reset does not matter, whatever its layout.
    let second = &seen.list[1];
    let nothing = FloatHistogram {
        schema: second.schema,
        custom_values: second.custom_values.clone(),
        ..FloatHistogram::default()
    };
    let from = if counter && resets[1] { &nothing } else { first };
    let between = if counter { &seen.list[1..seen.list.len() - 1] } else { &[] };
    let custom = from.uses_custom_buckets();
    if last.uses_custom_buckets() != custom || between.iter().any(|h| h.uses_custom_buckets() != custom) {
        report.mixed_schemas();
        return None;
    }
    let schema = between.iter().map(|histogram| histogram.schema).fold(last.schema.min(from.schema), i32::min);
    let mut increase =
        last.copy_to_schema(schema).expect("the coarsest schema of exponential or the one of custom buckets");
    let subtracted = increase.sub(from);
    if !report.combined(subtracted, Operation::Subtraction) {
        return None;
    }
    if counter {
        warn_of_overlap(seen, report);
        for at in (2..seen.list.len()).filter(|at| resets[*at]) {
            let added = increase.add(&seen.list[at - 1]);
            if !report.combined(added, Operation::Addition) {
                return None;
            }
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        report.notes.add(annotations::not_a_gauge(report.metric_name));
    }
    increase.counter_reset_hint = CounterResetHint::Gauge;
    increase.compact();
    Some(increase)
}

fn warn_of_overlap(seen: HistogramSamples<'_>, report: &mut Report<'_>) {
    let start = |at| start_of(seen.start_ts, at);
    if (1..seen.ts.len()).any(|at| is_start_overlap((start(at - 1), seen.ts[at - 1]), start(at))) {
        report.notes.add(annotations::overlapping_start(report.metric_name));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::functions::notes::Notes;
    use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    const BOUNDS: Bounds = Bounds { start_ms: 0, end_ms: 180_000 };

    fn histogram(count: f64) -> FloatHistogram {
        FloatHistogram {
            count,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        }
    }

    fn gauge(count: f64) -> FloatHistogram {
        FloatHistogram { counter_reset_hint: CounterResetHint::Gauge, ..histogram(count) }
    }

    fn custom() -> FloatHistogram {
        FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: vec![1.0], ..histogram(9.0) }
    }

    /// The increase of histograms that are a minute apart, the last one at the end of the window, and what was said.
    fn check(counter: bool, list: &[FloatHistogram], start_ts: &[i64]) -> (Option<f64>, Vec<String>) {
        let list: Vec<_> = list.iter().cloned().map(Arc::new).collect();
        let ts: Vec<i64> = (0..list.len() as i64).rev().map(|back| BOUNDS.end_ms - back * 60_000).collect();
        let series = HistogramSamples { ts: &ts, list: &list, start_ts };
        let mut known = Vec::new();
        resets(series, &mut known);
        let mut notes = Notes::default();
        let mut report = Report { notes: &mut notes, metric_name: "m" };
        let result = rate(Rate { counter, per_secs: None }, BOUNDS, series, &known, &mut report);
        let texts = notes.iter().map(|note| note.text.clone()).collect();
        (result.map(|result| result.count), texts)
    }

    #[test]
    fn what_resets_lost_counts_and_what_was_before_them_does_not_matter() {
        assert_eq!(check(true, &[3.0, 5.0, 6.0].map(histogram), &[]), (Some(4.5), vec![]));
        assert_eq!(check(true, &[3.0, 5.0, 2.0].map(histogram), &[]).0, Some(6.0));
        assert_eq!(check(true, &[custom(), histogram(1.0), histogram(2.0)], &[]), (Some(3.0), vec![]));
        assert!(check(true, &[histogram(1.0), custom(), histogram(2.0)], &[]).1[0].contains("a mix of"));
    }

    #[test]
    fn a_counter_that_began_in_the_window_began_at_zero() {
        assert_eq!(check(true, &[histogram(6.0)], &[]).0, None);
        assert_eq!(check(true, &[histogram(6.0)], &[60_000]).0, Some(6.0));
        assert_eq!(check(true, &[6.0, 9.0].map(histogram), &[60_000, 60_000]).0, Some(9.0));
        // The second one began after the first.
        assert_eq!(check(true, &[6.0, 9.0].map(histogram), &[60_000, 150_000]).0, Some(15.0));
        // A start before the window is none.
        assert_eq!(check(true, &[histogram(6.0)], &[0]).0, None);
    }

    #[test]
    fn gauges_and_counters_are_told_from_each_other() {
        let text = |kind| format!("PromQL warning: this native histogram metric is not a {kind}: \"m\"");
        assert_eq!(check(true, &[histogram(1.0), gauge(2.0), histogram(3.0)], &[]).1, [text("counter")]);
        assert_eq!(check(false, &[gauge(1.0), histogram(2.0), gauge(3.0)], &[]), (Some(3.0), vec![]));
        assert_eq!(check(false, &[gauge(1.0), histogram(2.0)], &[]).1, [text("gauge")]);
    }
}
