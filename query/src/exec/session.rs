//! DataFusion's session, built once for an engine; each query adds its own context and memory pool.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use super::context::QueryContext;
use super::planner::RowsPlanner;
use crate::distributed::boundary::reads_series;
use crate::distributed::{Channels, Stages};

/// Plans and runs queries.
pub struct Session {
    state: SessionState,
    planner: Arc<RowsPlanner>,
    /// Of queries that have a snapshot of workers.
    stages: Option<Stages>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Each selector is read in `scan_partitions` parts, on `threads` if it is worth that.
    pub fn new(scan_partitions: usize, threads: usize) -> Result<Self> {
        let state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(threads))
            .with_runtime_env(RuntimeEnvBuilder::new().build_arc()?)
            // Our plans are rewritten before, and their nodes are opaque: DataFusion's rules would find nothing to do.
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(Vec::new())
            .with_physical_optimizer_rules(Vec::new())
            .build();
        Ok(Self { state, planner: Arc::new(RowsPlanner::new(scan_partitions)), stages: None })
    }

    /// Lets queries run on workers too.
    pub fn with_workers(mut self, channels: Arc<dyn Channels>) -> Result<Self> {
        self.stages = Some(Stages::new(&self.state, Arc::clone(&self.planner), channels)?);
        Ok(self)
    }

    /// The physical plan, with all rows in one partition. A plan that reads nothing, or only here, has no boundary.
    pub async fn physical(&self, plan: &LogicalPlan, query: &Arc<QueryContext>) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.stages {
            Some(stages) if query.snapshot.is_some() && reads_series(plan) => {
                stages.physical(plan, Arc::clone(query)).await
            }
            _ => self.planner.plan(plan, &self.state).await,
        }
    }

    /// What the plans of a query are executed in.
    pub fn task(&self, query: Arc<QueryContext>) -> Arc<TaskContext> {
        let config = self.stages.as_ref().map_or(self.state.config(), Stages::config);
        Arc::new(query_task(config, self.state.runtime_env(), query))
    }
}

/// What the operators of a query run in: a session's configuration and runtime, with the query's own memory.
pub fn query_task(config: &SessionConfig, runtime: &RuntimeEnv, query: Arc<QueryContext>) -> TaskContext {
    let memory_pool = Arc::new(GreedyMemoryPool::new(query.limits.memory_bytes_max));
    let runtime = RuntimeEnv { memory_pool, ..RuntimeEnv::clone(runtime) };
    // Our operators call none of DataFusion's functions, so the task gets none.
    TaskContext::new(
        None,
        String::new(),
        config.clone().with_extension(query),
        Default::default(),
        Default::default(),
        Default::default(),
        Default::default(),
        Arc::new(runtime),
    )
}
