//! The tasks that queries work on.
//!
//! Whoever waits for a query must be able to leave at any time, and so cannot be busy with it: a task that works without waiting is
//! dropped when it next waits, which may be never. So the work is done on a task of its own, which hears that nobody waits
//! ([`crate::exec::QueryContext::cancel_on_drop`]) wherever it looks at the query's deadline.

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::error::QueryError;
use crate::exec::context::PHASE_EVALUATION;

/// Does work on `threads`, or else on those of the caller. Dropped, it ends the task. A panic goes on here.
pub(super) async fn on_task<T: Send + 'static>(
    threads: Option<&Handle>,
    work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
) -> Result<T, QueryError> {
    let work = work.in_current_span();
    let mut tasks = JoinSet::new();
    match threads {
        Some(threads) => tasks.spawn_on(work, threads),
        None => tasks.spawn(work),
    };
    match tasks.join_next().await.expect("one task was begun") {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The threads end.
            Err(_) => Err(QueryError::Canceled { phase: PHASE_EVALUATION }),
        },
    }
}
