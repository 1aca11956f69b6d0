//! Threads of their own for queries.
//!
//! A query works without waiting for as long as its operators do. On the threads that serve HTTP nobody would notice meanwhile that
//! its client has left, and everyone else would wait.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads, one for each core, as long as this lives. What runs on them is dropped with it.
#[derive(Debug)]
pub struct QueryThreads {
    runtime: Handle,
    /// Dropped, it ends the threads.
    _running: oneshot::Sender<()>,
}

impl QueryThreads {
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("query")
            .thread_stack_size(pharos_query::THREAD_STACK_BYTES)
            .build()?;
        let (running, ended) = oneshot::channel();
        let handle = runtime.handle().clone();
        thread::Builder::new().name("query-threads".into()).spawn(move || {
            // An error is the sender's end, which is what is waited for.
            let _ = runtime.block_on(ended);
            // Blocking work of a query that is under way is not waited for: it only reads.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _running: running })
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
