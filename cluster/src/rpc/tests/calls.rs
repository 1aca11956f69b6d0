//! Calls and their answers.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_parallel_calls_gets_its_own_answer() {
    let book = Book::default();
    let (one, _two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let one = &one;
    let calls = (0..2000u64).map(|n| async move {
        let body = Bytes::from([&n.to_le_bytes()[..], &vec![n as u8; n as usize % 700]].concat());
        assert_eq!(one.call(2, ECHO, body.clone()).await, Ok(body));
    });
    stream::iter(calls).buffer_unordered(200).collect::<Vec<()>>().await;
    assert_eq!(one.metric("pharos_rpc_calls_total", &[("direction", "sent"), ("class", "groups")]), 2000.0);
    assert_eq!(one.metric("pharos_rpc_connections", &[("direction", "out")]), 1.0);
    assert_eq!(one.metric("pharos_rpc_unanswered_calls", &[]), 0.0);
    assert_eq!(one.metric("pharos_rpc_queue_bytes", &[]), 0.0);
    let sent = one.metric("pharos_rpc_sent_bytes_total", &[("node", "0000000000000002")]);
    assert!((700_000.0..900_000.0).contains(&sent), "{sent} bytes for 2000 calls of 358 on average");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_begun_in_the_order_in_which_they_were_made() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    one.reaches(2).await;
    // One task polls them in order; answers come in any.
    let calls = (0..3000u64).map(|n| one.call(2, NUMBERED, n.to_le_bytes().to_vec()));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    let numbers = two.script.numbers.lock();
    assert!(numbers.is_sorted() && numbers.len() == 3000, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_holds_up_no_other() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let waits = one.spawn_call(2, WAIT, "late".into());
    until("the call waits", || two.script.held() == 1).await;
    assert_eq!(one.call(2, ECHO, "soon").await, Ok("soon".into()));
    assert!(!waits.is_finished());
    two.script.go_on.notify_one();
    assert_eq!(waits.await.expect("no panic"), Ok("late".into()));
    until("its place is given back", || two.metric("pharos_rpc_serving_calls", &[]) == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_given_up_by_its_caller_is_dropped_by_its_service() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let waits = one.spawn_call(2, WAIT, Bytes::new());
    until("the call waits", || two.script.held() == 1).await;
    waits.abort();
    until("the service's future is dropped", || two.script.held() == 0).await;
    assert_eq!(one.metric("pharos_rpc_failures_total", &[("reason", "given_up")]), 1.0);

    let late = one.network.call(2, WAIT, Bytes::new(), Duration::from_millis(20)).await;
    assert!(matches!(&late, Err(CallError::Lost { reason, .. }) if reason.contains("20ms")), "{late:?}");
    until("that one too", || two.script.begun.load(Ordering::SeqCst) == 2 && two.script.held() == 0).await;
    assert_eq!(one.metric("pharos_rpc_failures_total", &[("reason", "timed_out")]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_panics_are_answers_too() {
    let book = Book::default();
    let (one, _two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let refused = |reason: &str| Err(CallError::Refused { reason: reason.to_owned() });
    assert_eq!(one.call(2, REFUSE, "").await, refused("not for node 1"));
    assert_eq!(one.call(2, PANIC, "").await, refused("the call panicked, see the log of the node that was called"));
    let large = one.call(2, LARGE, "").await.expect_err("too large").to_string();
    assert!(large.contains("9437184 bytes"), "{large}");
    let large = one.call(2, ECHO, vec![0; 9 << 20]).await.expect_err("too large");
    assert!(reason(large).contains("9437184 bytes"));
    assert_eq!(one.call(2, ECHO, vec![7; 8 << 20]).await, Ok(vec![7; 8 << 20].into()), "the largest there may be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_on_a_bounded_number_of_calls_of_another() {
    let book = Book::default();
    let one = TestNode::start(1, &book).await;
    let two = TestNode::start_with(2, &book, "127.0.0.1:0", |setup| setup.options.serving_calls_max = 3).await;
    let waiting: Vec<_> = (0..3).map(|_| one.spawn_call(2, WAIT, Bytes::new())).collect();
    until("three wait", || two.script.held() == 3).await;
    let turned_away = one.call(2, ECHO, "").await.expect_err("one too many");
    assert!(reason(turned_away).contains("3 calls"));
    assert_eq!(two.metric("pharos_rpc_refused_total", &[("reason", "busy")]), 1.0);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until("they are dropped", || two.script.held() == 0).await;
    one.reaches(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_can_call_itself() {
    let book = Book::default();
    let one = TestNode::start(1, &book).await;
    assert_eq!(one.call(1, ECHO, "me").await, Ok("me".into()));
}
