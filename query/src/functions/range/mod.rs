//! Functions of a range vector: one call for all steps of a series.
//!
//! [`windows`] slides over the samples; each of the other modules is one family of functions. [`RangeKernel`] picks the
//! family once per series, so nothing is decided per step.

mod counts;
mod extended;
mod extrapolation;
mod extremes;
mod last_two;
mod mixed;
mod rate;
mod regression;
mod smoothing;
pub(super) mod starts;
mod windows;

use std::collections::VecDeque;

use pharos_model::{TimeRange, TimestampMs};

use self::extended::Ends;
pub(super) use self::extrapolation::Extrapolation;
use self::extremes::Extreme;
pub use self::mixed::Surroundings;
use self::smoothing::Factors;
use self::windows::{Window, Windows};
use crate::functions::annotations;
use crate::functions::error::FunctionError;
use crate::functions::grid::{Grid, RowOut, Samples, ScalarArg};
use crate::functions::kahan::{KahanSum, Mean, Variance};
use crate::functions::notes::Notes;
use crate::functions::quantile::{median_absolute_deviation, quantile};

/// What a range selector's modifier does to the samples of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selection {
    /// The samples in `(t - range, t]`.
    #[default]
    Plain,
    /// `anchored`: also the last sample at or before the start, if it is within the lookback.
    Anchored,
    /// `smoothed`: interpolated at both ends, from samples within the lookback around the window.
    Smoothed,
}

/// The window of each step: with `t` the evaluation time, or the time of `@`, it is `(t - offset - range, t - offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RangeWindow {
    pub range_ms: i64,
    /// Negative looks ahead.
    pub offset_ms: i64,
    /// `@`: the same window at each step.
    pub at_ms: Option<TimestampMs>,
    pub selection: Selection,
    /// How far outside the window `anchored` and `smoothed` look.
    pub lookback_ms: i64,
}

impl RangeWindow {
    /// The samples that a selector must read so that every step of `grid` has what its window needs.
    pub fn read_range(&self, grid: &Grid) -> TimeRange {
        let (before_ms, after_ms) = self.reach();
        let steps = grid.range();
        // Windows are open on the left.
        let start_ms = self.end_of(steps.start_ms).saturating_sub(self.range_ms.saturating_add(before_ms) - 1);
        TimeRange::new(start_ms, self.end_of(steps.end_ms).saturating_add(after_ms))
    }

    /// The end of the window of an evaluation time.
    fn end_of(&self, time_ms: TimestampMs) -> TimestampMs {
        self.at_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }

    /// The range in seconds, with the rounding of Go's `Duration.Seconds`.
    fn range_secs(&self) -> f64 {
        (self.range_ms / 1000) as f64 + (self.range_ms % 1000 * 1_000_000) as f64 / 1e9
    }
}

/// The functions of one range vector, `absent_over_time` left out: it is the complement of [`RangeFunction::PresentOverTime`]
/// over all series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Resets,
    Changes,
    Deriv,
    /// Parameter: seconds ahead.
    PredictLinear,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    SumOverTime,
    CountOverTime,
    LastOverTime,
    FirstOverTime,
    PresentOverTime,
    StddevOverTime,
    StdvarOverTime,
    /// Parameter: the quantile.
    QuantileOverTime,
    MadOverTime,
    TsOfMinOverTime,
    TsOfMaxOverTime,
    TsOfLastOverTime,
    TsOfFirstOverTime,
    /// Parameters: smoothing factor, trend factor.
    DoubleExponentialSmoothing,
}

impl RangeFunction {
    /// Whether the result is still a sample of the metric, so that its name stays.
    pub fn keeps_name(self) -> bool {
        matches!(self, Self::LastOverTime | Self::FirstOverTime)
    }

