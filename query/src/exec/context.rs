//! What all operators of one query share: where series come from, its limits, and what it has to say.
//!
//! Reaches the operators as an extension of DataFusion's session configuration, so that a plan holds no state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use pharos_model::{Clock, TenantId};

use crate::annotation::Annotations;
use crate::distributed::{Report, Snapshot};
use crate::error::QueryError;
use crate::functions::Grid;
use crate::source::SeriesSource;

/// Where Prometheus says a query was when it ran out of samples.
const PHASE_EXECUTION: &str = "query execution";
/// Where Prometheus says a query was when it ran out of time.
pub const PHASE_EVALUATION: &str = "expression evaluation";
/// Where it was when it had not begun.
pub const PHASE_QUEUE: &str = "query queue";
/// All of them.
pub const PHASES: [&str; 3] = [PHASE_EXECUTION, PHASE_EVALUATION, PHASE_QUEUE];

/// Bounds of one query.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Samples held at one time.
    pub samples_max: u64,
    /// Bytes that operators may buffer.
    pub memory_bytes_max: usize,
    /// On the clock's monotonic axis.
    pub deadline: Duration,
}

/// One query in flight.
#[derive(Debug)]
pub struct QueryContext {
    pub source: Arc<dyn SeriesSource>,
    pub tenant: TenantId,
    pub annotations: Annotations,
    pub limits: Limits,
    pub type_and_unit_labels: bool,
    /// Whether functions of counters look at start timestamps.
    pub use_start_timestamps: bool,
    /// Where its parts run, when they do not run here.
    pub snapshot: Option<Snapshot>,
    /// Whether those parts are to say what each of their operators gave.
    pub measures: bool,
    clock: Arc<dyn Clock>,
    canceled: AtomicBool,
    held: AtomicU64,
    held_peak: AtomicU64,
    read: AtomicU64,
    /// Samples read at each step of the query's grid, when asked for.
    per_step: Option<(Grid, Mutex<Vec<u64>>)>,
}

impl QueryContext {
    pub fn new(source: Arc<dyn SeriesSource>, tenant: TenantId, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            tenant,
            annotations: Annotations::default(),
            limits,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            snapshot: None,
            measures: false,
            clock,
            canceled: AtomicBool::new(false),
            held: AtomicU64::new(0),
            held_peak: AtomicU64::new(0),
            read: AtomicU64::new(0),
            per_step: None,
        }
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Has reads counted for each step of `grid`.
    pub fn count_per_step(&mut self, grid: Grid) {
        self.per_step = Some((grid, Mutex::new(vec![0; grid.n])));
    }

    /// The grid whose steps reads are counted for.
    pub fn counted_grid(&self) -> Option<Grid> {
        self.per_step.as_ref().map(|(grid, _)| *grid)
    }

    /// The context of the query that a task belongs to.
    pub fn of(task: &TaskContext) -> Result<Arc<Self>> {
        task.session_config()
            .get_extension::<Self>()
            .ok_or_else(|| internal_datafusion_err!("a PromQL operator ran outside of a query"))
    }

