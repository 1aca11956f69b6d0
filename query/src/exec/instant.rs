//! Instant selection: for each step, the sample that a series had at that time. Pure.

use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{TimeRange, TimestampMs};

use crate::functions::histogram::smoothed::at as smoothed_histogram;
use crate::functions::{Grid, Notes, PointsOut, Samples, SeriesSamples, annotations};
use crate::plan::TimeShift;
use crate::source::SampleColumns;

/// What is taken of a series at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InstantRead {
    /// The value of the newest sample that is less than the lookback old, unless it ends the series.
    Newest { lookback_ms: i64 },
    /// That sample's time in seconds.
    NewestTime { lookback_ms: i64 },
    /// That time if the sample is a float, and the sample itself if it is a histogram.
    FloatTime { lookback_ms: i64 },
    /// When that sample's counter began, in seconds; 0 where that is not known.
    NewestStart { lookback_ms: i64 },
    /// Interpolated between the samples around the time, each less than the lookback away.
    Smoothed { lookback_ms: i64 },
}

impl InstantRead {
    /// The samples that the steps of a grid may need.
    pub(super) fn range(&self, grid: &Grid, shift: &TimeShift) -> TimeRange {
        let (first, last) = (shift.reference(grid.start_ms), shift.reference(grid.at(grid.n - 1)));
        let (lookback_ms, ahead_ms) = match self {
            Self::Newest { lookback_ms }
            | Self::NewestTime { lookback_ms }
            | Self::FloatTime { lookback_ms }
            | Self::NewestStart { lookback_ms } => (*lookback_ms, 0),
            Self::Smoothed { lookback_ms } => (*lookback_ms, *lookback_ms),
        };
        // A sample exactly as old as the lookback is out.
        TimeRange::new(first.saturating_sub(lookback_ms - 1), last.saturating_add(ahead_ms))
    }
}

/// A series at the steps of a grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct InstantSeries<'a> {
    /// Ascending by time, staleness markers included.
    pub samples: SeriesSamples<'a>,
    /// For what there is to say.
    pub metric_name: &'a str,
}

/// The times that each step of a grid looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct References<'a> {
    pub grid: &'a Grid,
    pub shift: &'a TimeShift,
}

impl References<'_> {
    /// Each step and its time. Times never go back, so one pass over the samples serves all steps.
    fn iter(self) -> impl Iterator<Item = (usize, TimestampMs)> {
        (0..self.grid.n).map(move |step| (step, self.shift.reference(self.grid.at(step))))
    }
}

/// Writes the steps of one series.
pub(super) fn eval(
    read: InstantRead,
    series: InstantSeries<'_>,
    times: References<'_>,
    out: &mut PointsOut<'_>,
    notes: &mut Notes,
) {
    let SeriesSamples { floats, float_start_ts, histograms } = series.samples;
    match read {
        InstantRead::Newest { lookback_ms } => newest(series.samples, times, lookback_ms, |step, at| match at {
            Found::Float(at) => out.set(step, floats.values[at]),
            Found::Histogram(at) => out.set(step, Arc::clone(&histograms.list[at])),
        }),
        InstantRead::NewestTime { lookback_ms } => newest(series.samples, times, lookback_ms, |step, at| {
            let ts = match at {
                Found::Float(at) => floats.ts[at],
                Found::Histogram(at) => histograms.ts[at],
            };
            out.set(step, ts as f64 / 1000.0);
        }),
        InstantRead::FloatTime { lookback_ms } => newest(series.samples, times, lookback_ms, |step, at| match at {
            Found::Float(at) => out.set(step, floats.ts[at] as f64 / 1000.0),
            Found::Histogram(at) => out.set(step, Arc::clone(&histograms.list[at])),
        }),
        InstantRead::NewestStart { lookback_ms } => newest(series.samples, times, lookback_ms, |step, at| {
            let start = match at {
                Found::Float(at) => float_start_ts.get(at),
                Found::Histogram(at) => histograms.start_ts.get(at),
            };
            out.set(step, start.copied().unwrap_or(0) as f64 / 1000.0);
        }),
        InstantRead::Smoothed { lookback_ms } if histograms.is_empty() => {
            smoothed(floats, times, lookback_ms, out);
        }
        InstantRead::Smoothed { lookback_ms } => smoothed_mixed(series, times, lookback_ms, out, notes),
    }
}

/// Which sample a step finds.
#[derive(Clone, Copy)]
enum Found {
    Float(usize),
    Histogram(usize),
}

fn newest(samples: SeriesSamples<'_>, times: References<'_>, lookback_ms: i64, mut found: impl FnMut(usize, Found)) {
    let SeriesSamples { floats, histograms, .. } = samples;
    let (mut next_float, mut next_histogram) = (0, 0);
    for (step, reference) in times.iter() {
        let oldest = reference.saturating_sub(lookback_ms);
        let float = last_until(floats.ts, &mut next_float, reference).filter(|at| floats.ts[*at] > oldest);
        let histogram =
            last_until(histograms.ts, &mut next_histogram, reference).filter(|at| histograms.ts[*at] > oldest);
        match (float, histogram) {
            (Some(float), Some(at)) if histograms.ts[at] < floats.ts[float] => {
                if !is_stale(floats.values[float]) {
                    found(step, Found::Float(float));
                }
            }
            (_, Some(at)) => {
                if !histograms.is_stale(at) {
                    found(step, Found::Histogram(at));
                }
            }
            (Some(float), None) => {
                if !is_stale(floats.values[float]) {
                    found(step, Found::Float(float));
                }
            }
            (None, None) => {}
        }
    }
}

