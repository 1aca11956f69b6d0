//! `irate` and `idelta`: the last two samples of each window.

use super::windows::Windows;
use crate::functions::grid::{RowOut, Samples};

/// The increase by second; after a reset the counter started from zero.
pub(super) fn irate(windows: Windows<'_>, samples: Samples<'_>, out: &mut RowOut<'_>) {
    each_pair(windows, samples, out, |before, value, ms| {
        let increase = if value < before { value } else { value - before };
        increase / (ms as f64 / 1000.0)
    });
}

pub(super) fn idelta(windows: Windows<'_>, samples: Samples<'_>, out: &mut RowOut<'_>) {
    each_pair(windows, samples, out, |before, value, _| value - before);
}

fn each_pair(windows: Windows<'_>, samples: Samples<'_>, out: &mut RowOut<'_>, compute: impl Fn(f64, f64, i64) -> f64) {
    for window in windows.filter(|window| window.len() >= 2) {
        let last = window.end - 1;
        let apart_ms = samples.ts[last] - samples.ts[last - 1];
        out.set(window.step, compute(samples.values[last - 1], samples.values[last], apart_ms));
    }
}
