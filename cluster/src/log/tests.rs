//! What the log promises, tried on a simulated disk.

mod durability;
mod faults;
mod formats;
mod power_loss;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use pharos_model::clock::ManualClock;
use prometheus::Registry;

use super::entry::{Entry, GroupId, LogId, Payload};
use super::{GroupHandle, Log, LogError, LogOptions, RecoveryReport};
use crate::fs::Fs;
use crate::fs::sim::Sim;
use crate::metrics::Metrics;

const DIR: &str = "/node/log";

fn dir() -> PathBuf {
    PathBuf::from(DIR)
}

/// Segments of 64 KiB, so that tests pass through many.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        first_segment_bytes: 64 << 10,
        record_bytes_max: 8 << 10,
        retry_interval: Duration::from_millis(1),
        ..LogOptions::default()
    }
}

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

fn try_open(sim: &Sim, options: LogOptions) -> Result<(Log, RecoveryReport), super::OpenError> {
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    Log::open(fs, Path::new(DIR), options, Arc::new(ManualClock::default()), metrics().log)
}

fn open(sim: &Sim) -> (Log, RecoveryReport) {
    try_open(sim, small()).unwrap()
}

fn command_entry(index: u64, command: &[u8]) -> Entry {
    let payload = Payload::Commands(vec![Bytes::copy_from_slice(command)]);
    Entry { id: LogId { term: 1, node: 7, index }, payload }
}

/// Something asked of the log, to be waited for.
struct Pending {
    receiver: mpsc::Receiver<Result<(), LogError>>,
    outcome: std::cell::OnceCell<Result<(), LogError>>,
}

impl Pending {
    fn of(ask: impl FnOnce(super::Done)) -> Self {
        let (done, receiver) = mpsc::channel();
        ask(Box::new(move |result| drop(done.send(result))));
        Self { receiver, outcome: std::cell::OnceCell::new() }
    }

    fn wait(self) -> Result<(), LogError> {
        let wait = || self.receiver.recv().expect("the log answers every request");
        self.outcome.get_or_init(wait).clone()
    }

    fn is_open(&self) -> bool {
        if let Ok(outcome) = self.receiver.try_recv() {
            self.outcome.set(outcome).expect("a request is answered once");
        }
        self.outcome.get().is_none()
    }
}

fn append(group: &GroupHandle, entries: Vec<Entry>) -> Pending {
    Pending::of(|done| group.append(entries, done))
}

fn append_commands(group: &GroupHandle, indexes: std::ops::Range<u64>, bytes: usize) {
    let entries = indexes.map(|index| command_entry(index, &vec![index as u8; bytes])).collect();
    append(group, entries).wait().unwrap();
}

fn indexes(group: &GroupHandle) -> Vec<u64> {
    group.read(0, u64::MAX).unwrap().iter().map(|entry| entry.id.index).collect()
}

fn group(log: &Log, id: u32) -> GroupHandle {
    log.group(GroupId(id))
}
