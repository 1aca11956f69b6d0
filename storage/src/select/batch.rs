//! A run of series with their samples.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{LabelSet, TimeRange};

use super::histograms::forget_before;
use super::{ReadError, SampleColumns, SampleSlices};
use crate::head::HeadSelection;
use crate::starts;

/// Some series of a selection, each with all its samples.
#[derive(Debug)]
pub enum SeriesBatch {
    /// Of data files, and of the head where it has them too. About 1 MiB, unless one series alone has more.
    Decoded(DecodedSeries),
    /// Of the head alone, decoded one by one as they are asked for. A series may turn out to have no samples.
    Head(HeadSeries),
}

impl SeriesBatch {
    pub fn len(&self) -> usize {
        match self {
            Self::Decoded(series) => series.ends.len(),
            Self::Head(series) => series.rows.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Canonical label bytes of series `i`.
    pub fn label_bytes(&self, i: usize) -> &[u8] {
        match self {
            Self::Decoded(series) => series.label_bytes(i),
            Self::Head(series) => series.head.label_bytes(series.rows.start + i),
        }
    }

    /// The samples of series `i`: in place when they are decoded already, else in `scratch`.
    pub fn samples<'a>(&'a self, i: usize, scratch: &'a mut SampleColumns) -> Result<SampleSlices<'a>, ReadError> {
        match self {
            Self::Decoded(series) => Ok(series.samples(i)),
            Self::Head(series) => {
                series.head.read(series.rows.start + i, series.range, scratch)?;
                Ok(scratch.slices())
            }
        }
    }

    /// Bytes held in memory, those of the selection left out.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Decoded(series) => series.memory_bytes(),
            Self::Head(_) => 0,
        }
    }
}

/// Series of the head by their places in its selection.
#[derive(Debug)]
pub struct HeadSeries {
    pub(super) head: Arc<HeadSelection>,
    pub(super) rows: Range<usize>,
    pub(super) range: TimeRange,
}

/// Series with their samples decoded.
#[derive(Debug, Default)]
pub struct DecodedSeries {
    labels: Vec<u8>,
    ends: Vec<Ends>,
    samples: SampleColumns,
}

/// Where a series ends in its batch.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    labels: usize,
    floats: usize,
    histograms: usize,
}

impl DecodedSeries {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, i: usize) -> Ends {
        if i == 0 { Ends::default() } else { self.ends[i - 1] }
    }

    fn label_bytes(&self, i: usize) -> &[u8] {
        &self.labels[self.start(i).labels..self.ends[i].labels]
    }

    pub(super) fn samples(&self, i: usize) -> SampleSlices<'_> {
        let (start, end) = (self.start(i), self.ends[i]);
        self.samples.slice(start.floats..end.floats, start.histograms..end.histograms)
    }

    fn memory_bytes(&self) -> usize {
        let histograms = self.samples.histograms.iter().map(|histogram| histogram.size_bytes() + 24).sum::<usize>();
        let starts = self.samples.start_ts.len() + self.samples.histogram_start_ts.len();
        self.samples.ts.len() * 16 + starts * 8 + histograms + self.labels.len() + self.ends.len() * size_of::<Ends>()
    }

    /// Where the samples of the series being built begin.
    fn open_start(&self) -> Ends {
        self.start(self.ends.len())
    }

    /// Adds samples to the series being built: ascending, and for a time that is there already the first wins.
    pub(super) fn merge(&mut self, more: SampleSlices<'_>) {
        let start = self.open_start();
        let SampleColumns { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } = &mut self.samples;
        Column { start: start.floats, ts, values, starts: start_ts }.merge(more.ts, more.values, more.start_ts);
        let appended =
            Column { start: start.histograms, ts: histogram_ts, values: histograms, starts: histogram_start_ts }.merge(
                more.histogram_ts,
                more.histograms,
                more.histogram_start_ts,
            );
        if !appended {
            self.samples.histograms[start.histograms..].iter_mut().for_each(forget_before);
        }
    }

    /// Ends the series being built. One without samples is left out.
    pub(super) fn end_series(&mut self, labels: &LabelSet) {
        let start = self.open_start();
        let end = Ends { floats: self.samples.ts.len(), histograms: self.samples.histogram_ts.len(), ..start };
        if end.floats > start.floats || end.histograms > start.histograms {
            self.labels.extend_from_slice(labels.as_bytes());
            self.ends.push(Ends { labels: self.labels.len(), ..end });
        }
    }
}

/// The samples of one kind, of which the series being built has those from `start` on.
struct Column<'a, V> {
    start: usize,
    ts: &'a mut Vec<i64>,
    values: &'a mut Vec<V>,
    starts: &'a mut Vec<i64>,
}

impl<V: Clone> Column<'_, V> {
    /// Adds samples. Whether all of them went to the end.
    fn merge(self, more_ts: &[i64], more_values: &[V], more_starts: &[i64]) -> bool {
        let Self { start, ts, values, starts } = self;
        if starts.is_empty() && more_starts.is_empty() {
            return merge_column(start, (ts, values), (more_ts, more_values));
        }
        starts.resize(ts.len(), 0);
        let (mut own_ts, mut own_values, mut own_starts) =
            (ts.split_off(start), values.split_off(start), starts.split_off(start));
        let more_starts = more_starts.iter().copied().chain(std::iter::repeat(0));
        let more: Vec<_> = more_values.iter().cloned().zip(more_starts).collect();
        let appended = starts::paired(&mut own_values, &mut own_starts, |pairs| {
            merge_column(0, (&mut own_ts, pairs), (more_ts, &more))
        });
        ts.append(&mut own_ts);
        values.append(&mut own_values);
        starts.append(&mut own_starts);
        appended
    }
}

/// Adds to what a column has from `start` on. Whether all of it went to the end.
fn merge_column<V: Clone>(
    start: usize,
    (ts, values): (&mut Vec<i64>, &mut Vec<V>),
    (more_ts, more_values): (&[i64], &[V]),
) -> bool {
    let (Some(&first), last) = (more_ts.first(), ts[start..].last()) else { return true };
    if last.is_none_or(|last| *last < first) {
        ts.extend_from_slice(more_ts);
        values.extend_from_slice(more_values);
        return true;
    }
    let mut old = ts.split_off(start).into_iter().zip(values.split_off(start)).peekable();
    let mut push = |(at, value)| {
        ts.push(at);
        values.push(value);
    };
    for (&at, value) in more_ts.iter().zip(more_values) {
        while let Some(before) = old.next_if(|(old_ts, _)| *old_ts < at) {
            push(before);
        }
        match old.next_if(|(old_ts, _)| *old_ts == at) {
            Some(same) => push(same),
            None => push((at, value.clone())),
        }
    }
    old.for_each(push);
    false
}
