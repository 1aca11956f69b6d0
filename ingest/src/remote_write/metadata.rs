//! What remote-write senders say about their metrics, for the metadata API. Lost on restart: senders repeat it each minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use pharos_model::{Metadata, TenantId};

/// Longest metric name, help text or unit that is kept, in bytes; longer ones are left out.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Names and texts of one tenant that are kept, in bytes.
const BYTES_PER_TENANT_MAX: usize = 16 << 20;
/// Tenants whose metadata is kept.
const TENANTS_MAX: usize = 1_000;

/// Metadata of one tenant by metric name.
#[derive(Debug, Default)]
struct Metrics {
    by_name: BTreeMap<Arc<str>, Arc<Metadata>>,
    /// Of names and texts.
    bytes: usize,
}

/// The last metadata of each metric, bounded for each tenant and in tenants.
#[derive(Debug)]
pub struct MetadataStore {
    metrics_per_tenant_max: usize,
    tenants: RwLock<BTreeMap<TenantId, Metrics>>,
}

impl Metrics {
    /// Leaves out what has no room.
    fn put(&mut self, name: String, metadata: Metadata, metrics_max: usize) {
        let longest = name.len().max(metadata.help.len()).max(metadata.unit.len());
        let old_bytes = self.by_name.get(name.as_str()).map(|old| bytes_of(&name, old));
        let has_room = old_bytes.is_some() || self.by_name.len() < metrics_max;
        let bytes = self.bytes - old_bytes.unwrap_or_default() + bytes_of(&name, &metadata);
        if longest <= TEXT_BYTES_MAX && has_room && bytes <= BYTES_PER_TENANT_MAX {
            self.bytes = bytes;
            self.by_name.insert(Arc::from(name), Arc::new(metadata));
        }
    }
}

fn bytes_of(name: &str, metadata: &Metadata) -> usize {
    name.len() + metadata.help.len() + metadata.unit.len()
}

impl MetadataStore {
    /// Metrics beyond `metrics_per_tenant_max` are left out.
    pub fn new(metrics_per_tenant_max: usize) -> Self {
        Self { metrics_per_tenant_max, tenants: RwLock::default() }
    }

    /// Keeps the newest metadata of some metrics.
    pub fn put(&self, tenant: &TenantId, metadata: impl IntoIterator<Item = (String, Metadata)>) {
        let mut metadata = metadata.into_iter().peekable();
        if metadata.peek().is_none() {
            return;
        }
        let mut tenants = self.tenants.write();
        if tenants.len() >= TENANTS_MAX && !tenants.contains_key(tenant) {
            return;
        }
        let metrics = tenants.entry(tenant.clone()).or_default();
        for (name, metadata) in metadata {
            metrics.put(name, metadata, self.metrics_per_tenant_max);
        }
    }

    pub fn get(&self, tenant: &TenantId, metric: &str) -> Option<Arc<Metadata>> {
        self.tenants.read().get(tenant)?.by_name.get(metric).cloned()
    }

    /// All metrics of a tenant by name.
    pub fn list(&self, tenant: &TenantId) -> Vec<(Arc<str>, Arc<Metadata>)> {
        let tenants = self.tenants.read();
        let Some(metrics) = tenants.get(tenant) else { return Vec::new() };
        metrics.by_name.iter().map(|(name, metadata)| (name.clone(), metadata.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helped(help: &str) -> Metadata {
        Metadata { help: help.into(), ..Metadata::default() }
    }

    #[test]
    fn the_newest_metadata_of_a_bounded_number_of_metrics_is_kept() {
        let (store, tenant) = (MetadataStore::new(2), TenantId::anonymous());
        store.put(&tenant, [("b".into(), helped("old")), ("a".into(), helped("a")), ("c".into(), helped("no room"))]);
        store.put(&tenant, [("b".into(), helped("new")), ("a".into(), helped(&"x".repeat(TEXT_BYTES_MAX + 1)))]);
        let list: Vec<_> = store.list(&tenant).iter().map(|(name, m)| format!("{name} {}", m.help)).collect();
        assert_eq!(list, ["a a", "b new"]);
        assert_eq!(store.get(&tenant, "b").unwrap().help, "new");
        assert_eq!(store.list(&TenantId::new("other").unwrap()), []);
    }

    #[test]
    fn the_texts_of_a_tenant_and_the_tenants_are_bounded() {
        let store = MetadataStore::new(usize::MAX);
        let tenant = |i: usize| TenantId::new(&format!("t{i}")).unwrap();
        let long = "x".repeat(TEXT_BYTES_MAX);
        store.put(&tenant(0), (0..2_000).map(|i| (i.to_string(), helped(&long))));
        let kept = store.list(&tenant(0)).len();
        assert_eq!(kept, (BYTES_PER_TENANT_MAX - 4_000) / TEXT_BYTES_MAX);
        // What shrinks makes room.
        store.put(&tenant(0), [("0".into(), helped("short")), ("new".into(), helped("fits"))]);
        assert_eq!(store.list(&tenant(0)).len(), kept + 1);
        (1..=TENANTS_MAX).for_each(|i| store.put(&tenant(i), [("a".into(), helped("a"))]));
        assert_eq!(store.list(&tenant(TENANTS_MAX - 1)).len(), 1);
        assert_eq!(store.list(&tenant(TENANTS_MAX)), []);
    }
}
