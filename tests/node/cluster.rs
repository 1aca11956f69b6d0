//! What a node tells of its cluster, and `pharos cluster`. A node alone is a cluster of one.

use std::process::Output;

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, binary};

const ADMIN: &str = "--web.enable-admin-api";

/// `pharos cluster …` about a node.
fn cluster(node: &Node, arguments: &[&str]) -> Output {
    binary().arg("cluster").args(arguments).arg(format!("--url={}", node.url(""))).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn error_of(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_node_alone_leads_all_partitions() {
    let node = Node::start(NO_SCRAPES, &["--cluster.partitions=5"]);
    let status = node.data("/api/v1/status/cluster");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1, "{status}");
    let own = &status["nodes"][0];
    assert_eq!(
        (own["alive"].as_bool(), own["leaders"].as_u64(), own["replicas"].as_u64()),
        (Some(true), Some(5), Some(5))
    );
    assert_eq!(status["metadata"]["leader"], own["id"]);
    for partition in status["partitions"].as_array().unwrap() {
        assert_eq!((&partition["state"], &partition["leader"]), (&Value::from("ok"), &own["id"]), "{partition}");
    }
}

#[test]
fn orders_are_refused_with_what_to_do() {
    let closed = Node::start(NO_SCRAPES, &[]);
    let (status, body) = closed.post("/api/v1/admin/cluster/drain?node=1234", &[], b"");
    assert_eq!((status, error_of(&body).as_str()), (503, "admin APIs disabled"));

    let node = Node::start(NO_SCRAPES, &[ADMIN]);
    let id = node.data("/api/v1/status/cluster")["nodes"][0]["id"].as_str().unwrap().to_owned();
    let order = |what: &str, node_name: &str| {
        let (status, body) = node.post_form(&format!("/api/v1/admin/cluster/{what}"), &[("node", node_name)]);
        (status, error_of(&body))
    };
    let (status, reason) = order("drain", &id[..6]);
    assert!(status == 422 && reason.contains("last active one"), "{status} {reason}");
    let (status, reason) = order("remove", &id);
    assert!(status == 422 && reason.contains("drain it first"), "{status} {reason}");
    let (status, body) = node.post(&format!("/api/v1/admin/cluster/remove?node={id}&force=true"), &[], b"");
    assert!(status == 422 && error_of(&body).contains("the cluster would end"), "{body}");
    let (status, reason) = order("undrain", "nowhere:9090");
    assert!(status == 404 && reason.contains("16 hexadecimal digits"), "{status} {reason}");
    let (status, reason) = order("drain", "");
    assert!(status == 400 && reason.contains("which node"), "{status} {reason}");
    let (status, body) = node.post_form("/api/v1/admin/cluster/undrain", &[("node", &id)]);
    assert_eq!(status, 200, "{body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["data"]["node"], id.as_str());
}

#[test]
fn the_command_line_shows_the_cluster_and_what_is_refused() {
    let node = Node::start(NO_SCRAPES, &[ADMIN]);
    let output = cluster(&node, &["status"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(table.contains("all well: 24 partitions on 1 node, at rest"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let rows = |output: &Output| text(&output.stdout).lines().filter(|line| line.contains(" ok ")).count();
    assert_eq!((rows(&output), rows(&cluster(&node, &["status", "--partitions"]))), (0, 24));

    let output = cluster(&node, &["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = status["nodes"][0]["id"].as_str().unwrap();
    let output = cluster(&node, &["drain", id]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("last active one"), "{}", text(&output.stderr));
    let output = cluster(&node, &["remove", &id[..4]]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("drain it first"), "{output:?}");
    let output = cluster(&node, &["undrain", id]);
    assert!(output.status.code() == Some(0) && text(&output.stdout).contains(id), "{output:?}");
    let output = cluster(&node, &["rebalance", "--timeout=1m"]);
    assert!(output.status.code() == Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("all is where it should be: 24 replicas on each of 1 node"), "{output:?}");
}

#[test]
fn looking_on_ends_when_nobody_answers_in_time() {
    let mut node = Node::start(NO_SCRAPES, &[]);
    node.kill();
    let output = cluster(&node, &["rebalance", "--timeout=1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("does not answer"), "{output:?}");
    assert!(text(&output.stderr).contains("the cluster goes on by itself"), "{output:?}");
    let output = cluster(&node, &["rebalance", "--timeout=soon"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
