//! Range functions of series with native histograms or start timestamps.
//!
//! Floats go the way of all floats first, as if there were no histograms. Then each step that sees histograms is decided
//! by what the function makes of both kinds: a warning and no result, a result over both, or the floats with an info.

use std::fmt;

use super::starts::{self, StartedSamples};
use super::windows::{Window, Windows};
use super::{RangeFunction, RangeKernel, Selection, counts};
use crate::functions::annotations;
use crate::functions::error::FunctionError;
use crate::functions::histogram::rate::{Bounds, Rate};
use crate::functions::histogram::{self, HistogramSamples, PointsOut, Report, SeriesSamples};
use crate::functions::notes::Notes;
use crate::value::Point;

/// What surrounds the evaluation of one series.
pub struct Surroundings<'a, E> {
    /// For what there is to say.
    pub metric_name: &'a str,
    /// Asked before each window of histograms, which take their time. An error ends the evaluation.
    pub go_on: &'a dyn Fn() -> Result<(), E>,
}

impl<E> fmt::Debug for Surroundings<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("metric_name", &self.metric_name).finish_non_exhaustive()
    }
}

impl RangeKernel {
    /// Evaluates all steps of one series of either kind.
    pub fn eval_series<E: From<FunctionError>>(
        &mut self,
        series: SeriesSamples<'_>,
        around: Surroundings<'_, E>,
        mut out: PointsOut<'_>,
        notes: &mut Notes,
    ) -> Result<(), E> {
        let mut report = Report { notes, metric_name: around.metric_name };
        if series.float_start_ts.is_empty() || !self.function.knows_starts() {
            self.eval(series.floats, out.floats(), report.notes)?;
        } else {
            self.eval_started(series, &mut out, &mut report)?;
        }
        if !series.histograms.is_empty() {
            self.eval_histograms(series, &mut out, &mut report, around.go_on)?;
        }
        Ok(())
    }

    fn eval_started(
        &mut self,
        series: SeriesSamples<'_>,
        out: &mut PointsOut<'_>,
        report: &mut Report<'_>,
    ) -> Result<(), FunctionError> {
        self.samples_read = 0;
        let started = StartedSamples { samples: series.floats, start_ts: series.float_start_ts };
        let windows = Windows::new(series.floats.ts, &self.grid, &self.window, &mut self.samples_read);
        let range_secs = self.window.range_secs();
        let mut floats = out.floats();
        match (self.function, self.window.selection) {
            (function @ (RangeFunction::Rate | RangeFunction::Increase), Selection::Plain) => {
                let per_secs = (function == RangeFunction::Rate).then_some(range_secs);
                starts::extrapolated(windows, started, per_secs, report, &mut floats);
            }
            (RangeFunction::Irate, _) => starts::irate(windows, started, &mut floats),
            (RangeFunction::Resets, selection) => {
                starts::count_resets(started, &mut self.scratch.counts);
                counts::in_windows(windows, series.floats, selection, &self.scratch.counts, &mut floats);
            }
            _ => return self.eval(series.floats, floats, report.notes),
        }
        Ok(())
    }

    /// Decides the steps that see a histogram.
    fn eval_histograms<E>(
        &self,
        series: SeriesSamples<'_>,
        out: &mut PointsOut<'_>,
        report: &mut Report<'_>,
        go_on: &dyn Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut resets = Vec::new();
        if self.rate().is_some_and(|rate| rate.counter) && self.window.selection == Selection::Plain {
            histogram::rate::resets(series.histograms, &mut resets);
        }
        let (mut unused, mut also_unused) = (0, 0);
        let floats = Windows::new(series.floats.ts, &self.grid, &self.window, &mut unused);
        let histograms = Windows::new(series.histograms.ts, &self.grid, &self.window, &mut also_unused);
        for (floats, histograms) in floats.zip(histograms).filter(|(_, histograms)| !histograms.is_empty()) {
            go_on()?;
            let seen = series.slice(floats.samples(), histograms.samples());
            let resets = if resets.is_empty() { &[] } else { &resets[histograms.samples()] };
            match self.decide(&histograms, seen, resets, report) {
                Decision::Floats => {}
                Decision::Nothing => out.unset(histograms.step),
                Decision::Point(point) => out.set(histograms.step, point),
            }
        }
        Ok(())
    }

