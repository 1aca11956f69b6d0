//! One query past the gate: planned, bound to its steps, run to its end.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use pharos_model::TenantId;
use pharos_promql::{Expr, Span};

use super::metrics::Slice;
use super::result::{self, Form};
use super::task::on_task;
use super::{Engine, Expression, QueryOptions, Times, positive_ms};
use crate::batch::{RowBatch, RowBuffer};
use crate::distributed::{Snapshot, unshare};
use crate::error::QueryError;
use crate::exec::{Limits, QueryContext, logical, unpack_raw};
use crate::functions::Grid;
use crate::lower::{Lowered, Settings, lower};
use crate::plan::{Op, Plan, Query, RawRange, Selector, passes};
use crate::value::{QueryOutcome, QueryStats, Value};

/// One query past the gate.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) tenant: &'a TenantId,
    pub(super) expression: Expression<'a>,
    pub(super) times: Times,
    pub(super) options: &'a QueryOptions,
    pub(super) started: Duration,
    pub(super) deadline: Duration,
}

/// A query that is planned, and not run yet.
pub(super) enum Prepared {
    Text(String),
    Raw {
        selector: Selector,
        range: RawRange,
        span: Span,
    },
    /// There is no step to evaluate.
    Nothing,
    Rows(Rows),
}

/// A plan of rows, and what its answer looks like.
pub(super) struct Rows {
    pub(super) physical: Arc<dyn ExecutionPlan>,
    grid: Grid,
    form: Form,
}

/// An answer, and how long putting it in order took.
pub(super) type Evaluated = Result<(Value, Duration), QueryError>;

