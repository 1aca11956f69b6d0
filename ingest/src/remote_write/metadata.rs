//! What remote-write senders say about their metrics, for the metadata API. Lost on restart: senders repeat it each minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use pharos_model::{Metadata, TenantId};

/// Longest metric name, help text or unit that is kept, in bytes; longer ones are left out.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Metadata by metric name.
type Metrics = BTreeMap<Arc<str>, Arc<Metadata>>;

/// The last metadata of each metric, bounded for each tenant.
#[derive(Debug)]
pub struct MetadataStore {
    metrics_per_tenant_max: usize,
    tenants: RwLock<BTreeMap<TenantId, Metrics>>,
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
        let metrics = tenants.entry(tenant.clone()).or_default();
        for (name, metadata) in metadata {
            let longest = name.len().max(metadata.help.len()).max(metadata.unit.len());
            let has_room = metrics.len() < self.metrics_per_tenant_max || metrics.contains_key(name.as_str());
            if longest <= TEXT_BYTES_MAX && has_room {
                metrics.insert(Arc::from(name), Arc::new(metadata));
            }
        }
    }

    pub fn get(&self, tenant: &TenantId, metric: &str) -> Option<Arc<Metadata>> {
        self.tenants.read().get(tenant)?.get(metric).cloned()
    }

    /// All metrics of a tenant by name.
    pub fn list(&self, tenant: &TenantId) -> Vec<(Arc<str>, Arc<Metadata>)> {
        let tenants = self.tenants.read();
        let Some(metrics) = tenants.get(tenant) else { return Vec::new() };
        metrics.iter().map(|(name, metadata)| (name.clone(), metadata.clone())).collect()
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
}
