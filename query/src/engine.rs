//! The way in: parses, plans and runs queries within their limits.

mod explain;
mod gate;
mod metrics;
mod result;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use pharos_model::{Clock, TenantId, TimestampMs};
use pharos_promql::{Expr, ParserOptions};

pub use self::explain::{ExplainRequest, ExplainTimes, Explained, Explanation};
use self::gate::Gate;
pub use self::metrics::Metrics;
use self::metrics::{Counted, Slice};
use crate::batch::{RowBatch, RowBuffer};
use crate::error::QueryError;
use crate::exec::context::{PHASE_EVALUATION, PHASE_QUEUE};
use crate::exec::session::Session;
use crate::exec::{Limits, QueryContext, logical, read_raw};
use crate::functions::Grid;
use crate::lower::{Lowered, Settings, lower};
use crate::plan::{Plan, Query, RawRange, Selector, passes};
use crate::source::SeriesSource;
use crate::value::{QueryOutcome, QueryStats, Value};

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
    /// Selectors are read in this many parts at a time; at most the source's partitions. Default: the machine's cores.
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
    gate: Gate,
    metrics: Metrics,
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
        let scan_partitions = options.parallelism.min(source.partitions()).max(1);
        let session =
            Session::new(scan_partitions).map_err(|e| QueryError::from_datafusion(&e, options.memory_limit))?;
        Ok(Self {
            source,
            subquery_step_ms: AtomicI64::new(positive_ms(options.subquery_step)),
            clock,
            session,
            gate: Gate::new(options.max_concurrency),
            metrics: Metrics::new(options.max_concurrency),
            options,
        })
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

/// One query past the gate.
struct Run<'a> {
    engine: &'a Engine,
    tenant: &'a TenantId,
    expression: Expression<'a>,
    times: Times,
    options: &'a QueryOptions,
    started: Duration,
    deadline: Duration,
}

/// A query that is planned, and not run yet.
enum Prepared {
    Text(String),
    Raw {
        selector: Selector,
        range: RawRange,
    },
    /// There is no step to evaluate.
    Nothing,
    Rows(Rows),
}

/// A plan of rows, and what its answer looks like.
struct Rows {
    plan: Plan,
    physical: Arc<dyn ExecutionPlan>,
    grid: Grid,
    /// Whether the answer is a matrix of all steps rather than a vector or scalar of the only one.
    is_matrix: bool,
}