    /// Memory of the answer, which has the query's limit to itself.
    pub fn reserve_result(&self) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(self.limits.memory_bytes_max));
        MemoryConsumer::new("result").register(&pool)
    }

    /// Memory of an operator, counted against the query's limit.
    pub fn reserve(task: &TaskContext, operator: &str) -> MemoryReservation {
        MemoryConsumer::new(operator).register(task.memory_pool())
    }

    /// Gives other tasks their turn, and ends a query that is over time. Called once for each batch.
    pub async fn checkpoint(&self) -> Result<()> {
        tokio::task::consume_budget().await;
        self.check_deadline()
    }

    /// Cancels the query when the guard is dropped. Operators run on tasks of their own, which only end at a point where
    /// they wait unless they look at [`Self::check_deadline`] or [`Self::check_awaited`].
    pub fn cancel_on_drop(self: &Arc<Self>) -> CancelGuard {
        CancelGuard(Arc::clone(self))
    }

    /// Nobody waits for the query any more.
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Relaxed);
    }

    /// How long the query may still run.
    pub fn time_left(&self) -> Duration {
        self.limits.deadline.saturating_sub(self.clock.monotonic())
    }

    /// Ends a query that nobody waits for. Costs less than a look at the clock.
    pub fn check_awaited(&self) -> Result<()> {
        match self.canceled.load(Ordering::Relaxed) {
            true => Err(fail(QueryError::Canceled { phase: PHASE_EVALUATION })),
            false => Ok(()),
        }
    }

    /// Ends a query that is over time, or that nobody waits for. For loops that may run long without waiting.
    pub fn check_deadline(&self) -> Result<()> {
        self.check_awaited()?;
        if self.clock.monotonic() >= self.limits.deadline {
            return Err(fail(QueryError::Timeout { phase: PHASE_EVALUATION }));
        }
        Ok(())
    }

    /// Counts samples that are now held; fails at the limit.
    pub fn hold_samples(&self, samples: u64) -> Result<()> {
        let held = self.held.fetch_add(samples, Ordering::Relaxed) + samples;
        self.held_peak.fetch_max(held, Ordering::Relaxed);
        if held > self.limits.samples_max {
            return Err(fail(QueryError::TooManySamples { phase: PHASE_EXECUTION }));
        }
        Ok(())
    }

    /// Counts samples that are held no more.
    pub fn release_samples(&self, samples: u64) {
        self.held.fetch_sub(samples, Ordering::Relaxed);
    }

    /// Counts samples that a selector read for one step.
    pub fn count_read(&self, samples: u64) {
        self.read.fetch_add(samples, Ordering::Relaxed);
    }

    /// Counts samples that a selector read at steps of `grid`; steps of subqueries go to the last step of the query.
    pub fn count_read_at(&self, grid: &Grid, reads: impl Iterator<Item = (usize, u64)>) {
        let Some((own, counts)) = &self.per_step else { return };
        let mut counts = counts.lock();
        for (step, samples) in reads {
            let at = if grid == own { step } else { counts.len() - 1 };
            counts[at] += samples;
        }
    }

    /// What there is to say about the query so far.
    pub fn report(&self) -> Report {
        Report {
            annotations: self.annotations.list(),
            samples_read: self.samples_read(),
            samples_peak: self.samples_peak(),
            samples_per_step: self.per_step.as_ref().map_or(Vec::new(), |(_, counts)| counts.lock().clone()),
            operators: Vec::new(),
        }
    }

    /// Adds what a part of the query that ran elsewhere had to say. Samples held there are limited there; the peak is that of
    /// the worst place.
    pub fn absorb(&self, report: Report) {
        report.annotations.into_iter().for_each(|annotation| self.annotations.add(annotation));
        self.count_read(report.samples_read);
        self.held_peak.fetch_max(report.samples_peak, Ordering::Relaxed);
        if let Some((_, counts)) = &self.per_step {
            counts.lock().iter_mut().zip(report.samples_per_step).for_each(|(count, more)| *count += more);
        }
    }

    pub fn counts_per_step(&self) -> bool {
        self.per_step.is_some()
    }

    pub fn samples_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub fn samples_peak(&self) -> u64 {
        self.held_peak.load(Ordering::Relaxed)
    }

    /// Samples read at each step with its time, when that was asked for.
    pub fn samples_per_step(&self) -> Option<Vec<(i64, u64)>> {
        let (grid, counts) = self.per_step.as_ref()?;
        Some(counts.lock().iter().enumerate().map(|(i, count)| (grid.at(i), *count)).collect())
    }
}

/// As how many evaluations those in a task count. Prometheus evaluates equal expressions each by itself, and its statistics
/// show that.
#[derive(Debug)]
struct Evaluations(u32);

/// A task in which each evaluation counts as many.
pub(super) fn counting(task: &TaskContext, evaluations: u32) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        task.task_id(),
        task.session_id(),
        task.session_config().clone().with_extension(Arc::new(Evaluations(evaluations))),
        Default::default(),
        Default::default(),
        Default::default(),
        Default::default(),
        task.runtime_env(),
    ))
}

pub fn evaluations_of(task: &TaskContext) -> u32 {
    task.session_config().get_extension::<Evaluations>().map_or(1, |evaluations| evaluations.0)
}

/// Whoever waits for the answer of a query.
#[derive(Debug)]
pub struct CancelGuard(Arc<QueryContext>);

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Wraps an error of ours for the way through DataFusion; [`crate::error`] takes it out again.
pub fn fail(error: impl Into<QueryError>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}
