//! Where a query gets its series: the port under every plan leaf.

mod local;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pharos_model::{TenantId, TimeRange, TimestampMs};
use pharos_storage::amendments;
use pharos_storage::select::Relied;
pub use pharos_storage::select::{Estimate, ReadError, SampleColumns, SelectRequest};

pub use self::local::{Local, Readers};
pub use crate::functions::{HistogramSamples, Samples, SeriesSamples};

/// Series that were selected together. Some may have no samples.
pub trait SeriesBatch: fmt::Debug + Send + Sync {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Canonical label bytes of series `i`.
    fn label_bytes(&self, i: usize) -> &[u8];
    /// Bytes held in memory, for the query's memory limit.
    fn memory_bytes(&self) -> usize;
    /// The samples of series `i` within the request's range, staleness markers included: in place when they are decoded already,
    /// else in `scratch`. CPU work, no IO. Start timestamps come with them where they are known.
    fn samples<'a>(&'a self, i: usize, scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError>;
}

/// The matching series of one partition, each once, in no particular order.
#[async_trait]
pub trait Selection: fmt::Debug + Send {
    /// Series that match, known from the index.
    fn series_count(&self) -> usize;
    /// What reading all of it is reckoned to take, from indexes and a bounded number of chunks.
    fn estimate(&self) -> Estimate;
    /// Bytes held in memory now, for the query's memory limit; the batches handed out are not among them.
    fn memory_bytes(&self) -> usize;
    /// The next series; `None` at the end. IO happens here.
    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError>;
}

/// The series of a node. Two implementations: the node's partitions ([`Local`]), and [`crate::testing::MemorySource`] for
/// scripts, whole or as workers see it. A series lives in exactly one partition.
#[async_trait]
pub trait SeriesSource: fmt::Debug + Send + Sync {
    /// Partitions that can be read in parallel.
    fn partitions(&self) -> usize;
    /// The only partition that can have what is asked for; `None` when any can.
    fn partition_of(&self, request: &SelectRequest) -> Option<usize>;
    /// One selection for each of the first partitions, in their order: at least one, and no more than should be held at a time.
    async fn select(&self, partitions: &[usize], request: &SelectRequest)
    -> Result<Vec<Box<dyn Selection>>, ReadError>;
    /// Has changes to samples that are relied on noted from now on. What is selected after this has all changes that are not noted.
    /// `since` is what an earlier call returned.
    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError>;
}

/// Samples that somebody relies on: those of a tenant in some partitions, up to a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relying {
    pub tenant: TenantId,
    pub partitions: Vec<usize>,
    pub until_ms: TimestampMs,
}

/// A state of a source that is relied on. Means something to the process that said it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// By partition.
    Partitions(Arc<Vec<(usize, Relied)>>),
    /// Of a source that keeps no partitions apart.
    Whole(amendments::Revision),
}

impl Revision {
    /// Bytes that it takes besides itself.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Partitions(relied) => size_of_val(relied.as_slice()),
            Self::Whole(_) => 0,
        }
    }
}

/// What [`SeriesSource::rely`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reliance {
    pub revision: Revision,
    /// Where samples have changed since the earlier revision; all of them if that is of another source, or of other partitions.
    pub amended: Vec<TimeRange>,
}

/// The partitions of a source that can have what is asked for.
pub fn partitions_of(source: &dyn SeriesSource, request: &SelectRequest) -> std::ops::Range<usize> {
    match source.partition_of(request) {
        Some(only) => only..only + 1,
        None => 0..source.partitions(),
    }
}

/// What reading from some of a source's partitions is reckoned to take.
pub async fn estimate(
    source: &dyn SeriesSource,
    partitions: &[usize],
    request: &SelectRequest,
) -> Result<Estimate, ReadError> {
    let (mut sum, mut left) = (Estimate::default(), partitions);
    while !left.is_empty() {
        let selections = source.select(left, request).await?;
        for more in selections.iter().map(|selection| selection.estimate()) {
            sum.series = sum.series.saturating_add(more.series);
            sum.samples = sum.samples.saturating_add(more.samples);
            sum.bytes = sum.bytes.saturating_add(more.bytes);
        }
        left = &left[selections.len()..];
    }
    Ok(sum)
}

impl<'a> From<&'a SampleColumns> for SeriesSamples<'a> {
    fn from(columns: &'a SampleColumns) -> Self {
        let SampleColumns { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } = columns;
        Self {
            floats: Samples { ts, values },
            float_start_ts: start_ts,
            histograms: HistogramSamples { ts: histogram_ts, list: histograms, start_ts: histogram_start_ts },
        }
    }
}
