//! A node as one that runs parts of queries for others.

use std::sync::Arc;

use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion_distributed::{DistributedExt, WorkerQueryContext};
use pharos_model::Clock;

use super::codec::PlanCodec;
use super::fragment::Workplace;
use crate::source::SeriesSource;

/// Runs parts of queries over the partitions that it holds. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    pub(super) inner: datafusion_distributed::Worker,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker over the series of a node. A query's limits come with its plan.
    pub fn new(source: Arc<dyn SeriesSource>, clock: Arc<dyn Clock>) -> Self {
        let workplace = Arc::new(Workplace { source, clock });
        // Made once: a session is asked for with every part of every query.
        let base = bare_state();
        let session = move |mut query: WorkerQueryContext| {
            let mut state = base.clone();
            let config = query.builder.config().take().unwrap_or_default();
            *state.config_mut() = config.with_extension(Arc::clone(&workplace)).with_distributed_user_codec(PlanCodec);
            std::future::ready(Ok(state))
        };
        Self { inner: datafusion_distributed::Worker::from_session_builder(session) }
    }
}

/// A session without DataFusion's rules and functions: none is needed to run a plan of our operators.
fn bare_state() -> SessionState {
    SessionStateBuilder::new()
        .with_analyzer_rules(Vec::new())
        .with_optimizer_rules(Vec::new())
        .with_physical_optimizer_rules(Vec::new())
        .build()
}
