//! What a scrape that succeeds brings to the store.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::header::CONTENT_ENCODING;

use super::log::Log;
use super::*;
use crate::test_server::{answer, redirect};

#[tokio::test]
async fn samples_get_the_targets_labels_and_the_target_its_own_series() {
    let (server, _) = serving("# TYPE a counter\na 1\nb{x=\"1\"} 2 \n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
    let b = "{__name__=\"b\", instance=\"x\", job=\"j\", x=\"1\"}";
    assert_eq!(world.sink.exposed_series(), [series("a"), b.to_owned()]);
    let (up, a) = (world.sink.samples(UP), world.sink.samples(&series("a")));
    assert_eq!((up[0].value, a[0].value, world.sink.last(b)), (1.0, 1.0, Some(2.0)));
    assert_eq!(ts_of(&a[..2]), ts_of(&up[..2]));
    assert!(a[1].ts > a[0].ts);
    for (name, values) in [
        ("scrape_samples_scraped", [2.0, 2.0]),
        ("scrape_samples_post_metric_relabeling", [2.0, 2.0]),
        ("scrape_series_added", [2.0, 0.0]),
    ] {
        let found: Vec<_> = world.sink.samples(&series(name)).iter().map(|sample| sample.value).take(2).collect();
        assert_eq!(found, values, "{name}");
    }
    assert!(world.sink.last(&series("scrape_duration_seconds")).unwrap() > 0.0);
    assert_eq!(world.sink.last(&series("scrape_timeout_seconds")), None);
}

#[tokio::test]
async fn a_steady_target_sends_handles_only() {
    let (server, _) = serving("a 1\nb 2\nc 3\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 5).await;
    let fresh = world.sink.kept.lock().fresh.clone();
    assert_eq!((fresh[0], fresh[1..].iter().sum::<usize>()), (3 + 5, 0));
}

#[tokio::test]
async fn a_request_asks_as_prometheus_does() {
    let (server, _) = serving("a 1\n").await;
    let world =
        World::scraping(&server, "metrics_path: /x, params: {m: ['a b', c]}, scrape_timeout: 15ms, bearer_token: t")
            .await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
    let asked = server.requests().remove(0);
    let header = |name: &str| asked.headers[name].to_str().unwrap();
    assert_eq!(asked.uri, "/x?m=a+b&m=c");
    assert_eq!(header("user-agent"), "Pharos/test");
    assert_eq!(header("accept-encoding"), "gzip");
    assert_eq!(header("x-prometheus-scrape-timeout-seconds"), "0.015");
    assert_eq!(header("authorization"), "Bearer t");
    assert!(header("accept").starts_with("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"));
}

#[tokio::test]
async fn gzip_and_redirects_are_followed() {
    let server = TestServer::start(|request| match request.uri.path() {
        "/metrics" => redirect("/elsewhere"),
        _ => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(b"a 1\n").unwrap();
            let mut response = metrics(gzip.finish().unwrap());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
    })
    .await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped", |sink| sink.last(&series("a")) == Some(1.0)).await;
}

#[tokio::test]
async fn labels_in_conflict_are_renamed_or_honored() {
    let (server, _) = serving("a{job=\"own\",instance=\"\"} 1\n").await;
    for (keys, expected) in [
        ("", r#"{__name__="a", exported_job="own", instance="x", job="j"}"#),
        ("honor_labels: true", r#"{__name__="a", instance="x", job="own"}"#),
    ] {
        let world = World::scraping(&server, keys).await;
        world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
        assert_eq!(world.sink.exposed_series(), [expected], "{keys}");
    }
}

#[tokio::test]
async fn metric_relabelling_drops_and_renames_before_the_store() {
    let (server, _) = serving("a 1\nb 2\nc 3\n").await;
    let keys = "metric_relabel_configs: [{source_labels: [__name__], regex: a, action: drop}, {source_labels: [__name__], regex: b, target_label: __name__, replacement: d}]";
    let world = World::scraping(&server, keys).await;
    world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
    assert_eq!(world.sink.exposed_series(), [series("c"), series("d")]);
    assert_eq!(world.sink.last(&series("scrape_samples_scraped")), Some(3.0));
    assert_eq!(world.sink.last(&series("scrape_samples_post_metric_relabeling")), Some(2.0));
}

#[tokio::test]
async fn exposed_times_are_honored_unless_told_otherwise() {
    let now = SystemClock::default();
    let past = Clock::now_ms(&now) - 10_000;
    let (server, _) = serving(&format!("a 1 {past}\n")).await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
    assert_eq!(world.sink.samples(&series("a"))[0].ts, past);
    let world = World::scraping(&server, "honor_timestamps: false").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
    assert_eq!(world.sink.samples(&series("a"))[0].ts, world.sink.samples(UP)[0].ts);
}

#[tokio::test]
async fn samples_far_ahead_of_the_clock_are_refused_alone() {
    let ahead = Clock::now_ms(&SystemClock::default()) + 3_600_000;
    let (server, _) = serving(&format!("a 1 {ahead}\nb 2\n")).await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
    assert_eq!(world.sink.exposed_series(), [series("b")]);
    assert!(world.metric("prometheus_target_scrapes_sample_out_of_bounds_total") >= 1.0);
}

#[tokio::test]
async fn exemplars_and_metadata_are_kept() {
    let body = "# HELP a Things.\n# TYPE a counter\na_total 1 # {trace_id=\"t\"} 0.5 1.5\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2\n# EOF\n";
    let server = TestServer::start(move |_| answer(200, "application/openmetrics-text; version=1.0.0", body)).await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
    let exemplar = world.sink.kept.lock().exemplars[0].clone();
    assert_eq!(exemplar.series.to_string(), series("a_total"));
    assert_eq!((exemplar.exemplar.labels.to_string(), exemplar.exemplar.ts), ("{trace_id=\"t\"}".into(), 1500));
    let metadata: Vec<_> = world
        .target()
        .metadata()
        .into_iter()
        .map(|(name, m)| (name, m.metric_type.to_string(), m.help, m.unit))
        .collect();
    let row = |name: &str, kind: &str, help: &str, unit: &str| {
        (name.to_owned(), kind.to_owned(), help.to_owned(), unit.to_owned())
    };
    assert_eq!(metadata, [row("a", "counter", "Things.", ""), row("b_seconds", "gauge", "", "seconds")]);
    assert_eq!(world.target().metadata_of("a").unwrap().help, "Things.");
}

#[tokio::test]
async fn an_exemplar_with_bad_labels_does_not_harm_its_sample() {
    let many: String = (0..600).map(|i| format!("l{i}=\"\",")).collect();
    for labels in ["x=\"1\",x=\"2\"", &many] {
        let body = format!("a_total 1 # {{{labels}}} 0.5\nb_total 1 # {{x=\"1\"}} 0.5\n# EOF\n");
        let server = TestServer::start(move |_| {
            answer(200, "application/openmetrics-text; version=1.0.0", Bytes::from(body.clone()))
        })
        .await;
        let world = World::scraping(&server, "").await;
        world.sink.wait_for("scraped", |sink| sink.last(&series("a_total")) == Some(1.0)).await;
        let kept: Vec<_> = world.sink.kept.lock().exemplars.iter().map(|e| e.series.to_string()).collect();
        assert!(!kept.is_empty() && kept.iter().all(|kept| *kept == series("b_total")), "{kept:?}");
        assert!(world.metric("pharos_target_scrapes_exemplar_refused_total") >= 1.0);
    }
}

#[tokio::test]
async fn a_second_sample_of_a_series_is_left_out_and_counted_even_when_equal() {
    let (server, _) = serving("a 1\na 1\na 2\nb 3\nb 3 1000\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
    let (a, up) = (world.sink.samples(&series("a")), world.sink.samples(UP));
    assert_eq!(ts_of(&a[..2]), ts_of(&up[..2]));
    assert!(a.iter().all(|sample| sample.value == 1.0));
    assert!(ts_of(&world.sink.samples(&series("b"))).contains(&1000));
    assert!(world.metric("prometheus_target_scrapes_sample_duplicate_timestamp_total") >= 4.0);
    for (name, value) in [("scrape_samples_post_metric_relabeling", 5.0), ("scrape_series_added", 2.0)] {
        assert_eq!(world.sink.samples(&series(name))[0].value, value, "{name}");
    }
}

#[tokio::test]
async fn extra_series_tell_the_limits_and_the_size() {
    let (server, _) = serving("a 1\nb 2\n").await;
    let world = World::scraping(&server, "extra_scrape_metrics: true, sample_limit: 5, scrape_timeout: 10ms").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 1).await;
    for (name, value) in
        [("scrape_timeout_seconds", 0.01), ("scrape_sample_limit", 5.0), ("scrape_body_size_bytes", 8.0)]
    {
        assert_eq!(world.sink.samples(&series(name))[0].value, value, "{name}");
    }
}

#[tokio::test]
async fn a_body_too_long_to_read_in_passing_is_read_all_the_same() {
    let body: String = (0..10_000).map(|i| format!("metric{{i=\"{i}\"}} {i}\n")).collect();
    let (server, _) = serving(&body).await;
    let world = World::scraping(&server, "scrape_interval: 1s").await;
    world.sink.wait_for("scraped", |sink| sink.last(&series("scrape_samples_scraped")) == Some(10_000.0)).await;
    assert_eq!(world.sink.exposed_series().len(), 10_000);
}

#[tokio::test]
async fn handles_that_went_stale_are_sent_again_with_labels_in_the_same_scrape() {
    let (server, _) = serving("a 1\nb 2\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 2).await;
    let forgotten: Vec<_> = {
        let mut kept = world.sink.kept.lock();
        let forgotten: Vec<_> = kept
            .handles
            .iter()
            .filter(|(labels, _)| matches!(labels.metric_name(), Some("b" | "up")))
            .map(|(_, h)| *h)
            .collect();
        kept.stale = forgotten.clone();
        forgotten
    };
    assert_eq!(forgotten.len(), 2);
    let before = world.sink.count(&series("a"));
    world.sink.wait_for("scraped on", |sink| sink.count(&series("a")) >= before + 2 && sink.count(UP) > before).await;
    let (a, b, up) = (world.sink.samples(&series("a")), world.sink.samples(&series("b")), world.sink.samples(UP));
    let common = a.len().min(b.len()).min(up.len());
    assert_eq!(ts_of(&a[..common]), ts_of(&b[..common]));
    assert_eq!(ts_of(&a[..common]), ts_of(&up[..common]));
    assert!(!world.sink.has_markers());
}

#[tokio::test]
async fn refusals_of_the_store_are_counted_and_harm_nothing_else() {
    let (server, _) = serving("a 1\nb 2\n").await;
    for (refusal, metric) in [
        (Refusal::OutOfOrder, "prometheus_target_scrapes_sample_out_of_order_total"),
        (Refusal::TooOld, "prometheus_target_scrapes_sample_out_of_bounds_total"),
        (Refusal::DuplicateTimestamp, "prometheus_target_scrapes_sample_duplicate_timestamp_total"),
        (Refusal::SeriesLimit, "pharos_target_scrapes_sample_series_limit_total"),
    ] {
        let world = World::new();
        world.sink.kept.lock().refuse = vec![("a", refusal)];
        world.discover(&[("j", &server.address.to_string())]);
        world.apply(&[job("j", "")]).await;
        world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
        assert!(world.metric(metric) >= 1.0, "{metric}");
        assert_eq!((world.sink.count(&series("a")), world.sink.last(UP)), (0, Some(1.0)));
        assert!(world.sink.count(&series("b")) >= 2);
        // A series that is refused each time is new once.
        let added = world.sink.samples(&series("scrape_series_added"));
        assert_eq!((added[0].value, added[1].value), (2.0, 0.0));
    }
}

#[tokio::test]
async fn refusals_are_logged_with_their_job_and_target() {
    let (log, _guard) = Log::start();
    let (server, _) = serving("a 1\na 1\nb 2\n").await;
    let world = World::new();
    world.sink.kept.lock().refuse = vec![("b", Refusal::OutOfOrder)];
    world.discover(&[("j", &server.address.to_string())]);
    world.apply(&[job("j", "")]).await;
    world.sink.wait_for("scraped twice", |sink| sink.count(UP) >= 2).await;
    let about = format!("scrape_pool=\"j\" target=\"{}\" num_dropped=1", server.url("/metrics"));
    for problem in [
        "Error on ingesting out-of-order samples",
        "Error on ingesting samples with different value but same timestamp",
    ] {
        assert_eq!(log.line(problem), Some(format!("{problem} {about}")));
    }
}

#[tokio::test]
async fn a_scrape_that_the_store_cannot_take_now_is_offered_again() {
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    let unavailable = AppendError::Unavailable { reason: "election".into(), retry_after: Duration::from_millis(1) };
    world.sink.kept.lock().errors = vec![unavailable.clone(), unavailable];
    world.discover(&[("j", &server.address.to_string())]);
    world.apply(&[job("j", "scrape_interval: 5s")]).await;
    world.sink.wait_for("stored", |sink| sink.count(UP) == 1).await;
    assert_eq!((server.requests().len(), world.sink.count(&series("a"))), (1, 1));
}

#[tokio::test]
async fn classic_histograms_are_stored_as_native_ones() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n";
    let (server, _) = serving(body).await;
    let world = World::scraping(&server, "convert_classic_histograms_to_nhcb: true").await;
    world.sink.wait_for("scraped three times", |sink| sink.count(UP) >= 3).await;
    // By labels, then by handle; and once more by labels, when the handle is stale.
    let find = |kept: &Kept| *kept.handles.iter().find(|(labels, _)| labels.metric_name() == Some("h")).unwrap().1;
    let handle = find(&world.sink.kept.lock());
    world.sink.kept.lock().stale.push(handle);
    world.sink.wait_for("scraped again", |sink| sink.kept.lock().stale.is_empty() && sink.count(UP) >= 5).await;
    let kept = world.sink.kept.lock();
    let expected = format!("{} {{count:3, sum:4.5, [-Inf,1]:2, (1,+Inf]:1}}", series("h"));
    assert!(kept.histograms.len() >= 4 && kept.histograms.iter().all(|histogram| *histogram == expected));
    drop(kept);
    assert_eq!(world.sink.exposed_series(), [series("h")]);
    assert_eq!(world.sink.last(&series("scrape_samples_scraped")), Some(1.0));
}

#[tokio::test]
async fn histograms_with_too_many_buckets_fail_the_scrape() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n";
    let (server, _) = serving(body).await;
    let keys = "convert_classic_histograms_to_nhcb: true, native_histogram_bucket_limit: 1";
    let world = World::scraping(&server, keys).await;
    assert_eq!(world.error().await, "histogram bucket limit exceeded");
    assert!(world.metric("prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total") >= 1.0);
}
