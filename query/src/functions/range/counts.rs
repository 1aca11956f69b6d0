//! `resets` and `changes`, by prefix counts: how many there are up to each sample, so that a window is one subtraction.

use super::Selection;
use super::windows::{Window, Windows};
use crate::functions::grid::{RowOut, Samples};

/// Whether any value is below the one before. Looks at all of them, which the compiler turns into vector instructions.
pub(super) fn has_reset(values: &[f64]) -> bool {
    values.windows(2).fold(false, |seen, pair| seen | (pair[1] < pair[0]))
}

/// Replaces `counts` by the number of resets up to each sample.
pub(super) fn count_resets(values: &[f64], counts: &mut Vec<u32>) {
    count(values, counts, |before, value| value < before);
}

/// Replaces `counts` by the number of changes up to each sample. From NaN to NaN is no change.
pub(super) fn count_changes(values: &[f64], counts: &mut Vec<u32>) {
    count(values, counts, |before, value| value != before && !(value.is_nan() && before.is_nan()));
}

fn count(values: &[f64], counts: &mut Vec<u32>, is_event: impl Fn(f64, f64) -> bool) {
    counts.clear();
    counts.reserve(values.len());
    let mut seen = 0;
    counts.extend(values.first().map(|_| 0));
    counts.extend(values.windows(2).map(|pair| {
        seen += u32::from(is_event(pair[0], pair[1]));
        seen
    }));
}

/// The events in each window. An anchored window begins with the last sample at or before its start, if there is one.
pub(super) fn in_windows(
    windows: Windows<'_>,
    samples: Samples<'_>,
    selection: Selection,
    counts: &[u32],
    out: &mut RowOut<'_>,
) {
    for window in windows.filter(|window| !window.is_empty()) {
        let first = match selection {
            Selection::Anchored => match anchor(&window, samples.ts) {
                Some(first) => first,
                None => continue,
            },
            Selection::Plain | Selection::Smoothed => window.first,
        };
        out.set(window.step, f64::from(counts[window.end - 1] - counts[first]));
    }
}

/// The last sample of a wide window that is not after the start of the window proper, else its first; `None` when nothing
/// is in the window proper.
fn anchor(window: &Window, ts: &[i64]) -> Option<usize> {
    let last = window.end - 1;
    if ts[last] <= window.start_ms {
        return None;
    }
    let inside = ts[window.first..last].partition_point(|&at| at <= window.start_ms);
    Some(window.first + inside.saturating_sub(1))
}
