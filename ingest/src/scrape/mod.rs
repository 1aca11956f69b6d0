//! Scraping: one task for each target reads it at its interval and hands what it exposes to the [`Sink`].
//!
//! [`ScrapeManager`] turns discovered groups into targets ([`target`]), keeps one loop for each ([`target_loop`]) and
//! tells what became of them ([`status`], and [`snapshot`] for other nodes). In a cluster it scrapes what it owns ([`ownership`]).
//! A loop fetches ([`fetch`]), reads the body against the series it knows
//! ([`reading`]) and appends ([`append`]) together with the target's own series ([`report`]).
//!
//! Invariants: a target whose labels and configuration did not change keeps its loop, its phase and its series through
//! every reload and every discovery; a loop has one scrape under way at most; when a target ends, its series get
//! staleness markers, but not when the process ends or another node takes the target, because they will be scraped on.

pub mod manager;
pub mod metadata;
pub mod metrics;
pub mod ownership;
pub mod snapshot;
pub mod status;
pub mod target;

mod append;
mod body_budget;
mod failure_log;
mod fetch;
mod histogram_limits;
mod pool;
mod reading;
mod report;
mod target_loop;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::TenantId;
use pharos_model::histogram::packed::PackError;
use tokio::runtime::Handle;

pub use body_budget::BODIES_BYTES_MAX;
pub use manager::ScrapeManager;
pub use metrics::ScrapeMetrics;
pub use ownership::{Ownership, OwnsAll};
pub use status::{Health, ScrapeStatus, TargetStatus};
pub use target::Target;

use crate::exposition::ParseError;
use crate::exposition::negotiation::FormatError;
use crate::http_client::{RequestError, Surroundings};
use crate::label_limits::LabelLimitError;
use crate::series_hash::SeriesHasher;
use crate::sink::Sink;

/// Uncompressed bytes of a body where no `body_size_limit` is configured. No honest target comes near it.
pub const BODY_BYTES_MAX_DEFAULT: u64 = 256 << 20;
/// Samples of a body where no `sample_limit` is configured. No honest target comes near it either.
pub const SAMPLES_MAX_DEFAULT: usize = 5_000_000;
/// A scrape's time may be corrected to the exact interval by this much, so that timestamps compress well.
pub const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(2);
/// A sample may be this far ahead of the clock; later ones are refused.
pub const AHEAD_MAX: Duration = Duration::from_secs(600);
/// Least time between two looks at what discovery has found.
pub const SYNC_PAUSE_DEFAULT: Duration = Duration::from_secs(5);

/// What scraping takes from its surroundings.
#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    pub surroundings: Surroundings,
    pub sink: Arc<dyn Sink>,
    /// The tenant that all targets belong to.
    pub tenant: TenantId,
    /// Which targets are scraped here. The others are only known.
    pub ownership: Arc<dyn Ownership>,
    /// Shifts the phase of all targets, so that two clusters do not scrape a target at the same moment. Keep it stable
    /// over restarts and the same on all nodes of a cluster, and targets are scraped in the same phase as before.
    pub offset_seed: u64,
    pub hasher: SeriesHasher,
    pub metrics: ScrapeMetrics,
    /// [`SYNC_PAUSE_DEFAULT`] unless a test is in a hurry.
    pub sync_pause: Duration,
    /// The runtimes that targets are dealt over, at least one. A scrape stays on its own from the request to the store.
    pub runtimes: Arc<[Handle]>,
    pub features: ScrapeFeatures,
}

/// What targets expose and is left out unless it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeFeatures {
    /// When counters began. The `_created` lines of OpenMetrics are no samples then.
    pub start_timestamps: bool,
    /// Type and unit of a series, as labels of it.
    pub type_and_unit_labels: bool,
}

/// Why a scrape failed. Texts are Prometheus' and become the target's `lastError`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    #[error("target_limit exceeded (number of targets: {targets}, limit: {limit})")]
    TargetLimit { targets: usize, limit: u64 },
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("server returned HTTP status {0}")]
    Status(http::StatusCode),
    #[error("body size limit exceeded")]
    BodySizeLimit,
    #[error("context deadline exceeded")]
    BodyTimeout,
    #[error("{0}")]
    Body(String),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error(transparent)]
    LabelLimit(#[from] LabelLimitError),
    #[error("histogram bucket limit exceeded")]
    HistogramBuckets,
    #[error(transparent)]
    Histogram(#[from] PackError),
    #[error("missing metric name (__name__ label)")]
    NoName,
    #[error("invalid metric name or label names: {0}")]
    Names(String),
}
