//! The configuration in force: loaded at start, replaced by a reload that succeeds, kept by one that fails.

use std::sync::Arc;
use std::time::Duration;

use pharos_ingest::config::{ConfigError, Defaults, Loaded, load_with};
use pharos_ingest::fs::Disk;
use pharos_model::TimestampMs;
use prometheus::{Gauge, Opts, Registry};
use tracing::{error, info, warn};

use super::App;
use super::scraping::Scraping;
use crate::flags::ServerFlags;

/// How late a sample may be where the configuration does not say.
const OUT_OF_ORDER_WINDOW_DEFAULT: Duration = Duration::from_secs(3600);

/// A configuration with what became of loading it.
#[derive(Debug)]
pub struct Config {
    pub loaded: Loaded,
    pub loaded_ms: TimestampMs,
    pub last_reload_successful: bool,
}

/// Why a new configuration did not come into force. The old one still is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Load(#[from] ConfigError),
    #[error("applying the configuration: {0}")]
    Apply(String),
}

/// `prometheus_config_*`.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    successful: Gauge,
    success_timestamp: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let successful = Gauge::with_opts(Opts::new(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        ))?;
        let success_timestamp = Gauge::with_opts(Opts::new(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        ))?;
        registry.register(Box::new(successful.clone()))?;
        registry.register(Box::new(success_timestamp.clone()))?;
        Ok(Self { successful, success_timestamp })
    }

    pub(super) fn succeeded(&self, now_ms: TimestampMs) {
        self.successful.set(1.0);
        self.success_timestamp.set(now_ms as f64 / 1000.0);
    }
}

/// Reads the file and logs what it accepts without using.
pub(super) fn read(flags: &ServerFlags) -> Result<Loaded, ConfigError> {
    let path = &flags.config_file;
    let defaults =
        Defaults { extra_scrape_metrics: flags.feature("extra-scrape-metrics"), protobuf_first: flags.reads_starts() };
    let loaded = load_with(path, &Disk, &|name: &str| std::env::var(name).ok(), defaults)?;
    for warning in &loaded.warnings {
        warn!(file = %path.display(), "{warning}");
    }
    Ok(loaded)
}

/// How late a sample may be.
pub(super) fn out_of_order_window(loaded: &Loaded) -> Duration {
    loaded
        .config
        .storage
        .tsdb
        .as_ref()
        .and_then(|tsdb| tsdb.out_of_order_time_window)
        .map_or(OUT_OF_ORDER_WINDOW_DEFAULT, |window| window.as_std())
}

impl App {
    /// Reads the configuration file again and puts it into force, or keeps the old one and says why.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        // Held to the end: one reload at a time.
        let scraping = self.scraping.lock().await;
        let started = self.clock.monotonic();
        let path = &self.flags.config_file;
        info!(filename = %path.display(), "Loading configuration file");
        let outcome = match read(&self.flags) {
            Ok(loaded) => self.put_into_force(loaded, scraping.as_ref()).await,
            Err(error) => Err(error.into()),
        };
        match &outcome {
            Ok(()) => {
                let took = self.clock.monotonic().saturating_sub(started);
                info!(filename = %path.display(), totalDuration = ?took, "Completed loading of configuration file");
            }
            Err(error) => {
                error!(filename = %path.display(), err = %error, "Error reloading config");
                self.config_metrics.successful.set(0.0);
                let mut config = self.config.write();
                let Config { loaded, loaded_ms, .. } = &**config;
                *config =
                    Arc::new(Config { loaded: loaded.clone(), loaded_ms: *loaded_ms, last_reload_successful: false });
            }
        }
        outcome
    }

    async fn put_into_force(&self, loaded: Loaded, scraping: Option<&Scraping>) -> Result<(), ReloadError> {
        if let Some(scraping) = scraping {
            scraping.apply(&loaded).await.map_err(ReloadError::Apply)?;
        }
        self.node.router().set_out_of_order_window(out_of_order_window(&loaded));
        self.node.retention().apply(&loaded.config);
        self.engine.set_subquery_step(loaded.config.global.evaluation_interval.as_std());
        let now_ms = self.clock.now_ms();
        *self.config.write() = Arc::new(Config { loaded, loaded_ms: now_ms, last_reload_successful: true });
        self.config_metrics.succeeded(now_ms);
        Ok(())
    }
}
