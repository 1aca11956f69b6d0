//! Nodes whose disks were damaged while they were away.

use super::*;
use crate::log::entry::GroupId;
use crate::log::segment::{self, Place, Scan};
use crate::meta::Cluster;
use crate::node::NodeDir;

/// Flips a bit of a record in a segment of a node that does not run.
fn flip(village: &Village, port: u16, segment: u64, which: impl FnOnce(&Scan<'_>) -> u32) {
    let path = segment::path(Path::new("/node/log"), segment);
    let mut bytes = village.sims[&port].content(&path).unwrap();
    let at = which(&segment::scan(&bytes, segment, Place::Last)) as usize;
    bytes[at + 30] ^= 1;
    village.sims[&port].put(&path, bytes);
}

/// So much that the first segment ends.
async fn fill_a_segment(village: &Village) -> Vec<String> {
    let large: Vec<String> = (0..6).map(|at| at.to_string().repeat(15_000)).collect();
    for command in &large {
        village.write(1, command).await;
    }
    let expected: Vec<&str> = large.iter().map(String::as_str).collect();
    village.has(&[1, 2, 3], &expected).await;
    large
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_replica_of_a_partition_is_made_anew_by_itself() {
    let ports = [1, 2, 3];
    let mut village = Village::of(&ports).await;
    let mut written = fill_a_segment(&village).await;
    let id = village.id(3);
    village.kill(3).await;
    let of_partition = |scan: &Scan<'_>| {
        let of_it = scan.records.iter().filter(|(_, record)| record.group == GroupId(2));
        of_it.map(|(at, _)| *at).next_back().unwrap()
    };
    flip(&village, 3, 1, of_partition);
    village.start(vec![listed(3, &ports)]).await;
    assert_eq!(village.id(3), id);
    assert!(village.members[&3].node().recovery().damage.has(GroupId(2)));
    let healed = async || village.members[&3].node().damaged_replicas().is_empty();
    eventually("the replica is dropped", healed).await;
    village.rests(&ports).await;
    village.write(3, "y").await;
    written.push("y".to_owned());
    village.has(&ports, &written.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let topology = Arc::clone(&village.members[&1].node().meta().topology().borrow());
    let least = topology.placement.iter().map(|placed| placed.epoch).min();
    assert!(topology.placement[1].epoch >= least.unwrap() + 2, "out and in again: {:?}", topology.placement);
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_metadata_may_be_damaged_comes_back_as_another() {
    let ports = [1, 2, 3];
    let mut village = Village::of(&ports).await;
    let mut written = fill_a_segment(&village).await;
    let old = village.id(3);
    village.kill(3).await;
    let newest = (1..99)
        .take_while(|number| village.sims[&3].content(&segment::path(Path::new("/node/log"), *number)).is_some());
    // Nothing comes after it that tells whose record it was.
    let newest = newest.last().unwrap();
    flip(&village, 3, newest, |scan| scan.records[0].0);
    village.start(vec![listed(3, &ports)]).await;
    assert_ne!(village.id(3), old);
    village.rests(&ports).await;
    village.write(3, "y").await;
    written.push("y".to_owned());
    village.has(&ports, &written.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let topology = Arc::clone(&village.members[&1].node().meta().topology().borrow());
    assert_eq!(topology.state(old), Some(MemberState::Removed));
    // It stays the one that it is now.
    let now = village.id(3);
    village.kill(3).await;
    village.start(vec![listed(3, &ports)]).await;
    assert_eq!(village.id(3), now);
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_gives_its_name_up_is_not_held_up_by_a_crash() {
    let sim = Sim::new();
    let dir = |sim: &Sim| NodeDir::lock(Arc::new(sim.clone()), Path::new("/node")).unwrap();
    assert_eq!(dir(&sim).node_id(1).unwrap(), 1);
    let log = segment::path(Path::new("/node/log"), 1);
    sim.put(&log, vec![0; 10]);
    sim.put(Path::new("/node/log/damaged.json"), b"{}".to_vec());
    let through = vec![address(2)];
    let cluster = Cluster { id: "0".repeat(32), name: "test".to_owned(), partitions: 1 };
    for operations in 0..40 {
        let sim = sim.kill();
        let mut locked = dir(&sim);
        sim.lose_power_after(operations, operations);
        let told = locked.begin_anew(9, through.clone());
        let done = told.is_ok() && locked.join(&cluster).is_ok();
        let sim = sim.reboot(operations);
        let mut found = dir(&sim);
        let is_new = found.node_id(5).unwrap() == 9;
        assert_eq!(found.comes_back_through(), if is_new { &through[..] } else { &[] });
        assert!(told.is_err() || is_new);
        // What it had is there until the cluster has taken it in, and then not any more.
        let has_joined = found.cluster().is_some();
        assert!(!done || has_joined);
        assert!(is_new || sim.content(&log).is_some(), "{operations}");
        assert!(!has_joined || sim.content(&log).is_none(), "{operations}");
        // However far it came, the next one is taken in as well.
        found.join(&cluster).unwrap();
        assert!(!is_new || sim.content(&log).is_none(), "{operations}");
    }
}
