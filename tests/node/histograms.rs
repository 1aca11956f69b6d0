//! Native histograms through the whole node: remote write, head, data files, a kill, and the answers of the API.

use serde_json::json;

use crate::harness::{NO_SCRAPES, Node, WRITE_HEADERS, compress, eventually, field, now_ms, varint};

const STEP_MS: i64 = 15_000;
/// Of more time than late samples may be behind, so that slices are sealed.
const HISTOGRAMS: i64 = 400;

/// `prometheus.Histogram` with so many observations, all of them zero.
fn histogram(ts: i64, count: i64) -> Vec<u8> {
    let mut message = Vec::new();
    let double = |message: &mut Vec<u8>, tag, value: f64| {
        message.push(tag);
        message.extend_from_slice(&value.to_le_bytes());
    };
    let integer = |message: &mut Vec<u8>, tag, value: i64| {
        message.push(tag);
        varint(message, value as u64);
    };
    integer(&mut message, 0x08, count);
    double(&mut message, 0x19, count as f64 / 2.0);
    double(&mut message, 0x29, 0.001);
    integer(&mut message, 0x30, count);
    integer(&mut message, 0x78, ts);
    message
}

/// One series whose count is the number of the histogram.
fn request(start: i64) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in [("__name__", "h"), ("instance", "i"), ("job", "j")] {
        let mut label = Vec::new();
        field(&mut label, 0x0a, name.as_bytes());
        field(&mut label, 0x12, value.as_bytes());
        field(&mut series, 0x0a, &label);
    }
    for i in 0..HISTOGRAMS {
        field(&mut series, 0x22, &histogram(start + i * STEP_MS, i));
    }
    let mut request = Vec::new();
    field(&mut request, 0x0a, &series);
    compress(&request)
}

#[test]
fn histograms_are_the_same_in_the_head_in_files_and_after_a_kill() {
    let mut node = Node::start(NO_SCRAPES, &["--storage.checkpoint-interval=1s", "--storage.seal-interval=1m"]);
    let start = now_ms() / 60_000 * 60_000 - 3 * 3600 * 1000;
    let last = HISTOGRAMS - 1;
    let end = (start + last * STEP_MS) as f64 / 1000.0;
    assert_eq!(node.post("/api/v1/write", &WRITE_HEADERS, &request(start)).0, 204);
    let check = |node: &Node| {
        let found = node.query("h", Some(end));
        let (count, sum) = (last.to_string(), (last as f64 / 2.0).to_string());
        let buckets = json!([[3, "-0.001", "0.001", count]]);
        assert_eq!(found[0]["histogram"][1], json!({"count": count, "sum": sum, "buckets": buckets}), "{found}");
        let total = (HISTOGRAMS * last / 2) as f64;
        assert_eq!(node.number("histogram_count(sum_over_time(h[101m]))", Some(end)), Some(total));
        assert_eq!(node.number("round(histogram_sum(rate(h[10m])) * 300)", Some(end)), Some(10.0));
    };
    check(&node);
    eventually("slices are sealed", || node.data_files() >= 20);
    check(&node);
    node.kill();
    node.restart();
    check(&node);
}