    fn decide(&self, window: &Window, seen: SeriesSamples<'_>, resets: &[bool], report: &mut Report<'_>) -> Decision {
        use RangeFunction as F;
        let HistogramSamples { ts, list, .. } = seen.histograms;
        let (first_float, last_float) = (seen.floats.ts.first(), seen.floats.ts.last());
        let (first, last) = (ts[0], ts[ts.len() - 1]);
        match self.function {
            F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime if first_float.is_some() => {
                report.mixed_kinds();
                Decision::Nothing
            }
            F::Rate | F::Increase | F::Delta => self.decide_rate(window, seen.histograms, resets, report),
            F::SumOverTime => Decision::of(histogram::over_time::sum(list, report)),
            F::AvgOverTime => Decision::of(histogram::over_time::mean(list, report)),
            F::Irate => Decision::of(histogram::last_two::between_last_two(true, seen, report)),
            F::Idelta => Decision::of(histogram::last_two::between_last_two(false, seen, report)),
            F::Resets => self.decide_count(window, seen, histogram::counts::resets),
            F::Changes => self.decide_count(window, seen, histogram::counts::changes),
            F::CountOverTime => Decision::of(Some((seen.floats.ts.len() + ts.len()) as f64)),
            F::PresentOverTime => Decision::of(Some(1.0)),
            F::FirstOverTime if first_float.is_some_and(|float| *float < first) => Decision::Floats,
            F::FirstOverTime => Decision::of(list.first().cloned()),
            F::LastOverTime if last_float.is_some_and(|float| *float > last) => Decision::Floats,
            F::LastOverTime => Decision::of(list.last().cloned()),
            F::TsOfFirstOverTime => {
                Decision::of(Some(first_float.map_or(first, |float| first.min(*float)) as f64 / 1000.0))
            }
            F::TsOfLastOverTime => {
                Decision::of(Some(last_float.map_or(last, |float| last.max(*float)) as f64 / 1000.0))
            }
            F::MinOverTime
            | F::MaxOverTime
            | F::TsOfMinOverTime
            | F::TsOfMaxOverTime
            | F::StddevOverTime
            | F::StdvarOverTime
            | F::QuantileOverTime
            | F::MadOverTime
            | F::Deriv
            | F::PredictLinear
            | F::DoubleExponentialSmoothing => {
                if first_float.is_some() {
                    report.notes.add(annotations::ignored_in_mixed_window(report.metric_name));
                }
                Decision::Floats
            }
        }
    }

    fn decide_rate(
        &self,
        window: &Window,
        seen: HistogramSamples<'_>,
        resets: &[bool],
        report: &mut Report<'_>,
    ) -> Decision {
        let rate = self.rate().expect("called for these functions only");
        let bounds = Bounds { start_ms: window.start_ms, end_ms: window.end_ms };
        Decision::of(match self.window.selection {
            Selection::Plain if rate.counter => histogram::rate::rate(rate, bounds, seen, resets, report),
            Selection::Plain => histogram::rate::rate(rate, bounds, seen, &[], report),
            selection => {
                let smoothed = selection == Selection::Smoothed;
                histogram::extended::between_ends(rate, smoothed, bounds, seen, report)
            }
        })
    }

    fn decide_count(
        &self,
        window: &Window,
        seen: SeriesSamples<'_>,
        count: impl Fn(SeriesSamples<'_>) -> f64,
    ) -> Decision {
        let counted = match self.window.selection {
            Selection::Anchored => histogram::counts::anchored(seen, window.start_ms),
            Selection::Plain | Selection::Smoothed => Some(seen),
        };
        Decision::of(counted.map(count))
    }

    fn rate(&self) -> Option<Rate> {
        let per_secs = (self.function == RangeFunction::Rate).then(|| self.window.range_secs());
        match self.function {
            RangeFunction::Rate | RangeFunction::Increase => Some(Rate { counter: true, per_secs }),
            RangeFunction::Delta => Some(Rate { counter: false, per_secs }),
            _ => None,
        }
    }
}

/// What becomes of a step that sees histograms.
enum Decision {
    /// What its floats gave.
    Floats,
    Nothing,
    Point(Point),
}

impl Decision {
    fn of(point: Option<impl Into<Point>>) -> Self {
        point.map_or(Self::Nothing, |point| Self::Point(point.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::functions::grid::{Grid, Samples};
    use crate::functions::{HistogramSteps, RangeWindow};
    use pharos_model::FloatHistogram;

    #[test]
    fn an_evaluation_of_histograms_can_be_ended_at_each_step() {
        let window =
            RangeWindow { range_ms: 10, offset_ms: 0, at_ms: None, selection: Selection::Plain, lookback_ms: 0 };
        let grid = Grid { start_ms: 0, step_ms: 1, n: 5 };
        let mut kernel = RangeKernel::new(RangeFunction::SumOverTime, grid, window, Vec::new());
        let list = [Arc::new(FloatHistogram::default())];
        let series = SeriesSamples {
            floats: Samples::default(),
            float_start_ts: &[],
            histograms: HistogramSamples { ts: &[0], list: &list, start_ts: &[] },
        };
        let asked = std::cell::Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            if asked.get() > 3 { Err(FunctionError::SmoothingFactor(0.0)) } else { Ok(()) }
        };
        let (mut present, mut values, mut histograms) = ([0], [0.0; 5], HistogramSteps::default());
        let out = PointsOut { present: &mut present, values: &mut values, histograms: &mut histograms };
        let around = Surroundings { metric_name: "m", go_on: &go_on };
        assert!(kernel.eval_series(series, around, out, &mut Notes::default()).is_err());
        assert_eq!((asked.get(), present[0]), (4, 0b111));
    }
}
