//! Several nodes as one: any takes writes and queries for all data, and one of three may be lost.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{NO_SCRAPES, Node, eventually, free_port, now_ms, send};

const PARTITIONS: usize = 4;

/// Nodes with an object store that they share.
struct Cluster {
    own: TempDir,
    /// Where each listens for the others.
    peers: Vec<u16>,
    nodes: Vec<Node>,
}

/// Flags of a node among others.
fn flags(own: &Path, port: u16, name: &str) -> Vec<String> {
    vec![
        format!("--object-store=file://{}", own.join("objects").display()),
        format!("--cluster.partitions={PARTITIONS}"),
        format!("--cluster.name={name}"),
        format!("--cluster.listen-address=127.0.0.1:{port}"),
        "--web.enable-admin-api".to_owned(),
    ]
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

fn launch(own: &Path, folder: &str, flags: &[String]) -> Node {
    launch_with(own, folder, NO_SCRAPES, flags)
}

fn launch_with(own: &Path, folder: &str, config: &str, flags: &[String]) -> Node {
    let folder = own.join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    Node::launch_in(&folder, config, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Cluster {
    /// Founded by all of them together.
    fn of(count: usize) -> Self {
        Self::scraping(count, NO_SCRAPES)
    }

    fn scraping(count: usize, config: &str) -> Self {
        Self::with(tempfile::tempdir().unwrap(), count, config, |_| Vec::new())
    }

    /// With flags besides of each of the nodes.
    fn with(own: TempDir, count: usize, config: &str, besides: impl Fn(usize) -> Vec<String>) -> Self {
        let peers: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let start = |(at, port): (usize, &u16)| {
            let mut flags = flags(own.path(), *port, "test");
            flags.push(format!("--cluster.initial-nodes={}", list(&peers)));
            flags.extend(besides(at));
            launch_with(own.path(), &at.to_string(), config, &flags)
        };
        let nodes: Vec<Node> = peers.iter().enumerate().map(start).collect();
        let cluster = Self { own, peers, nodes };
        for node in &cluster.nodes {
            cluster.wait_ready(node);
        }
        cluster.wait_at_rest(&cluster.nodes[0], count.min(3));
        cluster
    }

    /// One more, by way of the first.
    fn join(&mut self) {
        let port = free_port();
        let mut flags = flags(self.own.path(), port, "test");
        flags.push(format!("--cluster.join={}", list(&self.peers[..1])));
        let node = launch(self.own.path(), &self.nodes.len().to_string(), &flags);
        self.wait_ready(&node);
        self.nodes.push(node);
        self.peers.push(port);
    }

    fn wait_ready(&self, node: &Node) {
        eventually("a node is ready", || node.get("/-/ready").0 == 200);
    }

    /// Until each partition has so many replicas and nothing moves.
    fn wait_at_rest(&self, asked: &Node, replicas: usize) {
        eventually("all partitions are at rest", || {
            let status = asked.data("/api/v1/status/cluster");
            let partitions = status["partitions"].as_array().unwrap();
            let rests = |partition: &Value| {
                partition["state"] == "ok"
                    && partition["move"].is_null()
                    && partition["replicas"].as_array().unwrap().len() == replicas
            };
            partitions.len() == PARTITIONS && partitions.iter().all(rests)
        });
    }
}

/// A series of each of many targets, so that all partitions have some.
fn write(node: &Node, metric: &str, ts: i64) {
    for target in 0..12 {
        let instance = format!("i{target}");
        let labels = [("__name__", metric), ("instance", &*instance), ("job", "j")];
        let (status, body) = node.write(&[(&labels, &[(ts, f64::from(target))])]);
        assert_eq!(status, 204, "{body}");
    }
}

fn sum(node: &Node, metric: &str) -> Option<f64> {
    node.number(&format!("sum({metric}) + 0 * count({metric})"), None)
}

const ALL: Option<f64> = Some(66.0);

#[test]
fn any_node_takes_writes_and_answers_for_all() {
    let cluster = Cluster::of(3);
    for (at, node) in cluster.nodes.iter().enumerate() {
        let metric = format!("m{at}");
        write(node, &metric, now_ms());
        for asked in &cluster.nodes {
            assert_eq!(sum(asked, &metric), ALL, "what was answered is seen everywhere, at once");
            assert_eq!(asked.data("/api/v1/label/instance/values").as_array().unwrap().len(), 12);
            assert_eq!(asked.data(&format!("/api/v1/series?match%5B%5D={metric}")).as_array().unwrap().len(), 12);
        }
    }
    let tsdb = |node: &Node| node.data("/api/v1/status/tsdb")["headStats"]["numSeries"].clone();
    assert!(cluster.nodes.iter().all(|node| tsdb(node) == 36));

    let push = |text: &[u8]| put(&cluster.nodes[0], "/api/v1/config/documents/limits.yml?expected=0", text);
    let (status, body) = push(b"default: {series: 1}");
    assert!(status == 400 && body.contains("series"), "{body}");
    assert_eq!(push(b"default: {series_limit: 1}").0, 200);
    for (at, node) in cluster.nodes.iter().enumerate() {
        let name = format!("over{at}");
        let refused = || {
            let written: Vec<u16> = (0..8)
                .map(|i| node.write(&[(&[("__name__", &*name), ("i", &*i.to_string())], &[(now_ms(), 1.0)])]).0)
                .collect();
            written.contains(&400)
        };
        eventually("the limit is in force on every node", refused);
    }
}

fn put(node: &Node, path: &str, body: &[u8]) -> (u16, String) {
    send(&format!("PUT {path} HTTP/1.1"), &node.address, &[], body).unwrap()
}

#[test]
fn one_of_three_dies_and_comes_back() {
    let mut cluster = Cluster::of(3);
    write(&cluster.nodes[0], "before", now_ms());
    cluster.nodes[0].kill();
    for at in [1, 2] {
        let metric = format!("without{at}");
        write(&cluster.nodes[at], &metric, now_ms());
        assert_eq!((sum(&cluster.nodes[at], "before"), sum(&cluster.nodes[at], &metric)), (ALL, ALL));
    }
    cluster.nodes[0].restart();
    write(&cluster.nodes[0], "after", now_ms());
    for node in &cluster.nodes {
        for metric in ["before", "without1", "without2", "after"] {
            assert_eq!(sum(node, metric), ALL, "{metric}");
        }
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    let restart = |node: &mut Node| node.relaunch();
    cluster.nodes.iter_mut().for_each(restart);
    for node in &cluster.nodes {
        cluster.wait_ready(node);
        assert_eq!(sum(node, "without2"), ALL, "after all of them lost power");
    }
}

#[test]
fn nodes_that_have_not_all_ask_each_other() {
    let mut cluster = Cluster::of(3);
    write(&cluster.nodes[0], "early", now_ms());
    cluster.join();
    cluster.join();
    eventually("nobody has all partitions any more", || {
        let status = cluster.nodes[3].data("/api/v1/status/cluster");
        let nodes = status["nodes"].as_array().unwrap();
        nodes.len() == 5
            && nodes.iter().all(|node| (1..PARTITIONS as u64).contains(&node["replicas"].as_u64().unwrap()))
    });
    cluster.wait_at_rest(&cluster.nodes[4], 3);
    write(&cluster.nodes[4], "late", now_ms());
    for node in &cluster.nodes {
        assert_eq!((sum(node, "early"), sum(node, "late")), (ALL, ALL));
        assert_eq!(node.data("/api/v1/label/instance/values").as_array().unwrap().len(), 12);
        let (status, text) = node.get("/federate?match%5B%5D=late");
        assert_eq!((status, text.lines().filter(|line| line.starts_with("late{")).count()), (200, 12), "{text}");
        let tsdb = node.data("/api/v1/status/tsdb");
        assert_eq!(tsdb["headStats"]["numSeries"], 24, "{tsdb}");
    }
    let (status, body) = cluster.nodes[3].post("/api/v1/admin/tsdb/delete_series?match%5B%5D=early", &[], b"");
    assert_eq!(status, 204, "{body}");
    for node in &cluster.nodes {
        assert_eq!((sum(node, "early"), sum(node, "late")), (None, ALL));
    }
}

#[test]
fn a_node_alone_grows_to_three_with_its_data() {
    let own = tempfile::tempdir().unwrap();
    let alone_flags = [format!("--cluster.partitions={PARTITIONS}")];
    let mut alone = launch(own.path(), "0", &alone_flags);
    eventually("it is ready", || alone.get("/-/ready").0 == 200);
    write(&alone, "of_one", now_ms());
    alone.terminate();
    // Its data files are where the others reach them, too.
    let objects = own.path().join("0/data/objects");
    std::fs::create_dir_all(&objects).unwrap();
    std::os::unix::fs::symlink(&objects, own.path().join("objects")).unwrap();
    let peers: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let nodes: Vec<Node> = (0..3)
        .map(|at| {
            let mut flags = flags(own.path(), peers[at], "test");
            flags.push(format!("--cluster.initial-nodes={}", list(&peers)));
            launch(own.path(), &at.to_string(), &flags)
        })
        .collect();
    let cluster = Cluster { own, peers, nodes };
    cluster.nodes.iter().for_each(|node| cluster.wait_ready(node));
    cluster.wait_at_rest(&cluster.nodes[2], 3);
    for node in &cluster.nodes {
        assert_eq!(sum(node, "of_one"), ALL);
    }
}

#[test]
fn nodes_hear_each_other_in_gossip_sealed_by_one_secret() {
    const SECRET: &str = "the secret of all nodes of the test cluster\n";
    let own = tempfile::tempdir().unwrap();
    let secret = |at: usize| own.path().join(format!("secret-{at}"));
    let files: Vec<_> = (0..3).map(secret).collect();
    files.iter().for_each(|file| std::fs::write(file, SECRET).unwrap());
    std::fs::write(&files[2], "a secret that only the last node was given\n").unwrap();
    let besides = |at: usize| {
        vec![format!("--cluster.gossip-secret-file={}", files[at].display()), "--web.enable-lifecycle".to_owned()]
    };
    let mut cluster = Cluster::with(own, 3, NO_SCRAPES, besides);
    // What a node says of the one of an address.
    let peers = cluster.peers.clone();
    let said = |asked: &Node, of: usize| {
        let status = asked.data("/api/v1/status/cluster");
        let nodes = status["nodes"].as_array().unwrap().clone();
        let address = format!("127.0.0.1:{}", peers[of]);
        nodes.into_iter().find(|node| node["peer"] == address.as_str()).unwrap()
    };
    let hears = |asked: &Node, of: usize| said(asked, of)["gossip"]["alive"] == true;
    eventually("who has the secret is heard", || hears(&cluster.nodes[0], 1) && hears(&cluster.nodes[1], 0));
    let refused = || said(&cluster.nodes[0], 2)["gossip"]["refused"].as_str().unwrap_or_default().to_owned();
    eventually("who has another one is refused", || refused().contains("--cluster.gossip-secret-file"));
    let other = said(&cluster.nodes[0], 2);
    assert_eq!((&other["gossip"]["alive"], &other["alive"]), (&Value::from(false), &Value::from(true)), "{other}");
    assert!(cluster.nodes[0].get("/metrics").1.contains("pharos_gossip_refused_total{reason=\"other_secret\"}"));

    std::fs::write(&files[2], "short").unwrap();
    let (status, body) = cluster.nodes[2].post("/-/reload", &[], b"");
    assert!(status == 500 && body.contains("has 5 bytes, it needs at least 32"), "{body}");
    std::fs::write(&files[2], SECRET).unwrap();
    assert_eq!(cluster.nodes[2].post("/-/reload", &[], b"").0, 200);
    write(&cluster.nodes[0], "m", now_ms());
    eventually("all hear all, and how busy they are", || {
        cluster
            .nodes
            .iter()
            .all(|asked| (0..3).all(|of| hears(asked, of) && said(asked, of)["gossip"]["load"]["series"] == 12))
    });

    cluster.nodes[2].kill();
    eventually("its silence is heard", || !hears(&cluster.nodes[0], 2) && !hears(&cluster.nodes[1], 2));
    assert!(hears(&cluster.nodes[0], 1) && said(&cluster.nodes[0], 2)["gossip"]["heard_ms"].as_u64().unwrap() > 0);
    assert!(cluster.nodes[0].get("/metrics").1.contains("\npharos_gossip_restarts_total 0\n"));
}

#[test]
fn a_secret_that_is_none_is_refused_with_what_to_do() {
    let own = tempfile::tempdir().unwrap();
    for (text, said) in [("", "there is no secret in it"), ("12345\n", "has 5 bytes, it needs at least 32")] {
        let file = own.path().join("secret");
        std::fs::write(&file, text).unwrap();
        let mut flags = flags(own.path(), free_port(), "test");
        flags.push(format!("--cluster.gossip-secret-file={}", file.display()));
        let mut node = launch(own.path(), "0", &flags);
        assert_ne!(node.wait(), 0);
        let log = node.logged();
        assert!(log.contains(said) && log.contains("openssl rand -hex 32"), "{log}");
    }
}

#[test]
fn nodes_that_do_not_belong_together_are_told_so() {
    let cluster = Cluster::of(1);
    let other = |folder: &str, change: &dyn Fn(&mut Vec<String>)| {
        let mut flags = flags(cluster.own.path(), free_port(), "test");
        change(&mut flags);
        let mut node = launch(cluster.own.path(), folder, &flags);
        assert_ne!(node.wait(), 0);
        node.logged()
    };
    let log = other("name", &|flags| {
        flags.retain(|flag| !flag.starts_with("--cluster.name"));
        flags.extend(["--cluster.name=other".to_owned(), format!("--cluster.join={}", list(&cluster.peers))]);
    });
    assert!(log.contains("test") && log.contains("other"), "{log}");
    let log = other("store", &|flags| {
        flags.retain(|flag| !flag.starts_with("--object-store"));
        let elsewhere = cluster.own.path().join("elsewhere");
        flags.extend([
            format!("--object-store=file://{}", elsewhere.display()),
            format!("--cluster.join={}", list(&cluster.peers)),
        ]);
    });
    assert!(log.contains("is not the one of the other nodes"), "{log}");
    let log = other("unasked", &|_| {});
    assert!(log.contains("the object store has the data of cluster"), "{log}");
}

/// Answers every scrape, on a thread that ends with the test's process.
fn exporter() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nx 1\n");
        }
    });
    address
}

