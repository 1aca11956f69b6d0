//! The configuration in force: loaded at start, replaced by a reload or a new version of the document that succeeds, kept by one that
//! fails.

mod report;
mod source;

use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::meta::Documents;
use pharos_cluster::status::NodeName;
use pharos_ingest::config::{ConfigError, Loaded};
use pharos_model::{Clock, TimestampMs};
use prometheus::{Gauge, IntGauge, Opts, Registry};
use tracing::{error, info};

use super::App;
use super::limits::LIMITS_DOCUMENT;
use super::scraping::Scraping;
use crate::flags::ServerFlags;
use crate::node::{self, Node};
use source::Source;

pub use report::{ConfigReport, Difference, config_report, differences};
pub use source::{CONFIG_DOCUMENT, Origin};

/// Reads the file of the flags, as a node does when it starts.
pub(super) fn read_file(flags: &ServerFlags) -> Result<Loaded, ConfigError> {
    Source::of(&Documents::default()).load(flags)
}

/// Bits of a hash that its metric goes without: a float has 53.
const HASH_BITS_CUT: u32 = 16;
/// How late a sample may be where the configuration does not say.
const OUT_OF_ORDER_WINDOW_DEFAULT: Duration = Duration::from_secs(3600);

/// A configuration with what became of loading it.
#[derive(Debug)]
pub struct Config {
    pub loaded: Loaded,
    pub origin: Origin,
    /// Where the newest one is from that there was; another than `origin` if it could not be taken.
    tried: Origin,
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
    #[error(transparent)]
    Secret(#[from] node::OpenError),
}

/// `prometheus_config_*`.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    successful: Gauge,
    success_timestamp: Gauge,
    hash: Gauge,
    document_version: IntGauge,
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
        let hash = Gauge::with_opts(Opts::new(
            "pharos_config_hash",
            "Hash of the configuration in force: where nodes differ in it, they go by different ones.",
        ))?;
        let document_version = IntGauge::new(
            "pharos_config_document_version",
            "Version of the document that the configuration in force is from, 0 if it is from a file.",
        )?;
        registry.register(Box::new(successful.clone()))?;
        registry.register(Box::new(success_timestamp.clone()))?;
        registry.register(Box::new(hash.clone()))?;
        registry.register(Box::new(document_version.clone()))?;
        Ok(Self { successful, success_timestamp, hash, document_version })
    }

    fn show(&self, config: &Config) {
        self.successful.set(f64::from(u8::from(config.last_reload_successful)));
        self.success_timestamp.set(config.loaded_ms as f64 / 1000.0);
        // A float holds no more digits without rounding.
        self.hash.set((config.loaded.hash >> HASH_BITS_CUT) as f64);
        self.document_version.set(match config.origin {
            Origin::File => 0,
            Origin::Document { version } => i64::try_from(version).unwrap_or(i64::MAX),
        });
    }
}

/// The configuration that a node starts with, and what it goes by besides.
pub(super) fn first(flags: &ServerFlags, file: Loaded, node: &Node, clock: &Arc<dyn Clock>) -> Config {
    let documents = node.meta().documents().borrow().clone();
    let wanted = Source::of(&documents);
    let from_file = |tried: Origin, file: Loaded| Config {
        loaded: file,
        origin: Origin::File,
        tried,
        loaded_ms: clock.now_ms(),
        last_reload_successful: tried == Origin::File,
    };
    if wanted.origin == Origin::File {
        info!(filename = %flags.config_file.display(), "configuration of this node's own file");
        return from_file(Origin::File, file);
    }
    match wanted.load_and_check(flags, clock) {
        Ok(loaded) => {
            info!(filename = %wanted.name(flags).display(), "configuration of the cluster's document, the file is not used");
            node.retention().apply(&loaded.config);
            Config {
                loaded,
                origin: wanted.origin,
                tried: wanted.origin,
                loaded_ms: clock.now_ms(),
                last_reload_successful: true,
            }
        }
        Err(error) => {
            error!(filename = %wanted.name(flags).display(), err = %error, "the cluster's configuration cannot be used, this node's own file is");
            // The file may say to keep less than the document does, and what is deleted does not come back.
            node.retention().keep_all();
            from_file(wanted.origin, file)
        }
    }
}

