//! Which samples each step sees: two indices that only move forward.

use std::ops::Range;

use pharos_model::TimestampMs;

use super::{RangeWindow, Selection};
use crate::functions::grid::Grid;

/// The samples of one step: `first..end`, with `first <= end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) step: usize,
    /// The window proper is `(start_ms, end_ms]`, whatever more a selection reads.
    pub(super) start_ms: TimestampMs,
    pub(super) end_ms: TimestampMs,
    pub(super) first: usize,
    pub(super) end: usize,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.end - self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn samples(&self) -> Range<usize> {
        self.first..self.end
    }
}

/// The windows of a series, step by step.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    ts: &'a [TimestampMs],
    /// Counts the samples of all windows that were handed out.
    samples_read: &'a mut u64,
    steps: usize,
    step_ms: i64,
    range_ms: i64,
    /// How far the samples of a step reach beyond its window.
    before_ms: i64,
    after_ms: i64,
    next_step: usize,
    next_end_ms: TimestampMs,
    first: usize,
    end: usize,
}

impl<'a> Windows<'a> {
    pub(super) fn new(ts: &'a [TimestampMs], grid: &Grid, window: &RangeWindow, samples_read: &'a mut u64) -> Self {
        let (before_ms, after_ms) = window.reach();
        Self {
            ts,
            samples_read,
            steps: grid.n,
            step_ms: if window.at_ms.is_some() { 0 } else { grid.step_ms },
            range_ms: window.range_ms,
            before_ms,
            after_ms,
            next_step: 0,
            next_end_ms: window.end_of(grid.start_ms),
            first: 0,
            end: 0,
        }
    }
}

impl Iterator for Windows<'_> {
    type Item = Window;

    #[inline]
    fn next(&mut self) -> Option<Window> {
        if self.next_step == self.steps {
            return None;
        }
        let (step, end_ms) = (self.next_step, self.next_end_ms);
        let start_ms = end_ms.saturating_sub(self.range_ms);
        self.next_step += 1;
        self.next_end_ms = end_ms.saturating_add(self.step_ms);
        self.end = advance(self.ts, self.end, end_ms.saturating_add(self.after_ms));
        self.first = advance(self.ts, self.first, start_ms.saturating_sub(self.before_ms));
        *self.samples_read += (self.end - self.first) as u64;
        Some(Window { step, start_ms, end_ms, first: self.first, end: self.end })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.steps - self.next_step;
        (left, Some(left))
    }
}

/// The first index from `at` on whose time is after `until`.
#[inline]
fn advance(ts: &[TimestampMs], mut at: usize, until: TimestampMs) -> usize {
    while at < ts.len() && ts[at] <= until {
        at += 1;
    }
    at
}

impl RangeWindow {
    /// How far before and after its windows a selection reads.
    pub(super) fn reach(&self) -> (i64, i64) {
        match self.selection {
            Selection::Plain => (0, 0),
            Selection::Anchored => (self.lookback_ms, 0),
            Selection::Smoothed => (self.lookback_ms, self.lookback_ms),
        }
    }
}
