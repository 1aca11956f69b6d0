//! The server: what its parts share, and its life from flags to the last answer.

pub mod config;
mod limits;
mod metrics;
mod query_threads;
mod run;
mod scrape_threads;
mod scraping;
mod signals;

use std::sync::Arc;

use parking_lot::RwLock;
use pharos_ingest::remote_write::Receiver;
use pharos_model::{Clock, LabelSet, TimestampMs};
use pharos_promql::ParserOptions;
use pharos_query::Engine;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::flags::ServerFlags;
use crate::http::body::BodyReader;
use crate::http::metrics::HttpMetrics;
use crate::node::Node;
use query_threads::QueryThreads;
use scraping::Scraping;

pub use config::Config;
pub use run::{StartError, run};
pub use scraping::surroundings;

/// Everything a request may need. Made once the node is open; lives as long as the process.
#[derive(Debug)]
pub struct App {
    pub flags: ServerFlags,
    pub clock: Arc<dyn Clock>,
    pub registry: Registry,
    pub http_metrics: HttpMetrics,
    pub bodies: BodyReader,
    pub parser_options: ParserOptions,
    pub node: Arc<Node>,
    pub engine: Arc<Engine>,
    _query_threads: QueryThreads,
    pub receiver: Arc<Receiver>,
    pub started_ms: TimestampMs,
    /// Cancelled when the node is to end. It answers a while longer.
    pub stop: CancellationToken,
    /// `None` once the node ends.
    scraping: tokio::sync::Mutex<Option<Scraping>>,
    config: RwLock<Arc<Config>>,
    config_metrics: config::Metrics,
    limits: limits::Seen,
}

impl App {
    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    /// Labels that are added to what leaves this node.
    pub fn external_labels(&self) -> LabelSet {
        LabelSet::from_pairs(self.config().loaded.config.global.external_labels.iter())
    }
}
