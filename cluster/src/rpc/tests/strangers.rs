//! Whoever reaches the port: wrong nodes, garbage, floods.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};

use super::super::connect::open;
use super::super::wire::peer_client::PeerClient;
use super::super::wire::{Caller, DownloadQuestion, put_caller};
use super::*;

/// What a node hears that calls node 2 as `change` makes it.
async fn refusal(change: impl FnOnce(&mut Setup), cluster_id: &str) -> String {
    let book = Book::default();
    let two = TestNode::start(2, &book).await;
    let mut setup = setup(1, &book, &Registry::new());
    change(&mut setup);
    let network = Network::new(setup).expect("a network");
    network.enter(cluster_id);
    let refused = reason(network.call(2, ECHO, Bytes::new(), PATIENCE).await.expect_err("refused"));
    assert_eq!(two.metric("pharos_rpc_calls_total", &[("direction", "served")]), 0.0);
    assert!(two.metric("pharos_rpc_refused_total", &[]) >= 1.0);
    assert!(two.network.silence(1).is_none());
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_told_so() {
    let refused = refusal(|setup| setup.cluster = "test".to_owned(), CLUSTER_ID).await;
    assert!(
        refused.contains("in cluster `main`, the caller in cluster `test`: check their cluster names"),
        "{refused}"
    );
    let refused = refusal(|_| (), "bad").await;
    assert!(refused.contains("two clusters of one name"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_told_how_to_come_back() {
    let others = Book::default();
    let book = Book::default();
    let two = TestNode::start(2, &book).await;
    others.member(2, &two.address);
    book.put(1, Standing::Removed);
    let network = Network::new(setup(1, &others, &Registry::new())).expect("a network");
    network.enter(CLUSTER_ID);
    let refused = reason(network.call(2, ECHO, Bytes::new(), PATIENCE).await.expect_err("refused"));
    assert!(refused.contains("was removed from the cluster: start it with an empty directory"), "{refused}");
    assert_eq!(two.metric("pharos_rpc_refused_total", &[("reason", "removed")]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_the_address_of_another_is_not_taken_for_it() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    book.member(3, &two.address);
    let refused = reason(one.call(3, ECHO, "").await.expect_err("refused"));
    assert!(refused.contains("means node 0000000000000003, but this is node 0000000000000002"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_outside_any_cluster_neither_calls_nor_serves() {
    let book = Book::default();
    let one = TestNode::start(1, &book).await;
    let outside = Network::new(setup(2, &book, &Registry::new())).expect("a network");
    let script = Arc::new(Script::default());
    let address = outside.serve("127.0.0.1:0", script.clone(), script).await.expect("a free port");
    book.member(2, &address);
    let refused = reason(one.call(2, ECHO, "").await.expect_err("refused"));
    assert!(refused.contains("is in no cluster yet: try again"), "{refused}");
    let cannot = reason(outside.call(1, ECHO, Bytes::new(), PATIENCE).await.expect_err("not yet"));
    assert!(cannot.contains("this node is in no cluster yet"), "{cannot}");
    outside.enter(CLUSTER_ID);
    one.reaches(2).await;
    while outside.call(1, ECHO, Bytes::new(), PATIENCE).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// A download asked for by who is not set up as a node.
async fn ask(from: &TestNode, to: &str, caller: Option<Caller>) -> Status {
    let opened = open(&from.network.shared, to).await.expect("a connection");
    let mut request = Request::new(DownloadQuestion { method: SOURCE.0.into(), header: Bytes::from(vec![9; 8]) });
    if let Some(caller) = caller {
        put_caller(&caller, request.metadata_mut());
    }
    let mut client = PeerClient::new(opened.channel);
    tokio::select! {
        answer = client.download(request) => answer.map(drop).expect_err("refused"),
        reason = opened.driver => panic!("{reason}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_another_version_or_does_not_say_who_it_is_is_refused_unread() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let caller = one.network.shared.identity.caller(2).expect("in a cluster");
    let newer = Caller { protocol_min: 8, protocol_max: 9, ..caller };
    let refused = ask(&one, &two.address, Some(newer)).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("versions 8 to 9"), "{refused}");
    assert!(refused.message().contains("upgrade the older one"), "{refused}");
    let refused = ask(&one, &two.address, None).await;
    assert!(refused.message().contains("does not say which node"), "{refused}");
    assert_eq!(two.script.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_every_kind_disturbs_nobody() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let mut random = fastrand::Rng::with_seed(3);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for n in 0..300 {
        let mut stream = TcpStream::connect(&two.address).await.expect("the port is open");
        let length = random.usize(1..4000);
        let garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let begin: &[u8] = match n % 3 {
            0 => b"",
            1 => preface,
            _ => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        // It may be cut off before all is written.
        let _ = stream.write_all(&[begin, &garbage].concat()).await;
        if n % 2 == 0 {
            let _ = stream.shutdown().await;
        }
        one.call(2, ECHO, "well?").await.expect("garbage on other connections is not ours");
    }
    until("all are dropped", || two.metric("pharos_rpc_strangers", &[]) == 0.0).await;
    assert!(two.metric("pharos_rpc_connections_dropped_total", &[]) >= 300.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_silent_connections_pushes_out_its_own() {
    let book = Book::default();
    let narrow = |setup: &mut Setup| {
        setup.options.strangers_max = 8;
        setup.options.introduction_timeout = Duration::from_secs(3600);
    };
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start_with(2, &book, "127.0.0.1:0", narrow).await);
    let three = TestNode::start(3, &book).await;
    one.reaches(2).await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(TcpStream::connect(&two.address).await.expect("the port is open"));
    }
    until("all but the last are pushed out", || {
        two.metric("pharos_rpc_connections_dropped_total", &[("reason", "pushed_out")]) == 92.0
    })
    .await;
    assert_eq!(two.metric("pharos_rpc_strangers", &[]), 8.0);
    // Nodes that are let in are no strangers, and new ones come in.
    one.call(2, ECHO, "still here").await.expect("not pushed out");
    three.reaches(2).await;
    // The oldest was closed: what it was sent before comes to an end.
    let _ = flood[0].read_to_end(&mut Vec::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nobody_says_who_it_is_is_closed() {
    let (book, memory) = (Book::default(), memory::Memory::default());
    let two = memory.node(2, &book, |_| ()).await;
    let began = tokio::time::Instant::now();
    let mut silent = memory.connect(&two.address).await.expect("it listens");
    let mut all = Vec::new();
    silent.read_to_end(&mut all).await.expect("closed in order");
    assert_eq!(began.elapsed(), RpcOptions::default().introduction_timeout);
    assert_eq!(two.metric("pharos_rpc_connections_dropped_total", &[("reason", "silent")]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let book = Book::default();
    let few = |setup: &mut Setup| setup.options.connections_max = 2;
    let (one, three) = (TestNode::start(1, &book).await, TestNode::start(3, &book).await);
    let two = TestNode::start_with(2, &book, "127.0.0.1:0", few).await;
    one.reaches(2).await;
    three.reaches(2).await;
    let mut third = TcpStream::connect(&two.address).await.expect("the port is open");
    let mut byte = [0];
    assert_eq!(third.read(&mut byte).await.unwrap_or(0), 0, "closed at once");
    assert_eq!(two.metric("pharos_rpc_connections_dropped_total", &[("reason", "too_many")]), 1.0);
    one.call(2, ECHO, "").await.expect("those that are open stay");
}
