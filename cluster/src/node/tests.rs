//! Whole nodes on a simulated disk: restarts, kills, power loss, full disks, checkpoints.

pub(crate) mod journal;
mod lingering;
mod many;
mod wakes;

use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pharos_model::TenantId;
use pharos_model::clock::SystemClock;
use prometheus::Registry;

use journal::Journal;

use super::*;
use crate::fs::sim::Sim;
use crate::log::record::Kind;
use crate::log::segment;
use crate::meta::{ManifestPointer, SwapError};
use crate::proposer::{ProposeError, Retry};

const PARTITIONS: u16 = 3;

/// A node with the stores of its partitions at hand.
#[derive(Debug)]
struct Running {
    node: Node,
    stores: Arc<Mutex<BTreeMap<PartitionId, Arc<Journal>>>>,
    metrics: Metrics,
}

impl Running {
    fn commands(&self, partition: u16) -> Vec<Bytes> {
        self.stores.lock()[&PartitionId(partition)].commands()
    }

    async fn propose(&self, partition: u16, command: impl Into<Bytes>) -> Result<Bytes, ProposeError> {
        self.node.proposer(PartitionId(partition)).propose(command.into()).await
    }
}

/// Stops the node and gives its directory back.
async fn stop(running: Running) {
    running.node.shutdown().await;
}

pub(crate) fn options(partitions: u16) -> NodeOptions {
    NodeOptions {
        partitions,
        fresh: FreshIds { node: 42, cluster: 7 },
        log: LogOptions {
            segment_bytes: 256 << 10,
            first_segment_bytes: 256 << 10,
            record_bytes_max: 32 << 10,
            retry_interval: Duration::from_millis(1),
            ..LogOptions::default()
        },
        proposer: ProposerOptions { entry_bytes_max: 16 << 10, ..ProposerOptions::default() },
        checkpoints: CheckpointPolicy::default(),
        leader_wait_max: Duration::from_secs(20),
        drain_max: Duration::from_secs(20),
        cluster: ClusterOptions::alone(),
        clock: Arc::new(SystemClock::default()),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    }
}

async fn try_start(sim: &Sim, options: NodeOptions) -> Result<Running, NodeError> {
    let dir = NodeDir::lock(Arc::new(sim.clone()), Path::new("/node"))?;
    let stores = Arc::new(Mutex::new(BTreeMap::new()));
    let metrics = options.metrics.clone();
    let (opened, sim) = (Arc::clone(&stores), sim.clone());
    let open: OpenPartition = Arc::new(move |partition| {
        let (machine, raft_state) = Journal::open(&sim, partition);
        opened.lock().insert(partition, Arc::clone(&machine));
        Ok(Restored { machine, raft_state })
    });
    let node = Node::open(dir, options, open).await?;
    Ok(Running { node, stores, metrics })
}

async fn start(sim: &Sim) -> Running {
    try_start(sim, options(PARTITIONS)).await.unwrap()
}

