//! What a node tells others about its targets, and API answers are made of: the state of [`status`](super::status) at one moment,
//! as plain data that serde can carry. What several nodes say is made one picture by [`merge`] and [`merge_metadata`].
//!
//! Metadata travels apart from targets: it is much longer, and asked for by other questions. In JSON a target is about a KiB.

mod merge;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::{LabelSet, Metadata, TimestampMs};
use serde::{Deserialize, Serialize};

pub use merge::{merge, merge_metadata};

use super::status::{LastScrape, PoolStatus, Pools, TargetStatus};
use super::target::{DroppedTarget, ExternalAddress};

/// All jobs by name.
pub type PoolSnapshots = BTreeMap<String, PoolSnapshot>;

/// Which pools and targets a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// One job; all when there is none.
    pub pool: Option<String>,
    /// With [`PoolSnapshot::active`] and [`PoolSnapshot::elsewhere`], or without.
    pub active: bool,
    /// With [`PoolSnapshot::dropped`] and its count, or without.
    pub dropped: bool,
}

/// One job's targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// Sorted by URL, then by labels.
    pub active: Vec<TargetSnapshot>,
    /// Targets of the job that are not among the active ones, because other nodes scrape them.
    pub elsewhere: usize,
    /// As many as `keep_dropped_targets` allows.
    pub dropped: Vec<DroppedSnapshot>,
    /// All that were dropped.
    pub dropped_count: usize,
}

/// One target and the outcome of its last scrape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSnapshot {
    #[serde(with = "wire::labels")]
    pub discovered: LabelSet,
    #[serde(with = "wire::labels")]
    pub labels: LabelSet,
    pub url: String,
    /// The URL for users who are not on the machine of the node that scrapes the target.
    pub global_url: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub last: LastScrape,
}

/// An address that relabelling dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedSnapshot {
    #[serde(with = "wire::labels")]
    pub discovered: LabelSet,
}

/// What one target says of its metric families.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetMetadata {
    pub pool: String,
    #[serde(with = "wire::labels")]
    pub labels: LabelSet,
    pub url: String,
    /// When it was scraped last.
    pub scraped_at: Option<TimestampMs>,
    /// Sorted by name.
    pub families: Vec<Family>,
}

/// What is said of one metric family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Family {
    pub name: String,
    #[serde(with = "wire::metadata")]
    pub metadata: Metadata,
}

/// The chosen targets as they are now. `external` is where users reach this node.
pub fn of_pools(pools: &Pools, choice: &Choice, external: &ExternalAddress) -> PoolSnapshots {
    let chosen = pools.iter().filter(|(name, _)| choice.pool.as_deref().is_none_or(|only| only == &***name));
    chosen.map(|(name, pool)| (name.to_string(), of_pool(pool, choice, external))).collect()
}

fn of_pool(pool: &PoolStatus, choice: &Choice, external: &ExternalAddress) -> PoolSnapshot {
    let mut snapshot = PoolSnapshot::default();
    if choice.active {
        snapshot.active = pool.active.iter().map(|target| TargetSnapshot::new(target, external)).collect();
        snapshot.elsewhere = pool.elsewhere;
    }
    if choice.dropped {
        snapshot.dropped = pool.dropped.iter().map(DroppedSnapshot::new).collect();
        snapshot.dropped_count = pool.dropped_count;
    }
    snapshot
}

impl TargetSnapshot {
    fn new(status: &TargetStatus, external: &ExternalAddress) -> Self {
        let target = &status.target;
        Self {
            discovered: target.discovered.clone(),
            labels: target.labels.clone(),
            url: target.url_text.clone(),
            global_url: target.global_url(external),
            interval_ms: target.interval.as_millis() as u64,
            timeout_ms: target.timeout.as_millis() as u64,
            last: status.last_scrape(),
        }
    }
}

impl DroppedSnapshot {
    fn new(dropped: &DroppedTarget) -> Self {
        Self { discovered: dropped.discovered.clone() }
    }
}

/// What the targets that `is_asked` say of one family, or of all, up to a number of families in all.
pub fn metadata_of(
    pools: &Pools,
    is_asked: impl Fn(&LabelSet) -> bool,
    family: Option<&str>,
    families_max: usize,
) -> Vec<TargetMetadata> {
    let mut left = families_max;
    let mut found = Vec::new();
    for status in targets(pools).filter(|status| is_asked(&status.target.labels)) {
        if left == 0 {
            break;
        }
        let mut families = families_of(status, family);
        families.truncate(left);
        left -= families.len();
        if !families.is_empty() {
            found.push(TargetMetadata {
                pool: status.pool.to_string(),
                labels: status.target.labels.clone(),
                url: status.target.url_text.clone(),
                scraped_at: status.last_scrape().at,
                families,
            });
        }
    }
    found
}

/// What any target says of one family, or of all; they may disagree. What several nodes say is the union.
pub fn families(pools: &Pools, family: Option<&str>) -> BTreeSet<Family> {
    targets(pools).flat_map(|status| families_of(status, family)).collect()
}

fn targets(pools: &Pools) -> impl Iterator<Item = &TargetStatus> {
    pools.values().flat_map(|pool| &pool.active)
}

fn families_of(status: &TargetStatus, family: Option<&str>) -> Vec<Family> {
    let families = match family {
        Some(name) => status.metadata_of(name).map(|metadata| (name.to_owned(), metadata)).into_iter().collect(),
        None => status.metadata(),
    };
    families.into_iter().map(|(name, metadata)| Family { name, metadata }).collect()
}
