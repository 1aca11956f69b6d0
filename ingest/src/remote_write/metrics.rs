//! What the receiver counts about itself.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Registered once for each node.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) samples: IntCounter,
    pub(super) duplicates: IntCounter,
    pub(super) refused: IntCounterVec,
    pub(super) refused_requests: IntCounterVec,
    pub(super) invalid_labels: IntCounter,
    pub(super) fresh: IntCounter,
    pub(super) stale: IntCounter,
    pub(super) in_flight: IntGauge,
    pub(super) cache_bytes: IntGauge,
}

impl Metrics {
    /// Fails when the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            samples: counter("pharos_remote_write_samples_total", "Samples received by remote write that are stored.")?,
            duplicates: counter(
                "pharos_remote_write_duplicate_samples_total",
                "Samples received by remote write that were stored before.",
            )?,
            refused: by(
                "pharos_remote_write_refused_samples_total",
                "Samples received by remote write that can never be stored.",
                "reason",
            )?,
            refused_requests: by(
                "pharos_remote_write_refused_requests_total",
                "Remote-write requests that were refused as a whole, by the status that was answered.",
                "code",
            )?,
            invalid_labels: counter(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which were rejected due to \
                 invalid labels.",
            )?,
            fresh: counter(
                "pharos_remote_write_parsed_series_total",
                "Series whose labels had to be parsed because their raw bytes were not known.",
            )?,
            stale: counter(
                "pharos_remote_write_stale_handles_total",
                "Samples sent to the store twice because it did not know the series by its handle any more.",
            )?,
            in_flight: gauge("pharos_remote_write_in_flight_requests", "Remote-write requests that are being served.")?,
            cache_bytes: gauge(
                "pharos_remote_write_series_cache_bytes",
                "Memory of the cache from raw label bytes to series.",
            )?,
        })
    }
}
