//! Scraping of servers on loopback into a recording store. Every wait is for something that the store or the manager
//! shows; intervals are a few milliseconds. Where only times matter, no target is asked and time is the runtime's own ([`virtual_time`]).

mod failures;
mod features;
mod lifecycle;
mod log;
mod ownership;
mod samples;
mod snapshots;
mod targets;
mod virtual_time;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use pharos_model::clock::SystemClock;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::sample::is_stale;
use pharos_model::{Clock, LabelSet, Metadata, Sample, TenantId, TimestampMs};
use prometheus::Registry;
use tokio::sync::watch;

use super::*;
use crate::config::{ScrapeConfig, TargetGroup};
use crate::discovery::TargetSets;
use crate::fs::InMemory;
use crate::http_client::{EnvironmentProxies, Surroundings};
use crate::sink::{AppendError, AppendOutcome, Place, Refusal, SampleBatch, SeriesExemplar, SeriesHandle, Sink};
use crate::test_server::{TestServer, metrics};

/// A store that keeps everything, and can be told to misbehave.
#[derive(Debug)]
pub(super) struct Recorder {
    kept: Mutex<Kept>,
    appends: watch::Sender<usize>,
    /// While it is true, appends wait.
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Kept {
    series: Vec<(LabelSet, Vec<Sample>)>,
    handles: HashMap<LabelSet, SeriesHandle>,
    exemplars: Vec<SeriesExemplar>,
    /// Histograms as text, with the labels of their series.
    histograms: Vec<String>,
    /// Samples that came with labels, by append.
    fresh: Vec<usize>,
    /// Handles that are not taken any more, once.
    stale: Vec<SeriesHandle>,
    /// Errors that the next appends answer.
    errors: Vec<AppendError>,
    /// Batches of markers that the store cannot take.
    markers_unavailable: usize,
    /// The next append is a bug of ours.
    panics: bool,
    /// The refusals of every sample of these metrics.
    refuse: Vec<(&'static str, Refusal)>,
}

impl Default for Recorder {
    fn default() -> Self {
        let (appends, held, waiting) = (watch::channel(0).0, watch::channel(false).0, watch::channel(0).0);
        Self { kept: Mutex::default(), appends, held, waiting }
    }
}

#[async_trait]
impl Sink for Recorder {
    async fn append(&self, batch: Arc<SampleBatch>) -> Result<AppendOutcome, AppendError> {
        self.waiting.send_modify(|count| *count += 1);
        let waited = self.held.subscribe().wait_for(|held| !held).await.is_ok();
        assert!(waited, "the sender is this store's own");
        self.waiting.send_modify(|count| *count -= 1);
        let outcome = self.kept.lock().append(Arc::unwrap_or_clone(batch));
        self.appends.send_modify(|count| *count += 1);
        outcome
    }
}

impl Kept {
    fn append(&mut self, batch: SampleBatch) -> Result<AppendOutcome, AppendError> {
        assert_eq!(batch.tenant, TenantId::anonymous());
        assert!(!std::mem::take(&mut self.panics), "as the test wants it");
        // Markers come alone, because no late one may be taken.
        assert!(batch.known.iter().all(|sample| is_stale(sample.value) == batch.refuse_late));
        if batch.refuse_late && self.markers_unavailable > 0 {
            self.markers_unavailable -= 1;
            return Err(AppendError::Unavailable { reason: "election".into(), retry_after: Duration::from_secs(60) });
        }
        if !self.errors.is_empty() {
            return Err(self.errors.remove(0));
        }
        let mut outcome = AppendOutcome::default();
        for (i, known) in batch.known.iter().enumerate() {
            if let Some(at) = self.stale.iter().position(|stale| *stale == known.series) {
                self.stale.swap_remove(at);
                outcome.stale.push(i);
                continue;
            }
            self.keep_histogram(known.series, &batch.histograms.known, i);
            let sample = Sample { ts: known.ts, value: known.value };
            self.store(known.series, sample, Place::Known(i), &mut outcome);
        }
        self.fresh.push(batch.fresh.len());
        for (i, fresh) in batch.fresh.into_iter().enumerate() {
            let next = SeriesHandle(self.series.len() as u64);
            let series = *self.handles.entry(fresh.labels.clone()).or_insert(next);
            if series == next {
                self.series.push((fresh.labels, Vec::new()));
            }
            self.keep_histogram(series, &batch.histograms.fresh, i);
            let taken = self.store(series, fresh.sample, Place::Fresh(i), &mut outcome);
            outcome.handles.push(taken.then_some(series));
        }
        self.exemplars.extend(batch.exemplars);
        Ok(outcome)
    }

    fn keep_histogram(&mut self, series: SeriesHandle, histograms: &[(usize, PackedHistogram)], place: usize) {
        let found = histograms.iter().find(|(at, _)| *at == place);
        let labels = &self.series[series.0 as usize].0;
        self.histograms.extend(found.map(|(_, histogram)| format!("{labels} {}", histogram.to_float())));
    }

    fn store(&mut self, series: SeriesHandle, sample: Sample, place: Place, outcome: &mut AppendOutcome) -> bool {
        let (labels, samples) = &mut self.series[series.0 as usize];
        match self.refuse.iter().find(|(name, _)| labels.metric_name() == Some(name)) {
            Some((_, refusal)) => {
                outcome.refused.push((place, *refusal));
                false
            }
            None => {
                samples.push(sample);
                true
            }
        }
    }
}

impl Recorder {
    /// Waits until `condition` holds of what is stored.
    async fn wait_for(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut appends = self.appends.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !condition(self) {
                appends.borrow_and_update();
                if !condition(self) {
                    appends.changed().await.unwrap();
                }
            }
        });
        assert!(waited.await.is_ok(), "never {what}; there is\n{}", self.shown());
    }