/// Says in metrics and to other nodes which configuration is in force.
pub(super) fn tell(config: &Config, metrics: &Metrics, node: &Node) {
    metrics.show(config);
    let report = config_report(config);
    node.say_config(&report, report.short());
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
    /// Reads the configuration again, wherever it is from, and puts it into force, or keeps the old one and says why. So with the secret of
    /// gossip.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        // Held to the end: one reload at a time.
        let scraping = self.scraping.lock().await;
        let secret = self.node.reread_gossip_secret(&self.flags);
        if let Err(error) = &secret {
            error!(err = %error, "the secret of gossip cannot be read again, the old one stays");
        }
        self.load(scraping.as_ref()).await?;
        Ok(secret?)
    }

    /// Puts another version of the document into force, if there is one that was not tried yet.
    pub async fn follow_documents(&self) {
        let scraping = self.scraping.lock().await;
        let wanted = Source::of(&self.node.meta().documents().borrow()).origin;
        if self.config().tried != wanted {
            // A failure was logged; the old configuration stays.
            let _ = self.load(scraping.as_ref()).await;
        }
    }

    async fn load(&self, scraping: Option<&Scraping>) -> Result<(), ReloadError> {
        let started = self.clock.monotonic();
        let documents = self.node.meta().documents().borrow().clone();
        let source = Source::of(&documents);
        let name = source.name(&self.flags);
        info!(filename = %name.display(), "Loading configuration file");
        let outcome = match source.load(&self.flags) {
            Ok(loaded) => self.put_into_force(loaded, source.origin, scraping).await,
            Err(error) => Err(error.into()),
        };
        match &outcome {
            Ok(()) => {
                let took = self.clock.monotonic().saturating_sub(started);
                info!(filename = %name.display(), totalDuration = ?took, "Completed loading of configuration file");
            }
            Err(error) => {
                error!(filename = %name.display(), err = %error, "Error reloading config");
                let old = self.config();
                let (loaded, tried) = (old.loaded.clone(), source.origin);
                self.show(Config { loaded, tried, last_reload_successful: false, ..*old });
            }
        }
        outcome
    }

    async fn put_into_force(
        &self,
        loaded: Loaded,
        origin: Origin,
        scraping: Option<&Scraping>,
    ) -> Result<(), ReloadError> {
        if let Some(scraping) = scraping {
            scraping.apply(&loaded).await.map_err(ReloadError::Apply)?;
        }
        self.node.router().set_out_of_order_window(out_of_order_window(&loaded));
        self.node.retention().apply(&loaded.config);
        self.engine.set_subquery_step(loaded.config.global.evaluation_interval.as_std());
        let loaded_ms = self.clock.now_ms();
        self.show(Config { loaded, origin, tried: origin, loaded_ms, last_reload_successful: true });
        Ok(())
    }

    fn show(&self, config: Config) {
        tell(&config, &self.config_metrics, &self.node);
        *self.config.write() = Arc::new(config);
    }

    /// What `pharos check config` finds wrong with the text of a document; else what should be said about it. Documents other than the
    /// configuration and the limits mean nothing here.
    pub fn check_document(&self, name: &str, text: &str) -> Result<Vec<String>, String> {
        match name {
            CONFIG_DOCUMENT => source::check(text, &self.flags, &self.clock),
            LIMITS_DOCUMENT => super::limits::read(text, self.flags.series_limit).map(|_| Vec::new()),
            _ => Ok(Vec::new()),
        }
    }

    /// What nodes say of their configurations: this one, and those that can be heard.
    pub async fn config_reports(&self) -> Vec<(NodeName, ConfigReport)> {
        let own = (NodeName::from(self.node.id()), config_report(&self.config()));
        let others = self.node.configs_of_others().await;
        let others = others.into_iter().map(|(node, report)| (NodeName::from(node), report));
        let mut all: Vec<_> = others.chain([own]).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
