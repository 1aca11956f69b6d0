//! Reading one partition: what is asked, the columns an answer is read into, and the merge of head and data files.
//!
//! A [`PartitionReader`] takes the head's selection first and the manifest after it: a slice that is dropped from the
//! head in between is in the manifest by then. While both hold it, samples of one time are read once.

mod batch;
pub(crate) mod histograms;
mod off_thread;
mod pieces;
mod reader;
mod selection;

pub use batch::SeriesBatch;
pub(crate) use off_thread::{Caller, off_thread};
pub use reader::{FileStats, PartitionReader, Relied};
pub use selection::{BATCH_SAMPLES_MAX, BATCH_SERIES_MAX, Selection};

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{FloatHistogram, Matcher, PartitionId, TenantId, TimeRange};

use crate::starts;

/// What a query leaf asks of one partition.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    pub tenant: TenantId,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Samples outside are not returned.
    pub range: TimeRange,
    /// Only the newest sample of each series counts: what lies before it may be left out.
    pub newest_only: bool,
    /// Only count, sum, schema and resets of native histograms count. Buckets may be left out where a hint says whether there
    /// was a reset.
    pub totals_only: bool,
    /// Whether start timestamps count. Else they may be left out.
    pub starts: bool,
}

/// What reading a selection is reckoned to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Series that match. Some may turn out to have no samples in the range.
    pub series: u64,
    pub samples: u64,
    /// As they are stored.
    pub bytes: u64,
}

/// How many of `count` things that lie evenly in `span` are in `asked`, rounded up.
pub(crate) fn share_within(asked: TimeRange, span: TimeRange, count: u64) -> u64 {
    let width = |from: i64, to: i64| (i128::from(to) - i128::from(from) + 1).max(0) as u128;
    let inside = width(asked.start_ms.max(span.start_ms), asked.end_ms.min(span.end_ms));
    let whole = width(span.start_ms, span.end_ms).max(1);
    (u128::from(count) * inside).div_ceil(whole) as u64
}

/// Samples of one series in columns, ascending by time, one for each timestamp. Reused from series to series.
///
/// Floats and native histograms are apart, so that a series of floats, as nearly all are, costs nothing more. No
/// timestamp is in both. Start timestamps are kept only where a sample has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleColumns {
    /// Times of the floats.
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
    /// When the counter of each float began, 0 where that is not known; empty when it is known of none.
    pub start_ts: Vec<i64>,
    pub histogram_ts: Vec<i64>,
    /// A staleness marker is a histogram whose sum is the stale NaN.
    pub histograms: Vec<Arc<FloatHistogram>>,
    /// As `start_ts`, of the histograms.
    pub histogram_start_ts: Vec<i64>,
}

impl SampleColumns {
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.start_ts.clear();
        self.histogram_ts.clear();
        self.histograms.clear();
        self.histogram_start_ts.clear();
    }

    pub fn slices(&self) -> SampleSlices<'_> {
        let Self { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } = self;
        SampleSlices { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts }
    }

    /// Some of the floats and some of the histograms.
    pub(crate) fn slice(&self, floats: Range<usize>, of_histograms: Range<usize>) -> SampleSlices<'_> {
        SampleSlices {
            ts: &self.ts[floats.clone()],
            values: &self.values[floats.clone()],
            start_ts: starts::of(&self.start_ts, floats),
            histogram_ts: &self.histogram_ts[of_histograms.clone()],
            histograms: &self.histograms[of_histograms.clone()],
            histogram_start_ts: starts::of(&self.histogram_start_ts, of_histograms),
        }
    }

    /// Makes the lists of start timestamps as long as their samples, unless they are empty.
    pub(crate) fn complete_starts(&mut self) {
        starts::complete(&mut self.start_ts, self.ts.len());
        starts::complete(&mut self.histogram_start_ts, self.histogram_ts.len());
    }

    /// Samples of both kinds.
    pub fn len(&self) -> usize {
        self.ts.len() + self.histogram_ts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The samples of one series in place, as [`SampleColumns`] has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleSlices<'a> {
    pub ts: &'a [i64],
    pub values: &'a [f64],
    pub start_ts: &'a [i64],
    pub histogram_ts: &'a [i64],
    pub histograms: &'a [Arc<FloatHistogram>],
    pub histogram_start_ts: &'a [i64],
}

/// Why a read failed. Never a short answer instead.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("chunk of series {series} at {file}:{offset} is damaged: {reason}")]
    DamagedChunk { series: String, file: String, offset: u64, reason: &'static str },
    #[error("data file {file}: {reason}")]
    DataFile { file: String, reason: String },
    #[error("object store: {0}")]
    ObjectStore(String),
    #[error("reading stopped: {0}")]
    Stopped(String),
    /// This node cannot tell, another one that has the partition may.
    #[error("partition {partition} cannot be read on this node now: {reason}")]
    Elsewhere { partition: PartitionId, reason: String },
}

#[cfg(test)]
mod tests;
