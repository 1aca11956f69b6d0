//! Smoothed instant selection of native histograms.

use std::sync::Arc;

use pharos_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::samples::HistogramSamples;
use super::{Report, extended};
use crate::functions::notes::Notes;

/// The histogram at a time, from those around it: `seen` are all of them and at least one. Without a later one the last
/// is carried on, without an earlier one there is none.
pub fn at(
    seen: HistogramSamples<'_>,
    time_ms: TimestampMs,
    metric_name: &str,
    notes: &mut Notes,
) -> Option<Arc<FloatHistogram>> {
    let next = seen.ts.partition_point(|ts| *ts < time_ms);
    if seen.ts.get(next) == Some(&time_ms) {
        return Some(Arc::clone(&seen.list[next]));
    }
    let before = next.checked_sub(1)?;
    if next == seen.ts.len() {
        // The hint is about two samples, not about the value.
        let carried = FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..(*seen.list[before]).clone() };
        return Some(Arc::new(carried));
    }
    let mut report = Report { notes, metric_name };
    let around = [&seen.list[before], &seen.list[next]];
    if around[0].uses_custom_buckets() != around[1].uses_custom_buckets() {
        report.mixed_schemas();
        return None;
    }
    let counter = around.iter().any(|histogram| histogram.counter_reset_hint != CounterResetHint::Gauge);
    extended::interpolate(seen, before, time_ms, counter, &mut report).map(Arc::new)
}
