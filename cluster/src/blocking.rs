//! Work that blocks, away from the async threads.

use tokio::task::JoinHandle;

/// Runs `work` on a thread of its own. In a simulation it is a task like any other: threads take turns as the machine likes.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return tokio::spawn(async move { work() });
    }
    tokio::task::spawn_blocking(work)
}
