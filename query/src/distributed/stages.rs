//! The session that plans and runs queries over workers: hands the boundaries of a plan to `datafusion-distributed`, and
//! tells it which worker runs which task.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExt, RouteTasksEvent, RouteTasksEventResponse, SessionStateBuilderExt};

use super::boundary::shares_below;
use super::channel::{Channels, Named};
use super::codec::PlanCodec;
use crate::exec::context::QueryContext;
use crate::exec::planner::RowsPlanner;

/// Plans over workers.
#[derive(Clone, Debug)]
pub(crate) struct Stages {
    state: SessionState,
}

/// Our planner as one that another can wrap.
#[derive(Debug)]
struct Inner(Arc<RowsPlanner>);

#[async_trait]
impl QueryPlanner for Inner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.plan(plan, session).await
    }
}

impl Stages {
    pub(crate) fn new(base: &SessionState, planner: Arc<RowsPlanner>, channels: Arc<dyn Channels>) -> Result<Self> {
        let state = SessionStateBuilder::new_from_existing(base.clone())
            .with_query_planner(Arc::new(Inner(planner)))
            .with_distributed_planner()
            .with_distributed_user_codec(PlanCodec)
            .with_distributed_channel_resolver(Named(channels))
            .with_distributed_route_tasks_handler(route)
            // Figures of operators would be waited for at the end of each query.
            .with_distributed_metrics_collection(false)?
            .build();
        Ok(Self { state })
    }

    /// The physical plan of a query that reads series, with its boundaries.
    pub(crate) async fn physical(
        &self,
        plan: &LogicalPlan,
        query: Arc<QueryContext>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut state = self.state.clone();
        state.config_mut().set_extension(query);
        state.query_planner().create_physical_plan(plan, &state).await
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        self.state.config()
    }
}

/// Each task goes to the worker whose share its leaf reads.
fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let urls = shares_below(event.plan).map(|shares| shares.iter().map(|share| share.worker.url()).collect());
    Some(urls.map(RouteTasksEventResponse::new))
}
