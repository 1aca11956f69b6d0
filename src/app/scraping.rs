//! Discovery and scraping as one part of the server.

use std::sync::Arc;

use http::HeaderValue;
use pharos_ingest::config::Loaded;
use pharos_ingest::discovery::{Discovery, DiscoveryMetrics, DiscoveryOptions, system_resolver};
use pharos_ingest::fs::Disk;
use pharos_ingest::http_client::{EnvironmentProxies, Surroundings, check_clients};
use pharos_ingest::scrape::{
    Ownership, SYNC_PAUSE_DEFAULT, ScrapeFeatures, ScrapeManager, ScrapeMetrics, ScrapeOptions, ScrapeStatus,
};
use pharos_ingest::series_hash::SeriesHasher;
use pharos_ingest::sink::Sink;
use pharos_model::{Clock, TenantId};
use prometheus::Registry;

use super::run::StartError;
use super::scrape_threads::ScrapeThreads;
use crate::build_info;

/// What runs as long as the server scrapes; dropping it ends every loop.
#[derive(Debug)]
pub struct Scraping {
    surroundings: Surroundings,
    discovery: Discovery,
    manager: ScrapeManager,
    /// After the manager, so that no loop outlives its runtime.
    _threads: ScrapeThreads,
}

/// What HTTP clients of this process share.
pub fn surroundings(clock: Arc<dyn Clock>) -> Surroundings {
    Surroundings {
        fs: Arc::new(Disk),
        clock,
        proxies: EnvironmentProxies::from_lookup(|name: &str| std::env::var(name).ok()),
        user_agent: HeaderValue::from_static(build_info::USER_AGENT),
    }
}

/// What scraping is started under.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// Which targets this node scrapes.
    pub ownership: Arc<dyn Ownership>,
    /// Shared by all nodes of the cluster, so that a target keeps its phase whoever scrapes it.
    pub seed: u64,
    /// Random.
    pub secret: u128,
    pub features: ScrapeFeatures,
}

impl Scraping {
    /// Starts without any job.
    pub fn start(
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        conditions: Conditions,
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let surroundings = surroundings(clock);
        let discovery = Discovery::start(DiscoveryOptions {
            surroundings: surroundings.clone(),
            resolver: system_resolver(),
            metrics: DiscoveryMetrics::new(registry)?,
        });
        let threads = ScrapeThreads::start().map_err(|error| StartError::Scrape(error.to_string()))?;
        let options = ScrapeOptions {
            surroundings: surroundings.clone(),
            sink,
            tenant: TenantId::anonymous(),
            ownership: conditions.ownership,
            offset_seed: conditions.seed,
            hasher: SeriesHasher::new(conditions.secret),
            metrics: ScrapeMetrics::new(registry)?,
            sync_pause: SYNC_PAUSE_DEFAULT,
            runtimes: threads.runtimes(),
            features: conditions.features,
        };
        let manager = ScrapeManager::start(options, discovery.targets());
        Ok(Self { surroundings, discovery, manager, _threads: threads })
    }

    /// Takes the jobs of a configuration, or none of them and says why.
    pub async fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        check_clients(&loaded.scrape_configs, &self.surroundings).map_err(|error| error.to_string())?;
        self.discovery.apply(&loaded.scrape_configs).await;
        // Only a file that changed since can fail here; the jobs that are named keep their old configuration.
        let failed = self.manager.apply(&loaded.scrape_configs).await;
        if failed.is_empty() {
            return Ok(());
        }
        Err(failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    pub fn status(&self) -> ScrapeStatus {
        self.manager.status()
    }
}
