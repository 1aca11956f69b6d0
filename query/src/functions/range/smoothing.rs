//! `double_exponential_smoothing`: a weighted average that forgets, of the values and of their trend.

use crate::functions::error::FunctionError;

/// Both factors, known to be between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    smoothing: f64,
    trend: f64,
}

impl Factors {
    pub(super) fn new(smoothing: f64, trend: f64) -> Result<Self, FunctionError> {
        // Written so that a NaN passes, as it does upstream.
        if smoothing <= 0.0 || smoothing >= 1.0 {
            return Err(FunctionError::SmoothingFactor(smoothing));
        }
        if trend <= 0.0 || trend >= 1.0 {
            return Err(FunctionError::TrendFactor(trend));
        }
        Ok(Self { smoothing, trend })
    }

    /// The smoothed last value of at least two.
    pub(super) fn smooth(self, values: &[f64]) -> f64 {
        let (mut before, mut smoothed) = (0.0, values[0]);
        let mut trend = values[1] - values[0];
        for (at, &value) in values.iter().enumerate().skip(1) {
            if at > 1 {
                trend = self.trend * (smoothed - before) + (1.0 - self.trend) * trend;
            }
            let next = self.smoothing * value + (1.0 - self.smoothing) * (smoothed + trend);
            (before, smoothed) = (smoothed, next);
        }
        smoothed
    }
}
