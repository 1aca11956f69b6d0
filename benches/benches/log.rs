//! Commits of the log on the disk that holds the build folder: entries handed in, one write, one sync, the answers.
//!
//! One group tells what a lone writer waits for; with 24 groups, a node's partitions, one sync serves all entries. Mostly it is
//! the disk that is measured. An element is an entry.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pharos_cluster::fs::Disk;
use pharos_cluster::log::entry::{Entry, GroupId, LogId, Payload};
use pharos_cluster::log::{GroupHandle, Log, LogOptions};
use pharos_cluster::metrics::Metrics;
use pharos_model::clock::SystemClock;

/// Entries of a group after which all of them are purged, so that segments are recycled as on a running node.
const PURGE_EVERY: u64 = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("log_commit");
    for (groups, entry_bytes) in [(1, 2 << 10), (1, 64 << 10), (24, 2 << 10), (24, 64 << 10)] {
        commit(&mut group, groups, entry_bytes);
    }
    group.finish();
    criterion.final_summary();
}

fn commit(group: &mut BenchmarkGroup<'_, WallTime>, groups: u32, entry_bytes: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the log");
    let log = open(&dir.path().join("log"));
    let mut members: Vec<Member> =
        (0..groups).map(|id| Member { handle: log.group(GroupId(id)), next_index: 0 }).collect();
    let command = Bytes::from(vec![0x5a; entry_bytes]);
    let elements = u64::from(groups);
    group.throughput(Throughput::ElementsAndBytes { elements, bytes: elements * entry_bytes as u64 });
    group.bench_function(format!("{groups}_groups_{}_kib", entry_bytes >> 10), |bencher| {
        bencher.iter(|| {
            let (done, answers) = mpsc::channel();
            members.iter_mut().for_each(|member| member.append(command.clone(), done.clone()));
            drop(done);
            assert_eq!(answers.iter().count(), members.len());
        });
    });
}

fn open(dir: &Path) -> Log {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
    let clock = Arc::new(SystemClock::default());
    let opened = Log::open(Arc::new(Disk), dir, LogOptions::default(), clock, metrics.log);
    opened.expect("an empty folder").0
}

/// One group, its leader's side.
struct Member {
    handle: GroupHandle,
    next_index: u64,
}

impl Member {
    fn append(&mut self, command: Bytes, done: mpsc::Sender<()>) {
        let id = LogId { term: 1, node: 1, index: self.next_index };
        if id.index % PURGE_EVERY == PURGE_EVERY - 1 {
            self.handle.purge(LogId { index: id.index - 1, ..id });
        }
        self.next_index += 1;
        let answer = move |outcome: Result<(), _>| {
            outcome.expect("the disk takes it");
            done.send(()).expect("the answer is waited for");
        };
        self.handle.append(vec![Entry { id, payload: Payload::Commands(vec![command]) }], Box::new(answer));
    }
}
