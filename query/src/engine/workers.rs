//! What a query over workers needs besides: a second attempt without a worker that was lost, and scalars that are known before
//! the plan is sent.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;
use futures::future::BoxFuture;
use pharos_model::{TimeRange, TimestampMs};
use pharos_promql::Expr;

use super::run::{Evaluated, Run};
use crate::distributed::boundary::wants_known;
use crate::distributed::{Basis, Relied, Snapshot, WorkerId, rely_on_workers};
use crate::error::QueryError;
use crate::exec::QueryContext;
use crate::exec::context::fail;
use crate::exec::logical::QueryNode;
use crate::lower::Lowered;
use crate::plan::{Float, Op};
use crate::source::{ReadError, Relying};

impl Run<'_> {
    /// Runs the query; once more when a worker is lost, or this node cannot tell, without that one. Nobody has seen a part of an
    /// answer by then.
    pub(super) async fn attempts(
        &self,
        tree: &Expr,
        lowered: &Lowered,
    ) -> Result<(Arc<QueryContext>, Evaluated), QueryError> {
        let first = self.attempt(tree, lowered, self.snapshot(&[])?).await;
        let Err(error) = &first.1 else { return Ok(first) };
        let Some(worker) = self.lost_by(error) else { return Ok(first) };
        // Whoever cannot be stood in for is what the user has to hear of.
        let Ok(snapshot) = self.snapshot(std::slice::from_ref(&worker)) else { return Ok(first) };
        tracing::warn!(%worker, %error, "query runs again without a worker");
        self.engine.metrics.retried();
        Ok(self.attempt(tree, lowered, snapshot).await)
    }

    async fn attempt(
        &self,
        tree: &Expr,
        lowered: &Lowered,
        snapshot: Option<Snapshot>,
    ) -> (Arc<QueryContext>, Evaluated) {
        let query = Arc::new(self.context(snapshot));
        let _waiting = query.cancel_on_drop();
        lowered.annotations.iter().for_each(|annotation| query.annotations.add(annotation.clone()));
        let evaluated = self.answer(tree, lowered.query.clone(), &query).await;
        (query, evaluated)
    }

    /// The worker without which a query that failed so may succeed.
    pub(super) fn lost_by(&self, error: &QueryError) -> Option<WorkerId> {
        match error {
            QueryError::Worker { worker, .. } => Some(worker.clone()),
            QueryError::Read(ReadError::Elsewhere { .. }) => self.engine.workers.as_ref()?.placement.here(),
            _ => None,
        }
    }

    pub(super) fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, QueryError> {
        match &self.engine.workers {
            Some(workers) => Ok(workers.placement.snapshot(lost)?),
            None => Ok(None),
        }
    }

    /// Has changes to samples up to a time noted from now on, wherever the query reads them.
    pub(super) async fn rely(
        &self,
        snapshot: Option<&Snapshot>,
        until_ms: TimestampMs,
        since: Option<&Basis>,
    ) -> Result<Relied, QueryError> {
        if let (Some(snapshot), Some(workers)) = (snapshot, &self.engine.workers) {
            return rely_on_workers(&*workers.channels, snapshot, (self.tenant, until_ms), since).await;
        }
        let source = &self.engine.source;
        let (tenant, partitions) = (self.tenant.clone(), (0..source.partitions()).collect());
        let earlier = match since {
            Some(Basis::Here(revision)) => Some(revision),
            _ => None,
        };
        let relied = source.rely(&Relying { tenant, partitions, until_ms }, earlier).await?;
        let mut amended = relied.amended;
        if since.is_some() && earlier.is_none() {
            amended.push(TimeRange::ALL);
        }
        Ok(Relied { basis: Basis::Here(relied.revision), amended })
    }

    /// The plan with the values of those scalars in it that have to be known before it can be sent to workers.
    pub(super) async fn settled(&self, plan: LogicalPlan, context: &Arc<QueryContext>) -> Result<LogicalPlan> {
        match context.snapshot {
            Some(_) => self.settled_below(&plan, context).await,
            None => Ok(plan),
        }
    }

    fn settled_below<'a>(
        &'a self,
        plan: &'a LogicalPlan,
        context: &'a Arc<QueryContext>,
    ) -> BoxFuture<'a, Result<LogicalPlan>> {
        async move {
            let node = QueryNode::of(plan).expect("a bound plan is made of our nodes");
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (at, input) in node.inputs.iter().enumerate() {
                let input = self.settled_below(input, context).await?;
                inputs.push(if wants_known(node, at) { self.known(&input, context).await? } else { input });
            }
            Ok(node.replaced(Op::clone(&node.op), inputs))
        }
        .boxed()
    }

    /// The values of a scalar, in its place.
    async fn known(&self, scalar: &LogicalPlan, context: &Arc<QueryContext>) -> Result<LogicalPlan> {
        let physical = self.engine.session.physical(scalar, context).await?;
        let rows = self.rows(&physical, context).await.map_err(fail)?;
        context.release_samples(rows.points());
        let values = rows.rows().next().expect("a scalar has one row").values.iter().copied().map(Float).collect();
        let node = QueryNode::of(scalar).expect("a bound plan is made of our nodes");
        Ok(node.replaced(Op::Values(values), Vec::new()))
    }
}
