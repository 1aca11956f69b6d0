//! The port through which accepted samples leave this crate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{Exemplar, LabelSet, Sample, TenantId, TimestampMs};

/// A series as the store knows it. Opaque here: handed out by the [`Sink`] for a fresh series, and given back with
/// later samples instead of the labels. It may go stale at any time, the outcome then says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesHandle(pub u64);

/// A sample of a series that the store knows.
#[derive(Clone, Copy, Debug)]
pub struct KnownSample {
    pub series: SeriesHandle,
    pub ts: TimestampMs,
    pub value: f64,
}

/// A sample of a series that comes with its labels.
#[derive(Clone, Debug)]
pub struct FreshSample {
    pub labels: LabelSet,
    pub sample: Sample,
}

/// An exemplar and the series it belongs to.
#[derive(Clone, Debug)]
pub struct SeriesExemplar {
    pub series: LabelSet,
    pub exemplar: Exemplar,
}

/// The samples of a batch that are histograms, by their places among the known and the fresh ones, ascending. The floats at
/// these places mean nothing.
#[derive(Clone, Debug, Default)]
pub struct BatchHistograms {
    pub known: Vec<(usize, PackedHistogram)>,
    pub fresh: Vec<(usize, PackedHistogram)>,
}

/// When the counters of a batch's samples began, of those that say so, by their places among the known and the fresh ones,
/// ascending. None is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchStarts {
    pub known: Vec<(usize, TimestampMs)>,
    pub fresh: Vec<(usize, TimestampMs)>,
}

/// What one scrape or one request brings, for one tenant. Samples of one series are in time order.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    pub tenant: TenantId,
    pub known: Vec<KnownSample>,
    pub fresh: Vec<FreshSample>,
    pub exemplars: Vec<SeriesExemplar>,
    pub histograms: BatchHistograms,
    pub starts: BatchStarts,
    /// Refuses every sample that is not newer than its series' newest one, whatever window of late samples the store keeps open.
    /// For staleness markers: where the series went on meanwhile, a marker between its samples would be a hole.
    pub refuse_late: bool,
    /// How long the store may hold the batch back to commit it together with others. Zero where somebody waits for the answer.
    pub patience: Duration,
}

/// A sample of a [`SampleBatch`] by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Known(usize),
    Fresh(usize),
}

/// Why the store refused one sample for good. Texts are Prometheus'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("out of order sample")]
    OutOfOrder,
    #[error("too old sample")]
    TooOld,
    #[error("out of bounds")]
    OutOfBounds,
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    #[error("per-tenant limit of active series reached")]
    SeriesLimit,
}

impl Refusal {
    /// The value of the label `reason` in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::OutOfBounds => "out_of_bounds",
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::SeriesLimit => "series_limit",
        }
    }
}

/// What became of an acknowledged batch. Every sample that is not named here is durable.
#[derive(Clone, Debug, Default)]
pub struct AppendOutcome {
    /// For each fresh sample the handle to use from now on (`None` where it was refused).
    pub handles: Vec<Option<SeriesHandle>>,
    /// Places in `known` whose handle is stale: not stored, send them again with labels.
    pub stale: Vec<usize>,
    pub refused: Vec<(Place, Refusal)>,
    /// Samples that were there already with the same value; they count as stored.
    pub duplicates: usize,
}

/// Why a whole batch was not stored, or may not have been. Sending it again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    #[error("too many samples wait for the log ({limit})")]
    Overloaded { limit: &'static str, retry_after: Duration },
    #[error("no room on disk")]
    DiskFull { retry_after: Duration },
    #[error("the partition is not available: {reason}")]
    Unavailable { reason: String, retry_after: Duration },
    #[error("not acknowledged within {0:?}")]
    Timeout(Duration),
    #[error("the node has samples of {max} tenants, no more are taken")]
    TooManyTenants { max: usize },
    /// It never will be.
    #[error("a sample with its labels does not fit the log: {reason}")]
    TooLarge { reason: String },
}

/// Where samples go: the node's router (`src/router`), or a test's recorder.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// Stores a batch. Returns when every sample that is not refused is on disk on a majority of its partition's replicas.
    async fn append(&self, batch: Arc<SampleBatch>) -> Result<AppendOutcome, AppendError>;
}
