//! Followers that lag: they get the log, or a copy of the store where the log is gone.

use super::*;

/// Writes while a node is away, and drops the log that it lacks if told so.
async fn leave_behind(town: &Town, away: NodeId, drop_log: bool) -> Vec<Bytes> {
    town.web.isolate(away);
    for command in numbered(100) {
        town.propose(1, 0, command).await.unwrap();
    }
    for node in [1, 2] {
        town.wait_for_commands(node, 0, &numbered(100)).await;
        if drop_log {
            town.group(node, 0).checkpoint().await.unwrap();
        }
    }
    numbered(100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lags_gets_the_log() {
    let town = Town::of(&[1, 2, 3], 1).await;
    let expected = leave_behind(&town, 3, false).await;
    assert!(town.commands(3, 0).is_empty());
    town.web.heal();
    town.wait_for_commands(3, 0, &expected).await;
    assert_eq!(town.running(3).metrics.raft.snapshots_received.get(), 0);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lacks_what_is_dropped_gets_a_copy_and_keeps_it() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    let mut expected = leave_behind(&town, 3, true).await;
    town.web.heal();
    town.wait_for_commands(3, 0, &expected).await;
    eventually(async || town.running(3).metrics.raft.snapshots_received.get() == 1).await;
    assert_eq!(town.running(3).metrics.raft.replayed_entries.get(), 0);
    town.propose(3, 0, "after").await.unwrap();
    expected.push(Bytes::from("after"));
    town.wait_for_commands(3, 0, &expected).await;
    let term = town.group(1, 0).standing().term;
    for seed in 0..3 {
        town.kill(3, Some(seed)).await;
        town.start(3, Start::Join).await;
        town.wait_for_commands(3, 0, &expected).await;
    }
    assert_eq!(town.group(1, 0).standing().term, term, "whoever takes a copy in does not stand");
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_while_a_copy_is_taken_in_leaves_a_replica_that_opens() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    let mut expected = Vec::new();
    for operations in 0..12 {
        town.web.isolate(3);
        let before = expected.len();
        for at in 0..10 {
            expected.push(Bytes::from(format!("command {operations} {at}")));
            town.propose(1, 0, expected.last().unwrap().clone()).await.unwrap();
        }
        for node in [1, 2] {
            town.wait_for_commands(node, 0, &expected).await;
            town.group(node, 0).checkpoint().await.unwrap();
        }
        town.sims[&3].lose_power_after(operations, operations);
        town.web.heal();
        tokio::select! {
            () = until_dark(&town.sims[&3]) => {},
            () = town.wait_for_commands(3, 0, &expected) => {},
        }
        town.web.isolate(3);
        town.kill(3, Some(operations)).await;
        town.start(3, Start::Join).await;
        let found = town.commands(3, 0).len();
        assert!(found == before || found == expected.len(), "{found} commands after {operations} operations");
        town.web.heal();
        town.wait_for_commands(3, 0, &expected).await;
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_replica_begins_with_a_copy() {
    let mut town = Town::of(&[1, 2], 1).await;
    for command in numbered(50) {
        town.propose(2, 0, command).await.unwrap();
    }
    for node in [1, 2] {
        town.wait_for_commands(node, 0, &numbered(50)).await;
        town.group(node, 0).checkpoint().await.unwrap();
    }
    town.join(3).await;
    town.take_in(3, 0).await;
    town.wait_for_commands(3, 0, &numbered(50)).await;
    eventually(async || town.running(3).metrics.raft.snapshots_received.get() == 1).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_copy_covers_is_not_in_flight_any_more() {
    let town = Town::of(&[1, 2, 3], 1).await;
    let old = town.leader(0).await;
    let others: Vec<NodeId> = [1, 2, 3].into_iter().filter(|&node| node != old).collect();
    town.web.isolate(old);
    for command in ["a", "b"] {
        // As many as may be in flight, and nobody hears of them.
        let sending = patient(Duration::from_millis(100));
        town.node(old).propose(PartitionId(0), Bytes::from(command), sending).await.unwrap_err();
    }
    let new = town.leader_among(&others, 0).await;
    let mut expected = numbered(100);
    for command in expected.clone() {
        town.propose(new, 0, command).await.unwrap();
    }
    for &node in &others {
        town.wait_for_commands(node, 0, &expected).await;
        town.group(node, 0).checkpoint().await.unwrap();
    }
    town.web.heal();
    eventually(async || town.running(old).metrics.raft.snapshots_received.get() == 1).await;
    eventually(async || town.group(new, 0).transfer(old).await.is_ok()).await;
    town.propose(old, 0, "after").await.unwrap();
    expected.push(Bytes::from("after"));
    town.wait_for_commands(new, 0, &expected).await;
    eventually(async || town.group(old, 0).transfer(new).await.is_ok()).await;
    town.stop().await;
}
