//! Service discovery: keeps, for each job, the newest target groups that its mechanisms have found.
//!
//! One task owns the state ([`Discovery::start`]). Each mechanism of a job runs in a task of its own and reports
//! everything it knows now; what it cannot learn stays as it last was. [`Discovery::targets`] always holds the newest
//! state, so a slow reader skips states but never queues them. Leaves relabelling to [`crate::scrape`].
//!
//! Invariants: a mechanism whose configuration did not change is not restarted; groups of one that was replaced stay
//! until all mechanisms of the job have reported once, so that a new configuration makes no gap.

mod dns;
mod file;
mod http;
mod metrics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use crate::config::discovery::{DnsSdConfig, FileSdConfig, HttpSdConfig};
use crate::config::{DiscoveryConfigs, ScrapeConfig, TargetGroup};
use crate::http_client::{ClientError, Surroundings};
use dns::DnsDiscovery;
use file::FileDiscovery;
use http::HttpDiscovery;
pub use metrics::DiscoveryMetrics;

/// Reports of mechanisms, and commands, that wait for the task.
const QUEUED_MAX: usize = 64;

/// The target groups of every job.
pub type TargetSets = BTreeMap<String, Vec<Arc<TargetGroup>>>;

/// What discovery takes from its surroundings.
#[derive(Clone)]
pub struct DiscoveryOptions {
    pub surroundings: Surroundings,
    /// Answers DNS discovery; `None` when the machine has no usable configuration, lookups then fail.
    pub resolver: Option<TokioResolver>,
    pub metrics: DiscoveryMetrics,
}

impl std::fmt::Debug for DiscoveryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscoveryOptions").field("surroundings", &self.surroundings).finish_non_exhaustive()
    }
}

/// A resolver as the machine is configured (`/etc/resolv.conf`), without a cache: each refresh asks anew.
pub fn system_resolver() -> Option<TokioResolver> {
    let built = TokioResolver::builder_tokio().and_then(|mut builder| {
        builder.options_mut().cache_size = 0;
        builder.build()
    });
    built.inspect_err(|error| warn!(%error, "no DNS resolver for service discovery")).ok()
}

/// A handle to the running task; dropping it ends discovery.
#[derive(Debug)]
pub struct Discovery {
    commands: mpsc::Sender<Command>,
    targets: watch::Receiver<Arc<TargetSets>>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
enum Command {
    Apply { jobs: Vec<Arc<ScrapeConfig>>, done: oneshot::Sender<()> },
    Report { job: String, mechanism: MechanismId, groups: Vec<TargetGroup> },
}

/// Tells the reports of a running mechanism from those of one that it replaced.
type MechanismId = u64;

impl Discovery {
    /// Starts without any job.
    pub fn start(options: DiscoveryOptions) -> Self {
        let (commands, queue) = mpsc::channel(QUEUED_MAX);
        let (publish, targets) = watch::channel(Arc::default());
        let state = State {
            options,
            jobs: BTreeMap::new(),
            running: JoinSet::new(),
            next_id: 0,
            reports: commands.downgrade(),
            publish,
        };
        let mut task = JoinSet::new();
        task.spawn(state.run(queue));
        Self { commands, targets, _task: task }
    }

    /// Takes a new set of jobs. When it returns, [`Self::targets`] knows the static targets of all of them.
    pub async fn apply(&self, jobs: &[Arc<ScrapeConfig>]) {
        let (done, applied) = oneshot::channel();
        let command = Command::Apply { jobs: jobs.to_vec(), done };
        // Both fail only when the task has ended, and then there is nothing to wait for.
        if self.commands.send(command).await.is_ok() {
            let _ = applied.await;
        }
    }

