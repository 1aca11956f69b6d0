//! A thread of the log, and what it waits on.
//!
//! In a simulation such a thread takes turns with the task that drives it: it runs only while that task waits for it, so what it does
//! happens at one moment of the simulated time, in one order.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, MutexGuard};

use crate::fs::Fs;
#[cfg(test)]
use crate::simulation::turns::{Turns, Waiting};

/// A running thread.
pub(super) struct Worker {
    thread: JoinHandle<()>,
    #[cfg(test)]
    turns: Option<Arc<Turns>>,
}

impl Worker {
    /// `fs` is what it works on: a simulated one says how long that takes.
    pub(super) fn spawn(
        name: &str,
        #[cfg_attr(not(test), expect(unused_variables, reason = "for simulations"))] fs: &Arc<dyn Fs>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let builder = Builder::new().name(name.to_owned());
        #[cfg(test)]
        if crate::simulation::is_running() {
            let turns = Turns::begin(Arc::clone(fs));
            let own = Arc::clone(&turns);
            return Ok(Self { thread: builder.spawn(move || own.take_part(work))?, turns: Some(turns) });
        }
        Ok(Self {
            thread: builder.spawn(work)?,
            #[cfg(test)]
            turns: None,
        })
    }

    /// Waits for its end, which it has been told to come to. Tells whether it panicked.
    pub(super) fn join(self) -> std::thread::Result<()> {
        #[cfg(test)]
        if let Some(turns) = self.turns {
            turns.run_to_end();
        }
        self.thread.join()
    }
}

/// Wakes a worker that waits.
#[derive(Debug, Default)]
pub(super) struct Signal {
    condvar: Condvar,
    #[cfg(test)]
    waiting: Waiting,
}

impl Signal {
    /// May return without having been notified.
    pub(super) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        #[cfg(test)]
        if self.waiting.wait(guard, None) {
            return;
        }
        self.condvar.wait(guard);
    }

    pub(super) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        #[cfg(test)]
        if self.waiting.wait(guard, Some(timeout)) {
            return;
        }
        self.condvar.wait_for(guard, timeout);
    }

    pub(super) fn notify(&self) {
        #[cfg(test)]
        self.waiting.notify();
        self.condvar.notify_all();
    }
}
