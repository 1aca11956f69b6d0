//! The way in: parses, plans and runs queries within their limits.

mod cached;
mod explain;
mod gate;
mod metrics;
mod result;
mod run;
mod task;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pharos_model::{Clock, TenantId, TimestampMs};
use pharos_promql::{Expr, ParserOptions};
use tokio::runtime::Handle;

use self::cached::ResultsCache;
pub use self::explain::{ExplainRequest, ExplainTimes, Explained, Explanation, OnWorker};
use self::gate::Gate;
pub use self::metrics::Metrics;
use self::metrics::{Counted, Slice};
use self::run::Run;
use crate::distributed::{Channels, Placement};
use crate::error::QueryError;
use crate::exec::context::{PHASE_EVALUATION, PHASE_QUEUE};
use crate::exec::session::Session;
use crate::functions::Grid;
use crate::source::SeriesSource;
use crate::value::QueryOutcome;

/// How an engine runs its queries. Defaults are those of Prometheus where it has them.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Longest run of a query. Default 2 minutes.
    pub timeout: Duration,
    /// Queries that run at one time; more wait. Default 20.
    pub max_concurrency: usize,
    /// Samples that one query may hold. Default 50 million.
    pub max_samples: u64,
    /// Bytes that the operators of one query may buffer. Default 1 GiB.
    pub memory_limit: usize,
    /// How old the newest sample of a series may be. Default 5 minutes.
    pub lookback: Duration,
    /// Parts of the language that are switched on.
    pub parser: ParserOptions,
    /// Keep metric names until the query ends (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Series carry `__type__` and `__unit__` (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Functions of counters look at start timestamps (`use-start-timestamps`).
    pub use_start_timestamps: bool,
    /// Step of a subquery that names none: the global evaluation interval. Default 1 minute.
    pub subquery_step: Duration,
    /// Memory of the results of range queries that are kept for when they come again. Default 0: none are.
    pub results_cache_bytes: usize,
    /// Threads that a selector is read on: some partitions side by side, and the series of one where there are more threads than
    /// partitions. Default: the machine's cores.
    pub parallelism: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            max_concurrency: 20,
            max_samples: 50_000_000,
            memory_limit: 1 << 30,
            lookback: Duration::from_secs(300),
            parser: ParserOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            subquery_step: Duration::from_secs(60),
            results_cache_bytes: 0,
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What one query asks for besides its expression.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Ends the query earlier than [`EngineOptions::timeout`].
    pub timeout: Option<Duration>,
    /// Replaces [`EngineOptions::lookback`].
    pub lookback: Option<Duration>,
    /// Fills [`QueryStats::samples_per_step`].
    pub per_step_stats: bool,
    /// Neither answers from the results cache nor keeps the answer there.
    pub bypass_cache: bool,
}

/// When a range query is evaluated: from `start_ms` to `end_ms`, both in, each `step` (at least a millisecond). The caller bounds
/// the number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRange {
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    pub step: Duration,
}

/// Evaluates PromQL over a [`SeriesSource`]. Shared by all callers.
#[derive(Debug)]
pub struct Engine {
    source: Arc<dyn SeriesSource>,
    options: EngineOptions,
    subquery_step_ms: AtomicI64,
    clock: Arc<dyn Clock>,
    session: Session,
    workers: Option<Workers>,
    /// Where queries work, when that is not on the threads of whoever waits for them.
    threads: Option<Handle>,
    gate: Gate,
    metrics: Metrics,
    results_cache: Option<ResultsCache>,
}

/// Where series are, when they are not all in an engine's source.
#[derive(Clone, Debug)]
struct Workers {
    placement: Arc<dyn Placement>,
    channels: Arc<dyn Channels>,
}

/// A query as written, and its tree when that was changed afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expression<'a> {
    /// What positions of annotations refer to.
    pub text: &'a str,
    pub tree: Option<&'a Expr>,
}

impl<'a> Expression<'a> {
    fn text(text: &'a str) -> Self {
        Self { text, tree: None }
    }
}

/// The times a query is evaluated at, before they become a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    start_ms: TimestampMs,
    end_ms: TimestampMs,
    /// `None` for an instant query.
    step_ms: Option<i64>,
}

