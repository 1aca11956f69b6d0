//! How far the samples of a window stand for all of it, for one window at a time. [`super::rate`] does the same for blocks of
//! steps.

/// Where the samples lie in their window, in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::functions) struct Extrapolation {
    /// From the start of the window to the first sample, and from the last sample to its end.
    pub(in crate::functions) to_start: f64,
    pub(in crate::functions) to_end: f64,
    /// From the first sample to the last, and the number of gaps between.
    pub(in crate::functions) sampled: f64,
    pub(in crate::functions) gaps: f64,
}

impl Extrapolation {
    /// What the increase is multiplied by. A counter was zero `to_zero` before its first sample and is not extrapolated
    /// below that. There are at least two samples.
    pub(in crate::functions) fn factor(&self, to_zero: Option<f64>) -> f64 {
        let to_start = self.reach(self.to_start);
        let to_start = to_zero.filter(|to_zero| *to_zero < to_start).unwrap_or(to_start);
        (self.sampled + to_start + self.reach(self.to_end)) / self.sampled
    }

    /// The same for a counter that is known to have begun within the window, `since_start` before its last sample.
    pub(in crate::functions) fn begin_at(&self, since_start: f64) -> f64 {
        (since_start + self.reach(self.to_end)) / since_start
    }

    /// A series whose end is further away than a gap is taken to end halfway through one.
    fn reach(&self, to_bound: f64) -> f64 {
        let gap = if self.gaps > 0.0 { self.sampled / self.gaps } else { 0.0 };
        if to_bound >= gap * 1.1 { gap / 2.0 } else { to_bound }
    }
}
