//! Connections that come, break and go: time stands still while anything can be done.

use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn silence(node: &TestNode, of: NodeId) -> Duration {
    node.network.silence(of).expect("something came from it once")
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_is_pinged_so_that_silence_means_something() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    assert_eq!(one.network.silence(2), None);
    one.reaches(2).await;
    for _ in 0..600 {
        sleep(SECOND).await;
        for (node, of) in [(&one, 2), (&two, 1)] {
            assert!(silence(node, of) <= SECOND, "{:?}", silence(node, of));
        }
    }
    assert_eq!(one.metric("pharos_rpc_connects_total", &[]), 1.0, "the connection was kept for ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_given_up_and_found_again() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    one.reaches(2).await;
    let waits = one.spawn_call(2, WAIT, Bytes::new());
    until("the call waits", || two.script.held() == 1).await;

    memory.stall(&two.address);
    let began = Instant::now();
    let lost = waits.await.expect("no panic").expect_err("the connection is given up");
    assert!(matches!(&lost, CallError::Lost { reason, .. } if reason.contains("nothing came")), "{lost:?}");
    assert!((5 * SECOND..7 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    until("the service's future is dropped", || two.script.held() == 0).await;

    sleep(20 * SECOND).await;
    assert!(silence(&one, 2) >= 25 * SECOND);
    let began = Instant::now();
    assert!(reason(one.call(2, ECHO, "").await.expect_err("down")).contains("no connection within 2s"));
    assert_eq!(began.elapsed(), Duration::ZERO, "a node that is down is said to be at once");

    memory.release(&two.address);
    one.reaches(2).await;
    assert!(began.elapsed() <= 4 * SECOND, "{:?}", began.elapsed());
    assert!(silence(&one, 2) <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn transfers_end_with_the_connection_that_is_given_up() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    one.reaches(2).await;
    let network = Arc::clone(&one.network);
    // The service waits before it reads, so that no answer comes.
    let upload = tokio::spawn(async move { network.upload(2, STUCK, Bytes::new(), stream::empty().boxed()).await });
    until("the upload began", || two.script.held() == 1).await;

    memory.stall(&two.address);
    let began = Instant::now();
    let lost = upload.await.expect("no panic").expect_err("the connection is given up");
    assert!(matches!(&lost, CallError::Lost { .. }), "{lost:?}");
    assert!((5 * SECOND..7 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_calls_wait_for_the_connection_but_not_for_ever() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    memory.stall(&two.address);
    let began = Instant::now();
    let short = one.network.call(2, ECHO, Bytes::new(), SECOND).await.expect_err("stalled");
    assert!(reason(short).contains("could not be sent within 1s"));
    assert_eq!(began.elapsed(), SECOND);
    let calls = (0..10).map(|_| one.call(2, ECHO, ""));
    for answer in futures::future::join_all(calls).await {
        assert!(reason(answer.expect_err("stalled")).contains("no connection within 2s"));
    }
    assert_eq!(began.elapsed(), 2 * SECOND);
    let upload = one.network.upload(2, SINK, Bytes::new(), stream::empty().boxed()).await;
    assert!(reason(upload.expect_err("down")).contains("no connection within 2s"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_tried_less_and_less_often() {
    let (book, memory) = (Book::default(), Memory::default());
    let one = memory.node(1, &book, |_| ()).await;
    book.member(2, "127.0.0.1:2");
    assert!(reason(one.call(2, ECHO, "").await.expect_err("nobody there")).contains("connection refused"));
    sleep(100 * SECOND).await;
    let tries = one.metric("pharos_rpc_connects_failed_total", &[]);
    assert!((100.0..=210.0).contains(&tries), "{tries} tries in 100 s, at most a second apart with jitter");
    let two = memory.node(2, &book, |_| ()).await;
    // It calls, so it is there.
    two.reaches(1).await;
    let began = Instant::now();
    one.reaches(2).await;
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_connection_to_a_node_that_is_no_longer_known_is_closed() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    one.reaches(2).await;
    let waits = one.spawn_call(2, WAIT, Bytes::new());
    until("the call waits", || two.script.held() == 1).await;
    book.put(2, Standing::Removed);
    let lost = waits.await.expect("no panic").expect_err("closed");
    assert!(matches!(&lost, CallError::Lost { reason, .. } if reason.contains("removed")), "{lost:?}");
    until("the connection is closed", || one.metric("pharos_rpc_connections", &[]) == 0.0).await;
    assert!(reason(one.call(2, ECHO, "").await.expect_err("removed")).contains("removed"));
    assert!(reason(one.call(9, ECHO, "").await.expect_err("unknown")).contains("no such node"));
    until("nothing is kept of it", || one.network.silence(2).is_none()).await;
    assert_eq!(one.metric("pharos_rpc_sent_bytes_total", &[("node", "0000000000000002")]), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_is_cut_off_by_those_it_calls() {
    let (book, theirs, memory) = (Book::default(), Book::default(), Memory::default());
    let one = memory.node(1, &book, |setup| setup.members = theirs.members()).await;
    let two = memory.node(2, &book, |_| ()).await;
    theirs.member(2, &two.address);
    one.reaches(2).await;
    book.put(1, Standing::Removed);
    until("it is refused", || two.metric("pharos_rpc_connections", &[("direction", "in")]) == 0.0).await;
    for tries in 0.. {
        let refused = one.call(2, ECHO, "").await.expect_err("refused").to_string();
        if refused.contains("was removed from the cluster: start it with an empty directory") {
            break;
        }
        assert!(tries < 1000, "{refused}");
        sleep(SECOND / 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_moved_is_found_at_its_new_address() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    one.reaches(2).await;
    let old = two.address.clone();
    let two = TestNode::start_with(2, &book, "127.0.0.1:22", |setup| setup.transport = Arc::new(memory.clone())).await;
    until("a second connection is made", || one.metric("pharos_rpc_connects_total", &[]) == 2.0).await;
    one.reaches(2).await;
    assert_ne!(two.address, old);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_calls_and_waits_for_all_tasks() {
    let (book, memory) = (Book::default(), Memory::default());
    let (one, two) = (memory.node(1, &book, |_| ()).await, memory.node(2, &book, |_| ()).await);
    let waits = one.spawn_call(2, WAIT, Bytes::new());
    until("the call waits", || two.script.held() == 1).await;
    one.network.close().await;
    let lost = waits.await.expect("no panic").expect_err("closed");
    assert!(matches!(&lost, CallError::Lost { reason, .. } if reason.contains("this node stops")), "{lost:?}");
    assert!(reason(one.call(2, ECHO, "").await.expect_err("closed")).contains("this node stops"));
    two.network.close().await;
    assert_eq!(two.script.held(), 0);
    assert_eq!(one.metric("pharos_rpc_connections", &[]) + two.metric("pharos_rpc_connections", &[]), 0.0);
}
