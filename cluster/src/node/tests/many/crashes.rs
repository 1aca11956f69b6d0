//! Nodes that lose power under load: what was answered is there.

use super::*;
use crate::fs::sim::Random;

/// Writes from all nodes until stopped; returns what was answered.
async fn write(town: &Town, nodes: &[NodeId], count: usize, serial: &mut u64) -> Vec<Bytes> {
    let mut acked = Vec::new();
    for _ in 0..count {
        *serial += 1;
        let command = Bytes::from(format!("command {serial}"));
        let node = nodes[*serial as usize % nodes.len()];
        let sending = Sending { repeat: Repeat::Harmless, ..patient(SOON) };
        town.node(node).propose(PartitionId(0), command.clone(), sending).await.unwrap();
        acked.push(command);
    }
    acked
}

fn assert_holds(found: &[Bytes], acked: &[Bytes]) {
    let missing: Vec<_> = acked.iter().filter(|command| !found.contains(command)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_after_another_loses_power_and_nothing_answered_is_lost() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    let (mut acked, mut serial) = (Vec::new(), 0);
    for round in 0..6u64 {
        acked.extend(write(&town, &[1, 2, 3], 20, &mut serial).await);
        // The leader as often as others.
        let leader = town.leader(0).await;
        let victim = 1 + (leader - 1 + round) % 3;
        if round % 2 == 0 {
            town.group(victim, 0).checkpoint().await.unwrap();
        }
        town.kill(victim, Some(round)).await;
        let others: Vec<NodeId> = (1..=3).filter(|&node| node != victim).collect();
        acked.extend(write(&town, &others, 20, &mut serial).await);
        town.start(victim, Start::Join).await;
        eventually(async || town.commands(victim, 0).len() >= acked.len()).await;
        assert_holds(&town.commands(victim, 0), &acked);
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_lose_power_at_once_in_the_middle_of_writes_and_nothing_answered_is_lost() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    let (mut acked, mut serial) = (Vec::new(), 0);
    for round in 0..5u64 {
        let mut random = Random(round);
        acked.extend(write(&town, &[1, 2, 3], 10, &mut serial).await);
        // In the middle of an operation of each, perhaps of a segment that is begun.
        for sim in town.sims.values() {
            sim.lose_power_after(random.below(60), random.below(u64::MAX));
        }
        let writing = async {
            loop {
                serial += 1;
                let command = Bytes::from(format!("command {serial}"));
                let sending = patient(Duration::from_millis(500));
                if town.node(1 + serial % 3).propose(PartitionId(0), command.clone(), sending).await.is_ok() {
                    acked.push(command);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // With two gone the third has nothing more to do; its power goes too.
        let dark = eventually(async || town.sims.values().filter(|sim| sim.is_dark()).count() >= 2);
        tokio::select! { () = writing => {}, () = dark => {} }
        for node in 1..=3 {
            town.kill(node, Some(round)).await;
        }
        town.start_all(&[3, 1, 2]).await;
        let leader = town.leader(0).await;
        town.propose(2, 0, format!("round {round}")).await.unwrap();
        for node in 1..=3 {
            eventually(async || town.commands(node, 0).last() == Some(&Bytes::from(format!("round {round}")))).await;
            assert_holds(&town.commands(node, 0), &acked);
        }
        let all: Vec<_> = (1..=3).map(|node| town.commands(node, 0)).collect();
        assert!(all[0] == all[1] && all[1] == all[2], "led by {leader}: replicas differ");
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_takes_no_writes_is_replaced() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.propose(1, 0, "before").await.unwrap();
    town.sims[&1].set_write_error(Some(std::io::ErrorKind::Other));
    // Its metadata group is what holds the log up; the partition's has nothing in flight.
    let held = town.node(1).meta_group();
    let held = tokio::spawn(async move { held.proposer().propose(Bytes::from("held")).await });
    let next = town.leader_among(&[2, 3], 0).await;
    // Until it hears of the other, the old one says that its disk is full: certainly not written.
    eventually(async || match town.propose(2, 0, "after").await {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error, ProposeError::DiskFull { .. }), "{error}");
            false
        }
    })
    .await;
    town.sims[&1].set_write_error(None);
    town.wait_for_commands(1, 0, &[Bytes::from("before"), Bytes::from("after")]).await;
    assert_eq!(town.group(1, 0).standing().leader, Some(next));
    drop(held.await);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_entries_others_count_on_does_not_take_part() {
    let mut town = Town::of(&[1, 2, 3], 2).await;
    for command in numbered(3) {
        town.propose(1, 0, command).await.unwrap();
    }
    town.wait_for_commands(3, 0, &numbered(3)).await;
    // So much that the first segment ends, and the next one tells how many records each group had in it.
    let large: Vec<Bytes> = (0..20).map(|at| Bytes::from(vec![at; 15_000])).collect();
    for command in &large {
        town.propose(1, 1, command.clone()).await.unwrap();
    }
    town.wait_for_commands(3, 1, &large).await;
    town.kill(3, None).await;
    let path = segment::path(Path::new("/node/log"), 1);
    let mut bytes = town.sims[&3].content(&path).unwrap();
    let victim = {
        let scan = segment::scan(&bytes, 1, segment::Place::Inner);
        let entries = scan.records.iter().filter(|(_, r)| r.group == GroupId(1) && r.kind == Kind::Entry);
        // The last of it: no gap shows that it is gone.
        entries.map(|(at, _)| *at as usize).next_back().unwrap()
    };
    bytes[victim + 30] ^= 1;
    town.sims[&3].put(&path, bytes);
    town.start(3, Start::Join).await;
    let damaged = |town: &Town| town.node(3).damaged_replicas().into_iter().collect::<Vec<_>>();
    assert_eq!(damaged(&town), [PartitionId(0)]);
    // The log is repaired by now, and does not show it any more.
    town.kill(3, Some(1)).await;
    town.start(3, Start::Join).await;
    assert_eq!(damaged(&town), [PartitionId(0)]);
    assert!(town.node(3).replica(PartitionId(0)).is_none() && town.node(3).replica(PartitionId(1)).is_some());
    town.propose(3, 0, "on").await.unwrap();

    // Out of the group, made anew, in again.
    town.group(town.leader(0).await, 0).remove(3).await.unwrap();
    town.node(3).drop_replica(PartitionId(0), 0).await.unwrap();
    assert!(damaged(&town).is_empty());
    town.take_in(3, 0).await;
    let mut expected = numbered(3);
    expected.push(Bytes::from("on"));
    town.wait_for_commands(3, 0, &expected).await;
    town.stop().await;
}
