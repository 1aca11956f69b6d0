//! Configuration as documents: over the API, on the command line, and in force.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Node, binary, eventually, send};

const ADMIN: &str = "--web.enable-admin-api";
const DOCUMENT: &str = "/api/v1/config/documents/prometheus.yml";

fn interval(seconds: u32) -> String {
    format!("global: {{scrape_interval: {seconds}s}}\n")
}

/// Writes the document; its version afterwards, or the error with its status.
fn put(node: &Node, expected: u64, text: &str) -> Result<u64, (u16, String)> {
    let line = format!("PUT {DOCUMENT}?expected={expected} HTTP/1.1");
    // What curl says that it sends, unless it is told otherwise.
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let (status, body) = send(&line, &node.address, &headers, text.as_bytes()).unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    match status {
        200 => Ok(answer["data"]["version"].as_u64().unwrap()),
        _ => Err((status, answer["error"].as_str().unwrap_or_default().to_owned())),
    }
}

fn in_force(node: &Node, seconds: u32) -> bool {
    let yaml = node.data("/api/v1/status/config")["yaml"].as_str().unwrap_or_default().to_owned();
    yaml.contains(&format!("scrape_interval: {seconds}s"))
}

fn metric(node: &Node, name: &str) -> Option<f64> {
    let (_, metrics) = node.get("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} "))?.parse().ok())
}

fn own_config(node: &Node) -> Value {
    node.data("/api/v1/status/cluster")["nodes"][0]["config"].clone()
}

#[test]
fn a_document_is_in_force_instead_of_the_file_until_it_is_empty() {
    let mut node = Node::start(&interval(31), &[ADMIN, "--web.enable-lifecycle"]);
    assert!(in_force(&node, 31) && own_config(&node)["source"] == "file");
    assert_eq!(metric(&node, "pharos_config_document_version"), Some(0.0));
    let of_file = metric(&node, "pharos_config_hash").unwrap();
    assert_eq!(put(&node, 0, &interval(32)), Ok(1));
    eventually("the document is in force", || in_force(&node, 32));
    assert_eq!(metric(&node, "pharos_config_document_version"), Some(1.0));
    assert_ne!(metric(&node, "pharos_config_hash"), Some(of_file));
    assert_eq!((&own_config(&node)["source"], &own_config(&node)["version"]), (&"document".into(), &1.into()));

    // A reload reads what is in force again, not the file.
    node.reconfigure(&interval(33));
    assert!(in_force(&node, 32));
    assert_eq!(node.terminate(), 0);
    node.restart();
    assert!(in_force(&node, 32), "it is in force from the start on");

    assert_eq!(put(&node, 1, "\n"), Ok(2));
    eventually("the file is in force again", || in_force(&node, 33));
    assert_eq!(own_config(&node)["source"], "file");
}

#[test]
fn nothing_is_written_that_does_not_load_or_that_somebody_else_has_changed() {
    let node = Node::start(&interval(31), &[ADMIN]);
    let (status, error) = put(&node, 0, "global: {scrape_intervall: 1s}\n").unwrap_err();
    assert!(status == 400 && error.contains("scrape_intervall") && error.contains("is not written"), "{error}");
    let (status, error) =
        put(&node, 0, "scrape_configs: [{job_name: a, tls_config: {ca_file: no-such-ca.pem}}]\n").unwrap_err();
    assert!(status == 400 && error.contains("no-such-ca.pem"), "{error}");
    assert_eq!(node.data("/api/v1/config/documents")["documents"], serde_json::json!([]));
    assert_eq!(node.get(DOCUMENT).0, 404);

    assert_eq!(put(&node, 0, &interval(32)), Ok(1));
    let (status, error) = put(&node, 0, &interval(33)).unwrap_err();
    assert!(status == 409 && error.contains("version 1"), "{error}");
    let (status, body) = send(&format!("PUT {DOCUMENT} HTTP/1.1"), &node.address, &[], b"global: {}").unwrap();
    assert!(status == 400 && body.contains("expected"), "{body}");
    let large = format!("# {}\n", "x".repeat(256 << 10));
    assert_eq!(put(&node, 1, &large).unwrap_err().0, 400);
    eventually("the document is in force", || in_force(&node, 32));
}

#[test]
fn versions_are_kept_compared_and_taken_back() {
    let node = Node::start(&interval(31), &[ADMIN]);
    for (expected, seconds) in [(0, 32), (1, 33)] {
        assert_eq!(put(&node, expected, &interval(seconds)), Ok(expected + 1));
    }
    assert_eq!(node.data(&format!("{DOCUMENT}?version=1"))["content"], interval(32));
    let diff = node.data(&format!("{DOCUMENT}/diff"));
    assert_eq!(
        diff["lines"],
        serde_json::json!(["-global: {scrape_interval: 32s}", "+global: {scrape_interval: 33s}"]),
        "{diff}"
    );
    let (status, body) = node.post(&format!("{DOCUMENT}/rollback?to=1&expected=2"), &[], b"");
    assert_eq!(status, 200, "{body}");
    eventually("the first version is in force again", || in_force(&node, 32));
    let all = node.data("/api/v1/config/documents");
    let versions = &all["documents"][0]["versions"];
    assert_eq!((versions.as_array().unwrap().len(), &versions[2]["rolled_back_to"]), (3, &1.into()), "{all}");
    let (status, body) = node.post(&format!("{DOCUMENT}/rollback?to=7&expected=3"), &[], b"");
    assert!(status == 404 && body.contains("1 to 3 are"), "{body}");
}

