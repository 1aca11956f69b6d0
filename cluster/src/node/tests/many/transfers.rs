//! Leads that are handed over.

use super::*;
use crate::group::TransferError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lead_is_handed_over_under_load_and_nothing_is_lost() {
    let town = Arc::new(Town::of(&[1, 2, 3], 1).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (1..=3u64)
        .flat_map(|node| (0..4).map(move |writer| (node, writer)))
        .map(|(node, writer)| {
            let (town, stop) = (Arc::clone(&town), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acked = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let command = Bytes::from(format!("{node} {writer} {}", acked.len()));
                    town.propose(node, 0, command.clone()).await.unwrap();
                    acked.push(command);
                }
                acked
            })
        })
        .collect();
    for round in 0..6 {
        let from = town.leader(0).await;
        let to = 1 + (from + round) % 3;
        let enough = town.commands(from, 0).len() + 50;
        eventually(async || town.commands(from, 0).len() > enough).await;
        town.group(from, 0).transfer(to).await.unwrap();
        assert_eq!(town.leader(0).await, to);
    }
    stop.store(true, Ordering::SeqCst);
    let mut acked: Vec<Bytes> = Vec::new();
    for writer in writers {
        acked.extend(writer.await.unwrap());
    }
    acked.sort();
    let mut found = town.commands(town.leader(0).await, 0);
    found.sort();
    assert_eq!(found, acked, "each once, none else");
    Arc::into_inner(town).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lead_that_cannot_be_handed_over_stays() {
    let town = Town::of(&[1, 2, 3], 1).await;
    let group = town.group(1, 0);
    assert_eq!(group.transfer(9).await, Err(TransferError::NotVoter { node: 9 }));
    assert_eq!(town.group(2, 0).transfer(3).await, Err(TransferError::NotLeader { leader: Some(1) }));
    group.transfer(1).await.unwrap();
    town.web.isolate(3);
    town.propose(1, 0, "not at 3").await.unwrap();
    let refused = group.transfer(3).await.unwrap_err();
    assert!(matches!(refused, TransferError::Behind { node: 3, .. }), "{refused}");
    town.propose(2, 0, "goes on").await.unwrap();
    assert!(group.standing().leads);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_voters_too_one_gets_the_lead() {
    let town = Town::of(&[1, 2, 3, 4, 5], 1).await;
    town.propose(3, 0, "x").await.unwrap();
    town.group(1, 0).transfer(4).await.unwrap();
    assert_eq!(town.leader(0).await, 4);
    town.propose(1, 0, "y").await.unwrap();
    town.stop().await;
}
