//! One picture of what several nodes say about the same jobs. While a target goes from one node to another both may show it, or
//! neither.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use pharos_model::{LabelSet, TimestampMs};

use super::{DroppedSnapshot, PoolSnapshot, PoolSnapshots, TargetMetadata, TargetSnapshot};

/// The pools of all nodes. A target that several show is the one that was scraped last; what is dropped is what any node says,
/// and counts are the highest. [`PoolSnapshot::elsewhere`] becomes the number of targets that none of the nodes shows.
pub fn merge(nodes: impl IntoIterator<Item = PoolSnapshots>) -> PoolSnapshots {
    let mut by_name: BTreeMap<String, Vec<PoolSnapshot>> = BTreeMap::new();
    for (name, pool) in nodes.into_iter().flatten() {
        by_name.entry(name).or_default().push(pool);
    }
    by_name.into_iter().map(|(name, pools)| (name, merge_pool(pools))).collect()
}

fn merge_pool(pools: Vec<PoolSnapshot>) -> PoolSnapshot {
    let known = pools.iter().map(|pool| pool.active.len() + pool.elsewhere).max().unwrap_or_default();
    let dropped_count = pools.iter().map(|pool| pool.dropped_count).max().unwrap_or_default();
    let (active, dropped): (Vec<_>, Vec<_>) = pools.into_iter().map(|pool| (pool.active, pool.dropped)).unzip();
    let active = merge_active(active.into_iter().flatten());
    let elsewhere = known.saturating_sub(active.len());
    PoolSnapshot { active, elsewhere, dropped: merge_dropped(dropped), dropped_count }
}

fn merge_active(targets: impl Iterator<Item = TargetSnapshot>) -> Vec<TargetSnapshot> {
    let key = |target: &TargetSnapshot| (target.url.clone(), target.labels.clone());
    newest_by(targets, key, |target| target.last.at).into_values().collect()
}

/// All that any node dropped, and one as often as the node that dropped it most often.
fn merge_dropped(nodes: Vec<Vec<DroppedSnapshot>>) -> Vec<DroppedSnapshot> {
    let mut merged: Vec<DroppedSnapshot> = Vec::new();
    for node in nodes {
        let mut here: HashMap<LabelSet, usize> = HashMap::new();
        for dropped in &merged {
            *here.entry(dropped.discovered.clone()).or_default() += 1;
        }
        for dropped in node {
            match here.get_mut(&dropped.discovered) {
                Some(left) if *left > 0 => *left -= 1,
                _ => merged.push(dropped),
            }
        }
    }
    merged
}

/// The metadata of all nodes' targets, sorted by pool and URL, up to a number of families in all.
pub fn merge_metadata(
    nodes: impl IntoIterator<Item = Vec<TargetMetadata>>,
    families_max: usize,
) -> Vec<TargetMetadata> {
    let key = |target: &TargetMetadata| (target.pool.clone(), target.url.clone(), target.labels.clone());
    let newest = newest_by(nodes.into_iter().flatten(), key, |target| target.scraped_at);
    let mut left = families_max;
    let mut merged = Vec::new();
    for mut target in newest.into_values() {
        target.families.truncate(left);
        left -= target.families.len();
        if !target.families.is_empty() {
            merged.push(target);
        }
    }
    merged
}

/// Of those with the same key the one of the newest time; the first of several such.
fn newest_by<T, K: Ord>(
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
    at: impl Fn(&T) -> Option<TimestampMs>,
) -> BTreeMap<K, T> {
    let mut newest: BTreeMap<K, T> = BTreeMap::new();
    for item in items {
        match newest.entry(key(&item)) {
            Entry::Vacant(free) => drop(free.insert(item)),
            Entry::Occupied(mut taken) if at(&item) > at(taken.get()) => drop(taken.insert(item)),
            Entry::Occupied(_) => {}
        }
    }
    newest
}
