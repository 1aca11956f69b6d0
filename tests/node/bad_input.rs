//! Wrong and hostile input: refused with a reason, and nothing else is harmed.

use std::io::{Read, Write};

use crate::harness::{NO_SCRAPES, Node, PATIENCE, WRITE_HEADERS, binary, compress, eventually, now_ms, write_request};

/// A node that holds one sample, to see afterwards that it still answers.
fn node() -> Node {
    let node = Node::start(NO_SCRAPES, &[]);
    assert_eq!(node.write(&[(&[("__name__", "witness")], &[(now_ms(), 1.0)])]).0, 204);
    node
}

fn unharmed(node: &Node) {
    assert_eq!(node.number("witness", None), Some(1.0));
}

#[test]
fn a_snappy_bomb_is_refused_by_its_declared_size() {
    let node = node();
    // The head of a block that says it holds 4 GiB - 1.
    let (status, body) = node.post("/api/v1/write", &WRITE_HEADERS, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    assert!(status == 400 || status == 413, "{status} {body}");
    assert!(!body.is_empty());
    unharmed(&node);
}

#[test]
fn broken_bodies_are_refused_with_a_reason() {
    let node = node();
    let whole = {
        let compressed = write_request(&[(&[("__name__", "a")], &[(now_ms(), 1.0)])]);
        snap::raw::Decoder::new().decompress_vec(&compressed).unwrap()
    };
    for (what, body) in [
        ("not snappy", b"not snappy at all".to_vec()),
        ("truncated protobuf", compress(&whole[..whole.len() - 3])),
        ("garbage protobuf", compress(&[0xff; 64])),
    ] {
        let (status, text) = node.post("/api/v1/write", &WRITE_HEADERS, &body);
        assert_eq!(status, 400, "{what}: {text}");
        assert!(!text.trim().is_empty(), "{what}");
    }
    unharmed(&node);
}

#[test]
fn the_good_samples_of_a_partly_bad_request_are_kept() {
    let node = node();
    let now = now_ms();
    let year_57000 = 1_736_000_000_000_000;
    let (status, body) = node.write(&[
        (&[("__name__", "good")], &[(now, 1.0)]),
        (&[("__name__", "bad"), ("x", "1"), ("x", "2")], &[(now, 1.0)]),
        (&[("__name__", "far")], &[(year_57000, 1.0)]),
    ]);
    assert_eq!(status, 400, "{body}");
    assert!(!body.is_empty());
    assert_eq!(node.number("good", None), Some(1.0));
    assert_eq!(node.query("far", Some(year_57000 as f64 / 1000.0)), serde_json::json!([]));
    unharmed(&node);
}

#[test]
fn a_sample_of_1970_is_too_old_for_a_head_of_today() {
    let node = node();
    let (status, body) = node.write(&[(&[("__name__", "witness")], &[(1000, 1.0)])]);
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("too old") || body.contains("out of bounds") || body.contains("out of order"), "{body}");
    unharmed(&node);
}

#[test]
fn ordered_history_can_be_fed_to_an_empty_node() {
    let node = Node::start(NO_SCRAPES, &[]);
    let start = 1_500_000_000_000;
    for round in 0..20 {
        let ts = start + round * 600_000;
        assert_eq!(node.write(&[(&[("__name__", "old")], &[(ts, round as f64)])]).0, 204);
    }
    assert_eq!(node.number("count_over_time(old[6h])", Some(start as f64 / 1000.0 + 12_000.0)), Some(20.0));
}

#[test]
fn a_label_that_is_not_utf_8_is_refused_and_the_other_series_are_kept() {
    let node = node();
    let now = now_ms();
    let compressed = write_request(&[
        (&[("__name__", "good")], &[(now, 1.0)]),
        (&[("__name__", "bad"), ("label", "REPLACED")], &[(now, 1.0)]),
    ]);
    let mut body = snap::raw::Decoder::new().decompress_vec(&compressed).unwrap();
    let at = body.windows(8).position(|window| window == b"REPLACED").unwrap();
    body[at] = 0xff;
    let (status, text) = node.post("/api/v1/write", &WRITE_HEADERS, &compress(&body));
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("label"), "{text}");
    assert_eq!(node.number("good", None), Some(1.0));
    unharmed(&node);
}

