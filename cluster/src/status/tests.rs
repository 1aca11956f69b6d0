use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::controller::NodeReport;
use crate::meta::{Move, NodeSpec};

fn spec(id: NodeId) -> NodeSpec {
    NodeSpec { id, peer: format!("node-{id}:1"), http: format!("node-{id}:2"), zone: "z".to_owned() }
}

/// Two partitions on nodes 1 and 2; node 3 is there.
fn topology() -> Topology {
    let cluster = Cluster { id: "1f".to_owned(), name: "one".to_owned(), partitions: 2 };
    let mut topology = Topology { cluster: Some(cluster), ..Topology::default() };
    topology.found(spec(1), 5);
    for id in [2, 3] {
        topology.put(spec(id), None, false, 6).unwrap();
    }
    for partition in 0..2 {
        let moving = Move { add: Some(2), remove: None };
        topology.begin_move(partition, 1, moving).unwrap();
        topology.finish_move(partition, 1, moving).unwrap();
    }
    topology
}

fn report(leader: NodeId) -> GroupReport {
    GroupReport {
        leader,
        term: 3,
        config: 4,
        voters: BTreeSet::from([1, 2]),
        learners: BTreeSet::new(),
        settled: true,
        last: 100,
        matched: BTreeMap::from([(1, 100), (2, 90)]),
    }
}

fn observed() -> Observed {
    let node = |silence| NodeReport {
        silence: Duration::from_millis(silence),
        revision: 9,
        replicas: BTreeSet::new(),
        damaged: BTreeSet::new(),
        leaving: false,
    };
    Observed {
        meta: Some(report(1)),
        partitions: BTreeMap::from([(PartitionId(0), report(1)), (PartitionId(1), report(1))]),
        nodes: BTreeMap::from([(1, node(0)), (2, node(100)), (3, node(60_000))]),
    }
}

fn status(topology: &Topology, observed: &Observed) -> ClusterStatus {
    ClusterStatus::of(topology, observed, &Limits::default())
}

#[test]
fn nodes_are_told_with_what_they_do() {
    let status = status(&topology(), &observed());
    let nodes: Vec<_> =
        status.nodes.iter().map(|node| (node.id.as_str(), node.alive, node.leaders, node.replicas)).collect();
    let expected =
        [("0000000000000001", true, 2, 2), ("0000000000000002", true, 0, 2), ("0000000000000003", false, 0, 0)];
    assert_eq!(nodes, expected);
    assert_eq!(status.nodes[2].silence_ms, Some(60_000));
    assert_eq!(status.metadata.leader, Some(1.into()));
    assert_eq!(status.nodes[0].id.id(), Some(1));
}

#[test]
fn a_partition_is_as_good_as_its_replicas() {
    let (mut topology, mut observed) = (topology(), observed());
    let states = |topology: &Topology, observed: &Observed| {
        status(topology, observed).partitions.iter().map(|partition| partition.state).collect::<Vec<_>>()
    };
    assert_eq!(states(&topology, &observed), [PartitionState::Ok, PartitionState::Ok]);
    for report in observed.partitions.values_mut() {
        report.voters.insert(3);
    }
    observed.nodes.get_mut(&2).unwrap().silence = Duration::from_secs(30);
    observed.nodes.get_mut(&3).unwrap().silence = Duration::ZERO;
    observed.partitions.remove(&PartitionId(1));
    assert_eq!(states(&topology, &observed), [PartitionState::Degraded, PartitionState::NoLeader]);
    topology.remove(2, true, 7).unwrap();
    assert_eq!(states(&topology, &observed), [PartitionState::Degraded, PartitionState::Lost]);
    observed.nodes.get_mut(&3).unwrap().silence = Duration::from_secs(30);
    assert_ne!(states(&topology, &observed)[0], PartitionState::Degraded, "who leads is cut off from the others");
}

#[test]
fn a_move_and_its_lag_are_told() {
    let (mut topology, mut observed) = (topology(), observed());
    topology.begin_move(0, 2, Move { add: Some(3), remove: Some(2) }).unwrap();
    let with_learner = observed.partitions.get_mut(&PartitionId(0)).unwrap();
    with_learner.matched.insert(3, 40);
    let partition = status(&topology, &observed).partitions.remove(0);
    let add = ReplicaStatus { node: 3.into(), lag: Some(60) };
    assert_eq!(partition.moving, Some(MoveStatus { add: Some(add), remove: Some(2.into()) }));
    assert_eq!(partition.replicas[1], ReplicaStatus { node: 2.into(), lag: Some(10) });
    assert_eq!(status(&topology, &observed).nodes[2].coming, 1);
}

#[test]
fn a_drain_tells_what_is_left_until_nothing_is() {
    let (mut topology, mut observed) = (topology(), observed());
    topology.drain(2, 8).unwrap();
    topology.begin_move(0, 2, Move { add: Some(3), remove: Some(2) }).unwrap();
    let drain = status(&topology, &observed).drains.remove(0);
    assert_eq!((drain.leaders_left, drain.replicas_left, drain.moving, drain.done), (0, 2, 1, false));
    assert!(drain.votes_in_metadata);

    topology.finish_move(0, 2, Move { add: Some(3), remove: Some(2) }).unwrap();
    topology.begin_move(1, 2, Move { add: Some(3), remove: Some(2) }).unwrap();
    topology.finish_move(1, 2, Move { add: Some(3), remove: Some(2) }).unwrap();
    let mut with_voters = |leader, voters: [NodeId; 2]| {
        let meta = observed.meta.as_mut().unwrap();
        (meta.leader, meta.voters) = (leader, BTreeSet::from(voters));
        status(&topology, &observed).drains[0].done
    };
    assert!(!with_voters(1, [1, 2]), "another node is to have its vote in the metadata group");
    assert!(with_voters(1, [1, 3]));
    observed.meta.as_mut().unwrap().voters = BTreeSet::from([1, 2, 3]);
    assert!(status(&topology, &observed).drains[0].done, "all others vote already");
    observed.meta.as_mut().unwrap().leader = 2;
    assert!(!status(&topology, &observed).drains[0].done, "it hands the lead over");
    observed.meta = None;
    assert!(!status(&topology, &observed).drains[0].done, "nobody knows whether it votes");
}

#[test]
fn it_is_json_that_reads_back() {
    let mut topology = topology();
    topology.drain(2, 8).unwrap();
    let status = status(&topology, &observed());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["partitions"][0]["replicas"][0]["node"], "0000000000000001");
    assert_eq!(json["nodes"][1]["state"], "draining");
    assert_eq!(serde_json::from_value::<ClusterStatus>(json).unwrap(), status);
    let nobody = ClusterStatus::of(&Topology::default(), &Observed::default(), &Limits::default());
    assert_eq!(serde_json::to_value(&nobody).unwrap()["cluster"], serde_json::Value::Null);
}

#[test]
fn short_names_are_told_apart() {
    let names = [0x1234_5678_0000_0001, 0x1234_5678_0a00_0002, 3].map(NodeName::from);
    let short: Vec<&str> = names.iter().map(|name| name.short(names.iter())).collect();
    assert_eq!(short, ["1234567800", "123456780a", "00000000"]);
}
