//! A run of series with their samples.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{LabelSet, TimeRange};

use super::{ReadError, SampleColumns};
use crate::head::HeadSelection;

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
    pub fn samples<'a>(
        &'a self,
        i: usize,
        scratch: &'a mut SampleColumns,
    ) -> Result<(&'a [i64], &'a [f64]), ReadError> {
        match self {
            Self::Decoded(series) => Ok(series.samples(i)),
            Self::Head(series) => {
                series.head.read(series.rows.start + i, series.range, scratch)?;
                Ok((&scratch.ts, &scratch.values))
            }
        }
    }

    /// Bytes held in memory, those of the selection left out.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Decoded(series) => series.samples.len() * 16 + series.labels.len() + series.ends.len() * 16,
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
    /// End of each series in `labels` and in `samples`.
    ends: Vec<(usize, usize)>,
    samples: SampleColumns,
}

impl DecodedSeries {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, i: usize) -> (usize, usize) {
        if i == 0 { (0, 0) } else { self.ends[i - 1] }
    }

    fn label_bytes(&self, i: usize) -> &[u8] {
        &self.labels[self.start(i).0..self.ends[i].0]
    }

    /// The samples of series `i`, in place: times and values.
    pub(super) fn samples(&self, i: usize) -> (&[i64], &[f64]) {
        let samples = self.start(i).1..self.ends[i].1;
        (&self.samples.ts[samples.clone()], &self.samples.values[samples])
    }

    /// Where the samples of the series being built begin.
    fn open_start(&self) -> usize {
        self.start(self.ends.len()).1
    }

    /// Adds samples to the series being built: ascending, and for a time that is there already the first wins.
    pub(super) fn merge(&mut self, ts: &[i64], values: &[f64]) {
        let start = self.open_start();
        let (Some(&first), last) = (ts.first(), self.samples.ts[start..].last()) else { return };
        if last.is_none_or(|last| *last < first) {
            self.samples.ts.extend_from_slice(ts);
            self.samples.values.extend_from_slice(values);
            return;
        }
        let (old_ts, old_values) = (self.samples.ts.split_off(start), self.samples.values.split_off(start));
        let mut old = old_ts.into_iter().zip(old_values).peekable();
        for (&ts, &value) in ts.iter().zip(values) {
            while let Some(before) = old.next_if(|(old_ts, _)| *old_ts < ts) {
                self.push(before);
            }
            match old.next_if(|(old_ts, _)| *old_ts == ts) {
                Some(same) => self.push(same),
                None => self.push((ts, value)),
            }
        }
        old.for_each(|rest| self.push(rest));
    }

    fn push(&mut self, (ts, value): (i64, f64)) {
        self.samples.ts.push(ts);
        self.samples.values.push(value);
    }

    /// Ends the series being built. One without samples is left out.
    pub(super) fn end_series(&mut self, labels: &LabelSet) {
        if self.samples.len() > self.open_start() {
            self.labels.extend_from_slice(labels.as_bytes());
            self.ends.push((self.labels.len(), self.samples.len()));
        }
    }
}