    /// Whether the function makes sense for counters only, so that a metric that does not look like one gets an info; see
    /// [`annotations::counter_check`].
    pub fn wants_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }

    /// Whether a start timestamp may be a reset for the function.
    pub fn knows_starts(self) -> bool {
        matches!(self, Self::Rate | Self::Increase | Self::Irate | Self::Resets)
    }

    /// How many scalar parameters the function has.
    pub fn parameters(self) -> usize {
        match self {
            Self::PredictLinear | Self::QuantileOverTime => 1,
            Self::DoubleExponentialSmoothing => 2,
            _ => 0,
        }
    }

    /// Whether the function knows what to do with such windows.
    pub fn allows(self, selection: Selection) -> bool {
        match selection {
            Selection::Plain => true,
            Selection::Anchored => {
                matches!(self, Self::Changes | Self::Delta | Self::Increase | Self::Rate | Self::Resets)
            }
            Selection::Smoothed => matches!(self, Self::Delta | Self::Increase | Self::Rate),
        }
    }
}

/// One range function on one grid, ready for series after series.
#[derive(Debug)]
pub struct RangeKernel {
    function: RangeFunction,
    grid: Grid,
    window: RangeWindow,
    parameters: Vec<ScalarArg>,
    scratch: Scratch,
    samples_read: u64,
}

/// Memory that is used again for each series.
#[derive(Debug, Default)]
struct Scratch {
    rate: rate::Scratch,
    counts: Vec<u32>,
    values: Vec<f64>,
    queue: VecDeque<usize>,
}

