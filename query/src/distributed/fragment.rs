//! The head of the part of a plan that a worker runs, and all that the worker is told about the query.
//!
//! Where the plan is made it is a plain node. Where it runs it makes the query's context there, and ends every stream of rows
//! with a last word ([`super::report`]), an error too: so what comes over the boundary does not depend on what carries it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use pharos_model::{Clock, TenantId};

use super::report::{LastWord, Report};
use crate::batch::{aside, steps_of};
use crate::error::QueryError;
use crate::exec::context::{Limits, QueryContext, fail};
use crate::exec::input::{RowStream, rows};
use crate::exec::node::OperatorExec;
use crate::exec::session::query_task;
use crate::exec::{OperatorFigures, measured};
use crate::functions::Grid;
use crate::source::SeriesSource;
use crate::wire::{Wire, wire_struct};

/// Batches of a partition that are made before they are taken.
const BATCHES_AHEAD: usize = 1;

/// A query as a worker gets to know it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    tenant: String,
    samples_max: u64,
    memory_bytes_max: usize,
    /// How long the query may still run: nodes do not share a clock.
    time_left_ms: u64,
    type_and_unit_labels: bool,
    use_start_timestamps: bool,
    /// The query's grid, when reads are counted for each of its steps.
    counted_grid: Option<Grid>,
    measures: bool,
}

wire_struct!(Settings {
    tenant,
    samples_max,
    memory_bytes_max,
    time_left_ms,
    type_and_unit_labels,
    use_start_timestamps,
    counted_grid,
    measures,
});

/// What a worker has of its own: the extension of DataFusion's session that makes it one.
#[derive(Debug)]
pub(super) struct Workplace {
    pub source: Arc<dyn SeriesSource>,
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    pub(super) fn of(query: &QueryContext) -> Self {
        Self {
            tenant: query.tenant.as_str().to_owned(),
            samples_max: query.limits.samples_max,
            memory_bytes_max: query.limits.memory_bytes_max,
            time_left_ms: u64::try_from(query.time_left().as_millis()).unwrap_or(u64::MAX),
            type_and_unit_labels: query.type_and_unit_labels,
            use_start_timestamps: query.use_start_timestamps,
            counted_grid: query.counted_grid(),
            measures: query.measures,
        }
    }

    fn context(&self, workplace: &Workplace) -> Result<QueryContext> {
        let tenant = TenantId::new(&self.tenant).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let limits = Limits {
            samples_max: self.samples_max,
            memory_bytes_max: self.memory_bytes_max,
            deadline: workplace.clock.monotonic() + Duration::from_millis(self.time_left_ms),
        };
        let (source, clock) = (Arc::clone(&workplace.source), Arc::clone(&workplace.clock));
        let mut query = QueryContext::new(source, tenant, limits, clock);
        query.type_and_unit_labels = self.type_and_unit_labels;
        query.use_start_timestamps = self.use_start_timestamps;
        if let Some(grid) = self.counted_grid {
            query.count_per_step(grid);
        }
        Ok(query)
    }
}

/// The head of a part of a plan.
#[derive(Debug)]
pub(super) struct FragmentExec {
    input: Arc<dyn ExecutionPlan>,
    settings: Settings,
    running: OnceLock<Arc<Running>>,
}

/// What the partitions of a fragment share while it runs.
#[derive(Debug)]
struct Running {
    query: Arc<QueryContext>,
    /// Whose figures are reported at the end.
    measured: Option<Arc<dyn ExecutionPlan>>,
    task: Arc<TaskContext>,
    /// Partitions that have not ended.
    open: AtomicUsize,
}

/// One partition under way.
struct Partition {
    running: Arc<Running>,
    rows: Option<RowStream>,
    steps: usize,
    has_ended: Arc<AtomicBool>,
}

/// Whoever takes the batches of a partition. When this is dropped before the end of the rows, nobody waits for the fragment.
struct Taker {
    running: Arc<Running>,
    records: SendableRecordBatchStream,
    has_ended: Arc<AtomicBool>,
}

