//! Over real sockets: nodes that die, come back, or stop reading.

use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_are_lost_when_the_other_side_dies_and_it_is_found_when_it_is_back() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let waiting: Vec<_> = (0..20).map(|_| one.spawn_call(2, WAIT, "x".into())).collect();
    until("all wait", || two.script.held() == 20).await;
    two.network.close().await;
    for call in waiting {
        let lost = call.await.expect("no panic");
        assert!(matches!(lost, Err(CallError::Lost { node: 2, .. })), "{lost:?}");
    }
    assert_eq!(one.metric("pharos_rpc_failures_total", &[("reason", "lost")]), 20.0);

    until("it is known to be down", || one.metric("pharos_rpc_connects_failed_total", &[]) >= 1.0).await;
    let began = Instant::now();
    for _ in 0..1000 {
        reason(one.call(2, ECHO, "").await.expect_err("nobody is there"));
    }
    assert!(began.elapsed() < PATIENCE / 4, "a thousand calls to a dead node took {:?}", began.elapsed());

    let address = two.address.clone();
    drop(two);
    let two = TestNode::start_with(2, &book, &address, |_| ()).await;
    one.reaches(2).await;
    assert_eq!(two.address, address);
    assert_eq!(one.metric("pharos_rpc_connects_total", &[]), 2.0);
}

/// Passes bytes on to a node, until it is told to read no more.
struct Proxy {
    address: String,
    stalled: Arc<AtomicBool>,
}

impl Proxy {
    async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (stalled, target) = (Arc::new(AtomicBool::new(false)), target.to_owned());
        let gate = Arc::clone(&stalled);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.expect("the node");
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, Arc::clone(&gate)));
                tokio::spawn(pass(far_in, near_out, Arc::clone(&gate)));
            }
        });
        Self { address, stalled }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, stalled: Arc<AtomicBool>) {
    let mut buf = vec![0; 64 << 10];
    loop {
        while stalled.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match from.read(&mut buf).await {
            Ok(bytes) if bytes > 0 && to.write_all(&buf[..bytes]).await.is_ok() => {}
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_fills_its_own_queue_only() {
    let book = Book::default();
    let patient = |setup: &mut Setup| {
        setup.options.queue_bytes_max = 8 << 20;
        setup.options.silence_max = Duration::from_secs(3600);
    };
    let one = TestNode::start_with(1, &book, "127.0.0.1:0", patient).await;
    let (two, _three) = (TestNode::start(2, &book).await, TestNode::start(3, &book).await);
    let proxy = Proxy::to(&two.address).await;
    book.member(2, &proxy.address);
    one.reaches(2).await;
    proxy.stalled.store(true, Ordering::SeqCst);

    // More than sockets and windows hold, so that the queue has to.
    let full = || one.metric("pharos_rpc_failures_total", &[("reason", "queue_full")]) > 0.0;
    let unanswered = || one.metric("pharos_rpc_unanswered_calls", &[("node", "0000000000000002")]) as usize;
    let mut calls = Vec::new();
    while !full() {
        assert!(calls.len() < 400, "100 MiB went to a peer that does not read");
        calls.push(one.spawn_call(2, ECHO, vec![calls.len() as u8; 256 << 10].into()));
        until("the call is queued or refused", || unanswered() == calls.len() || full()).await;
        one.call(3, ECHO, "hello").await.expect("others are reached");
    }
    let refused = calls.pop().expect("the last one").await.expect("no panic").expect_err("the queue is full");
    assert!(reason(refused).contains("wait to be sent, no more are taken"));
    assert!(one.metric("pharos_rpc_queue_bytes", &[("node", "0000000000000002")]) <= (8 << 20) as f64);

    // Half of them are given up: those that were not sent make room, those that were are cancelled.
    let (given_up, kept): (Vec<_>, Vec<_>) = calls.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    given_up.iter().for_each(|(_, call)| call.abort());
    until("there is room", || {
        one.metric("pharos_rpc_queue_bytes", &[("node", "0000000000000002")]) <= (5 << 20) as f64
    })
    .await;

    proxy.stalled.store(false, Ordering::SeqCst);
    for (n, call) in kept {
        let answer = call.await.expect("no panic").expect("an answer");
        assert!(answer == vec![n as u8; 256 << 10], "call {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_says_nothing_is_down() {
    let book = Book::default();
    let hasty = |setup: &mut Setup| setup.options.connect_timeout = Duration::from_millis(50);
    let one = TestNode::start_with(1, &book, "127.0.0.1:0", hasty).await;
    let _two = TestNode::start(2, &book).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    book.member(3, &silent.local_addr().expect("bound").to_string());
    let accepted = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(accepted) = silent.accept().await {
            kept.push(accepted);
        }
    });
    assert!(reason(one.call(3, ECHO, "").await.expect_err("silent")).contains("no connection within 50ms"));
    one.reaches(2).await;
    accepted.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_on_a_connection_that_answers_garbage_fails() {
    let book = Book::default();
    let one = TestNode::start(1, &book).await;
    let liar = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    book.member(2, &liar.local_addr().expect("bound").to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = liar.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    reason(one.call(2, ECHO, "").await.expect_err("garbage"));
    assert!(one.metric("pharos_rpc_connects_failed_total", &[]) >= 1.0);
}

/// Lets a fixed number of calls be made at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_call_each_other() {
    let book = Book::default();
    let mut nodes = Vec::new();
    for node in 1..=6 {
        nodes.push(TestNode::start(node, &book).await);
    }
    let at_once = Semaphore::new(50);
    let pairs = (0..6).flat_map(|from| (1..=6).map(move |to| (from, to)));
    let calls = pairs.flat_map(|pair| [pair; 20]).map(|(from, to)| {
        let (node, at_once): (&TestNode, _) = (&nodes[from], &at_once);
        async move {
            let _permit = at_once.acquire().await.expect("open");
            assert_eq!(node.call(to, ECHO, "hi").await, Ok("hi".into()), "{from} to {to}");
        }
    });
    futures::future::join_all(calls).await;
    for node in &nodes {
        assert_eq!(node.metric("pharos_rpc_connections", &[("direction", "out")]), 6.0);
    }
}
