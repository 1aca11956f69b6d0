//! What a node tells of its cluster, and `pharos cluster`. A node alone is a cluster of one.

use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use tempfile::TempDir;

use crate::harness::{NO_SCRAPES, Node, binary, eventually, free_port};

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
    assert!(status == 503 && error_of(&body).contains("--web.enable-admin-api"), "{body}");

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

/// Nodes of one cluster, by the port that the others reach them at.
struct Several {
    nodes: Vec<(u16, Node)>,
    home: TempDir,
}

impl Several {
    /// As many nodes that begin a cluster together.
    fn begin(many: usize) -> Self {
        Self::begin_with(many, &[])
    }

    /// The same with further flags for each of them.
    fn begin_with(many: usize, flags: &[&str]) -> Self {
        let ports: Vec<u16> = (0..many).map(|_| free_port()).collect();
        let list = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        let mut several = Self { nodes: Vec::new(), home: tempfile::tempdir().unwrap() };
        for port in ports {
            let entry = format!("--cluster.initial-nodes={list}");
            several.launch(port, &[&[entry.as_str()], flags].concat());
        }
        several.ready();
        several
    }

    fn launch(&mut self, port: u16, flags: &[&str]) {
        let folder = self.home.path().join(port.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let objects = format!("--object-store=file://{}", self.home.path().join("objects").display());
        let listen = format!("--cluster.listen-address=127.0.0.1:{port}");
        let own = ["--cluster.name=test", "--cluster.partitions=4", ADMIN, &listen, &objects];
        self.nodes.push((port, Node::launch_in(&folder, NO_SCRAPES, &[&own, flags].concat())));
    }

    fn join(&mut self) {
        let how = format!("--cluster.join=127.0.0.1:{}", self.nodes[0].0);
        self.launch(free_port(), &[&how]);
        self.ready();
    }

    fn ready(&self) {
        for (_, node) in &self.nodes {
            eventually("the node is ready", || node.get("/-/ready").0 == 200);
        }
        for (_, node) in &self.nodes {
            let known = || node.data("/api/v1/status/cluster")["nodes"].as_array().map(Vec::len);
            eventually("every node knows all of them", || known() == Some(self.nodes.len()));
        }
    }

    /// The node's id, as the first node tells it.
    fn id(&self, at: usize) -> String {
        let peer = format!("127.0.0.1:{}", self.nodes[at].0);
        let status = self.nodes[0].1.data("/api/v1/status/cluster");
        let nodes = status["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["peer"] == peer.as_str());
        node.unwrap_or_else(|| panic!("no {peer}: {status}"))["id"].as_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        cluster(&self.nodes[0].1, arguments)
    }
}

#[test]
fn a_node_is_drained_and_removed_and_all_nodes_go_by_one_document() {
    let mut several = Several::begin(3);
    several.join();
    let output = several.run(&["rebalance", "--timeout=2m"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("3 replicas on each of 4 nodes"), "{output:?}");

    let id = several.id(3);
    let output = several.run(&["remove", &id]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("is alive"), "{output:?}");
    let output = several.run(&["drain", &id, "--timeout=2m"]);
    assert!(output.status.success() && text(&output.stdout).contains("nothing is left on node"), "{output:?}");
    let status = several.nodes[0].1.data("/api/v1/status/cluster");
    assert!(status["drains"][0]["done"] == true && status["drains"][0]["node"] == id.as_str(), "{status}");

    let file = several.home.path().join("new.yml");
    std::fs::write(&file, "global: {scrape_interval: 32s}\n").unwrap();
    let output = several.run(&["config", "push", "prometheus.yml", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    eventually("every node goes by the document", || {
        let in_force = |(_, node): &(u16, Node)| node.get("/api/v1/status/config").1.contains("scrape_interval: 32s");
        several.nodes.iter().all(in_force)
    });
    let status = several.nodes[1].1.data("/api/v1/status/cluster");
    let configs: Vec<&Value> = status["nodes"].as_array().unwrap().iter().map(|node| &node["config"]).collect();
    assert!(configs.len() == 4 && configs.iter().all(|config| config["version"] == 1), "{status}");
    assert_eq!(status["config_differences"], serde_json::json!([]), "{status}");

    let output = several.run(&["remove", &id, "--timeout=2m"]);
    assert!(output.status.success(), "{output:?}");
    eventually("the removed node ends", || several.nodes[3].1.get("/-/ready").0 == 0);
    let output = several.run(&["status"]);
    assert!(text(&output.stdout).contains("(1 node removed)"), "{output:?}");
    let output = several.run(&["undrain", &id]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("never admitted again"), "{output:?}");
}

#[test]
fn without_a_majority_the_status_says_so_and_orders_are_put_off() {
    let mut several = Several::begin(3);
    let output = several.run(&["rebalance", "--timeout=2m"]);
    assert!(output.status.success(), "{output:?}");
    let id = several.id(1);
    several.nodes[1].1.kill();
    several.nodes[2].1.kill();
    eventually("the others are silent", || {
        let status = several.nodes[0].1.data("/api/v1/status/cluster");
        status["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == false).count() == 2
            && status["metadata"]["leader"] == Value::Null
    });
    let output = several.run(&["status"]);
    assert!(text(&output.stdout).contains("metadata without a leader"), "{output:?}");
    let (status, body) = several.nodes[0].1.post_form("/api/v1/admin/cluster/drain", &[("node", &id)]);
    assert!(status == 503 && error_of(&body).contains("voters of the metadata group"), "{status} {body}");
}

/// Queries' samples, written and read through a node that was told to end.
fn answers(node: &Node, value: f64) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let (status, body) = node.write(&[(&[("__name__", "m")], &[(now_ms, value)])]);
    assert!(status == 204 || status == 200, "{status} {body}");
    assert_eq!(node.number("m", None), Some(value));
}

#[test]
fn a_node_that_ends_says_that_it_is_not_ready_and_answers_until_load_balancers_know() {
    // Only the second signal ends it: nothing here depends on how fast the machine is.
    let mut node = Node::start(NO_SCRAPES, &["--web.shutdown-delay=1h"]);
    answers(&node, 1.0);
    node.signal("TERM");
    eventually("the node is not ready any more", || node.get("/-/ready").0 == 503);
    answers(&node, 2.0);
    assert_eq!((node.get("/-/ready").0, node.get("/-/healthy").0), (503, 200));
    assert_eq!(node.terminate(), 0, "a second signal ends it at once");
}

#[test]
fn a_node_that_ends_has_handed_over_what_it_leads_while_it_still_answers() {
    let mut several = Several::begin_with(3, &["--web.shutdown-delay=1h"]);
    let output = several.run(&["rebalance", "--timeout=2m"]);
    assert!(output.status.success(), "{output:?}");
    let id = several.id(2);
    several.nodes[2].1.signal("TERM");
    eventually("the node is not ready any more", || several.nodes[2].1.get("/-/ready").0 == 503);
    eventually("others lead all partitions", || {
        let status = several.nodes[0].1.data("/api/v1/status/cluster");
        status["partitions"].as_array().unwrap().iter().all(|partition| {
            partition["state"] == "ok" && partition["leader"].is_string() && partition["leader"] != id.as_str()
        })
    });
    answers(&several.nodes[2].1, 1.0);
    assert_eq!(several.nodes[2].1.get("/-/ready").0, 503);
    assert_eq!(several.nodes[2].1.terminate(), 0);
    answers(&several.nodes[0].1, 2.0);
}