    /// The newest groups of each job.
    pub fn targets(&self) -> watch::Receiver<Arc<TargetSets>> {
        self.targets.clone()
    }
}

/// What the task owns.
struct State {
    options: DiscoveryOptions,
    jobs: BTreeMap<String, Job>,
    running: JoinSet<()>,
    next_id: MechanismId,
    /// Handed to mechanisms; weak, so that the queue ends with the handle and not with them.
    reports: mpsc::WeakSender<Command>,
    publish: watch::Sender<Arc<TargetSets>>,
}

#[derive(Default)]
struct Job {
    static_groups: Vec<Arc<TargetGroup>>,
    mechanisms: Vec<Running>,
    /// Groups of mechanisms that were replaced, kept until the new ones have reported.
    retired: Vec<Arc<TargetGroup>>,
}

struct Running {
    id: MechanismId,
    config: MechanismConfig,
    task: AbortHandle,
    /// `None` before the first report.
    groups: Option<Vec<Arc<TargetGroup>>>,
}

#[derive(Clone, PartialEq)]
enum MechanismConfig {
    Dns(DnsSdConfig),
    File(FileSdConfig),
    Http(Box<HttpSdConfig>),
}

impl State {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.recv().await {
            match command {
                Command::Apply { jobs, done } => {
                    self.apply(&jobs);
                    // The caller may have gone away meanwhile.
                    let _ = done.send(());
                }
                Command::Report { job, mechanism, groups } => self.report(&job, mechanism, groups),
            }
        }
    }

    fn apply(&mut self, configs: &[Arc<ScrapeConfig>]) {
        let mut old = std::mem::take(&mut self.jobs);
        self.options.metrics.failed_configs.set(0);
        for config in configs {
            let job = old.remove(&config.job_name).unwrap_or_default();
            let job = self.update_job(&config.job_name, job, &config.discovery);
            self.jobs.insert(config.job_name.clone(), job);
        }
        for (name, job) in old {
            job.mechanisms.iter().for_each(|mechanism| mechanism.task.abort());
            self.options.metrics.forget_job(&name);
        }
        self.publish();
    }

    /// Keeps mechanisms that are still configured, starts new ones and ends the rest.
    fn update_job(&mut self, name: &str, mut job: Job, config: &DiscoveryConfigs) -> Job {
        let mut kept = Vec::new();
        for config in mechanism_configs(config) {
            match job.mechanisms.iter().position(|running| running.config == config) {
                Some(at) => kept.push(job.mechanisms.swap_remove(at)),
                None => kept.extend(self.start_mechanism(name, config)),
            }
        }
        for ended in job.mechanisms {
            ended.task.abort();
            job.retired.extend(ended.groups.into_iter().flatten());
        }
        let static_groups = config.static_configs.iter().enumerate();
        let static_groups = static_groups.map(|(i, group)| TargetGroup { source: i.to_string(), ..group.clone() });
        Job { static_groups: static_groups.map(Arc::new).collect(), mechanisms: kept, retired: job.retired }
    }

    fn start_mechanism(&mut self, job: &str, config: MechanismConfig) -> Option<Running> {
        let id = self.next_id;
        self.next_id += 1;
        let mechanism = match Mechanism::new(&config, &self.options) {
            Ok(mechanism) => mechanism,
            Err(error) => {
                error!(job, %error, "cannot create service discovery");
                self.options.metrics.failed_configs.inc();
                return None;
            }
        };
        let reporter = Reporter { job: job.to_owned(), mechanism: id, queue: self.reports.clone() };
        let task = self.running.spawn(run_mechanism(mechanism, reporter, self.options.clone()));
        Some(Running { id, config, task, groups: None })
    }

    fn report(&mut self, job_name: &str, mechanism: MechanismId, groups: Vec<TargetGroup>) {
        self.options.metrics.received_updates.inc();
        let Some(job) = self.jobs.get_mut(job_name) else { return };
        let Some(running) = job.mechanisms.iter_mut().find(|running| running.id == mechanism) else { return };
        let same = running.groups.as_ref().is_some_and(|known| known.iter().map(|group| &**group).eq(&groups));
        if same {
            return;
        }
        running.groups = Some(groups.into_iter().map(Arc::new).collect());
        if job.mechanisms.iter().all(|running| running.groups.is_some()) {
            job.retired = Vec::new();
        }
        self.publish();
    }

