//! Counters whose samples say when they began: a start timestamp after the sample before is a reset, whatever the values.
//!
//! Window by window, as few series have start timestamps. Those of samples that have none are 0.

use pharos_model::TimestampMs;

use super::extrapolation::Extrapolation;
use super::windows::{Window, Windows};
use crate::functions::annotations;
use crate::functions::grid::{RowOut, Samples};
use crate::functions::histogram::Report;

/// Start timestamp and time of a sample.
pub(in crate::functions) type Started = (TimestampMs, TimestampMs);

/// Whether the counter of `sample` began after `before`.
///
/// A start at the time of the sample before is either that of a delta, which is a reset, or OpenTelemetry's unknown start
/// of a cumulative counter, which is none. They are told apart by the start of the sample before: if that is unknown,
/// or no sensible time, so is this one's.
pub(in crate::functions) fn is_start_reset(before: Started, sample: Started) -> bool {
    let ((before_start, before_ts), (start, ts)) = (before, sample);
    if start == 0 || start >= ts || start < before_ts {
        return false;
    }
    start > before_ts || (before_start != 0 && before_start < before_ts)
}

/// Whether the counter of a sample began before `before` and yet is not the counter of that.
pub(in crate::functions) fn is_start_overlap(before: Started, start: TimestampMs) -> bool {
    let (before_start, before_ts) = before;
    start != 0 && start < before_ts && start != before_start
}

/// A series of floats with start timestamps, one for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartedSamples<'a> {
    pub(super) samples: Samples<'a>,
    pub(super) start_ts: &'a [TimestampMs],
}

impl StartedSamples<'_> {
    fn at(&self, i: usize) -> Started {
        (self.start_ts[i], self.samples.ts[i])
    }

    fn is_reset(&self, at: usize) -> bool {
        self.samples.values[at] < self.samples.values[at - 1] || is_start_reset(self.at(at - 1), self.at(at))
    }
}

/// `rate` (by second of the range) or `increase`.
pub(super) fn extrapolated(
    windows: Windows<'_>,
    series: StartedSamples<'_>,
    per_secs: Option<f64>,
    report: &mut Report<'_>,
    out: &mut RowOut<'_>,
) {
    for window in windows.filter(|window| !window.is_empty()) {
        if let Some(increase) = increase(&window, series) {
            out.set(window.step, per_secs.map_or(increase, |secs| increase / secs));
        }
        if (window.first + 1..window.end).any(|at| is_start_overlap(series.at(at - 1), series.start_ts[at])) {
            report.notes.add(annotations::overlapping_start(report.metric_name));
        }
    }
}

fn increase(window: &Window, series: StartedSamples<'_>) -> Option<f64> {
    let (first, last) = (window.first, window.end - 1);
    let Samples { ts, values } = series.samples;
    let lost: f64 = (first + 1..=last).filter(|at| series.is_reset(*at)).fold(0.0, |sum, at| sum + values[at - 1]);
    let increase = values[last] - values[first] + lost;
    let extrapolation = Extrapolation {
        to_start: (ts[first] - window.start_ms) as f64 / 1000.0,
        to_end: (window.end_ms - ts[last]) as f64 / 1000.0,
        sampled: (ts[last] - ts[first]) as f64 / 1000.0,
        gaps: (last - first) as f64,
    };
    let start = series.start_ts[first];
    if start != 0 && window.start_ms < start && start < ts[first] {
        let factor = extrapolation.begin_at((ts[last] - start) as f64 / 1000.0);
        return Some((increase + values[first]) * factor);
    }
    if first == last {
        return None;
    }
    let to_zero = (increase > 0.0 && values[first] >= 0.0).then(|| extrapolation.sampled * (values[first] / increase));
    Some(increase * extrapolation.factor(to_zero))
}

pub(super) fn irate(windows: Windows<'_>, series: StartedSamples<'_>, out: &mut RowOut<'_>) {
    for window in windows.filter(|window| window.len() >= 2) {
        let last = window.end - 1;
        let Samples { ts, values } = series.samples;
        let increase = if series.is_reset(last) { values[last] } else { values[last] - values[last - 1] };
        out.set(window.step, increase / ((ts[last] - ts[last - 1]) as f64 / 1000.0));
    }
}

/// Replaces `counts` by the number of resets up to each sample.
pub(super) fn count_resets(series: StartedSamples<'_>, counts: &mut Vec<u32>) {
    counts.clear();
    let mut seen = 0;
    counts.extend((0..series.start_ts.len()).map(|at| {
        seen += u32::from(at > 0 && series.is_reset(at));
        seen
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_at_the_sample_before_is_a_reset_of_deltas_only() {
        for (before, sample, expected) in [
            ((0, 60), (0, 120), false),
            // Cumulative: the start stays.
            ((1, 60), (1, 120), false),
            ((1, 60), (61, 120), true),
            // Delta.
            ((1, 60), (60, 120), true),
            // Unknown starts.
            ((0, 60), (60, 120), false),
            ((60, 60), (60, 120), false),
            ((90, 60), (60, 120), false),
            ((1, 60), (120, 120), false),
            ((1, 60), (130, 120), false),
        ] {
            assert_eq!(is_start_reset(before, sample), expected, "{before:?} {sample:?}");
        }
    }

    #[test]
    fn only_another_counter_overlaps() {
        assert!(is_start_overlap((10, 60), 20));
        for (before, start) in [((20, 60), 20), ((0, 60), 0), ((0, 60), 60), ((0, 60), 70)] {
            assert!(!is_start_overlap(before, start), "{before:?} {start}");
        }
    }
}
