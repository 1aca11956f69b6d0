//! `min_over_time`, `max_over_time` and the times of these samples, in constant time for each sample.
//!
//! A queue holds the samples that can still become the extreme of a later window: each is further from the extreme than
//! those before it. NaNs count only in windows that have nothing else.

use std::collections::VecDeque;

use super::windows::Windows;
use crate::functions::grid::{RowOut, Samples};

/// Which extreme, and which sample among equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    FirstMin,
    FirstMax,
    LastMin,
    LastMax,
}

impl Extreme {
    /// Whether a later value makes an earlier one of no further use.
    fn supersedes(self, later: f64, earlier: f64) -> bool {
        match self {
            Self::FirstMin => later < earlier,
            Self::FirstMax => later > earlier,
            Self::LastMin => later <= earlier,
            Self::LastMax => later >= earlier,
        }
    }
}

/// Writes `pick` of the index of each window's extreme sample.
fn extreme(
    windows: Windows<'_>,
    samples: Samples<'_>,
    which: Extreme,
    queue: &mut VecDeque<usize>,
    mut pick: impl FnMut(usize, usize),
) {
    queue.clear();
    let mut seen = 0;
    for window in windows.filter(|window| !window.is_empty()) {
        for at in seen.max(window.first)..window.end {
            let value = samples.values[at];
            if value.is_nan() {
                continue;
            }
            while queue.back().is_some_and(|&earlier| which.supersedes(value, samples.values[earlier])) {
                queue.pop_back();
            }
            queue.push_back(at);
        }
        seen = window.end;
        while queue.front().is_some_and(|&at| at < window.first) {
            queue.pop_front();
        }
        pick(window.step, queue.front().copied().unwrap_or(window.end - 1));
    }
}

/// The extreme value of each window.
pub(super) fn value(
    windows: Windows<'_>,
    samples: Samples<'_>,
    which: Extreme,
    queue: &mut VecDeque<usize>,
    out: &mut RowOut<'_>,
) {
    extreme(windows, samples, which, queue, |step, at| out.set(step, samples.values[at]));
}

/// The time of the extreme value in seconds.
pub(super) fn time(
    windows: Windows<'_>,
    samples: Samples<'_>,
    which: Extreme,
    queue: &mut VecDeque<usize>,
    out: &mut RowOut<'_>,
) {
    extreme(windows, samples, which, queue, |step, at| out.set(step, samples.ts[at] as f64 / 1000.0));
}
