//! Targets that misbehave: each is refused with a reason, and nothing else is harmed.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use futures::StreamExt;
use http::header::CONTENT_ENCODING;
use tokio::net::TcpListener;

use super::log::Log;
use super::*;
use crate::test_server::{answer, streamed};

#[tokio::test]
async fn a_failed_scrape_ends_all_series_until_the_next_one() {
    let fails = Arc::new(Mutex::new(false));
    let failing = fails.clone();
    let server = TestServer::start(move |_| match *failing.lock() {
        false => metrics("a 1\nb 2\n"),
        true => answer(500, "text/plain", "no"),
    })
    .await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    *fails.lock() = true;
    assert_eq!(world.error().await, "server returned HTTP status 500 Internal Server Error");
    world.sink.wait_for("ended", |sink| sink.ended(&series("a")) && sink.ended(&series("b"))).await;
    let down = world.sink.samples(UP).iter().find(|sample| sample.value == 0.0).unwrap().ts;
    assert_eq!(world.sink.samples(&series("a")).last().unwrap().ts, down);
    assert_eq!(world.target().last_scrape().health, Health::Down);
    // Further failures add no further markers.
    let scrapes = world.sink.count(UP);
    world.sink.wait_for("scraped on", |sink| sink.count(UP) >= scrapes + 2).await;
    let markers = world.sink.samples(&series("a")).iter().filter(|sample| is_stale(sample.value)).count();
    assert_eq!(markers, 1);
    *fails.lock() = false;
    world.sink.wait_for("back", |sink| sink.last(&series("a")) == Some(1.0)).await;
    assert_eq!(world.target().last_scrape().error, "");
}

