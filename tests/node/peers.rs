//! Beside real programs: what they expose we scrape, what they send we keep, what they ask we answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{NO_SCRAPES, Node, eventually, free_port, installed, send, skipped};

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

const QUERY_PATH: &str = "/api/v1/query?";

/// A stretch of time whose borders lie between two scrapes, so that it does not matter which of them a range includes.
struct Window {
    end: f64,
    seconds: u64,
}

/// Feeds through a real sender while we are killed, then compares what has arrived in a window that both sides are done with.
fn survives_kills_under(sender: impl Fn(&Path, &str, &str) -> Peer, compare: impl Fn(&Node, &Peer, &Window)) {
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
    let newest = || node.number("max(timestamp(up{job=\"sent\"}))", None);
    let after_kill = newest();
    eventually("the sender goes on after the last kill", || newest() > after_kill.map(|at| at + 5.0));
    let last = newest().unwrap();
    eventually("the queues are past the end of the window", || newest() > Some(last + 10.0));
    let times = times_of_up(&node);
    let window = Window { end: last + 0.5, seconds: (last - times[0]) as u64 };
    assert!(window.seconds > 10, "{times:?}");
    // The sender scrapes every second and retries what was not acknowledged, so no second may be missing.
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(widest < 2.5, "a gap of {widest} s: {times:?}");
    compare(&node, &sender, &window);
}

fn times_of_up(node: &Node) -> Vec<f64> {
    let result = node.query("up{job=\"sent\"}[10m]", None);
    result[0]["values"].as_array().unwrap().iter().map(|point| point[0].as_f64().unwrap()).collect()
}

/// Every series has the samples here that it has at the sender.
fn as_the_sender_has_them(node: &Node, sender: &Peer, window: &Window) {
    let expr = format!("{{job=\"sent\"}}[{}s]", window.seconds);
    let path = form_urlencoded::Serializer::for_suffix(QUERY_PATH.to_owned(), QUERY_PATH.len())
        .append_pair("query", &expr)
        .append_pair("time", &window.end.to_string())
        .finish();
    let (_, body) = sender.get(&path).expect("the sender answers");
    let at_sender: Value = serde_json::from_str(&body).unwrap();
    let theirs = samples_by_series(&at_sender["data"]["result"]);
    let ours = samples_by_series(&node.query(&expr, Some(window.end)));
    assert!(ours.len() > 100, "{}", ours.len());
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (series, samples) in &ours {
        assert_eq!(samples, &theirs[series], "{series}");
    }
}

/// Samples of a matrix by the text of their series' labels.
fn samples_by_series(result: &Value) -> BTreeMap<String, Vec<Value>> {
    let series = result.as_array().expect("a matrix").iter();
    series
        .map(|series| {
            let labels: BTreeMap<_, _> = series["metric"].as_object().unwrap().iter().collect();
            (format!("{labels:?}"), series["values"].as_array().unwrap().clone())
        })
        .collect()
}

/// Every series that each scrape has, has one sample for each scrape.
fn one_for_each_scrape(node: &Node, _: &Peer, window: &Window) {
    let samples =
        |selector: &str| samples_by_series(&node.query(&format!("{selector}[{}s]", window.seconds), Some(window.end)));
    let scrapes = samples("up{job=\"sent\"}").into_values().next().expect("there were scrapes").len();
    let lasting =
        samples("{job=\"sent\",__name__=~\"node_cpu_seconds_total|node_memory_.+|node_uname_info|go_.+|process_.+\"}");
    assert!(lasting.len() > 50, "{}", lasting.len());
    for (series, samples) in lasting {
        assert_eq!(samples.len(), scrapes, "{series}");
    }
}

#[test]
fn prometheus_remote_write_survives_our_kills() {
    if !installed("prometheus-node-exporter") || !installed("prometheus") {
        return;
    }
    let sender = |folder: &Path, exporter: &str, node: &str| {
        let config = scraping(&[job("sent", exporter, "")])
            + &format!(
                "remote_write:\n  - url: http://{node}/api/v1/write\n    queue_config: {{batch_send_deadline: 500ms, min_backoff: 30ms, max_backoff: 500ms}}\n"
            );
        prometheus(folder, &config)
    };
    survives_kills_under(sender, as_the_sender_has_them);
}

#[test]
fn vmagent_remote_write_survives_our_kills() {
    if !installed("prometheus-node-exporter") || !installed("vmagent") {
        return;
    }
    let sender = |folder: &Path, exporter: &str, node: &str| {
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
    };
    survives_kills_under(sender, one_for_each_scrape);
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

/// The Python that `make test` prepares, or the usual one, where it has the client.
fn python_with_client() -> Option<String> {
    let works = |python: &String| {
        let import = Command::new(python).args(["-c", "import prometheus_api_client.metric"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    std::env::var("PYTHON").into_iter().chain(["python3".to_owned()]).find(works)
}

#[test]
fn the_python_client_is_answered() {
    let Some(python) = python_with_client() else {
        return skipped("neither PYTHON nor python3 has the package prometheus-api-client");
    };
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
