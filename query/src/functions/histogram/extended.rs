//! `rate`, `increase` and `delta` of anchored and smoothed windows of native histograms: a histogram at each end of the
//! window, as for floats.

use pharos_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::rate::{Bounds, Rate};
use super::samples::HistogramSamples;
use super::{Operation, Report, annotations};

/// The result for a wide window that is not empty.
pub(in crate::functions) fn between_ends(
    rate: Rate,
    smoothed: bool,
    bounds: Bounds,
    seen: HistogramSamples<'_>,
    report: &mut Report<'_>,
) -> Option<FloatHistogram> {
    let behind_last = seen.ts.len() - 1;
    let first = seen.ts[..behind_last].partition_point(|&at| at <= bounds.start_ms).saturating_sub(1);
    let last = if smoothed { seen.ts[..behind_last].partition_point(|&at| at < bounds.end_ms) } else { behind_last };
    if seen.ts[last] <= bounds.start_ms || (smoothed && seen.ts[first] > bounds.end_ms) {
        return None;
    }
    if !is_of_one_kind(rate.counter, seen.slice(first..last + 1), report) {
        return None;
    }
    let left = if smoothed && seen.ts[first] < bounds.start_ms {
        interpolate(seen, first, bounds.start_ms, rate.counter, report)?
    } else {
        (*seen.list[first]).clone()
    };
    let right = if smoothed && last > 0 && seen.ts[last] > bounds.end_ms {
        interpolate(seen, last - 1, bounds.end_ms, rate.counter, report)?
    } else {
        (*seen.list[last]).clone()
    };
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let are_gauges = is_gauge(&left) && is_gauge(&right);
    if !rate.counter && !are_gauges {
        report.notes.add(annotations::not_a_gauge(report.metric_name));
    }
    let mut difference = right.clone();
    let subtracted = difference.sub(&left);
    report.combined(subtracted, Operation::Subtraction).then_some(())?;
    if rate.counter {
        let crossed = smoothed && seen.ts[first] < bounds.start_ms;
        add_what_resets_lost(&mut difference, [&left, &right], seen.slice(first..last + 1), crossed, report)?;
    }
    if let Some(secs) = rate.per_secs {
        difference.div(secs);
    }
    difference.counter_reset_hint = CounterResetHint::Gauge;
    difference.compact();
    Some(difference)
}

/// Whether all have exponential buckets, or all custom ones. Says so where a counter holds gauges.
fn is_of_one_kind(counter: bool, seen: HistogramSamples<'_>, report: &mut Report<'_>) -> bool {
    let custom = seen.list[0].uses_custom_buckets();
    for histogram in seen.list {
        if histogram.uses_custom_buckets() != custom {
            report.mixed_schemas();
            return false;
        }
        if counter && histogram.counter_reset_hint == CounterResetHint::Gauge {
            report.notes.add(annotations::not_a_counter(report.metric_name));
        }
    }
    true
}

/// On the line from histogram `at` to the next. A counter that was reset between them started again from zero. `None` when
/// the two cannot be combined.
pub(in crate::functions) fn interpolate(
    series: HistogramSamples<'_>,
    at: usize,
    time_ms: TimestampMs,
    counter: bool,
    report: &mut Report<'_>,
) -> Option<FloatHistogram> {
    let (from, to) = (&series.list[at], &series.list[at + 1]);
    if time_ms == series.ts[at] {
        return Some((**from).clone());
    }
    if time_ms == series.ts[at + 1] {
        return Some((**to).clone());
    }
    let share = (time_ms - series.ts[at]) as f64 / (series.ts[at + 1] - series.ts[at]) as f64;
    let mut result = (**to).clone();
    if counter && to.detect_reset(from) {
        result.mul(share);
        return Some(result);
    }
    let subtracted = result.sub(from);
    report.combined(subtracted, Operation::Subtraction).then_some(())?;
    result.mul(share);
    let added = result.add(from);
    report.combined(added, Operation::Addition).then_some(result)
}

/// Adds the last histogram before each reset between the ends. `seen` goes from the one that `left` comes from to the one
/// that `right` comes from; `crossed` says that `left` lies between the first two of them.
fn add_what_resets_lost(
    difference: &mut FloatHistogram,
    [left, right]: [&FloatHistogram; 2],
    seen: HistogramSamples<'_>,
    crossed: bool,
    report: &mut Report<'_>,
) -> Option<()> {
    let last = seen.list.len() - 1;
    let (mut next, mut before) = (1, left);
    if crossed && last > 0 && seen.list[1].detect_reset(&seen.list[0]) {
        // The left end takes this reset into account.
        before = &seen.list[1];
        next = 2;
    }
    if next > last {
        return Some(());
    }
    // Not the histogram of the right end itself, whose hint the right end has as well.
    let between = seen.list[next..last].iter().map(|histogram| &**histogram);
    for histogram in between.chain([right]) {
        if histogram.detect_reset(before) {
            let added = difference.add(before);
            report.combined(added, Operation::Addition).then_some(())?;
        }
        before = histogram;
    }
    Some(())
}
