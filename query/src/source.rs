//! Where a query gets its series: the port under every plan leaf.

use std::fmt;

use async_trait::async_trait;
use pharos_model::LabelSet;
pub use pharos_storage::select::{ReadError, SampleColumns, SelectRequest};

/// Series that were selected together, their samples still packed. About 1 MiB when decoded.
pub trait SeriesBatch: fmt::Debug + Send + Sync {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn labels(&self, i: usize) -> &LabelSet;
    /// Replaces `out` by the samples of series `i` within the request's range. CPU work, no IO.
    fn read(&self, i: usize, out: &mut SampleColumns) -> Result<(), ReadError>;
}

/// The matching series of one partition, each once, in no particular order.
#[async_trait]
pub trait Selection: fmt::Debug + Send {
    /// Series that match, known from the index.
    fn series_count(&self) -> usize;
    /// The next series; `None` at the end. IO happens here.
    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError>;
}

/// The series of a node. Two implementations: the node's partitions (`local`), and `testing::MemorySource` for scripts.
/// A series lives in exactly one partition.
#[async_trait]
pub trait SeriesSource: fmt::Debug + Send + Sync {
    /// Partitions that can be read in parallel.
    fn partitions(&self) -> usize;
    async fn select(&self, partition: usize, request: &SelectRequest) -> Result<Box<dyn Selection>, ReadError>;
}