impl Engine {
    /// Errors when DataFusion's session cannot be built, which does not depend on anything but memory.
    pub fn new(
        source: Arc<dyn SeriesSource>,
        options: EngineOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, QueryError> {
        let threads = options.parallelism.max(1);
        let scan_partitions = threads.min(source.partitions()).max(1);
        let session = Session::new(scan_partitions, threads)
            .map_err(|e| QueryError::from_datafusion(&e, options.memory_limit))?;
        Ok(Self {
            source,
            subquery_step_ms: AtomicI64::new(positive_ms(options.subquery_step)),
            clock,
            session,
            workers: None,
            threads: None,
            gate: Gate::new(options.max_concurrency),
            metrics: Metrics::new(options.max_concurrency),
            results_cache: (options.results_cache_bytes > 0).then(|| ResultsCache::new(options.results_cache_bytes)),
            options,
        })
    }

    /// Has leaves of queries read where `placement` says, over `channels`, rather than here. The engine's own source then says
    /// which partition can have what, and is read when it has them all.
    pub fn over_workers(self, placement: Arc<dyn Placement>, channels: Arc<dyn Channels>) -> Result<Self, QueryError> {
        let memory = self.options.memory_limit;
        let session = self.session.with_workers(Arc::clone(&channels));
        let session = session.map_err(|e| QueryError::from_datafusion(&e, memory))?;
        Ok(Self { session, workers: Some(Workers { placement, channels }), ..self })
    }

    /// Has queries work on threads of their own, so that those of the caller are free to notice that a client has left. Their stacks have
    /// [`crate::THREAD_STACK_BYTES`].
    pub fn on_threads(self, threads: Handle) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Collectors for the node's registry.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Changes the step of subqueries that name none, when the configuration was read again.
    pub fn set_subquery_step(&self, step: Duration) {
        self.subquery_step_ms.store(positive_ms(step), Ordering::Relaxed);
    }

    /// Evaluates an expression at one time. Dropping the future cancels the query.
    pub async fn instant(
        &self,
        tenant: &TenantId,
        text: &str,
        at_ms: TimestampMs,
        options: QueryOptions,
    ) -> Result<QueryOutcome, QueryError> {
        self.query(tenant, Expression::text(text), Times::instant(at_ms), options).await
    }

    /// Evaluates an expression at each step of a range. Dropping the future cancels the query.
    pub async fn range(
        &self,
        tenant: &TenantId,
        text: &str,
        range: QueryRange,
        options: QueryOptions,
    ) -> Result<QueryOutcome, QueryError> {
        self.query(tenant, Expression::text(text), Times::range(range), options).await
    }

    #[tracing::instrument(level = "debug", name = "query", skip_all, fields(%tenant, query = expression.text))]
    pub(crate) async fn query(
        &self,
        tenant: &TenantId,
        expression: Expression<'_>,
        times: Times,
        options: QueryOptions,
    ) -> Result<QueryOutcome, QueryError> {
        let admitted = self.admit(&options).await?;
        let Admitted { started, deadline, .. } = admitted;
        let run = Run { engine: self, tenant, expression, times, options: &options, started, deadline };
        let evaluated = tokio::time::timeout_at(admitted.ends, run.evaluate()).await;
        let mut outcome = evaluated.map_err(over_time(PHASE_EVALUATION))??;
        outcome.stats.exec_queue_secs = admitted.queued.as_secs_f64();
        outcome.stats.exec_total_secs = (self.clock.monotonic() - admitted.started).as_secs_f64();
        Ok(outcome)
    }

    /// Waits for the query's turn.
    async fn admit(&self, options: &QueryOptions) -> Result<Admitted<'_>, QueryError> {
        let timeout = options.timeout.map_or(self.options.timeout, |own| own.min(self.options.timeout));
        let started = self.clock.monotonic();
        let ends = tokio::time::Instant::now() + timeout;
        let counted = self.metrics.begin();
        let permit = tokio::time::timeout_at(ends, self.gate.enter()).await.map_err(over_time(PHASE_QUEUE))?;
        let queued = self.clock.monotonic() - started;
        self.metrics.took(Slice::QueueTime, queued);
        Ok(Admitted { started, queued, ends, deadline: started + timeout, _counted: counted, _permit: permit })
    }
}

fn over_time(phase: &'static str) -> impl Fn(tokio::time::error::Elapsed) -> QueryError {
    move |_| QueryError::Timeout { phase }
}

/// A query's turn, which is over when this is dropped.
struct Admitted<'a> {
    started: Duration,
    queued: Duration,
    ends: tokio::time::Instant,
    /// The same as `ends`, on the clock's monotonic axis.
    deadline: Duration,
    _counted: Counted,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Times {
    pub(crate) fn instant(at_ms: TimestampMs) -> Self {
        Self { start_ms: at_ms, end_ms: at_ms, step_ms: None }
    }

    pub(crate) fn range(range: QueryRange) -> Self {
        Self { start_ms: range.start_ms, end_ms: range.end_ms, step_ms: Some(positive_ms(range.step)) }
    }

    fn grid(&self) -> Grid {
        match self.step_ms {
            None => Grid::instant(self.start_ms),
            Some(step_ms) => {
                let steps = (self.end_ms as i128 - self.start_ms as i128) / i128::from(step_ms) + 1;
                Grid { start_ms: self.start_ms, step_ms, n: usize::try_from(steps.max(0)).unwrap_or(usize::MAX) }
            }
        }
    }
}

/// Whole milliseconds, at least one.
fn positive_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests;
