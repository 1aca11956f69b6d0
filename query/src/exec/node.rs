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
    absent, aggregate, aggregate_k, count_values, histogram, info, join, map, merge, quantile, range, raw, relabel,
    scalar, scan, set, share, sort,
};
use crate::annotation::Annotation;
use crate::batch::batch_schema;
use crate::distributed::Share;
use crate::functions::{Grid, Notes};
use crate::plan::Op;

/// Which part of an operator a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Whole,
    /// In each partition: emits states rather than answers.
    Partial,
    /// Merges the states of some partitions, and emits states.
    Combine,
    /// Merges the states of all partitions.
    Final,
}

/// What an operator is, without its inputs: all of it that travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    pub op: Arc<Op>,
    pub stage: Stage,
    pub grid: Grid,
    pub span: Span,
    pub partitions: usize,
    /// Of a leaf: what it reads of the source, when that is not all.
    pub share: Option<Share>,
}

/// An operator in the physical plan.
#[derive(Debug)]
pub struct OperatorExec {
    operator: Operator,
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
    pub share: Option<Share>,
    pub partition: usize,
    pub partitions: usize,
    pub query: Arc<QueryContext>,
    pub task: Arc<TaskContext>,
    pub scalars: Arc<SharedScalars>,
    /// What a leaf counts of what it reads.
    pub read: Option<Counters>,
    /// What is counted of what the node gives.
    pub given: Counters,
    pub shared: Option<Arc<share::SharedRows>>,
    /// As how many evaluations this one counts in statistics.
    pub evaluations: u32,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
}

impl Operator {
    /// A leaf, read in `partitions` parts.
    pub(super) fn leaf(node: &QueryNode, partitions: usize, share: Option<Share>) -> Self {
        Self { partitions, share, ..Self::over(node, Stage::Whole, &[]) }
    }

    /// An operator with as many partitions as its first input; one when it has none.
    pub(super) fn over(node: &QueryNode, stage: Stage, inputs: &[Arc<dyn ExecutionPlan>]) -> Self {
        let partitions = inputs.first().map_or(1, |input| input.output_partitioning().partition_count());
        Self { op: Arc::clone(&node.op), stage, grid: node.grid, span: node.span, partitions, share: None }
    }

    /// Steps of the rows that it sends.
    pub fn steps(&self) -> usize {
        match self.stage {
            Stage::Partial | Stage::Combine => aggregate::state_steps(&self.op, self.grid.n),
            Stage::Whole | Stage::Final => self.grid.n,
        }
    }
}

impl OperatorExec {
    /// # Panics
    /// When the rows have more than [`crate::plan::STEPS_MAX`] steps; binding a plan to its grid refuses such grids.
    pub fn new(operator: Operator, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(batch_schema(operator.steps())),
            Partitioning::UnknownPartitioning(operator.partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            scalars: Arc::new(SharedScalars::new(inputs.len())),
            operator,
            shared: None,
            inputs,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Has its scalars evaluated once for several nodes over the same ones.
    pub(super) fn sharing(self, scalars: Arc<SharedScalars>) -> Self {
        Self { scalars, ..self }
    }

    /// One of the places that use the same rows.
    pub(super) fn at_place(self, shared: Option<Arc<share::SharedRows>>) -> Self {
        Self { shared, ..self }
    }

    pub fn op(&self) -> &Op {
        &self.operator.op
    }

    pub fn operator(&self) -> &Operator {
        &self.operator
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
            return internal_err!("{} has {} inputs, not {}", self.operator.op, self.inputs.len(), inputs.len());
        }
        Ok(Arc::new(Self {
            operator: self.operator.clone(),
            scalars: Arc::new(SharedScalars::new(inputs.len())),
            shared: self.shared.clone(),
            inputs,
            properties: Arc::clone(&self.properties),
            // A plan over workers is rewritten when it is run; what its nodes gave is looked for where they were before.
            metrics: self.metrics.clone(),
        }))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Operator { op, stage, grid, span, partitions, share } = self.operator.clone();
        let is_leaf = matches!(*op, Op::Scan(_) | Op::Raw { .. });
        let given = Counters::given(&self.metrics, partition);
        let call = Call {
            op,
            stage,
            grid,
            span,
            share,
            partitions,
            partition,
            query: QueryContext::of(&task)?,
            evaluations: evaluations_of(&task),
            task,
            scalars: Arc::clone(&self.scalars),
            read: is_leaf.then(|| Counters::read(&self.metrics, partition)),
            given: given.clone(),
            shared: self.shared.clone(),
            inputs: self.inputs.clone(),
        };
        let query = Arc::clone(&call.query);
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
        Op::Values(values) => scalar::values(&call, values),
        Op::Empty => Ok(futures::stream::empty().boxed()),
        Op::Scan(_) => scan::run(call),
        Op::Raw { .. } => raw::run(call),
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

    /// Does the node's work where it is not polled for it, and counts the time.
    pub(super) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = self.query.clock().monotonic();
        let done = work();
        self.given.add_time(self.query.clock().monotonic().saturating_sub(begun));
        done
    }

    pub(super) fn input_plan(&self, input: usize) -> &Arc<dyn ExecutionPlan> {
        &self.inputs[input]
    }
}

impl DisplayAs for OperatorExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operator { op, stage, grid, share, .. } = &self.operator;
        write!(f, "PromQL: {op} steps={}", grid.n)?;
        if let Some(share) = share {
            write!(f, " {share}")?;
        }
        if *stage == Stage::Whole { Ok(()) } else { write!(f, " stage={stage:?}") }
    }
}
