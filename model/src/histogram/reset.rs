//! Whether a counter was reset between two histograms of one series.

use super::custom_bounds::{intersection, mapped};
use super::resolution::coarsened;
use super::spans::cells;
use super::zero_bucket::absorbed;
use super::{CounterResetHint, FloatHistogram, Side, bounds};

impl FloatHistogram {
    /// Whether there was a reset since `previous`. The hint decides if it knows; gauges are treated as counters. Otherwise it
    /// is a reset when a count of observations, or of a bucket, went down (the sum may), and when something changed that
    /// changes with a reset only: to custom buckets or back, to a finer schema, to a narrower zero bucket or to one that
    /// ends within a bucket that counted something. Custom bounds that differ are compared at those that both have. As
    /// Prometheus' `FloatHistogram.DetectReset`.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::CounterReset => true,
            CounterResetHint::NotCounterReset => false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => self.has_less_than(previous),
        }
    }

    fn has_less_than(&self, previous: &Self) -> bool {
        if self.count < previous.count || self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        if self.uses_custom_buckets() && self.custom_values != previous.custom_values {
            return self.has_less_in_common_buckets(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (previous_zero, threshold) = previous.zero_count_under(self.zero_threshold);
        threshold != self.zero_threshold
            || self.zero_count < previous_zero
            || [Side::Positive, Side::Negative].into_iter().any(|side| self.has_less_on(side, previous))
    }

    /// The zero count with a zero threshold that is not smaller, and the threshold that this takes.
    fn zero_count_under(&self, threshold: f64) -> (f64, f64) {
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold);
        }
        let sides = [self.cells(Side::Positive), self.cells(Side::Negative)];
        absorbed(self.schema, self.zero_count, sides, threshold)
    }

    fn cells(&self, side: Side) -> impl Iterator<Item = (i32, f64)> + Clone {
        let (spans, counts) = self.spans_of(side);
        cells(spans, counts)
    }

    /// Compares bucket by bucket what both have outside of the zero bucket.
    fn has_less_on(&self, side: Side, previous: &Self) -> bool {
        let is_zero = |(index, _): &(i32, f64)| {
            !self.uses_custom_buckets() && bounds::exponential(*index, self.schema) <= self.zero_threshold
        };
        let before = coarsened(previous.cells(side), previous.schema.abs_diff(self.schema));
        let mut now = self.cells(side).skip_while(is_zero).peekable();
        before.skip_while(is_zero).any(|(index, count)| {
            while now.next_if(|(at, _)| *at < index).is_some() {}
            match now.peek() {
                Some((at, now)) if *at == index => *now < count,
                _ => count != 0.0,
            }
        })
    }

    fn has_less_in_common_buckets(&self, previous: &Self) -> bool {
        let common = intersection(&self.custom_values, &previous.custom_values);
        let on_common_bounds = |histogram: &Self| {
            let mut counts = vec![0.0; common.len() + 1];
            mapped(histogram.cells(Side::Positive), &histogram.custom_values, &common, &mut counts);
            counts
        };
        on_common_bounds(self).iter().zip(on_common_bounds(previous)).any(|(now, before)| *now < before)
    }
}

#[cfg(test)]
mod tests;