/// Each answer, and the error it gives.
#[tokio::test]
async fn garbage_is_refused_with_the_reason() {
    for (content_type, body, error) in [
        (
            "text/html",
            "<html>",
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
        ),
        (
            "text/plain",
            "a 1\nb{x=\"1} 2\n",
            "expected label value, got \"\\\"1} 2\\n\\n\" (\"INVALID\") while parsing: \"b{x=\\\"1} 2\\n\\n\"",
        ),
        ("text/plain", "a one\n", "strconv.ParseFloat: parsing \"one\": invalid syntax while parsing: \"a one\""),
        ("application/openmetrics-text", "a 1\n", "data does not end with # EOF"),
    ] {
        let server = TestServer::start(move |_| answer(200, content_type, body)).await;
        let world = World::scraping(&server, "").await;
        let found = world.error().await;
        assert_eq!(found, error, "{body}");
        assert!(world.sink.exposed_series().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_useless_content_type_is_read_by_the_fallback() {
    let (log, _guard) = Log::start();
    let server = TestServer::start(|_| answer(200, "application/octet-stream", "a 1\n")).await;
    let world = World::scraping(&server, "fallback_scrape_protocol: PrometheusText0.0.4").await;
    world.sink.wait_for("scraped", |sink| sink.last(&series("a")) == Some(1.0)).await;
    let line = log.line("content type is of no use, taking fallback_scrape_protocol").unwrap();
    let about = format!(r#"target="{}" content_type=Some("application/octet-stream")"#, server.url("/metrics"));
    assert!(line.contains(&about), "{line}");
}

#[tokio::test]
async fn a_body_without_end_stops_at_the_size_limit() {
    let server =
        TestServer::start(|_| streamed("text/plain", futures::stream::repeat(Bytes::from(vec![b'#'; 1 << 16])))).await;
    let world = World::scraping(&server, "scrape_interval: 1s, body_size_limit: 1MB").await;
    assert_eq!(world.error().await, "body size limit exceeded");
}

#[tokio::test]
async fn a_body_of_the_limit_is_too_long_and_a_shorter_one_is_not() {
    let (server, body) = serving("a 1\n").await;
    let world = World::scraping(&server, "body_size_limit: 5B, extra_scrape_metrics: true").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    *body.lock() = "a 12\n".into();
    assert_eq!(world.error().await, "body size limit exceeded");
    assert_eq!(world.sink.last(&series("scrape_body_size_bytes")), Some(-1.0));
    assert!(world.metric("prometheus_target_scrapes_exceeded_body_size_limit_total") >= 1.0);
    world.sink.wait_for("ended", |sink| sink.ended(&series("a"))).await;
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_size_limit() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    (0..64).for_each(|_| gzip.write_all(&[b'#'; 1 << 20]).unwrap());
    let bomb = Bytes::from(gzip.finish().unwrap());
    let server = TestServer::start(move |_| {
        let mut response = metrics(bomb.clone());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    })
    .await;
    let world = World::scraping(&server, "scrape_interval: 500ms, body_size_limit: 1MB").await;
    assert_eq!(world.error().await, "body size limit exceeded");
}

#[tokio::test]
async fn broken_gzip_is_an_error() {
    for body in [&b"a 1\n"[..], b"\x1f\x8b\x08\x00", b""] {
        let server = TestServer::start(move |_| {
            let mut response = metrics(body);
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        })
        .await;
        let error = World::scraping(&server, "").await.error().await;
        assert!(error == "unexpected EOF" || error == "EOF" || error.starts_with("gzip: "), "{error}");
    }
}

/// A body that comes a byte at a time does not hold the target longer than its timeout.
#[tokio::test]
async fn a_slow_body_ends_with_the_timeout() {
    let server = TestServer::start(|_| {
        let bytes = futures::stream::iter(0u64..).then(|_| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Bytes::from_static(b"#")
        });
        streamed("text/plain", bytes)
    })
    .await;
    assert_eq!(World::scraping(&server, "").await.timeout().await, "context deadline exceeded");
}

#[tokio::test]
async fn a_target_that_never_answers_ends_with_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let world = World::new();
    world.discover(&[("j", &address)]);
    world.apply(&[job("j", "")]).await;
    assert_eq!(world.timeout().await, format!("Get \"http://{address}/metrics\": context deadline exceeded"));
}

#[tokio::test]
async fn a_sample_limit_refuses_the_whole_scrape_and_counts_all_of_it() {
    let (server, body) = serving("a 1\n").await;
    let world = World::scraping(
        &server,
        "sample_limit: 2, metric_relabel_configs: [{source_labels: [__name__], regex: d, action: drop}]",
    )
    .await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    *body.lock() = "a 1\nb 2\nc 3\nd 4\n".into();
    assert_eq!(world.error().await, "sample limit exceeded");
    assert_eq!(world.sink.exposed_series(), [series("a")]);
    world.sink.wait_for("ended", |sink| sink.ended(&series("a"))).await;
    assert_eq!(world.sink.last(&series("scrape_samples_scraped")), Some(4.0));
    assert_eq!(world.sink.last(&series("scrape_samples_post_metric_relabeling")), Some(3.0));
    assert!(world.metric("prometheus_target_scrapes_exceeded_sample_limit_total") >= 1.0);
    *body.lock() = "a 1\nd 4\n".into();
    world.sink.wait_for("up again", |sink| sink.last(UP) == Some(1.0)).await;
}

#[tokio::test]
async fn label_limits_name_the_offender() {
    let (server, _) = serving("a{long_name=\"long value\"} 1\n").await;
    for (keys, error) in [
        ("label_limit: 3", "label_limit exceeded (metric: a, number of labels: 4, limit: 3)"),
        (
            "label_name_length_limit: 8",
            "label_name_length_limit exceeded (metric: a, label name: long_name, length: 9, limit: 8)",
        ),
        (
            "label_value_length_limit: 8",
            "label_value_length_limit exceeded (metric: a, label name: long_name, value: \"long value\", length: 10, limit: 8)",
        ),
    ] {
        let world = World::scraping(&server, keys).await;
        assert_eq!(world.error().await, error);
        assert!(world.metric("prometheus_target_scrape_pool_exceeded_label_limits_total") >= 1.0);
    }
}

#[tokio::test]
async fn a_label_set_too_long_for_the_store_fails_the_scrape() {
    let long = "x".repeat(60_000);
    let (server, body) = serving(&format!("a{{b=\"{long}\",c=\"{long}\",d=\"{long}\"}} 1\n")).await;
    let exposed = World::scraping(&server, "").await.error().await;
    assert_eq!(exposed, "label set is too long (metric: a, length: 180012, limit: 131072)");
    *body.lock() = format!("a{{b=\"{long}\"}} 1\n");
    let twice = "{source_labels: [b], target_label: c}, {source_labels: [b], target_label: d}";
    let made = World::scraping(&server, &format!("metric_relabel_configs: [{twice}]")).await.error().await;
    assert_eq!(made, "label set is too long (metric: a, length: 180025, limit: 131072)");
}

#[tokio::test]
async fn relabelling_must_leave_a_valid_name() {
    let (server, _) = serving("a 1\n").await;
    for (keys, error) in [
        ("metric_relabel_configs: [{target_label: __name__, replacement: ''}]", "missing metric name (__name__ label)"),
        (
            "metric_name_validation_scheme: legacy, metric_relabel_configs: [{target_label: __name__, replacement: a.b}]",
            "invalid metric name or label names: {__name__=\"a.b\", instance=\"x\", job=\"j\"}",
        ),
    ] {
        assert_eq!(World::scraping(&server, keys).await.error().await, error);
    }
}

#[tokio::test]
async fn more_targets_than_allowed_are_all_refused_without_being_asked() {
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    let address = server.address.to_string();
    world.discover(&[("j", &address), ("j", "127.0.0.1:1")]);
    world.apply(&[job("j", "target_limit: 1")]).await;
    assert_eq!(world.error().await, "target_limit exceeded (number of targets: 2, limit: 1)");
    assert!(server.requests().is_empty());
    // Counted at each sync, and there may have been more than one.
    assert!(world.metric("prometheus_target_scrape_pool_exceeded_target_limit_total") >= 1.0);
    assert_eq!(world.metric("prometheus_target_scrape_pool_target_limit{scrape_job=\"j\"}"), 1.0);
    world.discover(&[("j", &address)]);
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
}

#[tokio::test]
async fn failures_are_written_to_their_log() {
    let server = TestServer::start(|_| answer(404, "text/plain", "")).await;
    let world = World::scraping(&server, "scrape_failure_log_file: /failures.json").await;
    world.error().await;
    let log = crate::fs::read_text(&*world.fs, std::path::Path::new("/failures.json")).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["msg"], "server returned HTTP status 404 Not Found");
    assert_eq!(
        (line["job_name"].as_str(), line["target"].as_str()),
        (Some("j"), Some(server.url("/metrics").as_str()))
    );
}
