//! A range selector that is the whole query: its samples as they are, evaluated once.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, Sample, TenantId, TimestampMs};

use super::context::{QueryContext, fail};
use super::input::{Output, RowStream, batches};
use super::node::Call;
use super::select::{Selected, selections};
use crate::batch::{RowBatch, RowBuffer};
use crate::error::QueryError;
use crate::functions::{Grid, HistogramSamples, RangeWindow, RowOut, Samples, Selection};
use crate::plan::{Op, RawRange, Selector};
use crate::source::{SampleColumns, SelectRequest, SeriesBatch};
use crate::value::{HistogramSample, Series};
use crate::wire::Wire;

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
        starts: false,
    }
}

/// One row for each series with samples in the window, which are packed beside its labels ([`unpack`]).
pub(super) fn run(call: Call) -> Result<RowStream> {
    let read = async move {
        let reader = Reader::new(call)?;
        Ok::<_, DataFusionError>(futures::stream::try_unfold(reader, |mut reader| async move {
            Ok::<_, DataFusionError>(reader.next().await?.map(|list| (batches(list), reader)))
        }))
    };
    Ok(futures::stream::once(read).try_flatten().try_flatten().boxed())
}

/// The series of the rows. In no particular order.
pub fn unpack(mut rows: RowBuffer, query: &QueryContext) -> Result<Vec<Series>> {
    let memory = rows.reserve_beside();
    let mut list = Vec::new();
    while let Some(batch) = rows.pop() {
        query.check_deadline()?;
        for row in batch.rows() {
            let series =
                Series::from_bytes(row.labels).map_err(|error| fail(QueryError::Internal(error.to_string())))?;
            let histograms = series.histograms.iter().map(|sample| sample.histogram.size_bytes());
            memory.try_grow(size_of_val(series.samples.as_slice()) + histograms.sum::<usize>())?;
            query.hold_samples(weight(&series))?;
            list.push(series);
        }
    }
    Ok(list)
}

/// Samples; a histogram weighs as many as take its place.
fn weight(series: &Series) -> u64 {
    let histograms = series.histograms.iter().map(|sample| sample.histogram.size_in_samples() as u64);
    series.samples.len() as u64 + histograms.sum::<u64>()
}

struct Reader {
    call: Call,
    selections: BoxStream<'static, Result<Selected>>,
    selected: Option<Selected>,
    window: RangeWindow,
    /// Of the window.
    end: TimestampMs,
    /// Where the source decodes a series.
    decoded: SampleColumns,
}

impl Reader {
    fn new(call: Call) -> Result<Self> {
        let Op::Raw { selector, range } = &*call.op else { unreachable!("planned as raw samples") };
        let window = window_of(selector, *range);
        let request = raw_request(selector, *range, call.grid.start_ms, &call.query.tenant);
        let end = selector.shift.reference(call.grid.start_ms);
        let selections = selections(&call, request)?;
        Ok(Self { call, selections, selected: None, window, end, decoded: SampleColumns::default() })
    }

    /// The rows of the series that the source hands out next.
    async fn next(&mut self) -> Result<Option<Vec<RowBatch>>> {
        loop {
            self.call.query.checkpoint().await?;
            if let Some(selected) = &mut self.selected {
                match selected.next_batch(&**self.call.query.clock()).await? {
                    Some(series) => return self.pack(&*series).map(Some),
                    None => self.selected = None,
                }
                continue;
            }
            match self.selections.next().await {
                Some(selected) => self.selected = Some(selected?),
                None => return Ok(None),
            }
        }
    }

    fn pack(&mut self, batch: &dyn SeriesBatch) -> Result<Vec<RowBatch>> {
        let query = &self.call.query;
        let mut output = Output::new(self.call.grid.n);
        for i in 0..batch.len() {
            query.check_awaited()?;
            let raw = batch.samples(i, &mut self.decoded).map_err(fail)?;
            let histograms = histograms_in_window(raw.histograms, &self.window, self.end).map_err(fail)?;
            let samples = in_window(raw.floats, &self.window, self.end);
            if samples.is_empty() && histograms.is_empty() {
                continue;
            }
            let series = Series { labels: LabelSet::from_canonical_trusted(batch.label_bytes(i)), samples, histograms };
            self.call.count_read(weight(&series));
            query.hold_samples(weight(&series))?;
            let Ok(()) = output.builder()?.push_with(&series.to_bytes(), false, |mut row: RowOut<'_>| {
                row.set(0, 0.0);
                Ok::<_, std::convert::Infallible>(())
            });
            query.release_samples(weight(&series));
        }
        output.finish()
    }
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
