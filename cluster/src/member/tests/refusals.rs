//! What cannot be meant.

use super::*;

/// The reason why one of two nodes, which wait for each other, is refused.
async fn refusal_of_one(one: Flags, other: Flags) -> String {
    let mut here = Village::default();
    let mut there = Village { memory: here.memory.clone(), started: 50, ..Village::default() };
    let mut refused = tokio::select! {
        refused = here.try_start(vec![one]) => refused,
        refused = there.try_start(vec![other]) => refused,
    };
    refused.remove(0).unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_nodes_of_other_names_or_lists_found_nothing() {
    let other = Flags { name: "test".to_owned(), ..listed(1, &[1, 2]) };
    let refused = refusal_of_one(listed(2, &[1, 2]), other).await;
    assert!(refused.contains("the same --cluster.name"), "{refused}");
    let refused = refusal_of_one(listed(2, &[1, 2]), listed(1, &[2, 1])).await;
    assert!(refused.contains("the same list, in the same order"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_come_to_a_cluster_of_another_name() {
    let mut village = Village::default();
    village.start(vec![listed(1, &[1])]).await;
    let other = Flags { name: "test".to_owned(), ..coming(2, 1) };
    let refused = village.try_start(vec![other]).await.remove(0).unwrap_err().to_string();
    assert!(refused.contains("is in cluster `main`, this one is to be in `test`"), "{refused}");
    village.stop().await;
}
