//! Keeps the pools of all jobs in step with the configuration and with what discovery finds.
//!
//! One task owns the pools. It takes the newest state of discovery, at most once in a pause, and changes of ownership at once, and
//! publishes what there is to see. Dropping the handle ends all scraping at once, without staleness markers, as for a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};
use tracing::error;

use super::ScrapeOptions;
use super::body_budget::{BODIES_BYTES_MAX, BodyBudget};
use super::pool::{Ending, Pool};
use super::status::{Pools, ScrapeStatus};
use crate::config::ScrapeConfig;
use crate::discovery::TargetSets;
use crate::http_client::ClientError;

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 16;
/// How often the gauges of metadata are brought up to date.
const METADATA_GAUGES_EVERY: Duration = Duration::from_secs(15);

/// A handle to the running task.
#[derive(Debug)]
pub struct ScrapeManager {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Arc<Pools>>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Command {
    jobs: Vec<Arc<ScrapeConfig>>,
    done: oneshot::Sender<Vec<PoolError>>,
}

/// A job whose new configuration could not be applied; it goes on with its old one, if it has one.
#[derive(Debug, thiserror::Error)]
#[error("job {job:?}: {source}")]
pub struct PoolError {
    pub job: String,
    pub source: ClientError,
}

impl ScrapeManager {
    /// Starts without any job. `targets` is [`crate::discovery::Discovery::targets`].
    pub fn start(options: ScrapeOptions, targets: watch::Receiver<Arc<TargetSets>>) -> Self {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (publish, status) = watch::channel(Arc::default());
        let budget = BodyBudget::new(BODIES_BYTES_MAX, options.metrics.body_bytes.clone());
        let (pools, ending, running) = (BTreeMap::new(), Vec::new(), JoinSet::new());
        let state = State { options, budget, targets, pools, ending, running, publish };
        let mut task = JoinSet::new();
        task.spawn(state.run(queue));
        Self { commands, status, _task: task }
    }

    /// Takes a new set of jobs; call it after [`crate::discovery::Discovery::apply`]. When it returns, loops run for
    /// all targets that discovery knows and this node owns. Jobs that could not be applied are logged and returned.
    pub async fn apply(&self, jobs: &[Arc<ScrapeConfig>]) -> Vec<PoolError> {
        let (done, applied) = oneshot::channel();
        // Both fail only when the task has ended, and then there is nothing to wait for.
        if self.commands.send(Command { jobs: jobs.to_vec(), done }).await.is_err() {
            return Vec::new();
        }
        applied.await.unwrap_or_default()
    }

    pub fn status(&self) -> ScrapeStatus {
        ScrapeStatus(self.status.clone())
    }
}

/// What the task owns.
struct State {
    options: ScrapeOptions,
    /// The memory of all pools' bodies.
    budget: BodyBudget,
    targets: watch::Receiver<Arc<TargetSets>>,
    pools: BTreeMap<String, Pool>,
    ending: Vec<Ending>,
    running: JoinSet<()>,
    publish: watch::Sender<Arc<Pools>>,
}

impl State {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut next_sync = Instant::now();
        let mut gauges = tokio::time::interval(METADATA_GAUGES_EVERY);
        let mut discovering = true;
        let mut owners = self.options.ownership.changes();
        let mut dealing = true;
        loop {
            let found = async {
                sleep_until(next_sync).await;
                self.targets.changed().await
            };
            tokio::select! {
                command = queue.recv() => {
                    let Some(command) = command else { return };
                    let failed = self.apply(&command.jobs);
                    // The caller may have gone away meanwhile.
                    let _ = command.done.send(failed);
                }
                found = found, if discovering => {
                    discovering = found.is_ok();
                    next_sync = Instant::now() + self.options.sync_pause;
                    self.sync();
                }
                changed = owners.changed(), if dealing => {
                    dealing = changed.is_ok();
                    self.deal();
                }
                Some(ended) = self.running.join_next() => self.note_end(ended),
                _ = gauges.tick() => self.pools.values_mut().for_each(Pool::tidy),
            }
            self.ending.retain(|ending| !ending.is_over());
        }
    }

    /// A loop that ended by a panic is begun again; its target's first scrape then waits for its phase.
    fn note_end(&mut self, ended: Result<(), JoinError>) {
        if let Err(panicked) = ended {
            error!(error = %panicked, "scrape loop panicked");
            self.sync();
        }
    }

    fn apply(&mut self, jobs: &[Arc<ScrapeConfig>]) -> Vec<PoolError> {
        let clock = self.options.surroundings.clock.clone();
        let mut failed = Vec::new();
        let mut old = std::mem::take(&mut self.pools);
        for config in jobs {
            let started = clock.monotonic();
            let name = config.job_name.clone();
            let (pool, error) = self.apply_job(config, old.remove(&name));
            if let Some(source) = error {
                error!(job = name, error = %source, "error creating or reloading scrape pool");
                failed.push(PoolError { job: name.clone(), source });
            }
            if let Some(pool) = pool {
                self.pools.insert(name, pool);
            }
            let took = clock.monotonic().saturating_sub(started).as_secs_f64();
            self.options.metrics.reload_length.observe(&config.scrape_interval.to_string(), took);
        }
        self.ending.extend(old.into_values().map(Pool::end));
        self.sync();
        self.publish();
        failed
    }

    /// The job's pool with the new configuration, or what there was before and why.
    fn apply_job(&self, config: &Arc<ScrapeConfig>, old: Option<Pool>) -> (Option<Pool>, Option<ClientError>) {
        let metrics = &self.options.metrics;
        let Some(mut pool) = old else {
            metrics.pools.inc();
            return match Pool::new(config.clone(), self.options.clone(), self.budget.clone()) {
                Ok(pool) => (Some(pool), None),
                Err(error) => {
                    metrics.pools_failed.inc();
                    (None, Some(error))
                }
            };
        };
        metrics.pool_reloads.inc();
        let error = pool.reconfigure(config.clone()).err();
        if error.is_some() {
            metrics.pool_reloads_failed.inc();
        }
        (Some(pool), error)
    }

    fn sync(&mut self) {
        let sets = self.targets.borrow_and_update().clone();
        let mut changed = false;
        for (name, pool) in &mut self.pools {
            changed |= pool.sync(sets.get(name).map_or(&[], Vec::as_slice), &mut self.running);
        }
        if changed {
            self.publish();
        }
    }

    /// Scrapes what this node owns now, and no more what it does not.
    fn deal(&mut self) {
        let mut changed = false;
        for pool in self.pools.values_mut() {
            changed |= pool.deal(&mut self.running);
        }
        if changed {
            self.publish();
        }
    }

    fn publish(&self) {
        let pools = self.pools.iter().map(|(name, pool)| (Arc::from(name.as_str()), pool.status()));
        self.publish.send_replace(Arc::new(pools.collect()));
    }
}
