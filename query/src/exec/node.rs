//! The one `ExecutionPlan` of this crate. What an operator does with its inputs is in a file of its own.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use pharos_promql::Span;

use super::context::{QueryContext, evaluations_of};
use super::input::{RowStream, SharedScalars};
use super::logical::QueryNode;
use super::measure::{Counters, Timed};
use super::{
    absent, aggregate, aggregate_k, count_values, histogram, info, join, map, merge, quantile, range, relabel, scalar,
    scan, set, share, sort,
};
use crate::annotation::Annotation;
use crate::batch::batch_schema;
use crate::functions::{Grid, Notes};
use crate::plan::Op;

/// Which part of an operator a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Whole,
    /// In each partition: emits states rather than answers.
    Partial,
    /// Merges the states of all partitions.
    Final,
}

/// An operator in the physical plan.
#[derive(Debug)]
pub struct OperatorExec {
    op: Arc<Op>,
    stage: Stage,
    grid: Grid,
    span: Span,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    /// Values of scalar inputs, evaluated once for all partitions.
    scalars: Arc<SharedScalars>,
    shared: Option<Arc<share::SharedRows>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What an operator's code gets to see of its node.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub op: Arc<Op>,
    pub stage: Stage,
    pub grid: Grid,
    pub span: Span,
    pub partition: usize,
    pub partitions: usize,
    pub query: Arc<QueryContext>,
    pub task: Arc<TaskContext>,
    pub scalars: Arc<SharedScalars>,
    /// What a scan counts of what it reads.
    pub read: Option<Counters>,
    pub shared: Option<Arc<share::SharedRows>>,
    /// As how many evaluations this one counts in statistics.
    pub evaluations: u32,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
}

impl OperatorExec {
    pub fn op(&self) -> &Op {
        &self.op
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// A selector, read in `partitions` parts.
    pub(super) fn scan(node: &QueryNode, scalars: Vec<Arc<dyn ExecutionPlan>>, partitions: usize) -> Self {
        Self::new(node, Stage::Whole, scalars, partitions)
    }

    /// An operator with as many partitions as its first input; a leaf has one.
    pub(super) fn over(node: &QueryNode, stage: Stage, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let partitions = inputs.first().map_or(1, |input| input.output_partitioning().partition_count());
        Self::new(node, stage, inputs, partitions)
    }

    /// With the scalar inputs of `other`, which are evaluated once for both.
    pub(super) fn sharing_scalars(self, other: &Self) -> Self {
        Self { scalars: Arc::clone(&other.scalars), ..self }
    }

    fn new(node: &QueryNode, stage: Stage, inputs: Vec<Arc<dyn ExecutionPlan>>, partitions: usize) -> Self {
        let steps = if stage == Stage::Partial { aggregate::state_steps(&node.op, node.grid.n) } else { node.grid.n };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(batch_schema(steps)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            op: Arc::clone(&node.op),
            stage,
            grid: node.grid,
            span: node.span,
            scalars: Arc::new(SharedScalars::new(inputs.len())),
            shared: node.shared.clone(),
            inputs,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl ExecutionPlan for OperatorExec {
    fn name(&self) -> &str {
        "OperatorExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if inputs.len() != self.inputs.len() {
            return internal_err!("{} has {} inputs, not {}", self.op, self.inputs.len(), inputs.len());
        }
        Ok(Arc::new(Self {
            op: Arc::clone(&self.op),
            stage: self.stage,
            grid: self.grid,
            span: self.span,
            scalars: Arc::new(SharedScalars::new(inputs.len())),
            shared: self.shared.clone(),
            inputs,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let call = Call {
            op: Arc::clone(&self.op),
            stage: self.stage,
            grid: self.grid,
            span: self.span,
            partition,
            partitions: self.properties.partitioning.partition_count(),
            query: QueryContext::of(&task)?,
            evaluations: evaluations_of(&task),
            task,
            scalars: Arc::clone(&self.scalars),
            read: matches!(*self.op, Op::Scan(_)).then(|| Counters::read(&self.metrics, partition)),
            shared: self.shared.clone(),
            inputs: self.inputs.clone(),
        };
        let query = Arc::clone(&call.query);
        let given = Counters::given(&self.metrics, partition);
        let rows = Timed::new(run(call)?, given.clone(), Arc::clone(query.clock()));
        let records = rows.and_then(move |batch| {
            let samples = batch.points();
            given.add_rows(&batch, samples);
            // The samples are held until whoever takes the batch is done with it.
            let held = query.hold_samples(samples);
            std::future::ready(held.map(|()| batch.into_record()))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), records.boxed())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Starts an operator.
fn run(call: Call) -> Result<RowStream> {
    match &*call.op.clone() {
        Op::Constant(value) => scalar::constant(&call, value.0),
        Op::Time => scalar::time(&call),
        Op::Empty => Ok(futures::stream::empty().boxed()),
        Op::Scan(_) => scan::run(call),
        Op::RangeOverSubquery { .. } => range::over_subquery(call),
        Op::Map { .. } => map::run(call),
        Op::Relabel(_) => relabel::run(call),
        Op::Merge { .. } => merge::run(call),
        Op::ScalarBinary(function) => scalar::binary(call, *function),
        Op::ScalarOf => scalar::scalar_of(call),
        Op::VectorOf => call.rows(0),
        Op::Aggregate { .. } => aggregate::run(call),
        Op::AggregateK { .. } => aggregate_k::run(call),
        Op::Quantile { .. } => quantile::run(call),
        Op::CountValues { .. } => count_values::run(call),
        Op::Match { .. } => join::run(call),
        Op::Set { .. } => set::run(call),
        Op::Histogram { .. } => histogram::run(call),
        Op::Absent { .. } => absent::run(call),
        Op::Info(_) => info::run(call),
        Op::Sort(_) => sort::run(call),
        Op::Repeat => scalar::repeat(call),
        Op::Share(_) => share::run(call),
    }
}

impl Call {
    /// Rows of an input: those of the same partition for the first, all for the others.
    pub(super) fn rows(&self, input: usize) -> Result<RowStream> {
        let plan = &self.inputs[input];
        let partition = if input == 0 { self.partition } else { 0 };
        super::input::rows(plan, partition, &self.task, &self.query)
    }

    /// Says what an operator has to say about itself.
    pub(super) fn add_notes(&self, notes: Notes) {
        self.add_notes_at(notes, self.span);
    }

    pub(super) fn add_notes_at(&self, notes: Notes, span: Span) {
        notes.into_vec().into_iter().for_each(|note| self.query.annotations.add(Annotation { note, span }));
    }

    /// Counts samples that a selector read.
    pub(super) fn count_read(&self, samples: u64) {
        self.query.count_read(samples * u64::from(self.evaluations));
    }

    /// Counts samples that a selector read at steps.
    pub(super) fn count_read_at(&self, reads: impl Iterator<Item = (usize, u64)>) {
        let evaluations = u64::from(self.evaluations);
        self.query.count_read_at(&self.grid, reads.map(|(step, samples)| (step, samples * evaluations)));
    }

    pub(super) fn input_plan(&self, input: usize) -> &Arc<dyn ExecutionPlan> {
        &self.inputs[input]
    }
}

impl DisplayAs for OperatorExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PromQL: {} steps={}", self.op, self.grid.n)?;
        if self.stage == Stage::Whole { Ok(()) } else { write!(f, " stage={:?}", self.stage) }
    }
}
