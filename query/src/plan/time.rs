//! Offsets, `@` and the grid of a subquery.

use pharos_model::TimestampMs;

use crate::functions::Grid;

/// Most steps of a grid: what a fixed-size list can hold. A sane query has at most 11,000, a subquery some millions.
pub const STEPS_MAX: usize = i32::MAX as usize;

/// The time a selector or subquery looks at, for an evaluation time: `(at or evaluation time) - offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeShift {
    pub offset_ms: i64,
    pub at: Option<TimestampMs>,
}

impl TimeShift {
    /// The time looked at when evaluating at `ts`.
    pub fn reference(&self, ts: TimestampMs) -> TimestampMs {
        self.at.unwrap_or(ts).saturating_sub(self.offset_ms)
    }

    /// Whether the time looked at is the same for all evaluation times.
    pub fn is_pinned(&self) -> bool {
        self.at.is_some()
    }
}

/// `[range:step]` with its offset and `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubqueryWindow {
    pub range_ms: i64,
    pub step_ms: i64,
    pub shift: TimeShift,
}

impl SubqueryWindow {
    /// The evaluation times of the inner expression that windows of `outer` can see: multiples of the step, the first one
    /// strictly after the first window's start. `None` when there are more than [`STEPS_MAX`].
    pub fn grid(&self, outer: &Grid) -> Option<Grid> {
        let last = outer.at(outer.n.saturating_sub(1));
        let start = self.shift.reference(outer.start_ms).saturating_sub(self.range_ms);
        let end = self.shift.reference(last);
        // Division truncates towards zero, so before the epoch it may already lie behind the start.
        let mut first = self.step_ms * (start / self.step_ms);
        if first <= start {
            first = first.saturating_add(self.step_ms);
        }
        let steps = if end < first { 0 } else { (end as i128 - first as i128) / self.step_ms as i128 + 1 };
        let n = usize::try_from(steps).ok().filter(|n| *n <= STEPS_MAX)?;
        Some(Grid { start_ms: first, step_ms: self.step_ms, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(range_ms: i64, step_ms: i64, offset_ms: i64, at: Option<i64>) -> SubqueryWindow {
        SubqueryWindow { range_ms, step_ms, shift: TimeShift { offset_ms, at } }
    }

    fn times(window: SubqueryWindow, outer: Grid) -> Vec<i64> {
        let grid = window.grid(&outer).unwrap();
        (0..grid.n).map(|i| grid.at(i)).collect()
    }

    #[test]
    fn a_subquery_starts_strictly_after_its_window_on_multiples_of_its_step() {
        assert_eq!(times(window(30, 10, 0, None), Grid::instant(100)), [80, 90, 100]);
        assert_eq!(times(window(30, 10, 0, None), Grid::instant(105)), [80, 90, 100]);
        assert_eq!(times(window(30, 10, 5, None), Grid::instant(100)), [70, 80, 90]);
        assert_eq!(times(window(30, 10, 0, Some(50)), Grid::instant(1000)), [30, 40, 50]);
    }

    #[test]
    fn one_grid_serves_all_steps_of_the_outer_grid() {
        let outer = Grid { start_ms: 100, step_ms: 15, n: 3 };
        assert_eq!(times(window(20, 10, 0, None), outer), [90, 100, 110, 120, 130]);
    }

    #[test]
    fn division_truncates_towards_zero_before_the_epoch() {
        // -25 / 10 is -2, so the first candidate is -20, which is after the start already.
        assert_eq!(times(window(10, 10, 0, None), Grid::instant(-15)), [-20]);
        assert_eq!(times(window(20, 10, 0, None), Grid::instant(-10)), [-20, -10]);
    }

    #[test]
    fn a_grid_of_billions_of_steps_is_refused() {
        assert_eq!(window(1 << 50, 1, 0, None).grid(&Grid::instant(0)), None);
    }
}
