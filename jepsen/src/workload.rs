//! What clients do: write samples that are told apart, and read them back, through any node, at a bounded rate.

mod claims;
pub mod pace;
mod query;
mod readers;
mod registers;
mod writers;

pub use claims::ask_until_stopped;
pub use query::{count_query, read_query};
pub use readers::{count_balanced_until_stopped, count_until_stopped, read_everything, read_until_stopped};
pub use registers::swap_until_stopped;
pub use writers::{Writer, write_until_stopped};

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::client::Client;
use crate::env::Endpoint;
use crate::history::Recorder;

/// A writer's series are numbered from a multiple of this on.
pub const SERIES_PER_WRITER_MAX: u32 = 1000;

/// Which list of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Set,
    Append,
}

impl Family {
    pub fn metric(self) -> &'static str {
        match self {
            Self::Set => "jepsen_set",
            Self::Append => "jepsen_append",
        }
    }
}

/// The number of a writer's series.
pub fn series_of(writer: u32, place: u32) -> u32 {
    assert!(place < SERIES_PER_WRITER_MAX, "a writer has at most {SERIES_PER_WRITER_MAX} series");
    writer * SERIES_PER_WRITER_MAX + place
}

/// Whose series this is.
pub fn writer_of(series: u32) -> u32 {
    series / SERIES_PER_WRITER_MAX
}

/// What all clients of a run share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub recorder: Recorder,
    pub client: Client,
    pub endpoints: watch::Receiver<Vec<Endpoint>>,
    pub stop: watch::Receiver<bool>,
    /// Process numbers that were given out.
    pub processes: Processes,
    pub clock: SampleClock,
    pub paths: Paths,
}

/// Which nodes a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Paths {
    /// Any, and the next one when that does not answer, as a sender with several addresses.
    Any,
    /// A writer always asks the same one, as an agent beside it.
    Bound,
}

impl Shared {
    /// The nodes that a writer asks, one after the other.
    fn path_of(&self, writer: u32, rng: &mut fastrand::Rng) -> Vec<Endpoint> {
        match self.paths {
            Paths::Any => self.endpoints_from_any(rng),
            Paths::Bound => {
                let endpoints = self.endpoints.borrow();
                vec![endpoints[writer as usize % endpoints.len()].clone()]
            }
        }
    }

    /// Any of the nodes, alive or not.
    fn endpoint(&self, rng: &mut fastrand::Rng) -> Endpoint {
        let endpoints = self.endpoints.borrow();
        endpoints[rng.usize(..endpoints.len())].clone()
    }

    /// All nodes, in a circle from any of them on.
    fn endpoints_from_any(&self, rng: &mut fastrand::Rng) -> Vec<Endpoint> {
        let mut endpoints = self.endpoints.borrow().clone();
        let first = rng.usize(..endpoints.len());
        endpoints.rotate_left(first);
        endpoints
    }
}

/// Numbers for processes: a new one after each unknown outcome.
#[derive(Clone, Debug, Default)]
pub struct Processes(Arc<AtomicI64>);

impl Processes {
    pub fn next(&self) -> u32 {
        u32::try_from(self.0.fetch_add(1, Ordering::Relaxed)).expect("fewer processes than a run has nanoseconds")
    }
}

/// The time that samples carry. It may begin hours ago and run fast until it meets the wall clock: so a short run fills,
/// seals and drops slices as a day does.
#[derive(Clone, Copy, Debug)]
pub struct SampleClock {
    since_ms: i64,
    started: Instant,
    speed: f64,
}

impl SampleClock {
    /// Covers `hours` until `run` has passed; with 0 it is the wall clock.
    pub fn new(hours: f64, run: Duration) -> Self {
        let behind = Duration::from_secs_f64(hours * 3600.0);
        let since_ms = wall_ms() - behind.as_millis() as i64;
        Self { since_ms, started: Instant::now(), speed: 1.0 + behind.as_secs_f64() / run.as_secs_f64() }
    }

    /// No sample is older.
    pub fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// Never beyond the wall clock, or nodes would refuse it.
    pub fn now_ms(&self) -> i64 {
        (self.since_ms + self.of(self.started.elapsed())).min(wall_ms())
    }

    /// How many of its milliseconds pass meanwhile, at least.
    pub fn of(&self, real: Duration) -> i64 {
        (real.as_secs_f64() * 1000.0 * self.speed) as i64
    }
}

/// The wall clock in milliseconds.
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_begins_early_and_stops_at_the_wall() {
        let clock = SampleClock::new(2.0, Duration::from_secs(100));
        assert_eq!(clock.of(Duration::from_secs(1)), 73_000);
        let behind = wall_ms() - clock.now_ms();
        assert!((7_000_000..=7_200_000).contains(&behind), "{behind}");
        let done = SampleClock::new(2.0, Duration::from_nanos(1));
        assert!(done.now_ms() <= wall_ms());
    }
}
