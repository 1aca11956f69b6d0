//! The rest of the HTTP API.

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, eventually, exchange, now_ms};

#[test]
fn a_node_that_scrapes_itself_shows_up() {
    let own = tempfile::tempdir().unwrap();
    let port = crate::harness::free_port();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: self\n    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
    );
    // The last of the addresses counts for the harness, the first is the one that is scraped.
    let node = Node::start_in(own.path(), &config, &[&format!("--web.listen-address=127.0.0.1:{port}")]);
    eventually("up is 1", || node.number("up{job=\"self\"}", None) == Some(1.0));
    let targets = node.data("/api/v1/targets");
    let target = &targets["activeTargets"][0];
    assert_eq!(target["health"], "up", "{targets}");
    assert_eq!(target["scrapePool"], "self");
    assert_eq!(target["labels"]["instance"], format!("127.0.0.1:{port}"));
    assert_eq!(target["scrapeInterval"], "1s");
    assert_eq!(node.data("/api/v1/scrape_pools")["scrapePools"], serde_json::json!(["self"]));
    let metadata = node.data("/api/v1/metadata?metric=prometheus_http_requests_total");
    assert_eq!(metadata["prometheus_http_requests_total"][0]["type"], "counter", "{metadata}");
    let families = |query: &str| node.data(&format!("/api/v1/metadata?{query}")).as_object().unwrap().len();
    assert_eq!((families("limit=0"), families("limit=2")), (0, 2));
    assert!(families("limit=-1") > 2 && families("limit_per_metric=0") > 2);
    assert_eq!(node.data("/api/v1/targets/metadata?limit=0"), serde_json::json!([]));
    assert_eq!(
        node.data("/api/v1/targets/metadata?match_target=%7Bjob%3D~%22.*%22%7D&limit=1").as_array().unwrap().len(),
        1
    );
    for (state, active) in [("active", 1), ("any", 1), ("dropped", 0), ("foo", 0)] {
        let targets = node.data(&format!("/api/v1/targets?state={state}"));
        assert_eq!(targets["activeTargets"].as_array().unwrap().len(), active, "{state}");
    }
    let of_target = node.data("/api/v1/targets/metadata?metric=prometheus_http_requests_total");
    assert_eq!(of_target[0]["target"]["job"], "self");
    assert!(node.number("scrape_samples_scraped{job=\"self\"}", None).unwrap() > 10.0);
}

#[test]
fn format_and_parse_query_answer() {
    let node = Node::start(NO_SCRAPES, &[]);
    assert_eq!(node.data("/api/v1/format_query?query=foo/bar"), "foo / bar");
    let tree = node.data("/api/v1/parse_query?query=foo/bar");
    assert_eq!(tree["type"], "binaryExpr");
    assert_eq!(tree["op"], "/");
}

#[test]
fn status_endpoints_tell_what_runs() {
    let node = Node::start(NO_SCRAPES, &["--query.timeout=77s"]);
    assert_eq!(node.data("/api/v1/status/flags")["query.timeout"], "77s");
    let runtime = node.data("/api/v1/status/runtimeinfo");
    assert_eq!(runtime["reloadConfigSuccess"], true);
    assert!(runtime["startTime"].as_str().unwrap().starts_with("20"));
    let now = now_ms();
    assert_eq!(node.write(&[(&[("__name__", "a"), ("job", "x")], &[(now, 1.0)])]).0, 204);
    let tsdb = node.data("/api/v1/status/tsdb");
    assert_eq!(tsdb["headStats"]["numSeries"], 1, "{tsdb}");
    assert_eq!(tsdb["seriesCountByMetricName"][0]["name"], "a");
    assert!(node.data("/api/v1/status/walreplay")["current"].is_number());
    assert_eq!(node.data("/api/v1/alertmanagers")["activeAlertmanagers"], serde_json::json!([]));
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(node.get(path).0, 200);
    }
}

#[test]
fn own_metrics_carry_the_names_of_prometheus() {
    let node = Node::start(NO_SCRAPES, &[]);
    assert_eq!(node.write(&[(&[("__name__", "a")], &[(now_ms(), 1.0)])]).0, 204);
    assert_eq!(node.number("a", None), Some(1.0));
    let (status, text) = node.get("/metrics");
    assert_eq!(status, 200);
    for name in [
        "prometheus_build_info{branch=",
        "prometheus_ready 1",
        "prometheus_tsdb_reloads_total ",
        "prometheus_tsdb_reloads_failures_total 0",
        "prometheus_http_response_size_bytes_bucket{handler=\"/api/v1/write\"",
        "prometheus_engine_query_duration_seconds{slice=\"inner_eval\",quantile=\"0.9\"}",
        "prometheus_config_last_reload_successful 1",
        "prometheus_config_last_reload_success_timestamp_seconds ",
        "prometheus_tsdb_head_series 1",
        "prometheus_tsdb_head_samples_appended_total",
        "prometheus_engine_queries ",
        "prometheus_engine_queries_concurrent_max 20",
        "prometheus_http_requests_total{",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(&format!("\n{name}")), "{name} is missing");
    }
}