impl Run<'_> {
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn evaluate(&self) -> Result<QueryOutcome, QueryError> {
        let metrics = &self.engine.metrics;
        let begun = self.now();
        let lowered = self.lowered();
        let prepared = self.now();
        metrics.took(Slice::PrepareTime, prepared - begun);
        let (tree, lowered) = lowered?;
        let (query, evaluated) = self.attempts(&tree, &lowered).await?;
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

    pub(super) fn lowered(&self) -> Result<(Cow<'_, Expr>, Lowered), QueryError> {
        let tree = match self.expression.tree {
            Some(tree) => Cow::Borrowed(tree),
            None => {
                let parsed = pharos_promql::parse_expr(self.expression.text, &self.engine.options.parser);
                Cow::Owned(parsed.map_err(|errors| QueryError::Parse(errors.to_string()))?)
            }
        };
        let lowered = lower(&tree, &self.settings())?;
        Ok((tree, lowered))
    }

    pub(super) fn now(&self) -> Duration {
        self.engine.clock.monotonic().max(self.started)
    }

    pub(super) fn settings(&self) -> Settings {
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

    pub(super) fn context(&self, snapshot: Option<Snapshot>) -> QueryContext {
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
        query.snapshot = snapshot;
        if self.options.per_step_stats {
            query.count_per_step(self.times.grid());
        }
        query
    }

    pub(super) async fn prepare(&self, query: Query, context: &Arc<QueryContext>) -> Result<Prepared, QueryError> {
        let grid = self.times.grid();
        match query {
            Query::Text(text) => Ok(Prepared::Text(text)),
            Query::Raw { selector, range, span } => Ok(Prepared::Raw { selector, range, span }),
            Query::Subquery { window, inner } => {
                let too_many = QueryError::TooManySamples { phase: "query execution" };
                let inner_grid = window.grid(&grid).ok_or(too_many)?;
                if inner_grid.n == 0 {
                    return Ok(Prepared::Nothing);
                }
                self.prepare_rows(passes::rewrite(inner), inner_grid, true, context).await
            }
            Query::Rows(_) if self.times.end_ms < self.times.start_ms => Ok(Prepared::Nothing),
            Query::Rows(plan) => {
                self.prepare_rows(passes::rewrite(plan), grid, self.times.step_ms.is_some(), context).await
            }
        }
    }

    /// Binds a plan that is rewritten to its steps. The answer is a matrix of all of them, or a vector or scalar of the only one.
    pub(super) async fn prepare_rows(
        &self,
        plan: Plan,
        grid: Grid,
        is_matrix: bool,
        context: &Arc<QueryContext>,
    ) -> Result<Prepared, QueryError> {
        let own = |error| QueryError::from_datafusion(&error, context.limits.memory_bytes_max);
        let form = if is_matrix { Form::Matrix } else { Form::of_instant(&plan) };
        let plan = if context.snapshot.is_some() { unshare(plan) } else { plan };
        let logical = logical::bind(&plan, grid, context.limits.samples_max).map_err(own)?;
        let logical = self.settled(logical, context).await.map_err(own)?;
        let physical = self.engine.session.physical(&logical, context).await.map_err(own)?;
        Ok(Prepared::Rows(Rows { physical, grid, form }))
    }

    /// The answer, and how long putting it in order took.
    pub(super) async fn value(&self, prepared: &Prepared, context: &Arc<QueryContext>) -> Evaluated {
        let own = |error| QueryError::from_datafusion(&error, context.limits.memory_bytes_max);
        let at = self.times.start_ms;
        match prepared {
            Prepared::Text(text) => Ok((Value::String { ts: at, text: text.clone() }, Duration::ZERO)),
            Prepared::Nothing => Ok((Value::Matrix(Vec::new()), Duration::ZERO)),
            Prepared::Raw { selector, range, span } => {
                let op = Op::Raw { selector: selector.clone(), range: *range };
                let bound = logical::bind(&Plan::vector(op, Vec::new(), *span), Grid::instant(at), u64::MAX);
                let physical = self.engine.session.physical(&bound.map_err(own)?, context).await.map_err(own)?;
                self.answered(&physical, context, |rows, query| result::sorted(unpack_raw(rows, query)?, query)).await
            }
            Prepared::Rows(Rows { physical, grid, form }) => {
                let (grid, form) = (*grid, *form);
                self.answered(physical, context, move |rows, query| result::of(form, rows, &grid, query)).await
            }
        }
    }

    /// Runs a plan to its end, and makes an answer of its rows.
    async fn answered(
        &self,
        physical: &Arc<dyn ExecutionPlan>,
        context: &Arc<QueryContext>,
        make: impl FnOnce(RowBuffer, &QueryContext) -> datafusion::common::Result<Value> + Send + 'static,
    ) -> Evaluated {
        let (rows, query) = (self.gathered(physical, context), Arc::clone(context));
        let work = async move {
            let rows = rows.await?;
            let begun = query.clock().monotonic();
            let made = make(rows, &query);
            let value = made.map_err(|error| QueryError::from_datafusion(&error, query.limits.memory_bytes_max))?;
            Ok((value, query.clock().monotonic().saturating_sub(begun)))
        };
        on_task(self.engine.threads.as_ref(), work).await
    }

    /// Runs a plan to its end.
    pub(super) async fn rows(
        &self,
        physical: &Arc<dyn ExecutionPlan>,
        context: &Arc<QueryContext>,
    ) -> Result<RowBuffer, QueryError> {
        on_task(self.engine.threads.as_ref(), self.gathered(physical, context)).await
    }

    fn gathered(
        &self,
        physical: &Arc<dyn ExecutionPlan>,
        context: &Arc<QueryContext>,
    ) -> impl Future<Output = Result<RowBuffer, QueryError>> + Send + 'static {
        let (physical, query) = (Arc::clone(physical), Arc::clone(context));
        let task = self.engine.session.task(Arc::clone(context));
        async move {
            let own = |error| QueryError::from_datafusion(&error, query.limits.memory_bytes_max);
            let mut stream = physical.execute(0, task).map_err(own)?;
            let mut rows = RowBuffer::new(query.reserve_result());
            while let Some(record) = stream.try_next().await.map_err(own)? {
                query.check_deadline().map_err(own)?;
                rows.push(RowBatch::new(record).map_err(own)?).map_err(own)?;
            }
            Ok(rows)
        }
    }
}
