//! The value of each function of a range vector for one window.

use pharos_model::{Sample, TimestampMs};
use pharos_promql::FunctionId;

use super::arithmetic::{Compensated, mean, quantile, sum};
use super::range::Window;
use super::rate::{change, last_change};

pub(super) fn value(id: FunctionId, window: &Window<'_>, scalars: &[f64]) -> Option<f64> {
    use FunctionId as F;
    let samples = window.samples;
    let (first, last) = (samples.first()?, samples.last()?);
    let values = window.values();
    let secs = |ts: TimestampMs| ts as f64 / 1000.0;
    Some(match id {
        F::Rate => change(window, true, true)?,
        F::Increase => change(window, true, false)?,
        F::Delta => change(window, false, false)?,
        F::Irate => last_change(samples, true)?,
        F::Idelta => last_change(samples, false)?,
        F::Resets => count_pairs(window, |a, b| b < a)?,
        F::Changes => count_pairs(window, |a, b| a != b && !(a.is_nan() && b.is_nan()))?,
        F::Deriv if samples.len() > 1 => regression(samples, first.ts).0,
        F::PredictLinear if samples.len() > 1 => {
            let (slope, intercept) = regression(samples, window.ts);
            slope * scalars[0] + intercept
        }
        F::Deriv | F::PredictLinear => return None,
        F::DoubleExponentialSmoothing if samples.len() > 1 => smoothing(&values, scalars[0], scalars[1]),
        F::DoubleExponentialSmoothing => return None,
        F::SumOverTime => sum(&values),
        F::AvgOverTime => mean(&values),
        F::CountOverTime => values.len() as f64,
        F::PresentOverTime | F::AbsentOverTime => 1.0,
        F::MinOverTime => best(samples, |a, b| a < b).value,
        F::MaxOverTime => best(samples, |a, b| a > b).value,
        F::TsOfMinOverTime => secs(best(samples, |a, b| a <= b).ts),
        F::TsOfMaxOverTime => secs(best(samples, |a, b| a >= b).ts),
        F::FirstOverTime => first.value,
        F::LastOverTime => last.value,
        F::TsOfFirstOverTime => secs(first.ts),
        F::TsOfLastOverTime => secs(last.ts),
        F::StdvarOverTime => variance(&values),
        F::StddevOverTime => variance(&values).sqrt(),
        F::QuantileOverTime => quantile(scalars[0], &values),
        F::MadOverTime if values.iter().any(|value| value.is_nan()) => f64::NAN,
        F::MadOverTime => {
            let median = quantile(0.5, &values);
            let distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
            quantile(0.5, &distances)
        }
        other => unreachable!("no function of a range vector: {other:?}"),
    })
}

/// Pairs of neighbours that satisfy a condition; of an anchored window those from the last sample before it on.
fn count_pairs(window: &Window<'_>, condition: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let mut samples = window.samples;
    if window.anchored {
        let before = samples.iter().filter(|sample| sample.ts <= window.start_ms).count();
        if before == samples.len() {
            return None;
        }
        samples = &samples[before.saturating_sub(1)..];
    }
    Some(samples.windows(2).filter(|pair| condition(pair[0].value, pair[1].value)).count() as f64)
}

/// The sample that no later one is better than. NaN is worse than all.
fn best(samples: &[Sample], better: impl Fn(f64, f64) -> bool) -> Sample {
    let mut best = samples[0];
    for sample in samples {
        if better(sample.value, best.value) || best.value.is_nan() {
            best = *sample;
        }
    }
    best
}

/// Mean square of the distance from the mean, which moves with every value.
fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Compensated::default(), Compensated::default());
    for (i, value) in values.iter().enumerate() {
        let delta = value - mean.total();
        mean = mean.add(delta / (i + 1) as f64);
        squares = squares.add(delta * (value - mean.total()));
    }
    squares.total() / values.len() as f64
}

/// Slope and intercept of the line of least squares, the intercept at the given time.
fn regression(samples: &[Sample], at: TimestampMs) -> (f64, f64) {
    let y = samples[0].value;
    if samples.iter().all(|sample| sample.value == y) {
        return if y.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, y) };
    }
    let n = samples.len() as f64;
    let points: Vec<(f64, f64)> = samples.iter().map(|s| ((s.ts - at) as f64 / 1e3, s.value)).collect();
    let total = |term: fn((f64, f64)) -> f64| sum(&points.iter().copied().map(term).collect::<Vec<f64>>());
    let (x, y, xy, xx) = (total(|p| p.0), total(|p| p.1), total(|p| p.0 * p.1), total(|p| p.0 * p.0));
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Exponential smoothing of value and trend.
fn smoothing(values: &[f64], value_factor: f64, trend_factor: f64) -> f64 {
    let mut smoothed = values[0];
    let mut trend = values[1] - values[0];
    let mut before = 0.0;
    for (i, value) in values.iter().enumerate().skip(1) {
        if i > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        before = smoothed;
        smoothed = value_factor * value + (1.0 - value_factor) * (smoothed + trend);
    }
    smoothed
}
