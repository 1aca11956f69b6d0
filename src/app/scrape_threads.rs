//! Threads of their own for scraping, each with a runtime of its own.
//!
//! On the shared runtime a scrape wanders between threads and wakes one at each step, a third of what it costs, and a query that
//! keeps all of them busy makes scrapes late. Here it meets another thread only where its commit is handed over.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Of so many cores one scrapes: that is a million samples a second.
const CORES_PER_THREAD: usize = 4;

/// The threads, as long as this lives. What runs on them is dropped with it.
#[derive(Debug)]
pub struct ScrapeThreads {
    runtimes: Arc<[Handle]>,
    /// Dropped, they end their threads.
    _running: Vec<oneshot::Sender<()>>,
}

impl ScrapeThreads {
    pub fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, |cores| (cores.get() / CORES_PER_THREAD).max(1));
        let (mut runtimes, mut running) = (Vec::new(), Vec::new());
        for at in 0..count {
            let runtime = Builder::new_current_thread().enable_all().thread_name("scrape-read").build()?;
            let (end, ended) = oneshot::channel();
            runtimes.push(runtime.handle().clone());
            running.push(end);
            thread::Builder::new().name(format!("scrape-{at}")).spawn(move || {
                // An error is the sender's end, which is what is waited for.
                let _ = runtime.block_on(ended);
            })?;
        }
        Ok(Self { runtimes: runtimes.into(), _running: running })
    }

    pub fn runtimes(&self) -> Arc<[Handle]> {
        Arc::clone(&self.runtimes)
    }
}