#[test]
fn series_are_deleted_in_a_range_of_time() {
    let node = Node::start(NO_SCRAPES, &["--web.enable-admin-api"]);
    let now = now_ms() / 1000 * 1000;
    let samples: Vec<(i64, f64)> = (0..10).map(|i| (now - (9 - i) * 1000, i as f64)).collect();
    assert_eq!(
        node.write(&[(&[("__name__", "a"), ("x", "1")], &samples), (&[("__name__", "a"), ("x", "2")], &samples)]).0,
        204
    );
    let start = (now - 5000) as f64 / 1000.0;
    let (status, body) =
        node.post(&format!("/api/v1/admin/tsdb/delete_series?match%5B%5D=a%7Bx%3D%221%22%7D&start={start}"), &[], b"");
    assert_eq!(status, 204, "{body}");
    let count = |x: &str| node.number(&format!("count_over_time(a{{x=\"{x}\"}}[1m])"), Some(now as f64 / 1000.0));
    assert_eq!((count("1"), count("2")), (Some(4.0), Some(10.0)));
}

#[test]
fn a_snapshot_is_a_folder_with_the_data() {
    let node = Node::start(NO_SCRAPES, &["--web.enable-admin-api"]);
    assert_eq!(node.write(&[(&[("__name__", "a")], &[(now_ms(), 1.0)])]).0, 204);
    let (status, body) = node.post("/api/v1/admin/tsdb/snapshot", &[], b"");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let name = answer["data"]["name"].as_str().unwrap();
    let folder = node.folder.join("data/snapshots").join(name);
    let files = walk(&folder);
    assert!(files.iter().any(|file| file.ends_with(".parquet")), "{files:?}");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn everything_can_be_federated_and_deleted() {
    let node = Node::start(NO_SCRAPES, &["--web.enable-admin-api"]);
    assert_eq!(node.write(&[(&[("__name__", "fed.up")], &[(now_ms(), 1.0)])]).0, 204);
    let (status, text) = node.get("/federate?match%5B%5D=%7B__name__%3D~%22.*%22%7D");
    assert!(status == 200 && text.contains("fed_up{instance=\"\"} 1 "), "{status} {text}");
    let (status, text) = node.get("/federate?match%5B%5D=%7B");
    assert_eq!(status, 400);
    assert!(text.starts_with("1:2: parse error"), "{text}");
    assert_eq!(node.post("/api/v1/admin/tsdb/delete_series?match%5B%5D=%7B%7D", &[], b"").0, 204);
    assert_eq!(node.query("{__name__=\"fed.up\"}", None), serde_json::json!([]));
}

#[test]
fn browsers_of_other_origins_are_told_what_they_may() {
    let node = Node::start(NO_SCRAPES, &["--web.cors.origin=https?://(good|fine)"]);
    let ask = |method: &str, origin| {
        let line = format!("{method} /api/v1/query?query=1 HTTP/1.1");
        exchange(&line, &node.address, &[("origin", origin)], b"").unwrap()
    };
    let (head, body) = ask("OPTIONS", "https://good");
    assert!(head.starts_with("http/1.1 204") && body.is_empty(), "{head}");
    assert!(head.contains("access-control-allow-origin: https://good") && head.contains("vary: origin"), "{head}");
    let (head, _) = ask("GET", "https://good");
    assert!(head.starts_with("http/1.1 200") && head.contains("access-control-allow-origin: https://good"), "{head}");
    assert!(!ask("GET", "https://good.evil").0.contains("access-control-allow-origin"));
}

#[test]
fn retention_of_the_file_is_in_force_after_each_reload() {
    let config = |time: &str, size: &str| format!("storage: {{tsdb: {{retention: {{time: {time}, size: {size}}}}}}}\n");
    let node = Node::start(&config("3d", "0B"), &["--storage.tsdb.retention.time=9d", "--web.enable-lifecycle"]);
    let retention = || node.data("/api/v1/status/runtimeinfo")["storageRetention"].clone();
    assert_eq!(retention(), "3d");
    node.reconfigure(&config("2d", "1GB"));
    assert_eq!(retention(), "2d or 1GiB");
    node.reconfigure(NO_SCRAPES);
    assert_eq!(retention(), "9d");
}

#[test]
fn the_path_of_the_external_url_is_the_prefix_of_everything() {
    let node = Node::start_below("/prom", &["--web.external-url=http://example.org/prom/"]);
    assert_eq!(node.get("/api/v1/labels").0, 404);
    assert_eq!(node.redirect("/"), "/prom/");
    for path in ["/prom/", "/prom"] {
        assert_eq!(node.redirect(path), "/prom/query", "{path}");
    }
    let (status, page) = node.get("/prom/query");
    assert!(status == 200 && page.contains("<base href=\"/prom/\">"), "{page}");
}

#[test]
fn a_proxy_may_take_the_prefix_away() {
    let node = Node::start(NO_SCRAPES, &["--web.external-url=http://example.org/prom/", "--web.route-prefix=/"]);
    assert_eq!(node.redirect("/"), "/prom/query");
    let (status, page) = node.get("/query");
    assert!(status == 200 && page.contains("<base href=\"/prom/\">"), "{page}");
}

#[test]
fn explain_shows_the_plan_with_reckoned_and_measured_figures() {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms();
    let samples: Vec<(i64, f64)> = (0..100).map(|k| (now - 100_000 + k * 1000, k as f64)).collect();
    assert_eq!(node.write(&[(&[("__name__", "a_total"), ("job", "x")], &samples)]).0, 204);
    assert_eq!(node.write(&[(&[("__name__", "a_total"), ("job", "y")], &samples)]).0, 204);
    let times = format!("start={}&end={}&step=10", (now - 50_000) as f64 / 1000.0, now as f64 / 1000.0);
    let planned = node.data(&format!("/api/v1/explain?query=sum(rate(a_total[30s]))&{times}"));
    assert!(planned["operator"] == "Aggregate" && planned.get("measured").is_none(), "{planned}");
    let mut plan = &node.data(&format!("/api/v1/explain?query=sum(rate(a_total[30s]))&{times}&analyze=true"));
    assert_eq!(plan["measured"]["samples"], 6, "{plan}");
    while plan["operator"] != "Read" {
        plan = &plan["children"][0];
    }
    assert_eq!(plan["estimated"]["series"], 2, "{plan}");
    assert_eq!(plan["measured"]["series"], plan["measured"]["nodes"][0]["series"], "{plan}");
    let (reckoned, measured) = (plan["estimated"]["samples"].as_u64(), plan["measured"]["samples"].as_u64());
    assert!(measured.unwrap() > 100 && reckoned.unwrap() >= measured.unwrap(), "{plan}");
    assert!(plan["measured"]["seconds"].as_f64().unwrap() > 0.0, "{plan}");
    let (status, body) = node.get("/api/v1/explain?query=sum(");
    assert!(status == 400 && body.contains("bad_data"), "{body}");
    assert_eq!(node.get("/api/v1/explain?query=1&analyze=maybe").0, 400);
    let output = crate::harness::binary()
        .args(["query", "explain", "--analyze", &node.url(""), "rate(a_total[30s])"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Scan rate") && text.contains("└─ Read storage") && text.contains("seconds"), "{text}");
}

#[test]
fn a_range_query_that_comes_again_is_answered_from_the_results_cache() {
    let node = Node::start(NO_SCRAPES, &["--web.enable-admin-api"]);
    let now = now_ms() / 1000 * 1000;
    let samples: Vec<(i64, f64)> = (0..=240).map(|k| (now - 3_600_000 + k * 15_000, k as f64)).collect();
    assert_eq!(node.write(&[(&[("__name__", "kept_total"), ("job", "x")], &samples)]).0, 204);
    let times = format!("start={}&end={}&step=15", now / 1000 - 3600, now / 1000);
    let path = format!("/api/v1/query_range?query=rate(kept_total[1m])&{times}");
    let steps = |from: &str| {
        let (_, text) = node.get("/metrics");
        let line = format!("pharos_query_results_cache_steps_total{{from=\"{from}\"}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let first = node.data(&path);
    assert_eq!((steps("cache"), steps("engine")), (0, 241));
    assert_eq!(node.data(&path), first);
    // The last five minutes are still coming in.
    let kept = steps("cache");
    assert!((221..=230).contains(&kept) && kept + steps("engine") == 2 * 241, "{kept} steps were kept");
    for passed_over in ["&nocache=1", "&stats=all"] {
        assert_eq!(node.data(&format!("{path}{passed_over}"))["result"], first["result"]);
    }
    let no_store = node.post(&path, &[("cache-control", "no-store")], b"");
    assert!(no_store.0 == 200 && steps("cache") == kept && kept + steps("engine") == 2 * 241, "{no_store:?}");

    // Forty minutes ago, and half an hour ago.
    let (from, until) = (now / 1000 - 2400, now / 1000 - 1800);
    let deletion = format!("/api/v1/admin/tsdb/delete_series?match[]=kept_total&start={from}&end={until}");
    assert_eq!(node.post(&deletion, &[], b"").0, 204);
    let deleted = node.data(&path);
    assert_eq!(deleted, node.data(&format!("{path}&nocache=1")));
    assert_ne!(deleted, first);
    assert!((kept + 1..2 * kept).contains(&steps("cache")), "{} steps", steps("cache"));
    let late = [(now - 3_000_000 + 1, 1.0)];
    assert_eq!(node.write(&[(&[("__name__", "kept_total"), ("job", "x")], &late)]).0, 204);
    assert_eq!(node.data(&path), node.data(&format!("{path}&nocache=1")));
    assert_ne!(node.data(&path), deleted);
}
