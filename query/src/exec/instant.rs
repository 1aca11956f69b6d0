//! Instant selection: for each step, the sample that a series had at that time. Pure.

use pharos_model::TimeRange;
use pharos_model::sample::is_stale;

use crate::functions::{Grid, RowOut, Samples};
use crate::plan::TimeShift;

/// What is taken of a series at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InstantRead {
    /// The value of the newest sample that is less than the lookback old, unless it ends the series.
    Newest { lookback_ms: i64 },
    /// That sample's time in seconds.
    NewestTime { lookback_ms: i64 },
    /// Interpolated between the samples around the time, each less than the lookback away.
    Smoothed { lookback_ms: i64 },
}

impl InstantRead {
    /// The samples that the steps of a grid may need.
    pub(super) fn range(&self, grid: &Grid, shift: &TimeShift) -> TimeRange {
        let (first, last) = (shift.reference(grid.start_ms), shift.reference(grid.at(grid.n - 1)));
        let (lookback_ms, ahead_ms) = match self {
            Self::Newest { lookback_ms } | Self::NewestTime { lookback_ms } => (*lookback_ms, 0),
            Self::Smoothed { lookback_ms } => (*lookback_ms, *lookback_ms),
        };
        // A sample exactly as old as the lookback is out.
        TimeRange::new(first.saturating_sub(lookback_ms - 1), last.saturating_add(ahead_ms))
    }
}

/// Writes the steps of one series. `samples` ascend by time, staleness markers included.
pub(super) fn eval(read: InstantRead, samples: Samples<'_>, grid: &Grid, shift: &TimeShift, out: &mut RowOut<'_>) {
    match read {
        InstantRead::Newest { lookback_ms } => {
            newest(samples, grid, shift, lookback_ms, |step, at| out.set(step, samples.values[at]));
        }
        InstantRead::NewestTime { lookback_ms } => {
            newest(samples, grid, shift, lookback_ms, |step, at| out.set(step, samples.ts[at] as f64 / 1000.0));
        }
        InstantRead::Smoothed { lookback_ms } => smoothed(samples, grid, shift, lookback_ms, out),
    }
}

fn newest(samples: Samples<'_>, grid: &Grid, shift: &TimeShift, lookback_ms: i64, mut found: impl FnMut(usize, usize)) {
    // Times looked at never go back, so one pass over the samples serves all steps.
    let mut next = 0;
    for step in 0..grid.n {
        let reference = shift.reference(grid.at(step));
        while next < samples.ts.len() && samples.ts[next] <= reference {
            next += 1;
        }
        let Some(at) = next.checked_sub(1) else { continue };
        if samples.ts[at] > reference.saturating_sub(lookback_ms) && !is_stale(samples.values[at]) {
            found(step, at);
        }
    }
}

fn smoothed(samples: Samples<'_>, grid: &Grid, shift: &TimeShift, lookback_ms: i64, out: &mut RowOut<'_>) {
    let live: Vec<usize> = (0..samples.ts.len()).filter(|at| !is_stale(samples.values[*at])).collect();
    let mut next = 0;
    for step in 0..grid.n {
        let reference = shift.reference(grid.at(step));
        while next < live.len() && samples.ts[live[next]] <= reference {
            next += 1;
        }
        let Some(before) = next.checked_sub(1).map(|i| live[i]) else { continue };
        if samples.ts[before] <= reference.saturating_sub(lookback_ms) {
            continue;
        }
        let after = live.get(next).copied().filter(|after| samples.ts[*after] <= reference.saturating_add(lookback_ms));
        let (t0, v0) = (samples.ts[before], samples.values[before]);
        let value = match after {
            Some(after) if t0 != reference => {
                let (t1, v1) = (samples.ts[after], samples.values[after]);
                v0 + (v1 - v0) * (reference - t0) as f64 / (t1 - t0) as f64
            }
            _ => v0,
        };
        out.set(step, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::sample::stale_nan;

    const GRID: Grid = Grid { start_ms: 0, step_ms: 10, n: 5 };

    fn check(read: InstantRead, shift: TimeShift, samples: &[(i64, f64)], want: [Option<f64>; 5]) {
        let (ts, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
        let (mut present, mut row) = ([0], [0.0; 5]);
        let mut out = RowOut { present: &mut present, values: &mut row };
        eval(read, Samples { ts: &ts, values: &values }, &GRID, &shift, &mut out);
        let got: Vec<_> = (0..5).map(|i| (present[0] >> i & 1 == 1).then_some(row[i])).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_sample_exactly_as_old_as_the_lookback_is_out() {
        let read = InstantRead::Newest { lookback_ms: 20 };
        check(read, TimeShift::default(), &[(0, 1.0)], [Some(1.0), Some(1.0), None, None, None]);
        assert_eq!(read.range(&GRID, &TimeShift::default()), TimeRange::new(-19, 40));
    }

    #[test]
    fn a_staleness_marker_ends_the_series_at_once() {
        let read = InstantRead::Newest { lookback_ms: 100 };
        check(
            read,
            TimeShift::default(),
            &[(5, 1.0), (15, stale_nan()), (35, 2.0)],
            [None, Some(1.0), None, None, Some(2.0)],
        );
    }

    #[test]
    fn offset_and_at_move_the_time_looked_at() {
        let read = InstantRead::Newest { lookback_ms: 10 };
        let samples = [(0, 1.0), (10, 2.0), (20, 3.0)];
        let later = TimeShift { offset_ms: -10, at: None };
        check(read, later, &samples, [Some(2.0), Some(3.0), None, None, None]);
        let pinned = TimeShift { offset_ms: 10, at: Some(30) };
        check(read, pinned, &samples, [Some(3.0); 5]);
        check(InstantRead::NewestTime { lookback_ms: 10 }, pinned, &samples, [Some(0.02); 5]);
    }

    #[test]
    fn smoothing_interpolates_between_neighbours_and_carries_the_last_one_on() {
        let read = InstantRead::Smoothed { lookback_ms: 15 };
        check(
            read,
            TimeShift::default(),
            &[(5, 10.0), (15, 20.0), (30, 1.0)],
            [None, Some(15.0), Some(20.0 - 19.0 / 3.0), Some(1.0), Some(1.0)],
        );
    }
}