impl FragmentExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, settings: Settings) -> Self {
        Self { input, settings, running: OnceLock::new() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn running(&self, task: &TaskContext) -> Result<Arc<Running>> {
        if let Some(running) = self.running.get() {
            return Ok(Arc::clone(running));
        }
        let workplace = task.session_config().get_extension::<Workplace>();
        let workplace = workplace.ok_or_else(|| internal_datafusion_err!("a fragment runs outside of a worker"))?;
        let query = Arc::new(self.settings.context(&workplace)?);
        let task = Arc::new(query_task(task.session_config(), &task.runtime_env(), Arc::clone(&query)));
        let open = AtomicUsize::new(self.input.output_partitioning().partition_count());
        let measured = self.settings.measures.then(|| Arc::clone(&self.input));
        Ok(Arc::clone(self.running.get_or_init(|| Arc::new(Running { query, measured, task, open }))))
    }
}

impl Partition {
    /// The next batch to send; the last word at the end of the rows, then nothing.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let word = match rows.try_next().await {
            Ok(Some(batch)) => return Ok(Some(batch.into_record())),
            Ok(None) => LastWord::Done(self.running.report()),
            Err(error) => LastWord::Failed(self.running.own(&error).into()),
        };
        self.rows = None;
        self.has_ended.store(true, Ordering::Release);
        aside(self.steps, &word.to_bytes()).map(Some)
    }
}

impl Running {
    /// What there is to say at the end of a partition: all of it at the end of the last.
    fn report(&self) -> Report {
        let is_last = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        if !is_last {
            return Report::default();
        }
        let mut report = self.query.report();
        if let Some(plan) = &self.measured {
            add_figures(plan, &mut report.operators);
        }
        report
    }

    fn own(&self, error: &DataFusionError) -> QueryError {
        QueryError::from_datafusion(error, self.query.limits.memory_bytes_max)
    }
}

/// What the operators of a plan gave, a node before its inputs.
fn add_figures(plan: &Arc<dyn ExecutionPlan>, figures: &mut Vec<OperatorFigures>) {
    if plan.is::<OperatorExec>() {
        figures.push(plan.metrics().map(|metrics| measured(&metrics)).unwrap_or_default());
    }
    plan.children().into_iter().for_each(|input| add_figures(input, figures));
}

impl Drop for Taker {
    fn drop(&mut self) {
        if !self.has_ended.load(Ordering::Acquire) {
            self.running.query.cancel();
        }
    }
}

impl ExecutionPlan for FragmentExec {
    fn name(&self) -> &str {
        "FragmentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.settings.clone()))),
            _ => internal_err!("a fragment has one input"),
        }
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let running = self.running(&task)?;
        let steps = steps_of(&self.schema()).ok_or_else(|| fail(QueryError::Internal("not rows of series".into())))?;
        // An error at the start is one at the end of no rows.
        let rows = rows(&self.input, partition, &running.task, &running.query)
            .unwrap_or_else(|error| futures::stream::once(std::future::ready(Err(error))).boxed());
        let has_ended = Arc::new(AtomicBool::new(false));
        let mut partition =
            Partition { running: Arc::clone(&running), rows: Some(rows), steps, has_ended: Arc::clone(&has_ended) };
        // On a task of its own, so that whoever takes the batches is not busy when it is to hear that nobody wants them.
        let mut made = RecordBatchReceiverStream::builder(self.schema(), BATCHES_AHEAD);
        let sender = made.tx();
        made.spawn(async move {
            while let Some(record) = partition.next().await? {
                if sender.send(Ok(record)).await.is_err() {
                    break;
                }
            }
            Ok(())
        });
        let taker = Taker { running, records: made.build(), has_ended };
        let records = futures::stream::try_unfold(taker, |mut taker| async move {
            Ok(taker.records.try_next().await?.map(|record| (record, taker)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), records)))
    }
}

impl DisplayAs for FragmentExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fragment")
    }
}