    /// The samples of the series whose labels print as given.
    fn samples(&self, series: &str) -> Vec<Sample> {
        let kept = self.kept.lock();
        let found = kept.series.iter().find(|(labels, _)| labels.to_string() == series);
        found.map(|(_, samples)| samples.clone()).unwrap_or_default()
    }

    /// The newest value; `None` when there is no sample.
    fn last(&self, series: &str) -> Option<f64> {
        self.samples(series).last().map(|sample| sample.value)
    }

    fn ended(&self, series: &str) -> bool {
        self.last(series).is_some_and(is_stale)
    }

    fn count(&self, series: &str) -> usize {
        self.samples(series).len()
    }

    /// All series, sorted, without the target's own.
    fn exposed_series(&self) -> Vec<String> {
        let own = |name: &str| name == "up" || name.starts_with("scrape_");
        let kept = self.kept.lock();
        let exposed = kept.series.iter().filter(|(labels, _)| !labels.metric_name().is_some_and(own));
        let mut names: Vec<_> = exposed.map(|(labels, _)| labels.to_string()).collect();
        names.sort();
        names
    }

    fn has_markers(&self) -> bool {
        self.kept.lock().series.iter().any(|(_, samples)| samples.iter().any(|sample| is_stale(sample.value)))
    }

    fn shown(&self) -> String {
        let kept = self.kept.lock();
        kept.series
            .iter()
            .map(|(labels, samples)| format!("{labels} {:?}\n", samples.iter().rev().take(5).collect::<Vec<_>>()))
            .collect()
    }
}

/// Everything around the manager.
struct World {
    sink: Arc<Recorder>,
    registry: Registry,
    fs: Arc<InMemory>,
    targets: watch::Sender<Arc<TargetSets>>,
    manager: ScrapeManager,
}

/// What nodes may share, or have apart from others.
struct Setting {
    sink: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    ownership: Arc<dyn Ownership>,
    sync_pause: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let (clock, ownership) = (Arc::new(SystemClock::default()), Arc::new(OwnsAll));
        Self { sink: Arc::default(), clock, ownership, sync_pause: Duration::ZERO }
    }
}

impl World {
    fn new() -> Self {
        Self::within(Setting::default())
    }

