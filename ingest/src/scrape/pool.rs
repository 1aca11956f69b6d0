//! The targets of one job, and a loop for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pharos_model::LabelSet;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::error;

use super::body_budget::BodyBudget;
use super::fetch::Request;
use super::status::{Live, PoolStatus, TargetStatus};
use super::target::{DroppedTarget, Made, Target, targets_of};
use super::target_loop::{Instruction, Spec, TargetLoop};
use super::{ScrapeError, ScrapeOptions};
use crate::config::{ScrapeConfig, TargetGroup};
use crate::http_client::{ClientError, HttpClient};

/// One job.
#[derive(Debug)]
pub(super) struct Pool {
    name: Arc<str>,
    options: ScrapeOptions,
    config: Arc<ScrapeConfig>,
    client: HttpClient,
    budget: BodyBudget,
    loops: Vec<Running>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
    /// What was synced last; `None` makes the next sync look at everything again.
    groups: Option<Vec<Arc<TargetGroup>>>,
}

/// A loop. It may be ending, and then is taken up again when its target comes back.
#[derive(Debug)]
struct Running {
    identity: u64,
    spec: Arc<Spec>,
    instructions: watch::Sender<Instruction>,
    /// Set by the loop when it takes no more instructions.
    left: Arc<AtomicBool>,
    live: Arc<Live>,
    task: AbortHandle,
    is_ending: bool,
}

impl Running {
    fn end(&mut self) {
        if !self.is_ending {
            self.is_ending = true;
            self.instructions.send_replace(Instruction::End);
        }
    }
}

impl Pool {
    /// Fails when no HTTP client can be built from the job's configuration.
    pub(super) fn new(
        config: Arc<ScrapeConfig>,
        options: ScrapeOptions,
        budget: BodyBudget,
    ) -> Result<Self, ClientError> {
        let client = HttpClient::new(config.http.clone(), options.surroundings.clone())?;
        let name = Arc::from(config.job_name.as_str());
        // A rate of failures needs the zero before the first one.
        options.metrics.sync_failed.with_label_values(&[&name]);
        let (loops, dropped) = (Vec::new(), Vec::new());
        Ok(Self { name, options, config, client, budget, loops, dropped, dropped_count: 0, groups: None })
    }

    /// Takes a new configuration; targets follow with the next sync. A failure leaves the pool as it is.
    pub(super) fn reconfigure(&mut self, config: Arc<ScrapeConfig>) -> Result<(), ClientError> {
        if *config == *self.config {
            return Ok(());
        }
        if config.http != self.config.http {
            self.client = HttpClient::new(config.http.clone(), self.options.surroundings.clone())?;
        }
        (self.config, self.groups) = (config, None);
        Ok(())
    }

    /// Makes the loops those of the groups' targets. Answers whether anything changed.
    pub(super) fn sync(&mut self, groups: &[Arc<TargetGroup>], running: &mut JoinSet<()>) -> bool {
        let same = |known: &Vec<Arc<TargetGroup>>| {
            known.len() == groups.len() && known.iter().zip(groups).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
        };
        self.forget_ended_loops();
        if self.groups.as_ref().is_some_and(same) {
            return false;
        }
        let started = self.options.surroundings.clock.monotonic();
        let targets = self.make_targets(groups);
        let forced = self.target_limit(targets.len());
        self.assign(targets, forced, running);
        self.groups = Some(groups.to_vec());
        self.observe_sync(self.options.surroundings.clock.monotonic().saturating_sub(started).as_secs_f64());
        true
    }

    /// Lets loops go that have ended. One that was not told to has panicked, and its target gets a new one.
    fn forget_ended_loops(&mut self) {
        let mut broken = 0;
        self.loops.retain(|running| {
            // In this order: a loop says that it leaves before it is finished.
            let is_finished = running.task.is_finished();
            let has_left = running.left.load(Ordering::Acquire);
            broken += u64::from(is_finished && !has_left);
            !is_finished && !has_left
        });
        if broken > 0 {
            self.options.metrics.loops_restarted.inc_by(broken);
            self.groups = None;
        }
    }

    /// The targets of the groups, each once.
    fn make_targets(&mut self, groups: &[Arc<TargetGroup>]) -> Vec<Target> {
        (self.dropped, self.dropped_count) = (Vec::new(), 0);
        let mut targets: Vec<(u64, Target)> = Vec::new();
        let kept = usize::try_from(self.config.keep_dropped_targets).unwrap_or(usize::MAX);
        for made in groups.iter().flat_map(|group| targets_of(group, &self.config)) {
            match made {
                Ok(Made::Target(target)) => targets.push((target.identity(), *target)),
                Ok(Made::Dropped(discovered)) => {
                    self.dropped_count += 1;
                    if kept == 0 || self.dropped.len() < kept {
                        self.dropped.push(DroppedTarget { discovered, job: self.name.clone() });
                    }
                }
                Err(error) => {
                    error!(job = &*self.name, %error, "creating target failed");
                    self.options.metrics.sync_failed.with_label_values(&[&self.name]).inc();
                }
            }
        }
        targets.sort_by(|(a_id, a), (b_id, b)| (&a.url_text, a_id).cmp(&(&b.url_text, b_id)));
        targets.dedup_by_key(|(identity, _)| *identity);
        targets.into_iter().map(|(_, target)| target).collect()
    }

    fn target_limit(&self, targets: usize) -> Option<ScrapeError> {
        let limit = self.config.target_limit;
        if limit == 0 || targets as u64 <= limit {
            return None;
        }
        self.options.metrics.exceeded_target_limit.inc();
        Some(ScrapeError::TargetLimit { targets, limit })
    }