#[test]
fn a_label_of_a_megabyte_is_refused_by_name() {
    let node = node();
    let long = "x".repeat(2 << 20);
    let (status, body) = node.write(&[(&[("__name__", "a"), ("huge", &long)], &[(now_ms(), 1.0)])]);
    assert_eq!(status, 400, "{}", &body[..body.len().min(300)]);
    assert!(body.contains("huge"), "{}", &body[..body.len().min(300)]);
    assert!(body.len() < 10_000, "the error repeats the value");
    unharmed(&node);
}

#[test]
fn what_the_headers_forbid_is_said_without_reading_the_body() {
    let node = node();
    // Announces more than it sends: an answer now means that nobody waited for the body.
    let head = |media: &str, bytes: usize| {
        format!("POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: {bytes}\r\n\r\n")
    };
    for (head, status) in [(head("application/json", 100), "415"), (head("application/x-protobuf", 9 << 20), "413")] {
        let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
    unharmed(&node);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let node = Node::start(NO_SCRAPES, &["--web.read-timeout=1s"]);
    for (path, media, status) in
        [("write", "application/x-protobuf", "408"), ("query", "application/x-www-form-urlencoded", "503")]
    {
        let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head =
            format!("POST /api/v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: 5\r\n\r\nab");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{path}");
    }
}

#[test]
fn hostile_expressions_are_refused_quickly() {
    let node = node();
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let long = format!("up{}", " + up".repeat(200_000));
    let regex = format!("up{{a=~\"{}\"}}", "(a{1000}){1000}".repeat(10));
    for (what, expr) in [("deep", &deep), ("long", &long), ("regex", &regex)] {
        let (status, body) = node.post_form("/api/v1/query", &[("query", expr)]);
        assert_eq!(status, 400, "{what}: {}", &body[..body.len().min(300)]);
        assert!(body.contains("bad_data"), "{what}");
    }
    unharmed(&node);
}

#[test]
fn wrong_parameters_name_themselves() {
    let node = node();
    for (path, reason) in [
        (
            "/api/v1/query",
            "invalid parameter \\\"query\\\": unknown position: parse error: no expression found in input",
        ),
        (
            "/api/v1/query?query=up&time=x",
            "invalid parameter \\\"time\\\": invalid time value for 'time': cannot parse \\\"x\\\" to a valid timestamp",
        ),
        ("/api/v1/query_range?query=up&start=2&end=1&step=1", "end timestamp must not be before start time"),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            "zero or negative query resolution step widths are not accepted",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=20000&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries",
        ),
        ("/api/v1/labels?start=x", "invalid parameter \\\"start\\\": invalid time value for 'start': cannot parse"),
        (
            "/api/v1/query_range?query=up&start=x&end=1&step=1",
            "invalid parameter \\\"start\\\": cannot parse \\\"x\\\" to a valid timestamp",
        ),
        ("/api/v1/query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
        ("/api/v1/metadata?limit=x", "\"error\":\"limit must be a number\""),
        ("/api/v1/metadata?limit_per_metric=x", "\"error\":\"limit_per_metric must be a number\""),
        ("/api/v1/targets/metadata?limit=x", "\"error\":\"limit must be a number\""),
        ("/api/v1/series", "no match[] parameter provided"),
        ("/api/v1/series?match%5B%5D=%7B%7D", "match[] must contain at least one non-empty matcher"),
    ] {
        let (status, body) = node.get(path);
        assert_eq!(status, 400, "{path}: {body}");
        assert!(body.contains(reason), "{path}: {body}");
    }
}

#[test]
fn an_empty_range_is_empty_and_no_error() {
    let node = node();
    for path in
        ["labels?start=2&end=1", "label/__name__/values?start=2&end=1", "series?match%5B%5D=witness&start=2&end=1"]
    {
        assert_eq!(node.data(&format!("/api/v1/{path}")), serde_json::json!([]), "{path}");
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_turned_away() {
    let node = node();
    let output = binary()
        .arg("server")
        .arg(format!("--config.file={}", node.folder.join("config.yml").display()))
        .arg(format!("--storage.path={}", node.folder.join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("lock") || stderr.contains("another process"), "{stderr}");
    unharmed(&node);
}

#[test]
fn the_object_store_of_another_cluster_is_refused() {
    let store = tempfile::tempdir().unwrap();
    let argument = format!("--object-store=file://{}", store.path().display());
    let _first = Node::start(NO_SCRAPES, &[&argument]);
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("config.yml"), NO_SCRAPES).unwrap();
    let output = binary()
        .current_dir(other.path())
        .args([
            "server",
            "--config.file=config.yml",
            "--storage.path=data",
            "--web.listen-address=127.0.0.1:0",
            &argument,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the object store has the data of cluster"), "{stderr}");
}

#[test]
fn a_failed_reload_keeps_the_old_configuration_and_says_why() {
    let node = Node::start("global: {scrape_interval: 31s}\n", &["--web.enable-lifecycle"]);
    std::fs::write(node.folder.join("config.yml"), "global: {scrape_interval: often}\n").unwrap();
    let (status, body) = node.post("/-/reload", &[], b"");
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("often"), "{body}");
    assert!(node.data("/api/v1/status/config")["yaml"].as_str().unwrap().contains("scrape_interval: 31s"));
    assert!(node.get("/metrics").1.contains("prometheus_config_last_reload_successful 0"));
    std::fs::write(node.folder.join("config.yml"), "global: {scrape_interval: 32s}\n").unwrap();
    node.signal("HUP");
    eventually("SIGHUP reloads", || {
        node.data("/api/v1/status/config")["yaml"].as_str().unwrap().contains("scrape_interval: 32s")
    });
    assert!(node.get("/metrics").1.contains("prometheus_config_last_reload_successful 1"));
}

#[test]
fn a_reload_with_one_bad_job_changes_no_other() {
    let node = Node::start("scrape_configs: [{job_name: old}]\n", &["--web.enable-lifecycle"]);
    let bad = "scrape_configs: [{job_name: new}, {job_name: bad, tls_config: {ca_file: /no/such.pem}}]\n";
    std::fs::write(node.folder.join("config.yml"), bad).unwrap();
    let (status, body) = node.post("/-/reload", &[], b"");
    assert!(status == 500 && body.contains("bad") && body.contains("/no/such.pem"), "{status} {body}");
    assert_eq!(node.data("/api/v1/scrape_pools")["scrapePools"], serde_json::json!(["old"]));
}

#[test]
fn lifecycle_and_admin_are_off_unless_enabled() {
    let node = node();
    assert_eq!(node.post("/-/reload", &[], b"").0, 403);
    assert_eq!(node.post("/-/quit", &[], b"").0, 403);
    assert_eq!(node.get("/-/quit").0, 405);
    let (status, body) = node.post("/api/v1/admin/tsdb/delete_series?match%5B%5D=witness", &[], b"");
    assert!(status >= 400 && body.contains("admin APIs disabled"), "{status} {body}");
    unharmed(&node);
}

#[test]
fn secrets_are_never_shown() {
    let config = "scrape_configs:\n  - job_name: a\n    basic_auth: {username: u, password: hunter2}\n    \
                  static_configs: [{targets: ['127.0.0.1:1']}]\n";
    let node = Node::start(config, &[]);
    let shown = node.data("/api/v1/status/config").to_string();
    assert!(shown.contains("<secret>") && !shown.contains("hunter2"), "{shown}");
    eventually("the target was tried", || node.data("/api/v1/targets")["activeTargets"][0]["health"] == "down");
    assert!(!node.data("/api/v1/targets").to_string().contains("hunter2"));
}

#[test]
fn clients_that_begin_no_request_lose_their_connection() {
    let node = Node::start(NO_SCRAPES, &["--web.read-timeout=1s", "--web.max-connections=3"]);
    let preface_and_settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // The first bytes of a request, of an HTTP/2 connection, a whole beginning of one, and nothing at all.
    for said in [&b""[..], b"P", b"GET / HTT", preface_and_settings] {
        let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(said).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        // Either the end of the connection, or the frame that announces it.
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{said:?}: {error}"),
            }
            if said.len() == preface_and_settings.len() && frames(&answer).contains(&GOAWAY) {
                break;
            }
        }
    }
    assert_eq!(node.get("/-/healthy").0, 200);
}

/// The type of the frame that ends an HTTP/2 connection.
const GOAWAY: u8 = 7;

/// Types of the whole HTTP/2 frames in an answer.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        types.push(bytes[3]);
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    types
}
