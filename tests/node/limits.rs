//! Limits of queries, seen over HTTP.

use std::io::Write as _;

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, eventually, now_ms};

/// A node with this many series of one metric, each with one sample of now.
fn with_series(count: usize, arguments: &[&str]) -> Node {
    let node = Node::start(NO_SCRAPES, arguments);
    let names: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let sample = [(now_ms(), 1.0)];
    let labels: Vec<_> = names.iter().map(|name| [("__name__", "many"), ("i", name.as_str())]).collect();
    let series: Vec<_> = labels.iter().map(|labels| (labels.as_slice(), sample.as_slice())).collect();
    assert_eq!(node.write(&series).0, 204);
    node
}

fn error_of(body: &str) -> (String, String) {
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("errorType"), text("error"))
}

#[test]
fn a_query_ends_by_its_timeout() {
    // A million steps of a subquery take longer than a millisecond on any machine.
    let long = "max_over_time(vector(1)[1000000s:1s])";
    let node = Node::start(NO_SCRAPES, &["--query.timeout=1ms"]);
    let (status, body) = node.post_form("/api/v1/query", &[("query", long)]);
    assert_eq!((status, error_of(&body).0), (503, "timeout".into()), "{body}");
    let node = Node::start(NO_SCRAPES, &[]);
    let (status, body) = node.post_form("/api/v1/query", &[("query", long), ("timeout", "1ms")]);
    assert_eq!((status, error_of(&body).0), (503, "timeout".into()), "{body}");
}

#[test]
fn a_query_of_too_many_samples_is_refused() {
    let node = with_series(10, &["--query.max-samples=9"]);
    let (status, body) = node.post_form("/api/v1/query", &[("query", "many")]);
    let (kind, text) = error_of(&body);
    assert_eq!((status, kind.as_str()), (422, "execution"), "{body}");
    assert!(text.starts_with("query processing would load too many samples into memory"), "{text}");
    assert_eq!(node.number("many{i=\"1\"}", None), Some(1.0));
}

#[test]
fn a_query_stops_when_its_client_leaves() {
    // Minutes of work, in batches of a few series: it cannot end by itself within the test's patience.
    let node = with_series(5000, &["--query.timeout=1h"]);
    let running = |count: u32| {
        let (_, metrics) = node.get("/metrics");
        metrics.lines().any(|line| line == format!("prometheus_engine_queries {count}"))
    };
    let now = now_ms() / 1000;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", "sum(max_over_time(max_over_time(many[5m:1s])[30m:1s]))")
        .append_pair("start", &(now - 10_999).to_string())
        .append_pair("end", &now.to_string())
        .append_pair("step", "1")
        .finish();
    let mut client = std::net::TcpStream::connect(&node.address).unwrap();
    let head = format!(
        "POST /api/v1/query_range HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    client.write_all(format!("{head}{form}").as_bytes()).unwrap();
    eventually("the query runs", || running(1));
    drop(client);
    eventually("the query is stopped", || running(0));
}