    /// Gives each target a loop: the one it has, else one whose target went and that makes series with the same
    /// labels, else a new one. Loops that are left over end.
    fn assign(&mut self, targets: Vec<Target>, forced: Option<ScrapeError>, running: &mut JoinSet<()>) {
        let loops = std::mem::take(&mut self.loops);
        let mut by_identity: HashMap<u64, Running> =
            loops.into_iter().map(|running| (running.identity, running)).collect();
        let mut homeless = Vec::new();
        for target in targets {
            match by_identity.remove(&target.identity()) {
                Some(own) => homeless.extend(self.continue_loop(own, target, &forced)),
                None => homeless.push(target),
            }
        }
        let mut by_labels: HashMap<LabelSet, Vec<Running>> = HashMap::new();
        for left_over in by_identity.into_values() {
            by_labels.entry(left_over.spec.target.labels.clone()).or_default().push(left_over);
        }
        for target in homeless {
            let left = match by_labels.get_mut(&target.labels).and_then(Vec::pop) {
                Some(free) => self.continue_loop(free, target, &forced),
                None => Some(target),
            };
            if let Some(target) = left {
                self.start_loop(target, forced.clone(), running);
            }
        }
        for mut left in by_labels.into_values().flatten() {
            left.end();
            self.loops.push(left);
        }
    }

    fn spec(&self, target: Target, forced: Option<ScrapeError>) -> Arc<Spec> {
        let request = Request::new(&self.config, target.timeout, self.budget.clone());
        let (config, client, features) = (self.config.clone(), self.client.clone(), self.options.features);
        Arc::new(Spec { target: Arc::new(target), config, features, client, request, forced })
    }

    /// Makes a loop scrape the target; hands the target back when the loop is just leaving.
    fn continue_loop(&mut self, mut running: Running, target: Target, forced: &Option<ScrapeError>) -> Option<Target> {
        let unchanged = !running.is_ending
            && *running.spec.target == target
            && Arc::ptr_eq(&running.spec.config, &self.config)
            && running.spec.forced == *forced;
        if !unchanged {
            let spec = self.spec(target.clone(), forced.clone());
            let taken = running.instructions.send_if_modified(|instruction| {
                let stays = !running.left.load(Ordering::Acquire);
                if stays {
                    *instruction = Instruction::Scrape(spec.clone());
                }
                stays
            });
            if !taken {
                return Some(target);
            }
            (running.identity, running.spec, running.is_ending) = (target.identity(), spec, false);
        }
        self.loops.push(running);
        None
    }

    fn start_loop(&mut self, target: Target, forced: Option<ScrapeError>, running: &mut JoinSet<()>) {
        let identity = target.identity();
        let spec = self.spec(target, forced);
        let live = Arc::new(Live::default());
        let (instructions, instructed) = watch::channel(Instruction::Scrape(spec.clone()));
        let left = Arc::new(AtomicBool::new(false));
        let told = (instructed, left.clone());
        let runtime = &self.options.runtimes[(identity % self.options.runtimes.len() as u64) as usize];
        let target_loop = TargetLoop::new(self.options.clone(), spec.clone(), told, live.clone());
        let task = running.spawn_on(target_loop.run(), runtime);
        self.loops.push(Running { identity, spec, instructions, left, live, task, is_ending: false });
    }

    /// Ends all loops; answers those that still have series to end.
    pub(super) fn end(mut self) -> Ending {
        self.loops.iter_mut().for_each(Running::end);
        self.options.metrics.forget_job(&self.name);
        Ending(self.loops)
    }

    pub(super) fn status(&self) -> PoolStatus {
        let mut active: Vec<TargetStatus> = self
            .loops
            .iter()
            .filter(|running| !running.is_ending)
            .map(|running| TargetStatus {
                target: running.spec.target.clone(),
                pool: self.name.clone(),
                live: running.live.clone(),
            })
            .collect();
        active.sort_by(|a, b| a.target.url_text.cmp(&b.target.url_text));
        let (config, dropped) = (self.config.clone(), self.dropped.clone());
        PoolStatus { config, active, dropped, dropped_count: self.dropped_count }
    }

    /// Brings the gauges of metadata up to date.
    pub(super) fn observe_metadata(&self) {
        let caches = self.loops.iter().map(|running| running.live.metadata.lock());
        let (entries, bytes) = caches.fold((0, 0), |(e, b), cache| (e + cache.len(), b + cache.text_bytes()));
        let metrics = &self.options.metrics;
        metrics.metadata_entries.with_label_values(&[&self.name]).set(entries as i64);
        metrics.metadata_bytes.with_label_values(&[&self.name]).set(bytes as i64);
    }

    fn observe_sync(&self, seconds: f64) {
        let metrics = &self.options.metrics;
        let active = self.loops.iter().filter(|running| !running.is_ending).count();
        metrics.pool_targets.with_label_values(&[&self.name]).set(active as i64);
        metrics.pool_target_limit.with_label_values(&[&self.name]).set(self.config.target_limit as i64);
        metrics.pool_syncs.with_label_values(&[&self.name]).inc();
        metrics.sync_length.observe(&self.name, seconds);
        metrics.sync_length_histogram.with_label_values(&[&self.name]).observe(seconds);
    }
}

/// Loops of a job that is gone. They must be kept until they have ended their series: a loop leaves at once when
/// nobody holds its channel.
#[derive(Debug)]
pub(super) struct Ending(Vec<Running>);

impl Ending {
    pub(super) fn is_over(&self) -> bool {
        self.0.iter().all(|running| running.task.is_finished())
    }
}
