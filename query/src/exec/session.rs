//! DataFusion's session, built once for an engine; each query adds its own context and memory pool.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use super::context::QueryContext;
use super::planner::QueryNodePlanner;

/// Plans and runs queries.
pub struct Session {
    state: SessionState,
    planner: DefaultPhysicalPlanner,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// `scan_partitions` is the parallelism of each selector.
    pub fn new(scan_partitions: usize) -> Result<Self> {
        let state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(scan_partitions))
            .with_runtime_env(RuntimeEnvBuilder::new().build_arc()?)
            // Our plans are rewritten before, and their nodes are opaque: DataFusion's rules would find nothing to do.
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(Vec::new())
            .with_physical_optimizer_rules(Vec::new())
            .build();
        let planner =
            DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(QueryNodePlanner { scan_partitions })]);
        Ok(Self { state, planner })
    }

    /// The physical plan, with all rows in one partition.
    pub async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.planner.create_physical_plan(plan, &self.state).await?;
        Ok(match plan.output_partitioning().partition_count() {
            1 => plan,
            _ => Arc::new(CoalescePartitionsExec::new(plan)),
        })
    }

    /// Starts a plan. Dropping the stream cancels all of it.
    pub fn execute(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        query: Arc<QueryContext>,
    ) -> Result<SendableRecordBatchStream> {
        plan.execute(0, Arc::new(self.task(query)))
    }

    fn task(&self, query: Arc<QueryContext>) -> TaskContext {
        let shared = self.state.runtime_env();
        let runtime = RuntimeEnv {
            memory_pool: Arc::new(GreedyMemoryPool::new(query.limits.memory_bytes_max)),
            ..RuntimeEnv::clone(shared)
        };
        // Our operators call none of DataFusion's functions, so the task gets none.
        TaskContext::new(
            None,
            self.state.session_id().to_owned(),
            self.state.config().clone().with_extension(query),
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            Arc::new(runtime),
        )
    }
}