#[test]
fn a_target_is_scraped_by_one_node_and_by_another_when_that_dies() {
    const TARGETS: usize = 12;
    let address = exporter();
    let groups: String = (0..TARGETS).fold(String::new(), |mut groups, i| {
        let _ = writeln!(groups, "      - {{targets: ['{address}'], labels: {{instance: 'i{i}'}}}}");
        groups
    });
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: j\n    static_configs:\n{groups}"
    );
    let mut cluster = Cluster::scraping(3, &config);
    let up = |node: &Node| {
        let targets = node.data("/api/v1/targets");
        let active = targets["activeTargets"].as_array().unwrap();
        active.iter().filter(|target| target["health"] == "up").count()
    };
    eventually("all targets are up, each once", || cluster.nodes.iter().all(|node| up(node) == TARGETS));
    let own = |node: &Node| {
        let (_, text) = node.get("/metrics");
        let line =
            text.lines().find(|line| line.starts_with("prometheus_target_scrape_pool_targets{")).unwrap().to_owned();
        line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()
    };
    eventually("the nodes share them", || cluster.nodes.iter().map(own).sum::<usize>() == TARGETS);
    eventually("none has all of them", || cluster.nodes.iter().all(|node| own(node) < TARGETS));
    cluster.nodes[0].kill();
    let died = now_ms() as f64 / 1000.0;
    let left = &cluster.nodes[1..];
    eventually("the others have all of them", || {
        left.iter().map(own).sum::<usize>() == TARGETS && up(&left[0]) == TARGETS
    });
    eventually("all are scraped again", || {
        left[1].number(&format!("count(timestamp(x) > {})", died + 1.0), None) == Some(TARGETS as f64)
    });
    let (status, body) = left[0].get("/api/v1/targets");
    assert!(status == 200 && body.contains("did not tell of its targets"), "{body}");
}
