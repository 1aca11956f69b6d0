//! A range selector that is the whole query: its samples as they are, evaluated once.

use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, Sample, TenantId, TimestampMs};

use super::context::QueryContext;
use crate::error::QueryError;
use crate::functions::{Grid, HistogramSamples, RangeWindow, Samples, Selection};
use crate::plan::{RawRange, Selector};
use crate::source::{SampleColumns, SelectRequest, partitions_of};
use crate::value::{HistogramSample, Series};

fn window_of(selector: &Selector, range: RawRange) -> RangeWindow {
    RangeWindow {
        range_ms: range.range_ms,
        offset_ms: selector.shift.offset_ms,
        at_ms: selector.shift.at,
        selection: range.selection,
        lookback_ms: range.lookback_ms,
    }
}

/// What is asked of the source for a range selector at a time.
pub fn raw_request(selector: &Selector, range: RawRange, at: TimestampMs, tenant: &TenantId) -> SelectRequest {
    let range = window_of(selector, range).read_range(&Grid::instant(at));
    SelectRequest {
        tenant: tenant.clone(),
        matchers: selector.matchers.clone(),
        range,
        newest_only: false,
        totals_only: false,
    }
}

/// The samples of each series in the window that ends at the time the selector looks at. In no particular order.
pub async fn read_raw(
    selector: &Selector,
    range: RawRange,
    at: TimestampMs,
    query: &Arc<QueryContext>,
) -> Result<Vec<Series>, QueryError> {
    let window = window_of(selector, range);
    let request = raw_request(selector, range, at, &query.tenant);
    let mut found = Vec::new();
    let mut columns = SampleColumns::default();
    let answer = query.reserve_result();
    let read = answer.new_empty();
    let partitions: Vec<usize> = partitions_of(&*query.source, &request).collect();
    for mut selection in query.source.select(&partitions, &request).await? {
        while let Some(batch) = selection.next_batch().await? {
            check(query)?;
            read.try_resize(selection.memory_bytes() + batch.memory_bytes()).map_err(|e| own(&e, query))?;
            for i in 0..batch.len() {
                let raw = batch.samples(i, &mut columns)?;
                let end = selector.shift.reference(at);
                let histograms = histograms_in_window(raw.histograms, &window, end)?;
                let samples = in_window(raw.floats, &window, end);
                if samples.is_empty() && histograms.is_empty() {
                    continue;
                }
                let weights = histograms.iter().map(|sample| sample.histogram.size_in_samples() as u64);
                let held = samples.len() as u64 + weights.sum::<u64>();
                query.count_read(held);
                query.hold_samples(held).map_err(|e| own(&e, query))?;
                let histogram_bytes: usize = histograms.iter().map(|sample| sample.histogram.size_bytes()).sum();
                answer.try_grow(size_of_val(samples.as_slice()) + histogram_bytes).map_err(|e| own(&e, query))?;
                let labels = LabelSet::from_canonical_trusted(batch.label_bytes(i));
                found.push(Series { labels, samples, histograms });
            }
        }
    }
    Ok(found)
}

fn check(query: &QueryContext) -> Result<(), QueryError> {
    query.check_deadline().map_err(|e| own(&e, query))
}

fn own(error: &datafusion::common::DataFusionError, query: &QueryContext) -> QueryError {
    QueryError::from_datafusion(error, query.limits.memory_bytes_max)
}

/// Samples after the window's start and up to its end; `anchored` and `smoothed` put one on each boundary.
fn in_window(raw: Samples<'_>, window: &RangeWindow, end: TimestampMs) -> Vec<Sample> {
    let start = end.saturating_sub(window.range_ms);
    let live = raw.ts.iter().zip(raw.values).filter(|(_, value)| !is_stale(**value));
    let all: Vec<Sample> = live.map(|(ts, value)| Sample { ts: *ts, value: *value }).collect();
    if window.selection == Selection::Plain {
        return all.into_iter().filter(|sample| sample.ts > start && sample.ts <= end).collect();
    }
    let (ts, values): (Vec<i64>, Vec<f64>) = all.iter().map(|sample| (sample.ts, sample.value)).unzip();
    extended(Samples { ts: &ts, values: &values }, window.selection == Selection::Smoothed, start, end)
}

/// Histograms after the window's start and up to its end. There is nothing between two of them, so none for the bounds.
fn histograms_in_window(
    raw: HistogramSamples<'_>,
    window: &RangeWindow,
    end: TimestampMs,
) -> Result<Vec<HistogramSample>, QueryError> {
    let read = window.read_range(&Grid::instant(end + window.offset_ms));
    let live = (0..raw.ts.len()).filter(|at| !raw.is_stale(*at));
    let modifier = match window.selection {
        Selection::Plain => {
            let inside = live.filter(|at| end - window.range_ms < raw.ts[*at] && raw.ts[*at] <= end);
            let sample = |at: usize| HistogramSample { ts: raw.ts[at], histogram: Arc::clone(&raw.list[at]) };
            return Ok(inside.map(sample).collect());
        }
        Selection::Anchored => "anchored",
        Selection::Smoothed => "smoothed",
    };
    if live.into_iter().any(|at| read.contains(raw.ts[at])) {
        return Err(QueryError::Execution(format!("{modifier} modifier is not supported with histograms")));
    }
    Ok(Vec::new())
}

/// Samples strictly inside the window, with one on its start and one on its end. Nothing when all samples are at or
/// before the start.
fn extended(samples: Samples<'_>, smoothed: bool, start: TimestampMs, end: TimestampMs) -> Vec<Sample> {
    let value_at = |at: TimestampMs, fallback: Option<usize>| {
        let next = samples.ts.partition_point(|ts| *ts <= at);
        let before = next.checked_sub(1);
        match (before, samples.ts.get(next)) {
            (Some(before), Some(after_ts)) if smoothed && samples.ts[before] < at => {
                let share = (at - samples.ts[before]) as f64 / (after_ts - samples.ts[before]) as f64;
                Some(samples.values[before] + (samples.values[next] - samples.values[before]) * share)
            }
            (Some(before), _) => Some(samples.values[before]),
            (None, _) => fallback.map(|i| samples.values[i]),
        }
    };
    if samples.ts.last().is_none_or(|last| *last <= start) {
        return Vec::new();
    }
    let Some(left) = value_at(start, Some(0)) else { return Vec::new() };
    let Some(right) = value_at(end, Some(0)) else { return Vec::new() };
    let inside = samples.ts.iter().zip(samples.values).filter(|(ts, _)| **ts > start && **ts < end);
    std::iter::once(Sample { ts: start, value: left })
        .chain(inside.map(|(ts, value)| Sample { ts: *ts, value: *value }))
        .chain(std::iter::once(Sample { ts: end, value: right }))
        .collect()
}
