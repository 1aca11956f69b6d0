//! Commands whose senders can wait for company.

use futures::future::join_all;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_may_linger_share_an_entry_with_the_first_that_may_not() {
    let sim = Sim::new();
    let running = start(&sim).await;
    let entries_before = running.metrics.raft.entries.get();
    let proposer = running.node.proposer(PartitionId(0));
    let for_ever = ProposerOptions::default().timeout * 10;
    let waiting: Vec<_> = numbered(50)
        .into_iter()
        .map(|command| {
            let proposer = proposer.clone();
            tokio::spawn(async move { proposer.propose_lingering(command, for_ever).await })
        })
        .collect();
    while running.metrics.raft.queued_proposals.get() < 50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.metrics.raft.entries.get(), entries_before);
    running.propose(0, "hurried").await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(running.metrics.raft.entries.get() - entries_before, 1);

    // Alone, a command leaves when its time is up, and when the node stops.
    proposer.propose_lingering(Bytes::from("alone"), Duration::from_millis(1)).await.unwrap();
    let last = {
        let proposer = proposer.clone();
        tokio::spawn(async move { proposer.propose_lingering(Bytes::from("last"), for_ever).await })
    };
    while running.metrics.raft.queued_proposals.get() < 1 {
        tokio::task::yield_now().await;
    }
    stop(running).await;
    last.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_would_keep_others_out_do_not_linger() {
    let sim = Sim::new();
    let mut options = options(1);
    options.proposer = ProposerOptions { queue_commands_max: 10, ..options.proposer };
    let running = try_start(&sim, options).await.unwrap();
    let proposer = running.node.proposer(PartitionId(0));
    let for_ever = ProposerOptions::default().timeout * 10;
    let lingering = numbered(5).into_iter().map(|command| proposer.propose_lingering(command, for_ever));
    for answer in join_all(lingering).await {
        answer.unwrap();
    }
    stop(running).await;
}