    fn publish(&mut self) {
        while self.running.try_join_next().is_some() {}
        let sets: TargetSets = self.jobs.iter().map(|(name, job)| (name.clone(), job.groups())).collect();
        for (job, groups) in &sets {
            let targets = groups.iter().map(|group| group.targets.len()).sum::<usize>();
            self.options.metrics.discovered_targets.with_label_values(&["scrape", job]).set(targets as i64);
        }
        self.options.metrics.sent_update(self.options.surroundings.clock.now_ms());
        self.publish.send_replace(Arc::new(sets));
    }
}

impl Job {
    fn groups(&self) -> Vec<Arc<TargetGroup>> {
        let waiting = self.mechanisms.iter().any(|running| running.groups.is_none());
        let retired = if waiting { self.retired.as_slice() } else { &[] };
        let found = self.mechanisms.iter().flat_map(|running| running.groups.iter().flatten());
        self.static_groups.iter().chain(found).chain(retired).cloned().collect()
    }
}

/// Brings a mechanism's findings to the task.
struct Reporter {
    job: String,
    mechanism: MechanismId,
    queue: mpsc::WeakSender<Command>,
}

impl Reporter {
    /// `false` when nobody listens any more.
    async fn report(&self, groups: Vec<TargetGroup>) -> bool {
        let Some(queue) = self.queue.upgrade() else { return false };
        queue.send(Command::Report { job: self.job.clone(), mechanism: self.mechanism, groups }).await.is_ok()
    }
}

/// Looks for targets until nobody listens any more.
async fn run_mechanism(mut mechanism: Mechanism, reporter: Reporter, options: DiscoveryOptions) {
    let (clock, metrics) = (options.surroundings.clock, options.metrics);
    loop {
        let started = clock.monotonic();
        let found = mechanism.refresh().await;
        metrics.refreshed(mechanism.name(), &reporter.job, clock.monotonic().saturating_sub(started));
        match found {
            Ok(groups) => {
                if !reporter.report(groups).await {
                    return;
                }
            }
            Err(error) => {
                metrics.refresh_failures.with_label_values(&[mechanism.name(), &reporter.job]).inc();
                error!(job = reporter.job, discovery = mechanism.name(), %error, "unable to refresh target groups");
            }
        }
        mechanism.wait().await;
    }
}

fn mechanism_configs(config: &DiscoveryConfigs) -> impl Iterator<Item = MechanismConfig> {
    let dns = config.dns_sd_configs.iter().cloned().map(MechanismConfig::Dns);
    let file = config.file_sd_configs.iter().cloned().map(MechanismConfig::File);
    let http = config.http_sd_configs.iter().cloned().map(Box::new).map(MechanismConfig::Http);
    dns.chain(file).chain(http)
}

/// A running mechanism.
enum Mechanism {
    Dns(DnsDiscovery),
    File(FileDiscovery),
    Http(HttpDiscovery),
}

/// Why a refresh brought nothing new.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("{0}")]
    Http(String),
}

impl Mechanism {
    fn new(config: &MechanismConfig, options: &DiscoveryOptions) -> Result<Self, ClientError> {
        Ok(match config {
            MechanismConfig::Dns(config) => Self::Dns(DnsDiscovery::new(config.clone(), options)),
            MechanismConfig::File(config) => Self::File(FileDiscovery::new(config.clone(), options)),
            MechanismConfig::Http(config) => Self::Http(HttpDiscovery::new((**config).clone(), options)?),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::File(_) => "file",
            Self::Http(_) => "http",
        }
    }

    /// All groups that the mechanism knows now.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, RefreshError> {
        match self {
            Self::Dns(dns) => Ok(dns.refresh().await),
            Self::File(file) => Ok(file.refresh()),
            Self::Http(http) => http.refresh().await,
        }
    }

    /// Returns when it is time to look again.
    async fn wait(&mut self) {
        match self {
            Self::Dns(dns) => dns.ticks.tick().await,
            Self::File(file) => file.wait().await,
            Self::Http(http) => http.ticks.tick().await,
        }
    }
}

/// A timer of a mechanism. Its first tick comes after one interval; late ticks are skipped.
struct Ticks(tokio::time::Interval);

impl Ticks {
    fn new(every: Duration) -> Self {
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self(interval)
    }

    async fn tick(&mut self) {
        self.0.tick().await;
    }
}
