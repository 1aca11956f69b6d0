//! Metrics of scraping under the names that Prometheus' dashboards and alerts use.

use pharos_model::summary::SummaryVec;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

/// Clones count together.
#[derive(Clone, Debug)]
pub struct ScrapeMetrics {
    pub(super) interval_length: SummaryVec,
    pub(super) interval_length_histogram: HistogramVec,
    pub(super) reload_length: SummaryVec,
    pub(super) sync_length: SummaryVec,
    pub(super) sync_length_histogram: HistogramVec,
    pub(super) sync_failed: IntCounterVec,
    pub(super) pools: IntCounter,
    pub(super) pools_failed: IntCounter,
    pub(super) pool_reloads: IntCounter,
    pub(super) pool_reloads_failed: IntCounter,
    pub(super) pool_syncs: IntCounterVec,
    pub(super) pool_targets: IntGaugeVec,
    /// Targets that other nodes scrape.
    pub(super) pool_targets_elsewhere: IntGaugeVec,
    pub(super) pool_target_limit: IntGaugeVec,
    pub(super) exceeded_target_limit: IntCounter,
    pub(super) exceeded_label_limits: IntCounter,
    pub(super) exceeded_body_size_limit: IntCounter,
    pub(super) exceeded_sample_limit: IntCounter,
    pub(super) exceeded_histogram_buckets: IntCounter,
    pub(super) out_of_order: IntCounter,
    pub(super) out_of_bounds: IntCounter,
    pub(super) duplicate_timestamp: IntCounter,
    /// Samples refused because another node scraped the target at the same time.
    pub(super) other_owner: IntCounter,
    /// Scrapes that the store did not take.
    pub(super) append_failed: IntCounter,
    /// Samples refused because the tenant has too many series.
    pub(super) exceeded_series_limit: IntCounter,
    /// Exemplars with labels that cannot be kept.
    pub(super) exemplars_refused: IntCounter,
    /// Loops that ended by a panic and were begun again.
    pub(super) loops_restarted: IntCounter,
    /// Loops that were told to end because another node scrapes their target.
    pub(super) loops_handed_over: IntCounter,
    /// Memory of the bodies that are held now.
    pub(super) body_bytes: IntGauge,
    pub(super) metadata_entries: IntGaugeVec,
    pub(super) metadata_bytes: IntGaugeVec,
}

