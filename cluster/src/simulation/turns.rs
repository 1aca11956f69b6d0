//! Threads in a simulation: each runs only while the task that drives it waits for it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::fs::Fs;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Thread,
    /// The thread waits to be notified, at most for so long.
    Driver(Option<Duration>),
    /// The thread has ended.
    Over,
}

pub(crate) struct Turns {
    turn: Mutex<Turn>,
    passed: Condvar,
    notified: Notify,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turns").field(&*self.turn.lock()).finish()
    }
}

thread_local! {
    static OWN: RefCell<Option<Arc<Turns>>> = const { RefCell::new(None) };
}

impl Turns {
    /// Begins to drive a thread, from the runtime of the simulated host: with the host it stops.
    pub(crate) fn begin(fs: Arc<dyn Fs>) -> Arc<Self> {
        let turn = Mutex::new(Turn::Driver(None));
        let turns = Arc::new(Self { turn, passed: Condvar::new(), notified: Notify::new() });
        tokio::spawn(Arc::clone(&turns).drive(fs));
        turns
    }

    async fn drive(self: Arc<Self>, fs: Arc<dyn Fs>) {
        loop {
            sleep(fs.latency()).await;
            match self.run() {
                Turn::Driver(None) => self.notified.notified().await,
                Turn::Driver(Some(pause)) => drop(timeout(pause, self.notified.notified()).await),
                Turn::Thread | Turn::Over => return,
            }
        }
    }

    /// Lets the thread run until it waits again.
    fn run(&self) -> Turn {
        let mut turn = self.turn.lock();
        if *turn == Turn::Over {
            return Turn::Over;
        }
        *turn = Turn::Thread;
        self.passed.notify_all();
        while *turn == Turn::Thread {
            self.passed.wait(&mut turn);
        }
        *turn
    }

    /// Lets the thread run until it has ended.
    pub(crate) fn run_to_end(&self) {
        while self.run() != Turn::Over {}
    }

    /// The thread's body.
    pub(crate) fn take_part(self: Arc<Self>, work: impl FnOnce()) {
        OWN.set(Some(Arc::clone(&self)));
        let _end = End(&self);
        self.wait_for_turn(&mut self.turn.lock());
        work();
    }

    fn pass(&self, pause: Option<Duration>) {
        let mut turn = self.turn.lock();
        *turn = Turn::Driver(pause);
        self.passed.notify_all();
        self.wait_for_turn(&mut turn);
    }

    fn wait_for_turn(&self, turn: &mut MutexGuard<'_, Turn>) {
        while **turn != Turn::Thread {
            self.passed.wait(turn);
        }
    }
}

/// Also when the thread panics.
struct End<'a>(&'a Turns);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.turn.lock() = Turn::Over;
        self.0.passed.notify_all();
    }
}

/// The threads that wait on one thing.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Vec<Arc<Turns>>>);

impl Waiting {
    /// Waits if this is a simulated thread, with what it guards unlocked; tells whether it is one.
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>, pause: Option<Duration>) -> bool {
        let Some(own) = OWN.with_borrow(Clone::clone) else { return false };
        self.0.lock().push(Arc::clone(&own));
        MutexGuard::unlocked(guard, || own.pass(pause));
        true
    }

    pub(crate) fn notify(&self) {
        for turns in self.0.lock().drain(..) {
            turns.notified.notify_one();
        }
    }
}
