//! From logical to physical: which operators run in each partition, and where partitions meet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion_distributed::DistributedLeafExec;

use super::context::QueryContext;
use super::input::SharedScalars;
use super::logical::QueryNode;
use super::node::{Operator, OperatorExec, Stage};
use crate::distributed::Share;
use crate::distributed::boundary::{Reach, gather, has_room, is_spread, shares_of, together};
use crate::plan::Op;

/// Plans bound plans.
pub struct RowsPlanner {
    planner: DefaultPhysicalPlanner,
}

impl std::fmt::Debug for RowsPlanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsPlanner").finish_non_exhaustive()
    }
}

impl RowsPlanner {
    /// `scan_partitions` is the parallelism of each selector.
    pub fn new(scan_partitions: usize) -> Self {
        let nodes = QueryNodePlanner { scan_partitions };
        Self { planner: DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(nodes)]) }
    }

    /// The physical plan, with all rows in one partition. Its leaves are on workers when the session has a query with a
    /// snapshot of them.
    pub async fn plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.planner.create_physical_plan(plan, session).await?;
        gather(&plan, over_workers(session).as_deref())
    }
}

/// Whether rows are in several partitions.
fn is_apart(plan: &Input) -> bool {
    plan.output_partitioning().partition_count() > 1
}

fn over_workers(session: &dyn Session) -> Option<Arc<QueryContext>> {
    session.config().get_extension::<QueryContext>().filter(|query| query.snapshot.is_some())
}

/// Plans [`QueryNode`]s.
#[derive(Debug)]
struct QueryNodePlanner {
    scan_partitions: usize,
}

#[async_trait]
impl ExtensionPlanner for QueryNodePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<QueryNode>() else { return Ok(None) };
        self.plan(node, physical_inputs, over_workers(session).as_deref()).map(Some)
    }
}

type Input = Arc<dyn ExecutionPlan>;

impl QueryNodePlanner {
    fn plan(&self, node: &QueryNode, inputs: &[Input], query: Option<&QueryContext>) -> Result<Input> {
        let gathered = |inputs: &[Input]| inputs.iter().map(|input| gather(input, query)).collect::<Result<Vec<_>>>();
        let reach = Reach::of(&node.op);
        if reach == Reach::Leaf {
            return self.leaf(node, gathered(inputs)?, query);
        }
        let Some((rows, scalars)) = inputs.split_first() else {
            return Ok(Arc::new(OperatorExec::new(Operator::over(node, Stage::Whole, &[]), Vec::new())));
        };
        let scalars = gathered(scalars)?;
        // Whatever becomes of the node, its scalars are evaluated once.
        let shared = Arc::new(SharedScalars::new(inputs.len()));
        let over = |stage, rows: Input| -> Input {
            let inputs: Vec<_> = std::iter::once(rows).chain(scalars.iter().cloned()).collect();
            let operator = Operator::over(node, stage, &inputs);
            Arc::new(OperatorExec::new(operator, inputs).sharing(Arc::clone(&shared)).at_place(node.shared.clone()))
        };
        // What is too large to be sent is cut in two: the upper part runs here.
        let rows = &if is_spread(rows) && !has_room(rows) { gather(rows, query)? } else { Arc::clone(rows) };
        let (is_apart, is_spread) = (is_apart(rows), is_spread(rows));
        match reach {
            // Partitions stay apart, scalar arguments are shared by them.
            Reach::Each => Ok(over(Stage::Whole, Arc::clone(rows))),
            Reach::EachHere if !is_spread => Ok(over(Stage::Whole, Arc::clone(rows))),
            Reach::Parts if is_apart || is_spread => {
                let [first, next, last] = match &*node.op {
                    Op::Aggregate { .. } | Op::Absent { .. } => [Stage::Partial, Stage::Combine, Stage::Final],
                    _ => [Stage::Whole; 3],
                };
                let part = over(first, Arc::clone(rows));
                let part = if is_apart && is_spread { over(next, together(&part)) } else { part };
                Ok(over(last, gather(&part, query)?))
            }
            _ => Ok(over(Stage::Whole, gather(rows, query)?)),
        }
    }

    /// A leaf of this node, or one that reads another share on each worker.
    fn leaf(&self, node: &QueryNode, scalars: Vec<Input>, query: Option<&QueryContext>) -> Result<Input> {
        let leaf = |partitions, share| -> Input {
            Arc::new(OperatorExec::new(Operator::leaf(node, partitions, share), scalars.clone()))
        };
        let Some(query) = query else { return Ok(leaf(self.scan_partitions, None)) };
        let shares = shares_of(query, &node.op);
        let longest = shares.iter().map(|share| share.partitions.len()).max().unwrap_or_default();
        let partitions = self.scan_partitions.min(longest).max(1);
        // Never run, because a boundary has several tasks; an error if it is.
        let nowhere = leaf(partitions, Some(Share::nowhere()));
        let variants = shares.into_iter().map(|share| leaf(partitions, Some(share)));
        Ok(Arc::new(DistributedLeafExec::try_new(nowhere, variants)?))
    }
}
