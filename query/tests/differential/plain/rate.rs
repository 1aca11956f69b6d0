//! How much a window goes up: `rate`, `increase`, `delta`, plain and with the edges of the window looked at.

use pharos_model::{Sample, TimestampMs};

use super::range::Window;

/// The value on the line between two samples. A counter that was reset in between starts at zero.
pub(super) fn interpolate(a: Sample, b: Sample, ts: TimestampMs, is_counter: bool) -> f64 {
    let from = if is_counter && b.value < a.value { 0.0 } else { a.value };
    from + (b.value - from) * (ts - a.ts) as f64 / (b.ts - a.ts) as f64
}

/// The increase over the window, extrapolated towards its edges, or that a second.
pub(super) fn change(window: &Window<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    if window.anchored || window.smoothed {
        return edge_to_edge(window, is_counter, per_second);
    }
    let samples = window.samples;
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let mut increase = last.value - first.value;
    if is_counter {
        let resets = samples.windows(2).filter(|pair| pair[1].value < pair[0].value);
        resets.for_each(|pair| increase += pair[0].value);
    }
    let edges = Edges { start_ms: window.start_ms, end_ms: window.end_ms };
    let times = (first.ts, last.ts, samples.len());
    let factor = edges.stretch(times, is_counter.then_some((first.value, increase)));
    Some(increase * if per_second { factor / window.range_secs() } else { factor })
}

/// Where a window begins and ends.
pub(super) struct Edges {
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
}

impl Edges {
    /// How much longer the window is taken to be than what its samples cover, of which there are at least two. Of a counter
    /// the first value and the increase are given.
    pub(super) fn stretch(
        &self,
        (first, last, samples): (TimestampMs, TimestampMs, usize),
        counter: Option<(f64, f64)>,
    ) -> f64 {
        let covered = (last - first) as f64 / 1000.0;
        let gap = covered / (samples - 1) as f64;
        // An edge that is further off than a sample may be late is not the end of this series.
        let reach = |distance: f64| if distance >= gap * 1.1 { gap / 2.0 } else { distance };
        let mut before = reach((first - self.start_ms) as f64 / 1000.0);
        let after = reach((self.end_ms - last) as f64 / 1000.0);
        if let Some((value, increase)) = counter.filter(|(value, increase)| *increase > 0.0 && *value >= 0.0) {
            // A counter was never below zero.
            let to_zero = covered * (value / increase);
            if to_zero < before {
                before = to_zero;
            }
        }
        (covered + before + after) / covered
    }
}

/// The change between the values at both edges: those of the last sample before them, or on the line across them.
fn edge_to_edge(window: &Window<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    let samples = window.samples;
    let (first, last) = (samples.first()?, samples.last()?);
    if last.ts <= window.start_ms || first.ts > window.end_ms {
        return None;
    }
    let across = |ts: TimestampMs| {
        let after = samples.iter().position(|sample| sample.ts > ts)?;
        Some(interpolate(*samples.get(after.checked_sub(1)?)?, samples[after], ts, is_counter))
    };
    let newest = |ts: TimestampMs| samples.iter().rfind(|sample| sample.ts <= ts);
    let left = match newest(window.start_ms) {
        Some(before) if before.ts == window.start_ms || !window.smoothed => before.value,
        Some(_) => across(window.start_ms)?,
        None => first.value,
    };
    let right = match newest(window.end_ms) {
        Some(before) if before.ts == window.end_ms || !window.smoothed => before.value,
        Some(before) => across(window.end_ms).unwrap_or(before.value),
        None => return None,
    };
    let mut change = right - left;
    if is_counter {
        let within = samples.iter().filter(|sample| window.start_ms < sample.ts && sample.ts < window.end_ms);
        let (mut previous, mut lost) = (left, 0.0);
        for value in within.map(|sample| sample.value).chain([right]) {
            if value < previous {
                lost += previous;
            }
            previous = value;
        }
        change += lost;
    }
    Some(if per_second { change / window.range_secs() } else { change })
}

/// The change from the last sample but one to the last, or that a second; after a reset the last value itself.
pub(super) fn last_change(samples: &[Sample], is_rate: bool) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let is_reset = is_rate && last.value < before.value;
    let change = if is_reset { last.value } else { last.value - before.value };
    Some(if is_rate { change / ((last.ts - before.ts) as f64 / 1000.0) } else { change })
}
