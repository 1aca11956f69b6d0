//! `rate`, `increase` and `delta`: what happened between the first and the last sample, extrapolated to the window.
//!
//! Two loops over blocks of steps: the first looks at samples, the second only computes and has no branches, so that it
//! runs on vectors of steps. Windows with a counter reset are summed sample by sample in their order, all others take one
//! subtraction; either way the result is the same to the bit as that of a plain loop over the window.

use super::counts;
use super::windows::Windows;
use crate::functions::grid::{RowOut, Samples};

/// Steps that are computed together. Their intermediate values stay in the first-level cache.
const BLOCK: usize = 256;

/// What the second loop needs of each step of a block.
#[derive(Debug)]
pub(super) struct Block {
    increase: [f64; BLOCK],
    first_value: [f64; BLOCK],
    /// Seconds from the start of the window to the first sample, and from the last sample to its end.
    to_start: [f64; BLOCK],
    to_end: [f64; BLOCK],
    /// Seconds from the first sample to the last, and the number of gaps between.
    sampled: [f64; BLOCK],
    gaps: [f64; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        let ones = [1.0; BLOCK];
        Self { increase: ones, first_value: ones, to_start: ones, to_end: ones, sampled: ones, gaps: ones }
    }
}

#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Number of resets up to each sample; empty when there is none.
    resets: Vec<u32>,
    block: Box<Block>,
}

/// `COUNTER`: the value only falls by a reset and never was below zero. `RATE`: by second of the range.
pub(super) fn extrapolated<const COUNTER: bool, const RATE: bool>(
    mut windows: Windows<'_>,
    samples: Samples<'_>,
    range_secs: f64,
    scratch: &mut Scratch,
    out: &mut RowOut<'_>,
) {
    let Scratch { resets, block } = scratch;
    resets.clear();
    if COUNTER && counts::has_reset(samples.values) {
        counts::count_resets(samples.values, resets);
    }
    let mut done = 0;
    while done < out.values.len() {
        let steps = BLOCK.min(out.values.len() - done);
        for window in windows.by_ref().take(steps) {
            if window.len() < 2 {
                continue;
            }
            let (first, last, at) = (window.first, window.end - 1, window.step - done);
            block.increase[at] = samples.values[last] - samples.values[first];
            if COUNTER && !resets.is_empty() && resets[first] != resets[last] {
                add_what_resets_lost(&samples.values[first..=last], &mut block.increase[at]);
            }
            block.first_value[at] = samples.values[first];
            block.to_start[at] = (samples.ts[first] - window.start_ms) as f64 / 1000.0;
            block.to_end[at] = (window.end_ms - samples.ts[last]) as f64 / 1000.0;
            block.sampled[at] = (samples.ts[last] - samples.ts[first]) as f64 / 1000.0;
            block.gaps[at] = (last - first) as f64;
            out.present[window.step / 64] |= 1 << (window.step % 64);
        }
        block.extrapolate::<COUNTER, RATE>(range_secs, &mut out.values[done..done + steps]);
        done += steps;
    }
}

fn add_what_resets_lost(values: &[f64], increase: &mut f64) {
    for pair in values.windows(2) {
        if pair[1] < pair[0] {
            *increase += pair[0];
        }
    }
}

impl Block {
    fn extrapolate<const COUNTER: bool, const RATE: bool>(&self, range_secs: f64, values: &mut [f64]) {
        for (at, value) in values.iter_mut().enumerate().take(BLOCK) {
            let (increase, sampled) = (self.increase[at], self.sampled[at]);
            let gap = sampled / self.gaps[at];
            // A series whose end is further away than that is taken to end halfway through a gap.
            let threshold = gap * 1.1;
            let mut to_start = if self.to_start[at] >= threshold { gap / 2.0 } else { self.to_start[at] };
            if COUNTER {
                // A counter is not extrapolated below zero.
                let first = self.first_value[at];
                let to_zero = if increase > 0.0 && first >= 0.0 { sampled * (first / increase) } else { to_start };
                to_start = if to_zero < to_start { to_zero } else { to_start };
            }
            let to_end = if self.to_end[at] >= threshold { gap / 2.0 } else { self.to_end[at] };
            let mut factor = (sampled + to_start + to_end) / sampled;
            if RATE {
                factor /= range_secs;
            }
            *value = increase * factor;
        }
    }
}
