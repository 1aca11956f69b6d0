//! The targets of one job, and a loop for each that this node owns.

mod running;

use std::collections::HashMap;
use std::sync::Arc;

use pharos_model::LabelSet;
use tokio::task::JoinSet;
use tracing::error;

pub(super) use running::Ending;
use running::{Course, Running};

use super::body_budget::BodyBudget;
use super::fetch::Request;
use super::status::{PoolStatus, TargetStatus};
use super::target::{DroppedTarget, Made, Target, targets_of};
use super::target_loop::Spec;
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
    /// Targets that other nodes own.
    elsewhere: Vec<Arc<Target>>,
    /// Fails every scrape of every target.
    forced: Option<ScrapeError>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
    /// What was synced last; `None` makes the next sync look at everything again.
    groups: Option<Vec<Arc<TargetGroup>>>,
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
        let (loops, elsewhere, dropped) = (Vec::new(), Vec::new(), Vec::new());
        let (forced, dropped_count, groups) = (None, 0, None);
        Ok(Self { name, options, config, client, budget, loops, elsewhere, forced, dropped, dropped_count, groups })
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

    /// Makes the loops those of the groups' targets that this node owns. Answers whether anything changed.
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
        self.forced = self.target_limit(targets.len());
        self.assign(targets, running);
        self.groups = Some(groups.to_vec());
        self.observe_sync(self.options.surroundings.clock.monotonic().saturating_sub(started).as_secs_f64());
        true
    }

    /// Looks again at who owns the targets. Answers whether anything changed.
    pub(super) fn deal(&mut self, running: &mut JoinSet<()>) -> bool {
        let ownership = self.options.ownership.clone();
        let mut scraped = self.loops.iter().filter(|running| running.is_scraping());
        if scraped.all(|running| ownership.owns(&running.spec.target.labels))
            && !self.elsewhere.iter().any(|target| ownership.owns(&target.labels))
        {
            return false;
        }
        let mut targets = std::mem::take(&mut self.elsewhere);
        let scraped = self.loops.iter().filter(|running| running.is_scraping());
        targets.extend(scraped.map(|running| running.spec.target.clone()));
        self.assign(targets, running);
        self.observe_targets();
        true
    }

    /// Lets loops go that have ended. One that was not told to has panicked, and its target gets a new one with the next sync.
    fn forget_ended_loops(&mut self) {
        let mut broken = 0;
        self.loops.retain(|running| {
            let course = running.course();
            broken += u64::from(course == Course::Broken);
            course == Course::Runs
        });
        if broken > 0 {
            self.options.metrics.loops_restarted.inc_by(broken);
            self.groups = None;
        }
    }

    /// The targets of the groups, each once, whoever owns them.
    fn make_targets(&mut self, groups: &[Arc<TargetGroup>]) -> Vec<Arc<Target>> {
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
        targets.into_iter().map(|(_, target)| Arc::new(target)).collect()
    }

    /// The limit is one of the job: it counts what other nodes scrape too.
    fn target_limit(&self, targets: usize) -> Option<ScrapeError> {
        let limit = self.config.target_limit;
        if limit == 0 || targets as u64 <= limit {
            return None;
        }
        self.options.metrics.exceeded_target_limit.inc();
        Some(ScrapeError::TargetLimit { targets, limit })
    }

    /// Gives each target that this node owns a loop: the one it has, else one whose target went and that makes series with the same
    /// labels, else a new one. Loops of targets that others own are handed over, those that are left over end.
    fn assign(&mut self, targets: Vec<Arc<Target>>, running: &mut JoinSet<()>) {
        let loops = std::mem::take(&mut self.loops);
        let mut by_identity: HashMap<u64, Running> =
            loops.into_iter().map(|running| (running.identity, running)).collect();
        let (owned, elsewhere): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| self.options.ownership.owns(&target.labels));
        let mut homeless = Vec::new();
        for target in owned {
            match by_identity.remove(&target.identity()) {
                Some(own) => homeless.extend(self.continue_loop(own, target)),
                None => homeless.push(target),
            }
        }
        for target in &elsewhere {
            if let Some(lost) = by_identity.remove(&target.identity()) {
                self.hand_over(lost);
            }
        }
        let mut by_labels: HashMap<LabelSet, Vec<Running>> = HashMap::new();
        for left_over in by_identity.into_values() {
            by_labels.entry(left_over.spec.target.labels.clone()).or_default().push(left_over);
        }
        for target in homeless {
            let left = match by_labels.get_mut(&target.labels).and_then(Vec::pop) {
                Some(free) => self.continue_loop(free, target),
                None => Some(target),
            };
            if let Some(target) = left {
                self.loops.push(Running::start(self.spec(target), &self.options, running));
            }
        }
        for target in &elsewhere {
            if let Some(lost) = by_labels.get_mut(&target.labels).and_then(Vec::pop) {
                self.hand_over(lost);
            }
        }
        for left in by_labels.into_values().flatten() {
            left.end();
            self.loops.push(left);
        }
        self.elsewhere = elsewhere;
    }

    fn spec(&self, target: Arc<Target>) -> Arc<Spec> {
        let request = Request::new(&self.config, target.timeout, self.budget.clone());
        let (config, client, features) = (self.config.clone(), self.client.clone(), self.options.features);
        Arc::new(Spec { target, config, features, client, request, forced: self.forced.clone() })
    }

    /// Makes a loop scrape the target; hands the target back when the loop is just leaving.
    fn continue_loop(&mut self, mut running: Running, target: Arc<Target>) -> Option<Arc<Target>> {
        let spec = &running.spec;
        let unchanged = running.is_scraping()
            && (Arc::ptr_eq(&spec.target, &target) || spec.target == target)
            && Arc::ptr_eq(&spec.config, &self.config)
            && spec.forced == self.forced;
        if !unchanged && !running.scrape(self.spec(target.clone())) {
            return Some(target);
        }
        self.loops.push(running);
        None
    }

    /// Lets go of a loop whose target another node owns. It is kept while it runs, for the target may come back before.
    fn hand_over(&mut self, lost: Running) {
        if lost.is_scraping() {
            self.options.metrics.loops_handed_over.inc();
        }
        lost.hand_over();
        self.loops.push(lost);
    }

    /// Ends all loops; answers those that still have series to end.
    pub(super) fn end(self) -> Ending {
        self.loops.iter().for_each(Running::end);
        self.options.metrics.forget_job(&self.name);
        Ending(self.loops)
    }

    pub(super) fn status(&self) -> PoolStatus {
        let mut active: Vec<TargetStatus> = self
            .loops
            .iter()
            .filter(|running| running.is_scraping())
            .map(|running| TargetStatus {
                target: running.spec.target.clone(),
                pool: self.name.clone(),
                live: running.live.clone(),
            })
            .collect();
        active.sort_by(|TargetStatus { target: a, .. }, TargetStatus { target: b, .. }| {
            (&a.url_text, &a.labels).cmp(&(&b.url_text, &b.labels))
        });
        let (config, dropped) = (self.config.clone(), self.dropped.clone());
        PoolStatus { config, active, elsewhere: self.elsewhere.len(), dropped, dropped_count: self.dropped_count }
    }

    /// Lets go of what has ended and brings the gauges of metadata up to date.
    pub(super) fn tidy(&mut self) {
        self.forget_ended_loops();
        let caches = self.loops.iter().map(|running| running.live.metadata.lock());
        let (entries, bytes) = caches.fold((0, 0), |(e, b), cache| (e + cache.len(), b + cache.text_bytes()));
        let metrics = &self.options.metrics;
        metrics.metadata_entries.with_label_values(&[&self.name]).set(entries as i64);
        metrics.metadata_bytes.with_label_values(&[&self.name]).set(bytes as i64);
    }

    fn observe_targets(&self) {
        let metrics = &self.options.metrics;
        let active = self.loops.iter().filter(|running| running.is_scraping()).count();
        metrics.pool_targets.with_label_values(&[&self.name]).set(active as i64);
        metrics.pool_targets_elsewhere.with_label_values(&[&self.name]).set(self.elsewhere.len() as i64);
    }

    fn observe_sync(&self, seconds: f64) {
        let metrics = &self.options.metrics;
        self.observe_targets();
        metrics.pool_target_limit.with_label_values(&[&self.name]).set(self.config.target_limit as i64);
        metrics.pool_syncs.with_label_values(&[&self.name]).inc();
        metrics.sync_length.observe(&self.name, seconds);
        metrics.sync_length_histogram.with_label_values(&[&self.name]).observe(seconds);
    }
}