impl Run<'_> {
    #[tracing::instrument(level = "debug", skip_all)]
    async fn evaluate(&self) -> Result<QueryOutcome, QueryError> {
        let metrics = &self.engine.metrics;
        let begun = self.now();
        let lowered = self.lowered();
        let prepared = self.now();
        metrics.took(Slice::PrepareTime, prepared - begun);
        let lowered = lowered?;
        let query = self.context();
        lowered.annotations.into_iter().for_each(|annotation| query.annotations.add(annotation));
        let evaluated = async { self.value(&self.prepare(lowered.query, &query).await?, &query).await }.await;
        let done = self.now();
        let sorting = evaluated.as_ref().map_or(Duration::ZERO, |(_, sorting)| *sorting);
        metrics.took(Slice::InnerEval, done - prepared - sorting);
        metrics.took(Slice::ResultSort, sorting);
        metrics.read(query.samples_read());
        let (value, _) = evaluated?;
        let (warnings, infos) = query.annotations.render(self.expression.text);
        let stats = QueryStats {
            total_queryable_samples: query.samples_read(),
            peak_samples: query.samples_peak(),
            samples_per_step: query.samples_per_step(),
            eval_total_secs: (done - begun).as_secs_f64(),
            query_preparation_secs: (prepared - begun).as_secs_f64(),
            inner_eval_secs: (done - prepared - sorting).as_secs_f64(),
            result_sort_secs: sorting.as_secs_f64(),
            ..QueryStats::default()
        };
        Ok(QueryOutcome { value, warnings, infos, stats })
    }

    fn lowered(&self) -> Result<Lowered, QueryError> {
        match self.expression.tree {
            Some(tree) => Ok(lower(tree, &self.settings())?),
            None => {
                let tree = pharos_promql::parse_expr(self.expression.text, &self.engine.options.parser)
                    .map_err(|errors| QueryError::Parse(errors.to_string()))?;
                Ok(lower(&tree, &self.settings())?)
            }
        }
    }

    fn now(&self) -> Duration {
        self.engine.clock.monotonic().max(self.started)
    }

    fn settings(&self) -> Settings {
        let options = &self.engine.options;
        let Times { start_ms, end_ms, step_ms } = self.times;
        Settings {
            start_ms,
            end_ms,
            step_ms,
            lookback_ms: positive_ms(self.options.lookback.unwrap_or(options.lookback)),
            subquery_step_ms: self.engine.subquery_step_ms.load(Ordering::Relaxed),
            delayed_names: options.delayed_name_removal,
            type_and_unit_labels: options.type_and_unit_labels,
            use_start_timestamps: options.use_start_timestamps,
        }
    }

    fn context(&self) -> Arc<QueryContext> {
        let engine = self.engine;
        let limits = Limits {
            samples_max: engine.options.max_samples,
            memory_bytes_max: engine.options.memory_limit,
            deadline: self.deadline,
        };
        let (source, clock) = (Arc::clone(&engine.source), Arc::clone(&engine.clock));
        let mut query = QueryContext::new(source, self.tenant.clone(), limits, clock);
        query.type_and_unit_labels = engine.options.type_and_unit_labels;
        query.use_start_timestamps = engine.options.use_start_timestamps;
        if self.options.per_step_stats {
            query.count_per_step(self.times.grid());
        }
        Arc::new(query)
    }

    async fn prepare(&self, query: Query, context: &QueryContext) -> Result<Prepared, QueryError> {
        let grid = self.times.grid();
        match query {
            Query::Text(text) => Ok(Prepared::Text(text)),
            Query::Raw { selector, range, .. } => Ok(Prepared::Raw { selector, range }),
            Query::Subquery { window, inner } => {
                let too_many = QueryError::TooManySamples { phase: "query execution" };
                let inner_grid = window.grid(&grid).ok_or(too_many)?;
                if inner_grid.n == 0 {
                    return Ok(Prepared::Nothing);
                }
                self.prepare_rows(inner, inner_grid, true, context).await
            }
            Query::Rows(_) if self.times.end_ms < self.times.start_ms => Ok(Prepared::Nothing),
            Query::Rows(plan) => self.prepare_rows(plan, grid, self.times.step_ms.is_some(), context).await,
        }
    }

    async fn prepare_rows(
        &self,
        plan: Plan,
        grid: Grid,
        is_matrix: bool,
        context: &QueryContext,
    ) -> Result<Prepared, QueryError> {
        let own = |error| QueryError::from_datafusion(&error, context.limits.memory_bytes_max);
        let plan = passes::rewrite(plan);
        let logical = logical::bind(&plan, grid, context.limits.samples_max).map_err(own)?;
        let physical = self.engine.session.physical(&logical).await.map_err(own)?;
        Ok(Prepared::Rows(Rows { plan, physical, grid, is_matrix }))
    }

    /// The answer, and how long putting it in order took.
    async fn value(&self, prepared: &Prepared, context: &Arc<QueryContext>) -> Result<(Value, Duration), QueryError> {
        let own = |error| QueryError::from_datafusion(&error, context.limits.memory_bytes_max);
        let at = self.times.start_ms;
        match prepared {
            Prepared::Text(text) => Ok((Value::String { ts: at, text: text.clone() }, Duration::ZERO)),
            Prepared::Nothing => Ok((Value::Matrix(Vec::new()), Duration::ZERO)),
            Prepared::Raw { selector, range } => {
                let series = read_raw(selector, *range, at, context).await?;
                Ok(self.timed(|| Ok(result::sorted(series)))?)
            }
            Prepared::Rows(Rows { plan, physical, grid, is_matrix }) => {
                let rows = self.rows(physical, context).await?;
                match is_matrix {
                    true => self.timed(|| result::matrix(rows, grid).map_err(own)),
                    false => self.timed(|| result::instant(plan, rows, at).map_err(own)),
                }
            }
        }
    }

    fn timed(&self, make: impl FnOnce() -> Result<Value, QueryError>) -> Result<(Value, Duration), QueryError> {
        let begun = self.now();
        Ok((make()?, self.now() - begun))
    }

    /// Runs a plan to its end.
    async fn rows(
        &self,
        physical: &Arc<dyn ExecutionPlan>,
        context: &Arc<QueryContext>,
    ) -> Result<RowBuffer, QueryError> {
        let own = |error| QueryError::from_datafusion(&error, context.limits.memory_bytes_max);
        let _waiting = context.cancel_on_drop();
        let mut stream = self.engine.session.execute(physical, Arc::clone(context)).map_err(own)?;
        let mut rows = RowBuffer::new(context.reserve_result());
        while let Some(record) = stream.try_next().await.map_err(own)? {
            context.check_deadline().map_err(own)?;
            rows.push(RowBatch::new(record).map_err(own)?).map_err(own)?;
        }
        Ok(rows)
    }
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
