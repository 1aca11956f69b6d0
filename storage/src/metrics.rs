//! Metrics of the long-term half of the store. Names are Prometheus' own where the meaning is the same.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::{PartitionId, TenantId};
use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge, Registry};

use crate::manifest::Manifest;

/// Registered once for a node; clones share the counters.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    /// Data files named by the manifests this node leads.
    pub blocks_loaded: IntGauge,
    /// Bytes of those files and their indexes.
    pub blocks_bytes: IntGauge,
    /// Looks at a manifest, for data files to be sealed or dropped.
    pub reloads: IntCounter,
    pub reloads_failed: IntCounter,
    /// Slices sealed; the first step of compaction, as Prometheus counts it.
    pub compactions: IntCounter,
    pub compactions_failed: IntCounter,
    /// Samples written to data files.
    pub samples_sealed: IntCounter,
    /// Data files dropped by retention, by time or by size.
    pub files_expired: IntCounter,
    pub index_cache_hits: IntCounter,
    pub index_cache_misses: IntCounter,
    pub index_cache_bytes: IntGauge,
    pub index_rebuilds: IntCounter,
    /// Files and bytes of each manifest that the first two gauges sum up.
    manifests: Arc<Mutex<HashMap<(PartitionId, TenantId), Totals>>>,
}

/// Data files of one manifest.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    files: i64,
    bytes: i64,
}

impl StorageMetrics {
    /// Registers all of them. Fails only when they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help| keep(registry, IntCounter::new(name, help)?);
        let gauge = |name, help| keep(registry, IntGauge::new(name, help)?);
        Ok(Self {
            blocks_loaded: gauge("prometheus_tsdb_blocks_loaded", "Number of data files in the current manifests.")?,
            blocks_bytes: gauge(
                "prometheus_tsdb_storage_blocks_bytes",
                "Bytes of all data files and their indexes in the current manifests.",
            )?,
            reloads: counter("prometheus_tsdb_reloads_total", "Looks at a manifest for its data files.")?,
            reloads_failed: counter(
                "prometheus_tsdb_reloads_failures_total",
                "Looks at a manifest for its data files that failed.",
            )?,
            compactions: counter("prometheus_tsdb_compactions_total", "Slices of the head that were sealed.")?,
            compactions_failed: counter(
                "prometheus_tsdb_compactions_failed_total",
                "Attempts to seal a slice that failed.",
            )?,
            samples_sealed: counter("pharos_storage_samples_sealed_total", "Samples written to data files.")?,
            files_expired: counter(
                "pharos_storage_files_expired_total",
                "Data files that fell out of retention, by time or by size.",
            )?,
            index_cache_hits: counter("pharos_storage_index_cache_hits_total", "Data files found open.")?,
            index_cache_misses: counter(
                "pharos_storage_index_cache_misses_total",
                "Data files that had to be opened.",
            )?,
            index_cache_bytes: gauge("pharos_storage_index_cache_bytes", "Memory of the indexes kept open.")?,
            index_rebuilds: counter(
                "pharos_storage_index_rebuilds_total",
                "Indexes that were missing or damaged and were made anew from their data file.",
            )?,
            manifests: Arc::default(),
        })
    }
}

impl StorageMetrics {
    /// Brings the totals of data files up to date with one tenant's manifest in one partition.
    pub fn observe(&self, tenant: &TenantId, partition: PartitionId, manifest: &Manifest) {
        let now = Totals { files: manifest.files.len() as i64, bytes: manifest.bytes() as i64 };
        let before = self.manifests.lock().insert((partition, tenant.clone()), now).unwrap_or_default();
        self.blocks_loaded.add(now.files - before.files);
        self.blocks_bytes.add(now.bytes - before.bytes);
    }

    /// Leaves a partition out of the totals, because another node leads it now.
    pub fn forget(&self, partition: PartitionId) {
        self.manifests.lock().retain(|(of, _), totals| {
            if *of == partition {
                self.blocks_loaded.sub(totals.files);
                self.blocks_bytes.sub(totals.bytes);
            }
            *of != partition
        });
    }
}

fn keep<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