/// The last sample that is not after a time. `next` is where the search goes on.
fn last_until(ts: &[TimestampMs], next: &mut usize, until: TimestampMs) -> Option<usize> {
    while *next < ts.len() && ts[*next] <= until {
        *next += 1;
    }
    next.checked_sub(1)
}

fn smoothed(samples: Samples<'_>, times: References<'_>, lookback_ms: i64, out: &mut PointsOut<'_>) {
    let live: Vec<usize> = (0..samples.ts.len()).filter(|at| !is_stale(samples.values[*at])).collect();
    let mut next = 0;
    for (step, reference) in times.iter() {
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

/// Of a series with histograms. Where floats and histograms are around a step, there is a warning and no value.
fn smoothed_mixed(
    series: InstantSeries<'_>,
    times: References<'_>,
    lookback_ms: i64,
    out: &mut PointsOut<'_>,
    notes: &mut Notes,
) {
    let mut live = SampleColumns::default();
    let samples = without_stale(series.samples, &mut live);
    smoothed(samples.floats, times, lookback_ms, out);
    for (step, reference) in times.iter() {
        let around = |ts: &[TimestampMs]| {
            ts.partition_point(|ts| *ts <= reference.saturating_sub(lookback_ms))
                ..ts.partition_point(|ts| *ts <= reference.saturating_add(lookback_ms))
        };
        let (floats, histograms) = (around(samples.floats.ts), around(samples.histograms.ts));
        if histograms.is_empty() {
            continue;
        }
        if !floats.is_empty() {
            notes.add(annotations::mixed_kinds(series.metric_name));
            out.unset(step);
            continue;
        }
        let seen = samples.histograms.slice(histograms);
        if let Some(histogram) = smoothed_histogram(seen, reference, series.metric_name, notes) {
            out.set(step, histogram);
        }
    }
}

/// Samples without staleness markers. Copies to `live` only if there are any.
pub(super) fn without_stale<'a>(samples: SeriesSamples<'a>, live: &'a mut SampleColumns) -> SeriesSamples<'a> {
    let SeriesSamples { floats, float_start_ts, histograms } = samples;
    // Not `any`, which would look at one value after the other.
    let stale_float = floats.values.iter().fold(false, |found, value| found | is_stale(*value));
    if !stale_float && !(0..histograms.ts.len()).any(|at| histograms.is_stale(at)) {
        return samples;
    }
    live.clear();
    for at in (0..floats.ts.len()).filter(|at| !is_stale(floats.values[*at])) {
        live.ts.push(floats.ts[at]);
        live.values.push(floats.values[at]);
        live.start_ts.extend(float_start_ts.get(at));
    }
    for at in (0..histograms.ts.len()).filter(|at| !histograms.is_stale(*at)) {
        live.histogram_ts.push(histograms.ts[at]);
        live.histograms.push(Arc::clone(&histograms.list[at]));
        live.histogram_start_ts.extend(histograms.start_ts.get(at));
    }
    (&*live).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::HistogramSteps;
    use crate::value::Point;
    use pharos_model::FloatHistogram;
    use pharos_model::sample::stale_nan;

    const GRID: Grid = Grid { start_ms: 0, step_ms: 10, n: 5 };

    fn check(read: InstantRead, shift: TimeShift, samples: &[(i64, f64)], want: [Option<f64>; 5]) {
        let (ts, values) = samples.iter().copied().unzip();
        let got = points(read, shift, &SampleColumns { ts, values, ..SampleColumns::default() });
        assert_eq!(got, want.map(|value| value.map(Point::Float)));
    }

    fn points(read: InstantRead, shift: TimeShift, samples: &SampleColumns) -> [Option<Point>; 5] {
        let (mut present, mut values, mut histograms) = ([0], [0.0; 5], HistogramSteps::default());
        let mut out = PointsOut { present: &mut present, values: &mut values, histograms: &mut histograms };
        let series = InstantSeries { samples: samples.into(), metric_name: "m" };
        let times = References { grid: &GRID, shift: &shift };
        eval(read, series, times, &mut out, &mut Notes::default());
        std::array::from_fn(|step| {
            let histogram = histograms.get(step).map(|histogram| Point::Histogram(Arc::clone(histogram)));
            (present[0] >> step & 1 == 1).then_some(histogram.unwrap_or(Point::Float(values[step])))
        })
    }

    fn histogram(sum: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram { sum, ..FloatHistogram::default() })
    }

    #[test]
    fn the_newest_sample_counts_whichever_its_kind() {
        let samples = SampleColumns {
            ts: vec![0, 20],
            values: vec![1.0, 2.0],
            histogram_ts: vec![10, 25, 40],
            histograms: [5.0, stale_nan(), 6.0].map(histogram).to_vec(),
            histogram_start_ts: vec![7000, 0, 0],
            ..SampleColumns::default()
        };
        let newest = InstantRead::Newest { lookback_ms: 15 };
        let histogram = |sum| Some(Point::Histogram(histogram(sum)));
        assert_eq!(
            points(newest, TimeShift::default(), &samples),
            [Some(Point::Float(1.0)), histogram(5.0), Some(Point::Float(2.0)), None, histogram(6.0)]
        );
        let starts = points(InstantRead::NewestStart { lookback_ms: 15 }, TimeShift::default(), &samples);
        assert_eq!(starts[..2], [Some(Point::Float(0.0)), Some(Point::Float(7.0))]);
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
