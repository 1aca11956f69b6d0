//! Read points: what they cost, and that they are never stale.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;
use crate::fs::sim::Random;
use crate::peers::method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_write_sees_it_on_every_node() {
    let town = Town::of(&[1, 2, 3], 1).await;
    for (at, command) in numbered(30).into_iter().enumerate() {
        let (writer, reader) = (1 + at as u64 % 3, 1 + at as u64 / 3 % 3);
        town.propose(writer, 0, command.clone()).await.unwrap();
        let points = town.node(reader).read_points([PartitionId(0)], SOON).await;
        let index = points[&PartitionId(0)].clone().unwrap();
        town.group(reader, 0).wait_applied(index, SOON).await.unwrap();
        assert_eq!(town.commands(reader, 0).last(), Some(&command));
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_points_of_many_partitions_cost_one_call_for_each_pair_of_nodes() {
    let town = Town::of(&[1, 2, 3], 8).await;
    let all = || (0..8).map(PartitionId);
    let sent = || (town.web.sent(method::READ_POINTS), town.web.sent(method::CONFIRM), town.web.sent(method::APPEND));
    let first = town.node(2).read_points(all(), SOON).await;
    assert!(first.values().all(Result::is_ok) && first.len() == 8, "{first:?}");
    let (points, confirms, _) = sent();
    town.node(2).read_points(all(), SOON).await;
    let (points, confirms) = (sent().0 - points, sent().1 - confirms);
    assert_eq!(points, 1);
    assert!((1..=2).contains(&confirms), "{confirms} calls to confirm");
    // At a leader, none but those to its voters, however many ask.
    let before = sent();
    let asked: Vec<_> = (0..50).map(|_| town.node(1).read_points(all(), SOON)).collect();
    futures::future::join_all(asked).await;
    assert_eq!(sent().0, before.0);
    assert!(sent().1 - before.1 <= 4, "{} calls to confirm", sent().1 - before.1);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_its_voters_gives_no_read_point() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.web.cut_one_way(2, 1);
    let points = town.node(1).read_points([PartitionId(0)], SOON).await;
    points[&PartitionId(0)].clone().unwrap();
    town.web.isolate(1);
    let points = town.node(1).read_points([PartitionId(0)], Duration::from_millis(500)).await;
    points[&PartitionId(0)].clone().unwrap_err();
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_started_again_in_its_term_reads_all_that_it_answered() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    for round in 1..=5 {
        let leader = town.leader(0).await;
        for command in numbered(10) {
            town.propose(leader, 0, command).await.unwrap();
        }
        town.kill(leader, None).await;
        town.start(leader, Start::Join).await;
        let points = town.node(leader).read_points([PartitionId(0)], SOON).await;
        let index = points[&PartitionId(0)].clone().unwrap();
        town.group(leader, 0).wait_applied(index, SOON).await.unwrap();
        assert_eq!(town.commands(leader, 0).len(), round * 10);
    }
    town.stop().await;
}

/// Writers, readers, links that are cut, leads that change. A reader notes how many commands were answered before it asked; what it then
/// finds has to be at least as long.
async fn reads_are_never_stale(seed: u64) {
    let town = Arc::new(Town::of(&[1, 2, 3], 1).await);
    let acked = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for node in 1..=3u64 {
        let (town, acked, stop) = (Arc::clone(&town), Arc::clone(&acked), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let sending = patient(Duration::from_millis(700));
                let answer = town.node(node).propose(PartitionId(0), Bytes::from("x"), sending).await;
                if let Ok(position) = answer {
                    let position: u64 = String::from_utf8_lossy(&position).parse().unwrap();
                    acked.fetch_max(position, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }
    for node in 1..=3u64 {
        let (town, acked, stop, reads) = (Arc::clone(&town), Arc::clone(&acked), Arc::clone(&stop), Arc::clone(&reads));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let before = acked.load(Ordering::SeqCst);
                let points = town.node(node).read_points([PartitionId(0)], Duration::from_millis(700)).await;
                if let Ok(index) = points[&PartitionId(0)]
                    && town.group(node, 0).wait_applied(index, Duration::from_millis(700)).await.is_ok()
                {
                    let found = town.commands(node, 0).len() as u64;
                    assert!(found >= before, "seed {seed}, node {node}: {found} commands, {before} were answered");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }
    let delays = Mutex::new(Random(seed));
    town.web.set_hook(Some(Arc::new(move |_, _, _| {
        let ms = delays.lock().below(15);
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    })));
    let mut random = Random(seed);
    for _ in 0..12 {
        let (one, other) = (1 + random.below(3), 1 + random.below(3));
        match random.below(5) {
            0 => town.web.isolate(one),
            1 => town.web.cut_one_way(one, other),
            2 => {
                drop(tokio::time::timeout(Duration::from_millis(500), town.group(one, 0).transfer(other)).await);
            }
            _ => town.web.heal(),
        }
        tokio::time::sleep(Duration::from_millis(random.below(600))).await;
    }
    town.web.heal();
    let enough = reads.load(Ordering::SeqCst) + 20;
    eventually(async || reads.load(Ordering::SeqCst) > enough || tasks.iter().any(|task| task.is_finished())).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    Arc::into_inner(town).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_never_stale_whatever_is_cut() {
    for seed in 0..3 {
        reads_are_never_stale(seed).await;
    }
}
