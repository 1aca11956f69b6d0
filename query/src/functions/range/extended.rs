//! `rate`, `increase` and `delta` of anchored and smoothed windows: no extrapolation, but a value at each end of the
//! window.
//!
//! Anchored takes the last sample at or before the start as the value there, and the last sample as the value at the
//! end. Smoothed interpolates between the samples around each end.

use super::windows::{Window, Windows};
use crate::functions::grid::{RowOut, Samples};

/// What is asked for, beside the windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) smoothed: bool,
    pub(super) counter: bool,
    /// What the difference is divided by.
    pub(super) per_secs: Option<f64>,
}

pub(super) fn between_ends(windows: Windows<'_>, samples: Samples<'_>, ends: Ends, out: &mut RowOut<'_>) {
    for window in windows.filter(|window| !window.is_empty()) {
        let range = window.samples();
        let seen = Samples { ts: &samples.ts[range.clone()], values: &samples.values[range] };
        if let Some(difference) = difference(&window, seen, ends) {
            out.set(window.step, ends.per_secs.map_or(difference, |secs| difference / secs));
        }
    }
}

/// The value at the end less the value at the start; `None` when all samples are before the window, or all behind it.
fn difference(window: &Window, seen: Samples<'_>, ends: Ends) -> Option<f64> {
    let last = seen.ts.len() - 1;
    let mut first = seen.ts[..last].partition_point(|&at| at <= window.start_ms).saturating_sub(1);
    let mut end = if ends.smoothed { seen.ts[..last].partition_point(|&at| at < window.end_ms) } else { last };
    if seen.ts[end] <= window.start_ms || seen.ts[first] > window.end_ms {
        return None;
    }
    let left = if ends.smoothed && seen.ts[first] < window.start_ms {
        interpolate(seen, first, window.start_ms, ends.counter)
    } else {
        seen.values[first]
    };
    let right = if ends.smoothed && end > 0 && seen.ts[end] > window.end_ms {
        interpolate(seen, end - 1, window.end_ms, ends.counter)
    } else {
        seen.values[end]
    };
    let mut difference = right - left;
    if ends.counter {
        // Samples at the ends themselves are already in `left` and `right`. The last one is after the start, so `first` stays
        // at or before `end`.
        first += usize::from(seen.ts[first] <= window.start_ms);
        end += usize::from(seen.ts[end] < window.end_ms);
        difference += lost_by_resets(left, right, &seen.values[first..end]);
    }
    Some(difference)
}

/// On the line from sample `at` to the next. A counter that was reset between them started again from zero.
fn interpolate(seen: Samples<'_>, at: usize, time_ms: i64, counter: bool) -> f64 {
    let (mut from, to) = (seen.values[at], seen.values[at + 1]);
    if counter && to < from {
        from = 0.0;
    }
    from + (to - from) * (time_ms - seen.ts[at]) as f64 / (seen.ts[at + 1] - seen.ts[at]) as f64
}

fn lost_by_resets(left: f64, right: f64, between: &[f64]) -> f64 {
    let (mut lost, mut before) = (0.0, left);
    for &value in between.iter().chain(std::iter::once(&right)) {
        if value < before {
            lost += before;
        }
        before = value;
    }
    lost
}
