//! What Grafana's Prometheus data source does, item by item.

use std::io::Read as _;

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, eventually, exchange, now_ms};

fn with_data() -> (Node, i64) {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms() / 1000 * 1000;
    let samples: Vec<(i64, f64)> = (0..10).map(|i| (now - (10 - i) * 15_000, i as f64)).collect();
    let series = |name, job| (vec![("__name__", name), ("instance", "a:1"), ("job", job)], samples.clone());
    let all = [series("requests_total", "api"), series("up", "api"), series("up", "db")];
    let borrowed: Vec<_> = all.iter().map(|(labels, samples)| (labels.as_slice(), samples.as_slice())).collect();
    assert_eq!(node.write(&borrowed).0, 204);
    (node, now)
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn the_health_check_is_one_plus_one_in_1970() {
    let node = Node::start(NO_SCRAPES, &[]);
    let (status, body) = node.post_form("/api/v1/query", &[("query", "1+1"), ("time", "4")]);
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#)
    );
}

#[test]
fn the_exemplar_probe_with_times_of_year_57000_succeeds() {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms().to_string();
    let form = [("query", "test"), ("start", now.as_str()), ("end", now.as_str())];
    let (status, body) = node.post_form("/api/v1/query_exemplars", &form);
    assert_eq!((status, body.as_str()), (200, r#"{"status":"success","data":[]}"#));
}

#[test]
fn range_queries_take_float_seconds_by_post_and_get() {
    let (node, now) = with_data();
    let (start, end) = ((now as f64 / 1000.0 - 120.0).to_string(), (now as f64 / 1000.0).to_string());
    let form = [("query", "up"), ("start", start.as_str()), ("end", end.as_str()), ("step", "7.5")];
    let (status, posted) = node.post_form("/api/v1/query_range", &form);
    assert_eq!(status, 200, "{posted}");
    let (status, got) = node.get(&format!("/api/v1/query_range?query=up&start={start}&end={end}&step=7.5"));
    assert_eq!((status, json(&got)), (200, json(&posted)));
    let answer = json(&posted);
    assert_eq!(answer["data"]["resultType"], "matrix");
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 2);
}

#[test]
fn a_bad_request_fails_alike_by_post_and_get() {
    let node = Node::start(NO_SCRAPES, &[]);
    let (status, posted) = node.post_form("/api/v1/query", &[("query", "up{")]);
    assert_eq!(status, 400);
    assert_eq!(node.get("/api/v1/query?query=up%7B"), (400, posted.clone()));
    let error = json(&posted);
    assert_eq!(error["errorType"], "bad_data");
    assert!(error["error"].as_str().unwrap().starts_with("invalid parameter \"query\": 1:4: parse error"), "{posted}");
}

#[test]
fn body_and_url_parameters_are_merged() {
    let (node, _) = with_data();
    let (status, body) = node.post_form("/api/v1/series?match%5B%5D=up", &[("match[]", "requests_total")]);
    assert_eq!(status, 200);
    assert_eq!(json(&body)["data"].as_array().unwrap().len(), 3);
}

#[test]
fn unknown_parameters_and_headers_are_ignored() {
    let (node, _) = with_data();
    let (status, body) = node.get("/api/v1/query?query=vector(1)&dedup=true&max_source_resolution=5m&timeout=30s");
    assert_eq!(status, 200, "{body}");
}

#[test]
fn label_endpoints_take_limits_and_escaped_names() {
    let (node, now) = with_data();
    assert_eq!(node.data("/api/v1/label/job/values"), serde_json::json!(["api", "db"]));
    assert_eq!(node.data("/api/v1/label/U__job/values?match%5B%5D=requests_total"), serde_json::json!(["api"]));
    assert_eq!(node.data("/api/v1/labels"), serde_json::json!(["__name__", "instance", "job"]));
    let (_, cut) = node.get("/api/v1/label/job/values?limit=1");
    assert_eq!(json(&cut)["warnings"][0], "results truncated due to limit");
    assert_eq!(node.data("/api/v1/label/job/values?limit=0"), serde_json::json!(["api", "db"]));
    let (start, end) = (now / 1000 - 3600, now / 1000);
    assert_eq!(
        node.data(&format!("/api/v1/label/__name__/values?start={start}&end={end}&limit=40000")),
        serde_json::json!(["requests_total", "up"])
    );
}

#[test]
fn an_empty_answer_is_a_list() {
    let node = Node::start(NO_SCRAPES, &[]);
    let (_, body) = node.post_form("/api/v1/query", &[("query", "nothing")]);
    assert_eq!(body, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#);
    assert_eq!(node.data("/api/v1/labels"), serde_json::json!([]));
}

#[test]
fn not_a_number_and_infinities_are_texts() {
    let node = Node::start(NO_SCRAPES, &[]);
    let (_, body) = node.post_form("/api/v1/query", &[("query", "vector(NaN) or vector(0)"), ("time", "1")]);
    assert!(body.contains(r#""value":[1,"NaN"]"#), "{body}");
    let (_, body) = node.post_form("/api/v1/query", &[("query", "-1/0"), ("time", "1")]);
    assert!(body.contains(r#""result":[1,"-Inf"]"#), "{body}");
}

#[test]
fn build_info_looks_like_prometheus_without_features() {
    let node = Node::start(NO_SCRAPES, &[]);
    let info = node.data("/api/v1/status/buildinfo");
    assert!(info["version"].as_str().unwrap().starts_with("3."), "{info}");
    assert!(info.get("features").is_none());
}

#[test]
fn rules_alerts_and_metadata_answer() {
    let node = Node::start(NO_SCRAPES, &[]);
    assert_eq!(node.data("/api/v1/rules"), serde_json::json!({"groups": []}));
    assert_eq!(node.data("/api/v1/alerts"), serde_json::json!({"alerts": []}));
    assert_eq!(node.data("/api/v1/metadata?limit=10"), serde_json::json!({}));
    // How Grafana finds out that there is no ruler, and no Mimir.
    for path in
        ["/rules/test/test", "/api/v1/rules/test/test", "/config/v1/rules/test/test", "/api/v1/search/metric_names"]
    {
        let (status, body) = node.get(path);
        assert!(status == 404 && body.contains("404 page not found"), "{path}: {status} {body}");
    }
}

#[test]
fn the_api_answers_below_mimirs_prefix_too() {
    let (node, _) = with_data();
    let (status, body) = node.post_form("/prometheus/api/v1/query", &[("query", "count(up)")]);
    assert_eq!(status, 200);
    assert_eq!(json(&body)["data"]["result"][0]["value"][1], "2");
}

#[test]
fn tenants_do_not_see_each_other() {
    let (node, _) = with_data();
    let (status, body) = node.post("/api/v1/query?query=up", &[("x-scope-orgid", "other")], b"");
    assert_eq!((status, json(&body)["data"]["result"].as_array().unwrap().len()), (200, 0));
    let (status, body) = node.post("/api/v1/query?query=up", &[("x-scope-orgid", "no/slash")], b"");
    assert_eq!(status, 400, "{body}");
}

#[test]
fn stats_are_given_when_asked_for() {
    let (node, _) = with_data();
    let (_, body) = node.post_form("/api/v1/query", &[("query", "up"), ("stats", "all")]);
    let stats = &json(&body)["data"]["stats"];
    assert_eq!(stats["samples"]["totalQueryableSamples"], 2, "{body}");
    assert!(stats["timings"]["evalTotalTime"].is_number());
}

#[test]
fn answers_are_compressed_when_the_client_asks() {
    let (node, _) = with_data();
    // A short answer and one that is sent in pieces.
    for path in ["/api/v1/status/flags", "/api/v1/query_range?query=vector(1)&start=0&end=10999&step=1"] {
        let line = format!("GET {path} HTTP/1.1");
        let (head, body) = exchange(&line, &node.address, &[("accept-encoding", "gzip")], b"").unwrap();
        assert!(head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"), "{head}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(json(&text)["status"], "success");
        assert_eq!(text, node.get(path).1);
    }
}

#[test]
fn label_endpoints_by_post_obey_limits_and_say_so() {
    let (node, _) = with_data();
    for (path, whole) in [("/api/v1/labels", 3), ("/api/v1/series", 3)] {
        let all = [("match[]", "{__name__!=\"\"}")];
        let (_, body) = node.post_form(path, &all);
        assert_eq!(json(&body)["data"].as_array().unwrap().len(), whole, "{body}");
        assert!(json(&body).get("warnings").is_none(), "{body}");
        let (_, body) = node.post_form(path, &[all[0], ("limit", "3")]);
        assert!(json(&body).get("warnings").is_none(), "{body}");
        let (status, body) = node.post_form(path, &[all[0], ("limit", "2")]);
        let cut = json(&body);
        assert_eq!((status, cut["data"].as_array().unwrap().len()), (200, 2), "{body}");
        assert_eq!(cut["warnings"], serde_json::json!(["results truncated due to limit"]));
    }
}

#[test]
fn a_step_may_be_shorter_than_a_second() {
    let node = Node::start(NO_SCRAPES, &[]);
    let form = [("query", "vector(1)"), ("start", "10"), ("end", "10.5"), ("step", "0.25")];
    let (_, body) = node.post_form("/api/v1/query_range", &form);
    assert!(body.contains(r#""values":[[10,"1"],[10.250,"1"],[10.500,"1"]]"#), "{body}");
}

#[test]
fn warnings_and_infos_come_with_the_answer() {
    let (node, _) = with_data();
    let (_, body) = node.post_form("/api/v1/query", &[("query", "quantile(2, up)")]);
    assert!(
        json(&body)["warnings"][0].as_str().unwrap().contains("quantile value should be between 0 and 1"),
        "{body}"
    );
    let (_, body) = node.post_form("/api/v1/query", &[("query", "rate(up[2m])")]);
    assert!(json(&body)["infos"][0].as_str().unwrap().contains("metric might not be a counter"), "{body}");
}

#[test]
fn headers_that_say_where_a_query_comes_from_are_logged() {
    let node = Node::start(NO_SCRAPES, &["--log.level=debug"]);
    let headers = [("x-dashboard-uid", "abc"), ("x-panel-id", "7"), ("fromalert", "true"), ("x-rule-uid", "r1")];
    assert_eq!(node.post("/api/v1/query?query=1", &headers, b"").0, 200);
    eventually("the request is logged", || {
        node.logged().lines().any(|line| {
            line.contains("request answered")
                && line.contains("x-dashboard-uid=abc x-panel-id=7 fromalert=true x-rule-uid=r1")
        })
    });
}