impl ScrapeMetrics {
    /// Creates the metrics and registers them. Fails when the registry has them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by_job = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["scrape_job"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["scrape_job"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let summary = |name: &str, help: &str, label| -> Result<SummaryVec, prometheus::Error> {
            let summary = SummaryVec::new(name, help, label, &QUANTILES)?;
            registry.register(Box::new(summary.clone()))?;
            Ok(summary)
        };
        let histogram = |name: &str, help: &str, label, buckets| -> Result<HistogramVec, prometheus::Error> {
            let histogram = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &[label])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let body_bytes = IntGauge::new(
            "pharos_target_scrape_body_bytes",
            "Memory of the scraped bodies that are being read or stored.",
        )?;
        registry.register(Box::new(body_bytes.clone()))?;
        let interval_buckets = vec![0.01, 0.1, 1.0, 10.0, 60.0, 120.0];
        Ok(Self {
            interval_length: summary(
                "prometheus_target_interval_length_seconds",
                "Actual intervals between scrapes.",
                "interval",
            )?,
            interval_length_histogram: histogram(
                "prometheus_target_interval_length_histogram_seconds",
                "Actual intervals between scrapes as a histogram.",
                "interval",
                interval_buckets,
            )?,
            reload_length: summary(
                "prometheus_target_reload_length_seconds",
                "Actual interval to reload the scrape pool with a given configuration.",
                "interval",
            )?,
            sync_length: summary(
                "prometheus_target_sync_length_seconds",
                "Actual interval to sync the scrape pool.",
                "scrape_job",
            )?,
            sync_length_histogram: histogram(
                "prometheus_target_sync_length_histogram_seconds",
                "Actual interval to sync the scrape pool as a histogram.",
                "scrape_job",
                vec![0.01, 0.1, 1.0, 10.0],
            )?,
            sync_failed: by_job("prometheus_target_sync_failed_total", "Total number of target sync failures.")?,
            pools: counter("prometheus_target_scrape_pools_total", "Total number of scrape pool creation attempts.")?,
            pools_failed: counter(
                "prometheus_target_scrape_pools_failed_total",
                "Total number of scrape pool creations that failed.",
            )?,
            pool_reloads: counter(
                "prometheus_target_scrape_pool_reloads_total",
                "Total number of scrape pool reloads.",
            )?,
            pool_reloads_failed: counter(
                "prometheus_target_scrape_pool_reloads_failed_total",
                "Total number of failed scrape pool reloads.",
            )?,
            pool_syncs: by_job(
                "prometheus_target_scrape_pool_sync_total",
                "Total number of syncs that were executed on a scrape pool.",
            )?,
            pool_targets: gauge(
                "prometheus_target_scrape_pool_targets",
                "Current number of targets in this scrape pool.",
            )?,
            pool_targets_elsewhere: gauge(
                "pharos_target_scrape_pool_targets_elsewhere",
                "Current number of targets of this scrape pool that other nodes scrape.",
            )?,
            pool_target_limit: gauge(
                "prometheus_target_scrape_pool_target_limit",
                "Maximum number of targets allowed in this scrape pool.",
            )?,
            exceeded_target_limit: counter(
                "prometheus_target_scrape_pool_exceeded_target_limit_total",
                "Total number of times scrape pools hit the target limit, during sync or config reload.",
            )?,
            exceeded_label_limits: counter(
                "prometheus_target_scrape_pool_exceeded_label_limits_total",
                "Total number of times scrape pools hit the label limits, during sync or config reload.",
            )?,
            exceeded_body_size_limit: counter(
                "prometheus_target_scrapes_exceeded_body_size_limit_total",
                "Total number of scrapes that hit the body size limit",
            )?,
            exceeded_sample_limit: counter(
                "prometheus_target_scrapes_exceeded_sample_limit_total",
                "Total number of scrapes that hit the sample limit and were rejected.",
            )?,
            exceeded_histogram_buckets: counter(
                "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
                "Total number of scrapes that hit the native histogram bucket limit and were rejected.",
            )?,
            out_of_order: counter(
                "prometheus_target_scrapes_sample_out_of_order_total",
                "Total number of samples rejected due to not being out of the expected order.",
            )?,
            out_of_bounds: counter(
                "prometheus_target_scrapes_sample_out_of_bounds_total",
                "Total number of samples rejected due to timestamp falling outside of the time bounds.",
            )?,
            duplicate_timestamp: counter(
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Total number of samples rejected due to duplicate timestamps but different values.",
            )?,
            other_owner: counter(
                "pharos_target_scrapes_sample_other_owner_total",
                "Samples rejected because another node had scraped the target at the same time, while it went from one to the other.",
            )?,
            append_failed: counter(
                "pharos_target_scrapes_append_failed_total",
                "Scrapes whose samples the store did not acknowledge.",
            )?,
            exceeded_series_limit: counter(
                "pharos_target_scrapes_sample_series_limit_total",
                "Samples rejected because the tenant has reached its limit of active series.",
            )?,
            exemplars_refused: counter(
                "pharos_target_scrapes_exemplar_refused_total",
                "Exemplars left out because their labels are not unique or too long.",
            )?,
            loops_restarted: counter(
                "pharos_target_scrape_loops_restarted_total",
                "Scrape loops that ended by a panic and were begun again.",
            )?,
            loops_handed_over: counter(
                "pharos_target_scrape_loops_handed_over_total",
                "Scrape loops that were told to end because another node scrapes their target.",
            )?,
            body_bytes,
            metadata_entries: gauge(
                "prometheus_target_metadata_cache_entries",
                "Total number of metric metadata entries in the cache",
            )?,
            metadata_bytes: gauge(
                "prometheus_target_metadata_cache_bytes",
                "The number of bytes that are currently used for storing metric metadata in the cache",
            )?,
        })
    }

    /// Drops the series of a job that is no longer configured; that there are none is no error.
    pub(super) fn forget_job(&self, job: &str) {
        let _ = self.sync_failed.remove_label_values(&[job]);
        let _ = self.pool_syncs.remove_label_values(&[job]);
        let _ = self.sync_length_histogram.remove_label_values(&[job]);
        for gauge in [
            &self.pool_targets,
            &self.pool_targets_elsewhere,
            &self.pool_target_limit,
            &self.metadata_entries,
            &self.metadata_bytes,
        ] {
            let _ = gauge.remove_label_values(&[job]);
        }
        self.sync_length.remove(job);
    }
}
