//! `kill -9` at any moment: what was acknowledged is there, once.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::harness::{NO_SCRAPES, Node, WrittenSeries, eventually, now_ms, send, write_request};

const WRITE_HEADERS: [(&str, &str); 2] = [("content-encoding", "snappy"), ("content-type", "application/x-protobuf")];

/// One sample of each of ten series a second on the time axis; returns how many seconds were acknowledged.
fn feed(address: &str, start: i64, next: &AtomicI64, stop: &AtomicBool) -> i64 {
    let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    let mut acknowledged = 0;
    while !stop.load(Ordering::SeqCst) {
        let second = next.load(Ordering::SeqCst);
        let samples = [(start + second * 1000, second as f64)];
        let labels: Vec<[(&str, &str); 3]> =
            names.iter().map(|i| [("__name__", "fed"), ("instance", i.as_str()), ("job", "crash")]).collect();
        let series: Vec<WrittenSeries<'_>> =
            labels.iter().map(|labels| (labels.as_slice(), samples.as_slice())).collect();
        let body = write_request(&series);
        if let Some((204, _)) = send("POST /api/v1/write HTTP/1.1", address, &WRITE_HEADERS, &body) {
            acknowledged = second + 1;
            next.store(second + 1, Ordering::SeqCst);
        }
    }
    acknowledged
}

#[test]
fn acknowledged_samples_survive_kills() {
    // Checkpoints and seals happen within the test, so that kills hit those too.
    let mut node = Node::start(NO_SCRAPES, &["--storage.checkpoint-interval=1s", "--storage.seal-interval=1m"]);
    let start = now_ms() / 60_000 * 60_000 - 3 * 3600 * 1000;
    let next = AtomicI64::new(0);
    for round in 0..6 {
        let stop = AtomicBool::new(false);
        let address = node.address.clone();
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| feed(&address, start, &next, &stop));
            let goal = next.load(Ordering::SeqCst) + 40 + round * 17;
            eventually("samples flow", || next.load(Ordering::SeqCst) >= goal);
            node.kill();
            stop.store(true, Ordering::SeqCst);
            feeder.join().unwrap();
        });
        node.restart();
        let seconds = next.load(Ordering::SeqCst);
        // The request in flight at the kill may or may not have made it; it is sent again with the same timestamp.
        let at = (start + (seconds - 1) * 1000) as f64 / 1000.0;
        let window = format!("[{}s]", seconds);
        assert_eq!(
            node.number(&format!("sum(count_over_time(fed{window}))"), Some(at)),
            Some((10 * seconds) as f64),
            "round {round}"
        );
        assert_eq!(
            node.number(&format!("sum(sum_over_time(fed{window}))"), Some(at)),
            Some((10 * seconds * (seconds - 1) / 2) as f64),
            "round {round}"
        );
    }
}

#[test]
fn samples_sent_twice_are_stored_once() {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms();
    for _ in 0..3 {
        assert_eq!(node.write(&[(&[("__name__", "twice")], &[(now - 1000, 1.0), (now, 2.0)])]).0, 204);
    }
    assert_eq!(node.number("count_over_time(twice[1m])", None), Some(2.0));
    let (status, body) = node.write(&[(&[("__name__", "twice")], &[(now, 3.0)])]);
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("duplicate sample for timestamp"), "{body}");
}

#[test]
fn late_samples_within_the_window_are_kept_in_order() {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms();
    assert_eq!(node.write(&[(&[("__name__", "late")], &[(now, 3.0)])]).0, 204);
    assert_eq!(node.write(&[(&[("__name__", "late")], &[(now - 60_000, 1.0)])]).0, 204);
    assert_eq!(node.write(&[(&[("__name__", "late")], &[(now - 30_000, 2.0)])]).0, 204);
    let (status, body) = node.write(&[(&[("__name__", "late")], &[(now - 2 * 3600 * 1000, 0.0)])]);
    assert_eq!(status, 400, "{body}");
    let at = Some(now as f64 / 1000.0);
    assert_eq!(node.number("count_over_time(late[5m])", at), Some(3.0));
    assert_eq!(node.number("min_over_time(late[5m])", at), Some(1.0));
    assert_eq!(node.number("resets(late[5m])", at), Some(0.0));
}

#[test]
fn sealed_data_is_read_together_with_the_head() {
    let node = Node::start(NO_SCRAPES, &["--storage.seal-interval=1m"]);
    let start = now_ms() / 60_000 * 60_000 - 3 * 3600 * 1000;
    for minute in 0..100 {
        let samples: Vec<(i64, f64)> =
            (0..6).map(|i| (start + minute * 60_000 + i * 10_000, (minute * 6 + i) as f64)).collect();
        assert_eq!(node.write(&[(&[("__name__", "long"), ("instance", "a"), ("job", "seal")], &samples)]).0, 204);
    }
    eventually("slices are sealed", || node.data_files() >= 20);
    let end = (start + 100 * 60_000 - 10_000) as f64 / 1000.0;
    assert_eq!(node.number("count_over_time(long[100m])", Some(end)), Some(600.0));
    assert_eq!(node.number("sum_over_time(long[100m])", Some(end)), Some((600 * 599 / 2) as f64));
    assert_eq!(node.number("count(long)", Some(start as f64 / 1000.0 + 65.0)), Some(1.0));
    assert_eq!(node.data("/api/v1/label/job/values"), serde_json::json!(["seal"]));
}