#[test]
fn a_node_that_cannot_take_the_document_says_so_and_keeps_what_it_has() {
    let mut node = Node::start(&interval(31), &[ADMIN, "--web.enable-lifecycle"]);
    let job = node.folder.join("a.job.yml");
    std::fs::write(&job, "scrape_configs: [{job_name: a}]\n").unwrap();
    let text = format!("{}scrape_config_files: [a.job.yml]\n", interval(32));
    assert_eq!(put(&node, 0, &text), Ok(1));
    eventually("the document is in force, with the file beside --config.file", || {
        in_force(&node, 32) && node.data("/api/v1/scrape_pools")["scrapePools"] == serde_json::json!(["a"])
    });
    // The file goes bad after the document was checked: as on a node that has another one.
    std::fs::write(&job, "scrape_configs: [{job: a}]\n").unwrap();
    assert_eq!(node.post("/-/reload", &[], b"").0, 500);
    assert_eq!(metric(&node, "prometheus_config_last_reload_successful"), Some(0.0));
    assert_eq!(own_config(&node)["applied"], false);
    assert_eq!(node.data("/api/v1/status/cluster")["config_differences"].as_array().unwrap().len(), 1);
    assert!(in_force(&node, 32));

    node.kill();
    node.restart();
    assert!(in_force(&node, 31), "it has nothing but its own file");
    assert_eq!(metric(&node, "prometheus_config_last_reload_successful"), Some(0.0));
    assert_eq!(node.data("/api/v1/status/runtimeinfo")["storageRetention"], "", "nothing is deleted meanwhile");
    std::fs::write(&job, "scrape_configs: [{job_name: b}]\n").unwrap();
    assert_eq!(node.post("/-/reload", &[], b"").0, 200);
    assert!(in_force(&node, 32) && own_config(&node)["applied"] == true);
    assert_eq!(node.data("/api/v1/status/runtimeinfo")["storageRetention"], "15d");
}

#[test]
fn what_is_in_documents_is_for_those_who_may_write_them() {
    let mut node = Node::start(&interval(31), &[ADMIN]);
    assert_eq!(put(&node, 0, &interval(32)), Ok(1));
    assert_eq!(node.terminate(), 0);
    let closed = Node::start_in(&node.folder.clone(), &interval(31), &[]);
    assert_eq!(put(&closed, 1, &interval(33)).unwrap_err().0, 503);
    for path in ["", "/diff"] {
        assert_eq!(closed.get(&format!("{DOCUMENT}{path}")).0, 503);
    }
    assert_eq!(closed.data("/api/v1/config/documents")["documents"][0]["version"], 1);
    assert!(in_force(&closed, 32));
}

#[test]
fn the_command_line_pushes_compares_and_takes_back() {
    let node = Node::start(&interval(31), &[ADMIN]);
    let config = |arguments: &[&str]| -> Output {
        binary().args(["cluster", "config"]).args(arguments).arg(format!("--url={}", node.url(""))).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let file = node.folder.join("new.yml");
    let path = file.to_str().unwrap();
    for (seconds, version) in [(32, "version 1"), (33, "version 2")] {
        std::fs::write(&file, interval(seconds)).unwrap();
        let output = config(&["push", "prometheus.yml", path]);
        assert!(output.status.success() && text(&output.stdout).contains(version), "{output:?}");
    }
    assert!(text(&config(&["push", "prometheus.yml", path]).stdout).contains("says that already"));
    let output = config(&["push", "prometheus.yml", path, "--expected=1"]);
    assert!(output.status.success(), "the same change again is no other: {output:?}");
    assert_eq!(text(&config(&["get", "prometheus.yml", "--version=1"]).stdout), interval(32));
    let diff = text(&config(&["diff", "prometheus.yml"]).stdout);
    assert!(diff.contains("-global: {scrape_interval: 32s}\n+global: {scrape_interval: 33s}"), "{diff}");
    let output = config(&["rollback", "prometheus.yml", "--to=1"]);
    assert!(text(&output.stdout).contains("version 3"), "{output:?}");
    let history = text(&config(&["history", "prometheus.yml"]).stdout);
    assert!(
        history.lines().nth(1).is_some_and(|line| line.starts_with('3') && line.ends_with("back to 1")),
        "{history}"
    );
    let output = config(&["push", "prometheus.yml", path, "--expected=1"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("it is at version 3"), "{output:?}");
    std::fs::write(&file, "scrape_configs: [{job_name: a}, {job_name: a}]\n").unwrap();
    let output = config(&["push", "prometheus.yml", path]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("multiple scrape configs"), "{output:?}");
    assert!(text(&config(&["list"]).stdout).contains("prometheus.yml"));
    eventually("the first version is in force", || in_force(&node, 32));
}
