//! Beside real programs: what they expose we scrape, what they send we keep, what they ask we answer.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, eventually, free_port, installed, send};

/// A peer that ends with the test.
struct Peer {
    child: Child,
    address: String,
}

impl Peer {
    fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, address: format!("127.0.0.1:{port}") }
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        send(&format!("GET {path} HTTP/1.1"), &self.address, &[], b"")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node_exporter() -> Peer {
    let port = free_port();
    Peer::start(Command::new("prometheus-node-exporter").arg(format!("--web.listen-address=127.0.0.1:{port}")), port)
}

fn prometheus(folder: &Path, config: &str) -> Peer {
    let port = free_port();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.yml"), config).unwrap();
    Peer::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("config.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}")),
        port,
    )
}

fn job(name: &str, address: &str, more: &str) -> String {
    format!("  - job_name: {name}\n    static_configs: [{{targets: ['{address}']}}]\n{more}")
}

fn scraping(jobs: &[String]) -> String {
    format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}", jobs.concat())
}

#[test]
fn node_exporter_and_prometheus_are_scraped() {
    if !installed("prometheus-node-exporter") || !installed("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let exporter = node_exporter();
    let prometheus = prometheus(folder.path(), NO_SCRAPES);
    let node =
        Node::start(&scraping(&[job("node", &exporter.address, ""), job("prometheus", &prometheus.address, "")]), &[]);
    eventually("both are up", || node.number("sum(up)", None) == Some(2.0));
    eventually("rates can be taken", || {
        node.query("rate(node_cpu_seconds_total[30s])", None).as_array().is_some_and(|list| !list.is_empty())
    });
    assert_eq!(node.number("count(node_uname_info)", None), Some(1.0));
    assert_eq!(node.number("prometheus_build_info{job=\"prometheus\"}", None), Some(1.0));
    assert_eq!(node.data("/api/v1/metadata?metric=node_load1")["node_load1"][0]["type"], "gauge");
}

/// Feeds through a real sender while we are killed, then compares counts with the sender's own source of truth.
fn survives_kills_under(sender: impl Fn(&Path, &str, &str) -> Peer) {
    let folder = tempfile::tempdir().unwrap();
    let exporter = node_exporter();
    let mut node = Node::start(NO_SCRAPES, &["--storage.checkpoint-interval=1s"]);
    let sender = sender(folder.path(), &exporter.address, &node.address);
    for _ in 0..3 {
        let newest = || node.number("max(timestamp(up{job=\"sent\"}))", None);
        let mut first = None;
        eventually("samples arrive", || {
            first = newest();
            first.is_some()
        });
        eventually("more samples arrive", || newest() > first.map(|at| at + 3.0));
        node.kill();
        node.restart();
    }
    let last = node.number("max(timestamp(up{job=\"sent\"}))", None);
    eventually("the sender goes on after the last kill", || {
        node.number("max(timestamp(up{job=\"sent\"}))", None) > last.map(|at| at + 5.0)
    });
    // The sender scrapes every second and retries what was not acknowledged, so no second may be missing: gaps between neighbours
    // stay near the interval.
    let result = node.query("up{job=\"sent\"}[10m]", None);
    let values = result[0]["values"].as_array().unwrap();
    let times: Vec<f64> = values.iter().map(|point| point[0].as_f64().unwrap()).collect();
    assert!(times.len() > 10, "{times:?}");
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(widest < 2.5, "a gap of {widest} s: {times:?}");
    drop(sender);
}

#[test]
fn prometheus_remote_write_survives_our_kills() {
    if !installed("prometheus-node-exporter") || !installed("prometheus") {
        return;
    }
    survives_kills_under(|folder, exporter, node| {
        let config = scraping(&[job("sent", exporter, "")])
            + &format!(
                "remote_write:\n  - url: http://{node}/api/v1/write\n    queue_config: {{batch_send_deadline: 500ms, min_backoff: 30ms, max_backoff: 500ms}}\n"
            );
        prometheus(folder, &config)
    });
}

#[test]
fn vmagent_remote_write_survives_our_kills() {
    if !installed("prometheus-node-exporter") || !installed("vmagent") {
        return;
    }
    survives_kills_under(|folder, exporter, node| {
        let port = free_port();
        std::fs::write(folder.join("scrape.yml"), scraping(&[job("sent", exporter, "")])).unwrap();
        Peer::start(
            Command::new("vmagent")
                .arg(format!("-promscrape.config={}", folder.join("scrape.yml").display()))
                .arg(format!("-remoteWrite.url=http://{node}/api/v1/write"))
                .arg(format!("-remoteWrite.tmpDataPath={}", folder.join("queue").display()))
                .arg("-remoteWrite.flushInterval=500ms")
                .arg(format!("-httpListenAddr=127.0.0.1:{port}")),
            port,
        )
    });
}

#[test]
fn prometheus_scrapes_our_metrics_and_federates() {
    if !installed("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NO_SCRAPES, &[]);
    let now = crate::harness::now_ms();
    assert_eq!(node.write(&[(&[("__name__", "fed"), ("job", "a")], &[(now, 42.0)])]).0, 204);
    let federate =
        "    metrics_path: /federate\n    honor_labels: true\n    params: {'match[]': ['{__name__=\"fed\"}']}\n";
    let jobs = [job("metrics", &node.address, ""), job("federate", &node.address, federate)];
    let prometheus = prometheus(folder.path(), &scraping(&jobs));
    let ask = |expr: &str| -> Option<Value> {
        let (_, body) = prometheus.get(&format!("/api/v1/query?query={expr}"))?;
        let mut answer: Value = serde_json::from_str(&body).ok()?;
        Some(answer["data"]["result"].take())
    };
    eventually("both scrapes succeed", || ask("sum(up)").is_some_and(|result| result[0]["value"][1] == "2"));
    eventually("the federated sample is there", || {
        ask("fed").is_some_and(|result| result[0]["metric"]["job"] == "a" && result[0]["value"][1] == "42")
    });
}

#[test]
fn promtool_asks_and_is_answered() {
    if !installed("promtool") {
        return;
    }
    let node = Node::start(NO_SCRAPES, &[]);
    let now = crate::harness::now_ms();
    assert_eq!(node.write(&[(&[("__name__", "asked"), ("job", "a")], &[(now - 1000, 1.0)])]).0, 204);
    let run = |arguments: &[&str]| {
        let output = Command::new("promtool").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = node.url("");
    assert!(run(&["query", "instant", &url, "asked"]).contains("asked{job=\"a\"} => 1"));
    assert!(run(&["query", "range", &url, "asked"]).contains("asked{job=\"a\"} =>"));
    assert!(run(&["query", "series", "--match=asked", &url]).contains("asked"));
    assert!(run(&["query", "labels", &url, "job"]).contains('a'));
    let metrics = node.get("/metrics").1;
    let mut check = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), metrics.as_bytes()).unwrap();
    let code = check.wait().unwrap().code();
    // 3 is "lint": names that its newer rules would choose otherwise. 1 would be a text that does not parse.
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

#[test]
fn the_python_client_is_answered() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has_client = Command::new(&python).args(["-c", "import prometheus_api_client"]).stderr(Stdio::null()).status();
    if !has_client.is_ok_and(|status| status.success()) {
        println!("skipped: the Python package prometheus-api-client is not installed");
        return;
    }
    let node = Node::start(NO_SCRAPES, &[]);
    let now = crate::harness::now_ms();
    assert_eq!(node.write(&[(&[("__name__", "asked"), ("job", "a")], &[(now - 2000, 1.0), (now - 1000, 2.0)])]).0, 204);
    let script = format!(
        "from prometheus_api_client import PrometheusConnect, MetricsList\n\
         import datetime\n\
         c = PrometheusConnect(url='{}', disable_ssl=True)\n\
         assert c.check_prometheus_connection()\n\
         assert c.all_metrics() == ['asked'], c.all_metrics()\n\
         assert c.custom_query('asked')[0]['value'][1] == '2'\n\
         end = datetime.datetime.now()\n\
         r = c.custom_query_range('asked', end - datetime.timedelta(minutes=1), end, '1s')\n\
         assert r[0]['metric']['job'] == 'a'\n\
         m = MetricsList(c.get_metric_range_data('asked', start_time=end - datetime.timedelta(minutes=1), end_time=end))\n\
         assert len(m) == 1\n",
        node.url("")
    );
    let output = Command::new(&python).arg("-c").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
