//! What the API shows of scraping: targets with the outcome of their last scrape, dropped targets, metadata.
//! Readers see a snapshot of the pools and the live state of each target.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{Metadata, TimestampMs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::metadata::MetadataCache;
use super::target::{DroppedTarget, Target};
use crate::config::ScrapeConfig;

/// Whether the last scrape of a target succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// The outcome of a target's last scrape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastScrape {
    pub health: Health,
    /// Empty after a scrape that succeeded.
    pub error: String,
    /// `None` before the first scrape.
    pub at: Option<TimestampMs>,
    pub took: Duration,
}

/// State that a loop writes and the API reads.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) last: Mutex<LastScrape>,
    pub(super) metadata: Mutex<MetadataCache>,
}

/// One target as the API shows it.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    pub target: Arc<Target>,
    /// The pool, which is the job's configured name, whatever the label `job` became.
    pub pool: Arc<str>,
    pub(super) live: Arc<Live>,
}

impl TargetStatus {
    pub fn last_scrape(&self) -> LastScrape {
        self.live.last.lock().clone()
    }

    /// What the target says about one metric family.
    pub fn metadata_of(&self, family: &str) -> Option<Metadata> {
        self.live.metadata.lock().get(family).cloned()
    }

    /// What the target says about its metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(String, Metadata)> {
        let cache = self.live.metadata.lock();
        cache.list().into_iter().map(|(name, metadata)| (name.to_owned(), metadata.clone())).collect()
    }
}

/// One job's targets.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    pub config: Arc<ScrapeConfig>,
    /// What this node scrapes, sorted by URL, then by labels.
    pub active: Vec<TargetStatus>,
    /// Targets that other nodes scrape.
    pub elsewhere: usize,
    /// As many as `keep_dropped_targets` allows.
    pub dropped: Vec<DroppedTarget>,
    /// All that were dropped.
    pub dropped_count: usize,
}

/// All jobs by name.
pub type Pools = BTreeMap<Arc<str>, PoolStatus>;

/// Reads the state of scraping. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ScrapeStatus(pub(super) watch::Receiver<Arc<Pools>>);

impl ScrapeStatus {
    /// The pools as of the newest sync.
    pub fn pools(&self) -> Arc<Pools> {
        self.0.borrow().clone()
    }

    /// Waits for the next sync; `false` when scraping has ended.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
