//! From logical to physical: which operators run in each partition, and where partitions meet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::logical::QueryNode;
use super::node::{OperatorExec, Stage};
use crate::plan::{KKind, Op};

/// Plans [`QueryNode`]s. `scan_partitions` is the parallelism of a selector.
#[derive(Debug)]
pub struct QueryNodePlanner {
    pub scan_partitions: usize,
}

#[async_trait]
impl ExtensionPlanner for QueryNodePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<QueryNode>() else { return Ok(None) };
        Ok(Some(self.plan(node, physical_inputs)))
    }
}

impl QueryNodePlanner {
    fn plan(&self, node: &QueryNode, inputs: &[Arc<dyn ExecutionPlan>]) -> Arc<dyn ExecutionPlan> {
        Arc::new(match &*node.op {
            Op::Scan(_) => OperatorExec::scan(node, inputs.iter().map(gather).collect(), self.scan_partitions),
            // Row by row: partitions stay apart, scalar arguments are shared by them.
            Op::Map { .. } | Op::Relabel(_) | Op::RangeOverSubquery { .. } | Op::Repeat | Op::Share(_) => {
                let mut inputs = inputs.iter();
                let rows = inputs.next().cloned();
                OperatorExec::over(node, Stage::Whole, rows.into_iter().chain(inputs.map(gather)).collect())
            }
            Op::Aggregate { .. } if partitions(&inputs[0]) > 1 => {
                let partial: Arc<dyn ExecutionPlan> =
                    Arc::new(OperatorExec::over(node, Stage::Partial, inputs.to_vec()));
                OperatorExec::over(node, Stage::Final, vec![gather(&partial)])
            }
            // The pick of the picks of all partitions is the pick of all rows.
            Op::AggregateK { kind: KKind::Topk | KKind::Bottomk | KKind::Limitk, .. } if partitions(&inputs[0]) > 1 => {
                let scalars: Vec<_> = inputs[1..].iter().map(gather).collect();
                let with_scalars =
                    |rows: Arc<dyn ExecutionPlan>| std::iter::once(rows).chain(scalars.iter().cloned()).collect();
                let partial = Arc::new(OperatorExec::over(node, Stage::Whole, with_scalars(Arc::clone(&inputs[0]))));
                let picks: Arc<dyn ExecutionPlan> = Arc::<OperatorExec>::clone(&partial);
                OperatorExec::over(node, Stage::Whole, with_scalars(gather(&picks))).sharing_scalars(&partial)
            }
            _ => OperatorExec::over(node, Stage::Whole, inputs.iter().map(gather).collect()),
        })
    }
}

fn partitions(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}

/// All rows in one partition.
fn gather(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match partitions(plan) {
        1 => Arc::clone(plan),
        _ => Arc::new(CoalescePartitionsExec::new(Arc::clone(plan))),
    }
}
