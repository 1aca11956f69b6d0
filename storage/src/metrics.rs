//! Metrics of the long-term half of the store. Names are Prometheus' own where the meaning is the same.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge, Registry};

/// Registered once for a node; clones share the counters.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    /// Data files named by the manifests this node leads.
    pub blocks_loaded: IntGauge,
    /// Bytes of those files and their indexes.
    pub blocks_bytes: IntGauge,
    /// Slices sealed; the first step of compaction, as Prometheus counts it.
    pub compactions: IntCounter,
    pub compactions_failed: IntCounter,
    /// Samples written to data files.
    pub samples_sealed: IntCounter,
    pub time_retentions: IntCounter,
    pub index_cache_hits: IntCounter,
    pub index_cache_misses: IntCounter,
    pub index_cache_bytes: IntGauge,
    pub index_rebuilds: IntCounter,
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
            compactions: counter("prometheus_tsdb_compactions_total", "Slices of the head that were sealed.")?,
            compactions_failed: counter(
                "prometheus_tsdb_compactions_failed_total",
                "Attempts to seal a slice that failed.",
            )?,
            samples_sealed: counter("pharos_storage_samples_sealed_total", "Samples written to data files.")?,
            time_retentions: counter(
                "prometheus_tsdb_time_retentions_total",
                "Times that data files were dropped because retention was exceeded.",
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
        })
    }
}

fn keep<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
