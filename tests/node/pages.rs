//! The pages, drawn by a real browser.

use std::process::Command;

use crate::harness::{NO_SCRAPES, Node, installed, now_ms};

/// The page's document after its scripts ran.
fn rendered(node: &Node, path: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(node.url(path))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn pages_show_results_errors_and_targets() {
    if !installed("chromium") {
        return;
    }
    let config = "scrape_configs:\n  - job_name: nobody\n    static_configs: [{targets: ['127.0.0.1:1']}]\n";
    let node = Node::start(config, &[]);
    let now = now_ms();
    let samples: Vec<(i64, f64)> = (0..20).map(|i| (now - i * 15_000, i as f64)).rev().collect();
    assert_eq!(node.write(&[(&[("__name__", "drawn"), ("job", "a")], &samples)]).0, 204);

    let table = rendered(&node, "/query?expr=drawn");
    assert!(table.contains("drawn{job=\"a\"}"), "{table}");
    let graph = rendered(&node, "/query?expr=drawn&tab=graph&range=10m");
    assert!(graph.contains("<canvas") && graph.contains("class=\"swatch\""), "{graph}");
    let error = rendered(&node, "/query?expr=drawn%7B");
    assert!(error.contains("note error") && error.contains("parse error"), "{error}");
    let targets = rendered(&node, "/targets");
    assert!(targets.contains("http://127.0.0.1:1/metrics") && targets.contains("nobody"), "{targets}");
    let cluster = rendered(&node, "/cluster");
    assert!(cluster.matches("class=\"partition state-ok\"").count() == 24, "{cluster}");
    assert!(cluster.contains("All partitions are led and whole.") && cluster.contains("pill up"), "{cluster}");
    let status = rendered(&node, "/status");
    assert!(status.contains("storage.path") && status.contains("job_name: nobody"), "{status}");
}

#[test]
fn pages_are_served_without_a_browser_too() {
    let node = Node::start(NO_SCRAPES, &["--web.page-title=<My> page"]);
    let (status, page) = node.get("/query");
    assert!(status == 200 && page.contains("<title>&lt;My&gt; page</title>"), "{page}");
    assert_eq!(node.get("/assets/query.js").0, 200);
    assert_eq!(node.get("/assets/nothing.js").0, 404);
    assert_eq!(node.get("/").0, 303);
    assert_eq!(node.get("/graph?g0.expr=up").0, 303);
}
