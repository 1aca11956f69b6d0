//! Probing and joining: before a node is in a cluster.

use super::super::ask::AskError;
use super::super::connect::open;
use super::super::wire;
use super::super::wire::door_client::DoorClient;
use super::*;

fn fresh(node: NodeId) -> Introduction {
    Introduction {
        process: 10,
        name: "main".to_owned(),
        node,
        address: format!("127.0.0.1:{node}"),
        initial_nodes: vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()],
        cluster: None,
        members: Vec::new(),
        removed: Vec::new(),
        revision: 0,
    }
}

/// A node in no cluster, and one that serves.
async fn outsider(book: &Book) -> (Network, TestNode) {
    (Network::new(setup(1, book, &Registry::new())).expect("a network"), TestNode::start(2, book).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_learns_who_is_there_and_is_taken_in() {
    let (outsider, two) = outsider(&Book::default()).await;
    let outsider = Arc::new(outsider);
    // From a task, as nodes do.
    let probe = tokio::spawn({
        let (outsider, address) = (Arc::clone(&outsider), two.address.clone());
        async move { outsider.probe(&address, &fresh(1)).await }
    });
    assert_eq!(probe.await.expect("no panic"), Ok(two.script.introduction()));
    let admitted = outsider.apply(&two.address, &fresh(1), "zone a".into(), PATIENCE).await;
    assert_eq!(admitted, Ok("1 of main".into()));
    let refused = outsider.apply(&two.address, &fresh(1), "no".into(), PATIENCE).await;
    assert_eq!(refused, Err(AskError::Refused { address: two.address.clone(), reason: "no room".to_owned() }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_is_probed_but_not_taken_in() {
    let book = Book::default();
    let (outsider, two) = outsider(&book).await;
    let other = Introduction { name: "test".to_owned(), ..fresh(1) };
    assert_eq!(outsider.probe(&two.address, &other).await.expect("it says who it is").name, "main");
    let refused = outsider.apply(&two.address, &other, Bytes::new(), PATIENCE).await.expect_err("refused");
    assert!(refused.to_string().contains("in cluster `main`, the caller in cluster `test`"), "{refused}");
    book.put(1, Standing::Removed);
    let refused = outsider.apply(&two.address, &fresh(1), Bytes::new(), PATIENCE).await.expect_err("refused");
    assert!(refused.to_string().contains("was removed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_silence_and_not_a_refusal() {
    let (outsider, two) = outsider(&Book::default()).await;
    two.network.close().await;
    let silent = outsider.probe(&two.address, &fresh(1)).await;
    assert!(matches!(silent, Err(AskError::Silent { .. })), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_strangers_are_small_and_in_a_known_version() {
    let (outsider, two) = outsider(&Book::default()).await;
    let ask = async |question: wire::Introduction| {
        let opened = open(&outsider.shared, &two.address).await.expect("a connection");
        let mut door = DoorClient::new(opened.channel);
        tokio::select! {
            answer = door.probe(question) => answer.map(drop),
            reason = opened.driver => panic!("{reason}"),
        }
    };
    let newer = wire::Introduction { protocol_min: 7, protocol_max: 7, ..fresh(1).to_wire() };
    let refused = ask(newer).await.expect_err("another version");
    assert!(refused.message().contains("versions 7 to 7"), "{refused}");
    let large = wire::Introduction { initial_nodes: vec!["x".repeat(300 << 10)], ..fresh(1).to_wire() };
    assert_eq!(ask(large).await.expect_err("too large").code(), tonic::Code::OutOfRange);
    ask(fresh(1).to_wire()).await.expect("a good one");
}
