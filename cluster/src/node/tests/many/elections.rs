//! Who leads, when nodes are cut off and come back.

use super::*;
use crate::peers::method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_nothing_and_another_takes_over() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.propose(2, 0, "before").await.unwrap();
    town.web.isolate(1);
    let lone = town.node(1).proposer(PartitionId(0));
    let lone = tokio::spawn(async move { lone.propose_within(Bytes::from("lone"), Duration::ZERO, SOON).await });
    let started = tokio::time::Instant::now();
    let next = town.leader_among(&[2, 3], 0).await;
    // Its followers are true to it for the longest election time, then each waits for up to as long; all in ticks.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?} without a leader", started.elapsed());
    assert_ne!(next, 1);
    town.propose(2, 0, "after").await.unwrap();
    assert!(!lone.is_finished());
    let stale = town.node(1).read_points([PartitionId(0)], Duration::from_millis(300)).await;
    stale[&PartitionId(0)].clone().unwrap_err();

    town.web.heal();
    let refused = lone.await.unwrap().unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused}");
    town.wait_for_commands(1, 0, &[Bytes::from("before"), Bytes::from("after")]).await;
    let standing = town.group(1, 0).standing();
    assert!(!standing.leads && standing.leader == Some(next), "{standing:?}");
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_comes_back_and_deposes_nobody() {
    let town = Town::of(&[1, 2, 3], 2).await;
    // It has to be the gate that keeps it quiet, not that it stood and lost.
    eventually(async || town.running(3).metrics.raft.gates_shut.get() == 0).await;
    let before: Vec<_> = (0..2).map(|partition| town.group(1, partition).standing()).collect();
    town.web.isolate(3);
    eventually(async || town.running(3).metrics.raft.gates_shut.get() == 3).await;
    let votes = town.web.sent(method::VOTE);
    // Long enough to have stood several times.
    tokio::time::sleep(TIMES.election_max * 6).await;
    assert_eq!(town.web.sent(method::VOTE), votes, "nobody stands");
    assert_eq!(town.group(3, 0).standing().term, before[0].term);
    town.propose(2, 0, "meanwhile").await.unwrap();
    town.web.heal();
    town.wait_for_commands(3, 0, &[Bytes::from("meanwhile")]).await;
    eventually(async || town.running(3).metrics.raft.gates_shut.get() == 0).await;
    heartbeats(10).await;
    let after: Vec<_> = (0..2).map(|partition| town.group(1, partition).standing()).collect();
    assert_eq!(after, before, "the leader is who it was, in its old term");
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_but_is_not_heard_is_replaced() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.web.cut_one_way(1, 2);
    town.web.cut_one_way(1, 3);
    assert_ne!(town.leader_among(&[2, 3], 0).await, 1);
    town.propose(2, 0, "on").await.unwrap();
    town.web.heal();
    town.wait_for_commands(1, 0, &[Bytes::from("on")]).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_bridge_between_two_that_do_not_hear_each_other_writes_go_on() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.web.cut(1, 2);
    for count in 1..=10 {
        town.propose(3, 0, format!("{count}")).await.unwrap();
    }
    town.web.heal();
    for node in [1, 2, 3] {
        eventually(async || town.commands(node, 0).len() == 10).await;
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_embeds_the_node_is_told_who_leads() {
    let town = Town::of(&[1, 2, 3], 1).await;
    let group = group_of(PartitionId(0));
    let mut standings = town.node(2).standings();
    let first =
        standings.wait_for(|all| all.get(&group).is_some_and(|s| s.leader == Some(1))).await.unwrap()[&group].term;
    town.web.isolate(1);
    let changed =
        standings.wait_for(|all| all[&group].leader.is_some_and(|leader| leader != 1) && all[&group].term > first);
    let leader = tokio::time::timeout(SOON, changed).await.unwrap().unwrap()[&group].leader;
    assert_eq!(leader, Some(town.leader_among(&[2, 3], 0).await));
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_and_entries_are_on_disk_before_they_are_answered_for() {
    let town = Town::of(&[1, 2, 3], 1).await;
    // Entries: nobody but the leader can write, so nothing is answered.
    eventually(async || (2..=3).all(|node| town.group(1, 0).caught_up(node, 0).unwrap())).await;
    for node in [2, 3] {
        town.sims[&node].hold_syncs(true);
    }
    let refused = town.node(1).propose(PartitionId(0), Bytes::from("held"), patient(TIMES.heartbeat * 4)).await;
    assert!(matches!(refused, Err(ProposeError::OutcomeUnknown { .. })), "{refused:?}");
    // Votes: with the leader gone, two could elect, but not without their disks.
    town.web.isolate(1);
    tokio::time::sleep(TIMES.election_max * 4).await;
    for node in [2, 3] {
        assert!(!town.group(node, 0).standing().leads, "node {node}");
        town.sims[&node].hold_syncs(false);
    }
    town.leader_among(&[2, 3], 0).await;
    town.stop().await;
}
