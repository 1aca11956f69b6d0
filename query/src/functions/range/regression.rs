//! `deriv` and `predict_linear`: the line that fits the samples of a window best.

use pharos_model::TimestampMs;

use crate::functions::grid::Samples;
use crate::functions::kahan::KahanSum;

/// Value by second, and value at `origin_ms`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

/// Least squares over at least two samples. Samples that are all equal give a flat line without any rounding.
pub(super) fn fit(samples: Samples<'_>, origin_ms: TimestampMs) -> Line {
    let mut sum_x = KahanSum::default();
    let mut sum_y = KahanSum::default();
    let mut sum_xy = KahanSum::default();
    let mut sum_xx = KahanSum::default();
    let flat = samples.values[0];
    // The first value is not compared: a single NaN would not equal itself.
    if samples.values[1..].iter().all(|&y| y == flat) {
        return if flat.is_infinite() {
            Line { slope: f64::NAN, intercept: f64::NAN }
        } else {
            Line { slope: 0.0, intercept: flat }
        };
    }
    for (&ts, &y) in samples.ts.iter().zip(samples.values) {
        let x = (ts - origin_ms) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let n = samples.values.len() as f64;
    let (sum_x, sum_y) = (sum_x.value(), sum_y.value());
    let covariance = sum_xy.value() - sum_x * sum_y / n;
    let variance = sum_xx.value() - sum_x * sum_x / n;
    let slope = covariance / variance;
    Line { slope, intercept: sum_y / n - slope * sum_x / n }
}