fn numbered(count: usize) -> Vec<Bytes> {
    (0..count).map(|at| Bytes::from(format!("command {at}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill_or_power_loss() {
    let sim = Sim::new();
    let running = start(&sim).await;
    for (at, command) in numbered(50).into_iter().enumerate() {
        assert_eq!(running.propose(1, command).await.unwrap(), (at + 1).to_string());
    }
    running.propose(2, "other").await.unwrap();
    for sim in [sim.kill(), sim.reboot(1), sim.reboot(2)] {
        let again = start(&sim).await;
        assert_eq!(again.commands(1), numbered(50));
        assert_eq!(again.commands(2), ["other"]);
        assert_eq!(again.node.node_id(), 42);
        assert_eq!(again.propose(1, "next").await.unwrap(), "51");
        stop(again).await;
    }
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_replaces_the_log_before_it() {
    let sim = Sim::new();
    let running = start(&sim).await;
    for command in numbered(30) {
        running.propose(0, command).await.unwrap();
    }
    let before = running.node.partition(PartitionId(0)).log_bytes();
    running.node.partition(PartitionId(0)).checkpoint().await.unwrap();
    assert!(before > 1000);
    assert_eq!(running.node.partition(PartitionId(0)).log_bytes(), 0);
    running.propose(0, "after").await.unwrap();
    stop(running).await;

    let again = start(&sim.reboot(5)).await;
    let mut expected = numbered(30);
    expected.push(Bytes::from("after"));
    assert_eq!(again.commands(0), expected);
    let replayed = again.metrics.raft.replayed_entries.get();
    assert!(replayed < 10, "{replayed} entries replayed, though a checkpoint covers 30");
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_group_drops_the_log_that_an_earlier_process_left() {
    let sim = Sim::new();
    let running = start(&sim).await;
    for command in numbered(30) {
        running.propose(0, command).await.unwrap();
    }
    // Killed when the checkpoint was on disk and the log not yet dropped.
    let killed = sim.kill();
    running.node.partition(PartitionId(0)).checkpoint().await.unwrap();
    let store = Path::new("/stores/0");
    killed.put(store, sim.content(store).unwrap());
    stop(running).await;

    let again = start(&killed).await;
    let group = again.node.partition(PartitionId(0));
    assert!(group.log_bytes() > 1000);
    group.checkpoint().await.unwrap();
    assert_eq!(group.log_bytes(), 0);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_keeps_the_log_small() {
    let sim = Sim::new();
    let mut options = options(PARTITIONS);
    options.checkpoints = CheckpointPolicy {
        group_bytes_max: 100 << 10,
        log_bytes_max: 512 << 10,
        tick: Duration::from_millis(2),
        ..CheckpointPolicy::default()
    };
    let running = try_start(&sim, options).await.unwrap();
    let mut sent = 0;
    // Idle groups hold the first segment with their first entries, so they must make checkpoints too.
    while running.metrics.raft.checkpoints.get() < 10 || running.node.log_bytes() > 768 << 10 {
        running.propose(0, vec![1; 8000]).await.unwrap();
        sent += 1;
        assert!(sent < 10_000, "the log has {} bytes", running.node.log_bytes());
    }
    assert_eq!(running.commands(0).len(), sent);
    stop(running).await;
    let again = start(&sim.kill()).await;
    assert_eq!(again.commands(0).len(), sent);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_checkpoint_leaves_the_group_and_its_log_as_they_were() {
    let sim = Sim::new();
    let running = start(&sim).await;
    running.propose(0, "kept").await.unwrap();
    let before = running.node.partition(PartitionId(0)).log_bytes();
    sim.set_space_left(Some(0));
    running.node.partition(PartitionId(0)).checkpoint().await.unwrap_err();
    assert_eq!(running.node.partition(PartitionId(0)).log_bytes(), before);
    sim.set_space_left(None);
    running.propose(0, "too").await.unwrap();
    running.node.partition(PartitionId(0)).checkpoint().await.unwrap();
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_wait_join_one_entry_and_two_are_in_flight() {
    let sim = Sim::new();
    let running = start(&sim).await;
    let entries_before = running.metrics.raft.entries.get();
    sim.hold_syncs(true);
    let proposer = running.node.proposer(PartitionId(0));
    let waiting: Vec<_> = numbered(100)
        .into_iter()
        .map(|command| {
            let proposer = proposer.clone();
            tokio::spawn(async move { proposer.propose(command).await })
        })
        .collect();
    while running.metrics.raft.proposals.get() < 101 {
        tokio::task::yield_now().await;
    }
    sim.hold_syncs(false);
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    let entries = running.metrics.raft.entries.get() - entries_before;
    assert!((2..=4).contains(&entries), "{entries} entries for 100 commands");
    assert!(running.stores.lock()[&PartitionId(0)].most_at_once() > 20);
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_takes_no_more_than_its_limits() {
    let sim = Sim::new();
    let mut options = options(1);
    options.proposer = ProposerOptions { queue_commands_max: 10, queue_bytes_max: 1000, ..options.proposer };
    let running = try_start(&sim, options).await.unwrap();
    sim.hold_syncs(true);
    let proposer = running.node.proposer(PartitionId(0)).clone();
    let propose = |bytes: usize| {
        let proposer = proposer.clone();
        tokio::spawn(async move { proposer.propose(Bytes::from(vec![0; bytes])).await })
    };
    let mut accepted = Vec::new();
    let refused = loop {
        let before = running.metrics.raft.proposals.get();
        let attempt = propose(10);
        while running.metrics.raft.proposals.get() == before && !attempt.is_finished() {
            tokio::task::yield_now().await;
        }
        if attempt.is_finished() {
            break attempt.await.unwrap().unwrap_err();
        }
        accepted.push(attempt);
        assert!(accepted.len() < 100, "the queue is not bounded");
    };
    assert!(matches!(refused, ProposeError::Overloaded { commands: 10, bytes: 100 }), "{refused}");
    assert_eq!(refused.retry(), Retry::Later);
    sim.hold_syncs(false);
    for accepted in accepted {
        accepted.await.unwrap().unwrap();
    }
    let refused = propose(20_000).await.unwrap().unwrap_err();
    assert_eq!((refused.retry(), refused), (Retry::Never, ProposeError::TooLarge { bytes: 20_000, max: 16 << 10 }));
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_tell_what_was_written_from_what_was_not() {
    let sim = Sim::new();
    let running = try_start(&sim, options(1)).await.unwrap();
    sim.hold_syncs(true);
    let proposer = running.node.proposer(PartitionId(0));
    let short = Duration::from_millis(20);
    // Two entries may be in flight, so the third command stays in the queue.
    let (first, second) = tokio::join!(proposer.propose_within(Bytes::from("a"), Duration::ZERO, short), async {
        tokio::task::yield_now().await;
        proposer.propose_within(Bytes::from("b"), Duration::ZERO, short).await
    });
    assert!(matches!(first, Err(ProposeError::OutcomeUnknown { .. })), "{first:?}");
    let third = proposer.propose_within(Bytes::from("c"), Duration::ZERO, short).await;
    let fourth = proposer.propose_within(Bytes::from("d"), Duration::ZERO, short).await;
    assert_eq!(fourth, Err(ProposeError::TimedOut { waited: short }), "{second:?} {third:?}");
    sim.hold_syncs(false);
    running.propose(0, "e").await.unwrap();
    let commands = running.commands(0);
    assert!(commands.contains(&Bytes::from("a")), "an unknown outcome may be that it was written");
    assert!(!commands.contains(&Bytes::from("d")), "a command that was taken back is never written");
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_commands_and_takes_them_again_without_a_restart() {
    let sim = Sim::new();
    let running = try_start(&sim, options(1)).await.unwrap();
    sim.set_space_left(Some(0));
    let mut written = 0;
    let refused = loop {
        match running.propose(0, vec![0; 8000]).await {
            Ok(_) => written += 1,
            Err(refused) => break refused,
        }
        assert!(written < 1000, "the disk never gets full");
    };
    assert!(matches!(refused, ProposeError::DiskFull { .. }), "{refused}");
    let points = running.node.read_points([PartitionId(0)], Duration::from_secs(20)).await;
    points[&PartitionId(0)].clone().unwrap();
    assert_eq!(running.commands(0).len(), written, "reads go on");

    sim.set_space_left(None);
    while running.propose(0, vec![0; 8000]).await.is_err() {
        tokio::task::yield_now().await;
    }
    stop(running).await;
    let again = try_start(&sim.reboot(3), options(1)).await.unwrap();
    assert_eq!(again.commands(0).len(), written + 1);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_told_and_nothing_more_is_acknowledged() {
    let sim = Sim::new();
    let running = start(&sim).await;
    while running.metrics.log.spare_segments.get() == 0 {
        tokio::task::yield_now().await;
    }
    sim.fail_next_sync();
    let lost = running.propose(0, "lost").await.unwrap_err();
    assert_eq!(lost.retry(), Retry::IfRepeatable, "{lost}");
    let reason = running.node.failed().await;
    assert!(reason.contains("sync of /node/log/") || reason.contains("group 1 ended"), "{reason}");
    for partition in 0..PARTITIONS {
        running.propose(partition, "more").await.unwrap_err();
    }
    stop(running).await;
    // A new process may go on with what is on disk.
    let again = start(&sim.reboot(1)).await;
    again.propose(0, "works").await.unwrap();
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_may_have_lost_something_ends_the_node() {
    let sim = Sim::new();
    let mut options = options(PARTITIONS);
    options.checkpoints =
        CheckpointPolicy { group_bytes_max: 0, tick: Duration::from_millis(1), ..CheckpointPolicy::default() };
    let running = try_start(&sim, options).await.unwrap();
    running.stores.lock()[&PartitionId(1)].lost.store(true, Ordering::SeqCst);
    running.propose(1, "x").await.unwrap();
    assert_eq!(
        running.node.failed().await,
        "group 2: the store may have lost what it wrote before a checkpoint: no sync"
    );
    stop(running).await;
    let again = start(&sim.kill()).await;
    assert_eq!(again.commands(1), ["x"]);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_partition_count_is_refused() {
    let sim = Sim::new();
    stop(start(&sim).await).await;
    let refused = try_start(&sim, options(PARTITIONS + 1)).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the cluster has 3 partitions since it was first started, 4 were asked for: the number cannot be changed"
    );
    let again = start(&sim).await;
    assert_eq!(again.node.cluster().partitions, PARTITIONS);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_cannot_have_one_directory() {
    let sim = Sim::new();
    let running = start(&sim).await;
    let refused = try_start(&sim, options(PARTITIONS)).await.unwrap_err().to_string();
    assert_eq!(refused, "/node is used by another process, which holds the lock file /node/lock");
    stop(running).await;
    stop(start(&sim).await).await;
}

#[test]
fn a_real_directory_is_locked_too() {
    let dir = tempfile::tempdir().unwrap();
    let first = NodeDir::lock(Arc::new(crate::fs::Disk), dir.path()).unwrap();
    let refused = NodeDir::lock(Arc::new(crate::fs::Disk), dir.path()).unwrap_err();
    assert!(matches!(refused, DirError::Locked { .. }), "{refused}");
    drop(first);
    NodeDir::lock(Arc::new(crate::fs::Disk), dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_is_gone_does_not_come_back_under_its_name() {
    let sim = Sim::new();
    stop(start(&sim).await).await;
    for path in sim.paths().iter().filter(|path| path.starts_with("/node/log")) {
        sim.delete(path);
    }
    let refused = try_start(&sim, options(PARTITIONS)).await.unwrap_err();
    assert!(matches!(refused, NodeError::LogMissing { node_id: 42, .. }), "{refused}");

    let sim = Sim::new();
    stop(start(&sim).await).await;
    sim.delete(Path::new("/node/node.json"));
    let refused = try_start(&sim, options(PARTITIONS)).await.unwrap_err();
    assert!(matches!(refused, NodeError::Dir(DirError::NoName { .. })), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_older_than_the_log_is_refused() {
    let sim = Sim::new();
    let running = start(&sim).await;
    running.propose(0, "x").await.unwrap();
    running.node.partition(PartitionId(0)).checkpoint().await.unwrap();
    running.propose(0, "y").await.unwrap();
    stop(running).await;
    sim.delete(Path::new("/stores/0"));
    let refused = try_start(&sim, options(PARTITIONS)).await.unwrap_err();
    assert!(matches!(refused, NodeError::Group(GroupError::CheckpointLost { .. })), "{refused}");
}

/// A log without power tries for ever.
async fn until_dark(sim: &Sim) {
    while !sim.is_dark() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_write_gives_up_its_start() {
    for operations in (0..40).step_by(4) {
        let sim = Sim::new();
        sim.lose_power_after(operations, operations);
        let mut options = options(1);
        options.leader_wait_max = Duration::from_millis(20);
        options.proposer.timeout = Duration::from_millis(20);
        options.drain_max = Duration::from_millis(20);
        try_start(&sim, options).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_write_still_stops() {
    let sim = Sim::new();
    let mut options = options(1);
    options.drain_max = Duration::from_millis(20);
    let running = try_start(&sim, options).await.unwrap();
    sim.set_write_error(Some(std::io::ErrorKind::Other));
    let proposer = running.node.proposer(PartitionId(0)).clone();
    let held = tokio::spawn(async move { proposer.propose(Bytes::from("held")).await });
    while running.metrics.log.stalled.get() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = running.propose(0, "refused").await.unwrap_err();
    assert!(matches!(refused, ProposeError::DiskFull { .. }), "{refused}");
    stop(running).await;
    assert_eq!(held.await.unwrap().unwrap_err().retry(), Retry::IfRepeatable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_at_any_moment_of_the_first_start_leaves_a_directory_that_starts() {
    for operations in (0..120).step_by(3) {
        let sim = Sim::new();
        sim.lose_power_after(operations, operations);
        tokio::select! {
            started = try_start(&sim, options(1)) => if let Ok(running) = started { stop(running).await },
            () = until_dark(&sim) => {}
        }
        let sim = sim.reboot(operations);
        let running = try_start(&sim, options(1)).await.unwrap();
        running.propose(0, "x").await.unwrap();
        stop(running).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_the_first_entries_starts_a_group_anew_and_leaves_the_others() {
    let sim = Sim::new();
    let running = start(&sim).await;
    for partition in 0..PARTITIONS {
        running.propose(partition, "x").await.unwrap();
    }
    stop(running).await;
    let path = segment::path(Path::new("/node/log"), 1);
    let mut bytes = sim.content(&path).unwrap();
    let victim = {
        let scan = segment::scan(&bytes, 1, segment::Place::Last);
        let first = scan.records.iter().find(|(_, record)| record.group == GroupId(2)).unwrap();
        first.0 as usize
    };
    bytes[victim + 30] ^= 1;
    sim.put(&path, bytes);
    let again = start(&sim).await;
    assert_eq!(again.node.recovery().quarantined.len(), 1);
    assert!(again.commands(1).is_empty());
    assert_eq!((again.commands(0), again.commands(2)), (vec![Bytes::from("x")], vec![Bytes::from("x")]));
    again.propose(1, "y").await.unwrap();
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_lost_entries_leads_in_a_new_term() {
    let sim = Sim::new();
    let running = start(&sim).await;
    for command in numbered(3) {
        running.propose(1, command).await.unwrap();
    }
    let term = |running: &Running, partition| running.node.partition(PartitionId(partition)).term();
    let before = [term(&running, 0), term(&running, 1)];
    stop(running).await;
    let path = segment::path(Path::new("/node/log"), 1);
    let mut bytes = sim.content(&path).unwrap();
    let victim = {
        let scan = segment::scan(&bytes, 1, segment::Place::Last);
        let of_group =
            scan.records.iter().filter(|(_, record)| record.group == GroupId(2) && record.kind == Kind::Entry);
        of_group.map(|(at, _)| *at as usize).nth_back(1).unwrap()
    };
    bytes[victim + 30] ^= 1;
    sim.put(&path, bytes);
    let again = start(&sim).await;
    assert_eq!(again.commands(1), numbered(1));
    // Nothing tells whose else records were there: each group leads in a new term.
    assert_eq!([term(&again, 0), term(&again, 1)], [before[0] + 1, before[1] + 1]);
    let terms = [term(&again, 0), term(&again, 1)];
    stop(again).await;
    let again = start(&sim).await;
    assert_eq!([term(&again, 0), term(&again, 1)], terms, "the damage is made up for");
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_pointers_swap_once_and_survive() {
    let sim = Sim::new();
    let running = start(&sim).await;
    let (meta, partition, tenant) = (running.node.meta(), PartitionId(2), TenantId::anonymous());
    assert_eq!(meta.manifests_of(&tenant, &[partition]).await.unwrap(), [None]);
    let first = ManifestPointer { version: 1, object: "a".to_owned() };
    assert_eq!(meta.swap_manifest(partition, &tenant, 0, "a".to_owned()).await.unwrap(), first);
    assert_eq!(meta.swap_manifest(partition, &tenant, 0, "a".to_owned()).await.unwrap(), first, "repeated");
    let lost = meta.swap_manifest(partition, &tenant, 0, "b".to_owned()).await.unwrap_err();
    assert_eq!(lost, SwapError::Conflict { current: Some(first.clone()) });
    let unknown = meta.swap_manifest(PartitionId(9), &tenant, 0, "a".to_owned()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the metadata group refused: partition 9 of 3");
    running.node.meta_group().checkpoint().await.unwrap();
    let second = meta.swap_manifest(partition, &tenant, 1, "b".to_owned()).await.unwrap();
    stop(running).await;

    let again = start(&sim.reboot(8)).await;
    assert_eq!(again.node.meta().manifests_of(&tenant, &[partition]).await.unwrap(), [Some(second)]);
    assert_eq!(again.node.meta().manifests().await.unwrap().len(), 1);
    assert_eq!(again.node.meta().cluster().await.unwrap().id, format!("{:032x}", 7));
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_opened_stops_the_start_and_frees_the_directory() {
    let sim = Sim::new();
    let dir = NodeDir::lock(Arc::new(sim.clone()), Path::new("/node")).unwrap();
    let refuse: OpenPartition = Arc::new(|partition| match partition.0 {
        1 => Err("no such store".into()),
        _ => {
            let (machine, raft_state) = Journal::open(&Sim::new(), partition);
            Ok(Restored { machine, raft_state })
        }
    });
    let error = Node::open(dir, options(PARTITIONS), refuse).await.unwrap_err();
    assert_eq!(error.to_string(), "opening the store of partition 1");
    stop(start(&sim).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_refuses_commands() {
    let sim = Sim::new();
    let running = start(&sim).await;
    running.node.shutdown().await;
    let refused = running.propose(0, "x").await.unwrap_err();
    assert!(matches!(refused, ProposeError::Stopped { .. }), "{refused}");
    assert!(running.node.meta().cluster().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_contradict_each_other_are_refused() {
    let mut options = options(1);
    options.proposer.entry_bytes_max = options.log.record_bytes_max as usize;
    let refused = try_start(&Sim::new(), options).await.unwrap_err().to_string();
    assert_eq!(refused, "entries of 32768 bytes do not fit records of 32768");
}