impl RangeKernel {
    /// `parameters` are the scalar arguments in the order of the call.
    ///
    /// # Panics
    /// If the number of parameters is not [`RangeFunction::parameters`], or the function does not
    /// [allow](RangeFunction::allows) the selection: lowering a query checks both.
    pub fn new(function: RangeFunction, grid: Grid, window: RangeWindow, parameters: Vec<ScalarArg>) -> Self {
        assert_eq!(parameters.len(), function.parameters(), "parameters of {function:?}");
        assert!(function.allows(window.selection), "{function:?} of {:?} windows", window.selection);
        Self { function, grid, window, parameters, scratch: Scratch::default(), samples_read: 0 }
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    pub fn window(&self) -> &RangeWindow {
        &self.window
    }

    /// How many floats the steps of the last series saw, each counted for every step that sees it.
    pub fn samples_read(&self) -> u64 {
        self.samples_read
    }

    /// Evaluates all steps of one series.
    pub fn eval(&mut self, samples: Samples<'_>, mut out: RowOut<'_>, notes: &mut Notes) -> Result<(), FunctionError> {
        use RangeFunction as F;
        self.samples_read = 0;
        let windows = Windows::new(samples.ts, &self.grid, &self.window, &mut self.samples_read);
        let Scratch { rate, counts, values, queue } = &mut self.scratch;
        let range_secs = self.window.range_secs();
        let selection = self.window.selection;
        let out = &mut out;
        match (self.function, selection) {
            (F::Rate, Selection::Plain) => rate::extrapolated::<true, true>(windows, samples, range_secs, rate, out),
            (F::Increase, Selection::Plain) => {
                rate::extrapolated::<true, false>(windows, samples, range_secs, rate, out);
            }
            (F::Delta, Selection::Plain) => rate::extrapolated::<false, false>(windows, samples, range_secs, rate, out),
            (function @ (F::Rate | F::Increase | F::Delta), _) => {
                let ends = Ends {
                    smoothed: selection == Selection::Smoothed,
                    counter: function != F::Delta,
                    per_secs: (function == F::Rate).then_some(range_secs),
                };
                extended::between_ends(windows, samples, ends, out);
            }
            (F::Irate, _) => last_two::irate(windows, samples, out),
            (F::Idelta, _) => last_two::idelta(windows, samples, out),
            (F::Resets, _) => {
                counts::count_resets(samples.values, counts);
                counts::in_windows(windows, samples, selection, counts, out);
            }
            (F::Changes, _) => {
                counts::count_changes(samples.values, counts);
                counts::in_windows(windows, samples, selection, counts, out);
            }
            (F::Deriv, _) => each(windows, samples, out, |_, seen| {
                // An origin near the samples keeps the numbers small.
                (seen.ts.len() >= 2).then(|| regression::fit(seen, seen.ts[0]).slope)
            }),
            (F::PredictLinear, _) => each(windows, samples, out, |window, seen| {
                let line = (seen.ts.len() >= 2).then(|| regression::fit(seen, self.grid.at(window.step)))?;
                Some(line.slope * self.parameters[0].at(window.step) + line.intercept)
            }),
            (F::AvgOverTime, _) => each(windows, samples, out, |_, seen| {
                let mut mean = Mean::new(seen.values[0]);
                seen.values[1..].iter().for_each(|&value| mean.add(value));
                Some(mean.value())
            }),
            (F::SumOverTime, _) => each(windows, samples, out, |_, seen| {
                let mut sum = KahanSum::default();
                seen.values.iter().for_each(|&value| sum.add(value));
                Some(if sum.sum.is_infinite() { sum.sum } else { sum.value() })
            }),
            (F::StddevOverTime, _) => each(windows, samples, out, |_, seen| Some(variance(seen.values).sqrt())),
            (F::StdvarOverTime, _) => each(windows, samples, out, |_, seen| Some(variance(seen.values))),
            (F::CountOverTime, _) => each(windows, samples, out, |window, _| Some(window.len() as f64)),
            (F::PresentOverTime, _) => each(windows, samples, out, |_, _| Some(1.0)),
            (F::FirstOverTime, _) => each(windows, samples, out, |_, seen| seen.values.first().copied()),
            (F::LastOverTime, _) => each(windows, samples, out, |_, seen| seen.values.last().copied()),
            (F::TsOfFirstOverTime, _) => {
                each(windows, samples, out, |_, seen| seen.ts.first().map(|&ts| ts as f64 / 1000.0));
            }
            (F::TsOfLastOverTime, _) => {
                each(windows, samples, out, |_, seen| seen.ts.last().map(|&ts| ts as f64 / 1000.0));
            }
            (F::MinOverTime, _) => extremes::value(windows, samples, Extreme::FirstMin, queue, out),
            (F::MaxOverTime, _) => extremes::value(windows, samples, Extreme::FirstMax, queue, out),
            (F::TsOfMinOverTime, _) => extremes::time(windows, samples, Extreme::LastMin, queue, out),
            (F::TsOfMaxOverTime, _) => extremes::time(windows, samples, Extreme::LastMax, queue, out),
            (F::QuantileOverTime, _) => each(windows, samples, out, |window, seen| {
                let phi = self.parameters[0].at(window.step);
                if !(0.0..=1.0).contains(&phi) {
                    notes.add(annotations::invalid_quantile(phi));
                }
                Some(quantile(phi, copied(seen.values, values)))
            }),
            (F::MadOverTime, _) => {
                each(windows, samples, out, |_, seen| Some(median_absolute_deviation(copied(seen.values, values))))
            }
            (F::DoubleExponentialSmoothing, _) => {
                for window in windows.filter(|window| !window.is_empty()) {
                    let factors = Factors::new(self.parameters[0].at(window.step), self.parameters[1].at(window.step))?;
                    if window.len() >= 2 {
                        out.set(window.step, factors.smooth(&samples.values[window.samples()]));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Evaluates window by window those that hold samples.
fn each(
    windows: Windows<'_>,
    samples: Samples<'_>,
    out: &mut RowOut<'_>,
    mut compute: impl FnMut(&Window, Samples<'_>) -> Option<f64>,
) {
    for window in windows.filter(|window| !window.is_empty()) {
        let seen = Samples { ts: &samples.ts[window.samples()], values: &samples.values[window.samples()] };
        if let Some(value) = compute(&window, seen) {
            out.set(window.step, value);
        }
    }
}

fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    values.iter().for_each(|&value| variance.add(value));
    variance.value()
}

fn copied<'b>(values: &[f64], buffer: &'b mut Vec<f64>) -> &'b mut [f64] {
    buffer.clear();
    buffer.extend_from_slice(values);
    buffer
}

#[cfg(test)]
mod tests;
