//! Commands that find their leader.

use super::*;
use crate::peers::method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_an_unknown_outcome_unless_it_may_be_repeated() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.web.lose_answers(method::PROPOSE, true);
    let sending = patient(Duration::from_millis(300));
    let once = town.node(2).propose(PartitionId(0), Bytes::from("once"), sending).await.unwrap_err();
    assert_eq!(once.retry(), Retry::IfRepeatable);
    let repeated = {
        let sending = Sending { repeat: Repeat::Harmless, patience: Duration::from_millis(300), ..sending };
        town.node(2).propose(PartitionId(0), Bytes::from("again"), sending).await.unwrap_err()
    };
    assert_eq!(repeated.retry(), Retry::IfRepeatable, "{repeated}");
    town.web.lose_answers(method::PROPOSE, false);
    town.propose(2, 0, "last").await.unwrap();
    let commands = town.commands(1, 0);
    let count = |command: &str| commands.iter().filter(|kept| *kept == command).count();
    assert_eq!(count("once"), 1);
    assert!(count("again") >= 1);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_finds_the_leader_and_remembers_it() {
    let mut town = Town::of(&[1, 2], 1).await;
    town.join(3).await;
    town.propose(3, 0, "a").await.unwrap();
    town.group(1, 0).transfer(2).await.unwrap();
    town.propose(3, 0, "b").await.unwrap();
    let before = town.web.sent(method::PROPOSE);
    for _ in 0..5 {
        town.propose(3, 0, "c").await.unwrap();
    }
    assert_eq!(town.web.sent(method::PROPOSE) - before, 5);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_embedders_comes_to_the_leader_from_any_node() {
    let mut town = Town::of(&[1, 2], 1).await;
    town.join(3).await;
    let leader = town.leader(0).await;
    for node in [1, 2, 3] {
        let ask = |at| std::future::ready((at == leader).then_some(at));
        assert_eq!(town.node(node).at_leader(PartitionId(0), SOON, ask).await, Some(leader));
    }
    let nobody = |_| std::future::ready(None::<()>);
    assert_eq!(town.node(3).at_leader(PartitionId(0), Duration::from_millis(50), nobody).await, None);
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_leader_are_told_as_they_are() {
    let town = Town::of(&[1, 2], 1).await;
    let large = town.propose(2, 0, vec![0; 20_000]).await.unwrap_err();
    assert_eq!(large, ProposeError::TooLarge { bytes: 20_000, max: 16 << 10 });
    // It goes out, and nobody knows whether it comes in.
    town.web.isolate(1);
    let cut = town.node(2).propose(PartitionId(0), Bytes::from("x"), patient(Duration::from_millis(200))).await;
    assert_eq!(cut.unwrap_err().retry(), Retry::IfRepeatable);
    let unknown = town.node(2).propose(PartitionId(7), Bytes::from("x"), patient(Duration::from_millis(200))).await;
    assert!(unknown.is_err());
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_is_changed_and_read_from_every_node() {
    let town = Town::of(&[1, 2, 3], 1).await;
    let tenant = TenantId::anonymous();
    for (version, node) in [(0, 2), (1, 3), (2, 1)] {
        let object = format!("object {version}");
        town.node(node).meta().swap_manifest(PartitionId(0), &tenant, version, object.clone()).await.unwrap();
        for node in [1, 2, 3] {
            let found = town.node(node).meta().manifests_of(&tenant, &[PartitionId(0)]).await.unwrap().remove(0);
            assert_eq!(found, Some(ManifestPointer { version: version + 1, object: object.clone() }));
        }
    }
    town.stop().await;
}