    fn within(Setting { sink, clock, ownership, sync_pause }: Setting) -> Self {
        let (registry, fs) = (Registry::new(), Arc::new(InMemory::default()));
        let options = ScrapeOptions {
            surroundings: Surroundings {
                fs: fs.clone(),
                clock,
                proxies: EnvironmentProxies::default(),
                user_agent: HeaderValue::from_static("Pharos/test"),
            },
            sink: sink.clone(),
            tenant: TenantId::anonymous(),
            ownership,
            offset_seed: 0,
            hasher: SeriesHasher::new(7),
            metrics: ScrapeMetrics::new(&registry).unwrap(),
            sync_pause,
            runtimes: [Handle::current()].into(),
            features: ScrapeFeatures::default(),
        };
        let (targets, found) = watch::channel(Arc::default());
        let manager = ScrapeManager::start(options, found);
        Self { sink, registry, fs, targets, manager }
    }

    /// Scrapes one server as `instance="x"` of job `j`; `keys` are more keys of the job.
    async fn scraping(server: &TestServer, keys: &str) -> Self {
        let world = Self::new();
        world.discover(&[("j", &server.address.to_string())]);
        world.apply(&[job("j", keys)]).await;
        world
    }

    async fn apply(&self, jobs: &[Arc<ScrapeConfig>]) {
        let failed = self.manager.apply(jobs).await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Replaces what discovery has found by these jobs and addresses.
    fn discover(&self, found: &[(&str, &str)]) {
        let mut sets: BTreeMap<String, Vec<Arc<TargetGroup>>> = BTreeMap::new();
        for (job, address) in found {
            let labels = BTreeMap::from([("instance".to_owned(), "x".to_owned())]);
            let group = TargetGroup { targets: vec![(*address).to_owned()], labels, ..TargetGroup::default() };
            sets.entry((*job).to_owned()).or_default().push(Arc::new(group));
        }
        self.targets.send_replace(Arc::new(sets));
    }

    async fn wait_for_status(&self, condition: impl Fn(&status::Pools) -> bool) {
        let mut status = self.manager.status();
        while !condition(&status.pools()) {
            assert!(status.changed().await, "scraping has ended");
        }
    }

    /// The only target's state.
    fn target(&self) -> TargetStatus {
        self.manager.status().pools().values().flat_map(|pool| pool.active.clone()).next().expect("one target")
    }

    /// The last error of a target, once it failed by more than a timeout, which any scrape of a busy machine may have.
    async fn error(&self) -> String {
        self.error_where(|error| !error.ends_with(TIMEOUT)).await
    }

    async fn timeout(&self) -> String {
        self.error_where(|error| error.ends_with(TIMEOUT)).await
    }

    async fn error_where(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut found = String::new();
        let is_down = |sink: &Recorder| {
            found = self.target().last_scrape().error;
            sink.last(UP) == Some(0.0) && !found.is_empty() && is_wanted(&found)
        };
        self.sink.wait_for("down", is_down).await;
        found
    }

    fn metric(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }
}

const TIMEOUT: &str = "context deadline exceeded";
const UP: &str = r#"{__name__="up", instance="x", job="j"}"#;

/// A job that is scraped every 20 ms.
pub(super) fn job(name: &str, keys: &str) -> Arc<ScrapeConfig> {
    let interval = if keys.contains("scrape_interval") { "" } else { "scrape_interval: 20ms," };
    let text = format!("scrape_configs: [{{job_name: {name}, {interval} {keys}}}]");
    let fs = InMemory::new([("/p.yml", text)]);
    let loaded = crate::config::load(std::path::Path::new("/p.yml"), &fs, &|_| None);
    loaded.unwrap_or_else(|e| panic!("{keys}: {e}")).scrape_configs.remove(0)
}

/// A series of the scraped server as it is stored.
fn series(name: &str) -> String {
    format!("{{__name__=\"{name}\", instance=\"x\", job=\"j\"}}")
}

/// A server whose body can be replaced.
async fn serving(body: &str) -> (TestServer, Arc<Mutex<String>>) {
    let body = Arc::new(Mutex::new(body.to_owned()));
    let served = body.clone();
    (TestServer::start(move |_| metrics(Bytes::from(served.lock().clone()))).await, body)
}

fn ts_of(samples: &[Sample]) -> Vec<TimestampMs> {
    samples.iter().map(|sample| sample.ts).collect()
}
