//! Features of `--enable-feature` that change what is kept: a target scraped, head, data files, a kill, and the answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::harness::{Node, eventually, now_ms};

const STEP_MS: i64 = 15_000;
/// Of more time than late samples may be behind, so that slices are sealed.
const SAMPLES: i64 = 400;

/// Answers every request with a body of OpenMetrics; returns the address.
fn expose(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let request = BufReader::new(stream.try_clone().unwrap()).lines();
            let _ = request.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

/// A counter that says when it began, each sample with its time.
fn counter(start_ms: i64) -> String {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sample = |i: i64| format!("a_seconds_total {i} {}\n", seconds(start_ms + i * STEP_MS));
    let samples: String = (0..SAMPLES).map(sample).collect();
    let created = format!("a_seconds_created {}\n", seconds(start_ms - 7_000));
    format!("# TYPE a_seconds counter\n# UNIT a_seconds seconds\n{samples}{created}# EOF\n")
}

fn scraping(address: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: j\n    static_configs:\n      \
         - targets: ['{address}']\n"
    )
}

#[test]
fn start_timestamps_types_and_units_are_kept() {
    let start = now_ms() / 60_000 * 60_000 - 3 * 3600 * 1000;
    let features = "--enable-feature=st-storage,use-start-timestamps,type-and-unit-labels";
    let arguments = ["--storage.checkpoint-interval=1s", "--storage.seal-interval=1m", features];
    let mut node = Node::start(&scraping(&expose(counter(start))), &arguments);
    let time = |i: i64| Some((start + i * STEP_MS) as f64 / 1000.0);
    let began = Some((start - 7_000) as f64 / 1000.0);
    let series = "a_seconds_total{__type__=\"counter\", __unit__=\"seconds\"}";
    let check = |node: &Node| {
        for i in [0, 100, SAMPLES - 1] {
            assert_eq!(node.number(series, time(i)), Some(i as f64));
            assert_eq!(node.number(&format!("start_timestamp({series})"), time(i)), began, "sample {i}");
        }
        assert_eq!(node.number("a_seconds_created", time(SAMPLES - 1)), None);
    };
    eventually("the target is scraped", || node.number(series, time(SAMPLES - 1)).is_some());
    check(&node);
    eventually("slices are sealed", || node.data_files() >= 20);
    check(&node);
    node.kill();
    node.restart();
    check(&node);
}

#[test]
fn a_zero_sample_is_where_a_counter_began() {
    let start = now_ms() / 60_000 * 60_000 - 3 * 3600 * 1000;
    let node = Node::start(&scraping(&expose(counter(start))), &["--enable-feature=created-timestamp-zero-ingestion"]);
    let time = |ms: i64| Some(ms as f64 / 1000.0);
    eventually("the target is scraped", || node.number("a_seconds_total", time(start)).is_some());
    assert_eq!(node.number("a_seconds_total", time(start - 1)), Some(0.0));
    assert_eq!(node.number("timestamp(a_seconds_total)", time(start - 1)), time(start - 7_000));
    assert_eq!(node.number("a_seconds_total", time(start - 7_001)), None);
    assert_eq!(node.number("count_over_time(a_seconds_total[1m])", time(start + 1)), Some(2.0));
}
