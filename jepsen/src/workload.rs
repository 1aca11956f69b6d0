//! What clients do: write samples that are told apart, and read them back, through any node, at a bounded rate.

pub mod pace;
mod query;
mod readers;
mod writers;

pub use query::{count_query, read_query};
pub use readers::{count_until_stopped, read_everything, read_until_stopped};
pub use writers::{Writer, write_until_stopped};

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::client::Client;
use crate::history::Recorder;

/// A writer's series are numbered from a multiple of this on.
const SERIES_PER_WRITER_MAX: u32 = 1000;

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

/// Where a node's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub node: String,
    pub api: String,
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
    /// From when on samples are written.
    pub since_ms: i64,
}

impl Shared {
    /// Any of the nodes, alive or not.
    fn endpoint(&self, rng: &mut fastrand::Rng) -> Endpoint {
        let endpoints = self.endpoints.borrow();
        endpoints[rng.usize(..endpoints.len())].clone()
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

/// The wall clock in milliseconds: samples carry it.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
