//! Metrics of service discovery under Prometheus' names.

use std::time::Duration;

use pharos_model::TimestampMs;
use pharos_model::summary::SummaryVec;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Clones count together.
#[derive(Clone, Debug)]
pub struct DiscoveryMetrics {
    pub(super) failed_configs: IntGauge,
    pub(super) discovered_targets: IntGaugeVec,
    pub(super) received_updates: IntCounter,
    pub(super) refresh_failures: IntCounterVec,
    pub(super) dns_lookups: IntCounter,
    pub(super) dns_lookup_failures: IntCounter,
    pub(super) http_failures: IntCounter,
    pub(super) file_read_errors: IntCounter,
    pub(super) file_watcher_errors: IntCounter,
    pub(super) file_mtime: GaugeVec,
    updates: IntCounter,
    last_update: Gauge,
    refresh_duration: SummaryVec,
    refresh_duration_histogram: HistogramVec,
}

impl DiscoveryMetrics {
    /// Creates the metrics and registers them. Fails when the registry has them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of_scrape = |name: &str, help: &str| Opts::new(name, help).const_label("name", "scrape");
        let metrics = Self {
            failed_configs: IntGauge::with_opts(of_scrape(
                "prometheus_sd_failed_configs",
                "Current number of service discovery configurations that failed to load.",
            ))?,
            discovered_targets: IntGaugeVec::new(
                Opts::new("prometheus_sd_discovered_targets", "Current number of discovered targets."),
                &["name", "config"],
            )?,
            received_updates: IntCounter::with_opts(of_scrape(
                "prometheus_sd_received_updates_total",
                "Total number of update events received from the SD providers.",
            ))?,
            refresh_failures: IntCounterVec::new(
                Opts::new(
                    "prometheus_sd_refresh_failures_total",
                    "Number of refresh failures for the given SD mechanism.",
                ),
                &["mechanism", "config"],
            )?,
            dns_lookups: IntCounter::new("prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups.")?,
            dns_lookup_failures: IntCounter::new(
                "prometheus_sd_dns_lookup_failures_total",
                "The number of DNS-SD lookup failures.",
            )?,
            http_failures: IntCounter::new(
                "prometheus_sd_http_failures_total",
                "Number of HTTP service discovery refresh failures.",
            )?,
            file_read_errors: IntCounter::new(
                "prometheus_sd_file_read_errors_total",
                "The number of File-SD read errors.",
            )?,
            file_watcher_errors: IntCounter::new(
                "prometheus_sd_file_watcher_errors_total",
                "The number of File-SD errors caused by filesystem watch failures.",
            )?,
            file_mtime: GaugeVec::new(
                Opts::new(
                    "prometheus_sd_file_mtime_seconds",
                    "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time.",
                ),
                &["filename"],
            )?,
            updates: IntCounter::with_opts(of_scrape(
                "prometheus_sd_updates_total",
                "Total number of update events sent to the SD consumers.",
            ))?,
            last_update: Gauge::with_opts(of_scrape(
                "prometheus_sd_last_update_timestamp_seconds",
                "Timestamp of the last update sent to the SD consumers.",
            ))?,
            refresh_duration: SummaryVec::new(
                "prometheus_sd_refresh_duration_seconds",
                "The duration of a refresh in seconds for the given SD mechanism.",
                "mechanism",
                &QUANTILES,
            )?,
            refresh_duration_histogram: HistogramVec::new(
                HistogramOpts::new(
                    "prometheus_sd_refresh_duration_histogram_seconds",
                    "The duration of a refresh for the given SD mechanism.",
                )
                .buckets(vec![0.01, 0.1, 1.0, 10.0]),
                &["mechanism", "config"],
            )?,
        };
        metrics.register(registry)?;
        Ok(metrics)
    }

    fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.failed_configs.clone()))?;
        registry.register(Box::new(self.discovered_targets.clone()))?;
        registry.register(Box::new(self.received_updates.clone()))?;
        registry.register(Box::new(self.refresh_failures.clone()))?;
        registry.register(Box::new(self.dns_lookups.clone()))?;
        registry.register(Box::new(self.dns_lookup_failures.clone()))?;
        registry.register(Box::new(self.http_failures.clone()))?;
        registry.register(Box::new(self.file_read_errors.clone()))?;
        registry.register(Box::new(self.file_watcher_errors.clone()))?;
        registry.register(Box::new(self.file_mtime.clone()))?;
        registry.register(Box::new(self.updates.clone()))?;
        registry.register(Box::new(self.last_update.clone()))?;
        registry.register(Box::new(self.refresh_duration.clone()))?;
        registry.register(Box::new(self.refresh_duration_histogram.clone()))
    }

    pub(super) fn refreshed(&self, mechanism: &str, job: &str, took: Duration) {
        self.refresh_duration.observe(mechanism, took.as_secs_f64());
        self.refresh_duration_histogram.with_label_values(&[mechanism, job]).observe(took.as_secs_f64());
    }

    pub(super) fn sent_update(&self, now: TimestampMs) {
        self.updates.inc();
        self.last_update.set(now as f64 / 1000.0);
    }

    /// Drops the series of a job that is no longer configured; that there are none is no error.
    pub(super) fn forget_job(&self, job: &str) {
        let _ = self.discovered_targets.remove_label_values(&["scrape", job]);
        for mechanism in ["dns", "file", "http"] {
            let _ = self.refresh_failures.remove_label_values(&[mechanism, job]);
            let _ = self.refresh_duration_histogram.remove_label_values(&[mechanism, job]);
        }
    }
}
