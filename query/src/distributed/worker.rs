//! A node as one that runs parts of queries for others.

use std::sync::Arc;

use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion_distributed::{DistributedExt, WorkerQueryContext};
use pharos_model::{Clock, TimeRange};

use super::codec::PlanCodec;
use super::fragment::Workplace;
use super::question::{Answer, Noted, Question, decode, encode};
use crate::error::QueryError;
use crate::exec::unknown_partition;
use crate::source::{Reliance, SeriesSource, estimate};

/// Runs parts of queries over the partitions that it holds. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    pub(super) inner: datafusion_distributed::Worker,
    workplace: Arc<Workplace>,
    incarnation: u64,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker over the series of a node. A query's limits come with its plan. `incarnation` is drawn anew for each start of the process:
    /// what has been noted of changes to samples does not outlive it.
    pub fn new(source: Arc<dyn SeriesSource>, clock: Arc<dyn Clock>, incarnation: u64) -> Self {
        let workplace = Arc::new(Workplace { source, clock });
        let of_sessions = Arc::clone(&workplace);
        // Made once: a session is asked for with every part of every query.
        let base = bare_state();
        let session = move |mut query: WorkerQueryContext| {
            let mut state = base.clone();
            let config = query.builder.config().take().unwrap_or_default();
            *state.config_mut() =
                config.with_extension(Arc::clone(&of_sessions)).with_distributed_user_codec(PlanCodec);
            std::future::ready(Ok(state))
        };
        Self { inner: datafusion_distributed::Worker::from_session_builder(session), workplace, incarnation }
    }

    /// Answers what [`super::Channels::ask`] has brought; an error is an answer too. Dropping the future gives up.
    pub async fn answer(&self, question: &[u8]) -> Vec<u8> {
        let answered = match decode(question) {
            Ok(question) => self.answer_to(question).await,
            Err(error) => Err(QueryError::Internal(error.to_string())),
        };
        encode(&answered.unwrap_or_else(|error| Answer::Failed(error.into())))
    }

    async fn answer_to(&self, question: Question) -> Result<Answer, QueryError> {
        let source = &self.workplace.source;
        match question {
            Question::Rely { relying, since } => {
                self.check(&relying.partitions)?;
                let earlier = since.as_ref().filter(|since| since.incarnation == self.incarnation);
                let Reliance { revision, mut amended } =
                    source.rely(&relying, earlier.map(|earlier| &earlier.revision)).await?;
                if since.is_some() && earlier.is_none() {
                    amended.push(TimeRange::ALL);
                }
                Ok(Answer::Relied { noted: Noted { incarnation: self.incarnation, revision }, amended })
            }
            Question::Estimate { request, partitions } => {
                self.check(&partitions)?;
                Ok(Answer::Estimated(estimate(&**source, &partitions, &request).await?))
            }
        }
    }

    /// Refuses partitions that there are not.
    fn check(&self, partitions: &[usize]) -> Result<(), QueryError> {
        let count = self.workplace.source.partitions();
        match partitions.iter().find(|partition| **partition >= count) {
            Some(unknown) => Err(unknown_partition(*unknown, count)),
            None => Ok(()),
        }
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
