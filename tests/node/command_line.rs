//! Flags, subcommands and exit codes.

use std::process::Output;

use crate::harness::{NO_SCRAPES, Node, binary, eventually, now_ms};

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn unknown_flags_and_bad_values_exit_2() {
    for arguments in [&["server", "--no-such-flag"][..], &["server", "--query.timeout=soon"], &["nonsense"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn agent_flags_exit_3_and_unknown_features_only_warn() {
    let output = run(&["server", "--storage.agent.path=x"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("can only be used in agent mode: [\"--storage.agent.path\"]"));
    assert_eq!(run(&["server", "--agent"]).status.code(), Some(3));
    // The missing file ends it, after the flags were taken.
    let output = run(&["server", "--enable-feature=nope", "--config.file=/no/such/file.yml"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("Unknown option for --enable-feature\" option=nope"), "{stderr}");
}

#[test]
fn a_configuration_that_does_not_load_exits_2_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bad.yml");
    std::fs::write(&config, "global:\n  scrape_intervall: 5s\n").unwrap();
    let output = run(&["server", &format!("--config.file={}", config.display()), "--web.listen-address=127.0.0.1:0"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("scrape_intervall") && stderr.contains('2'), "{stderr}");
    let missing = run(&["server", "--config.file=/no/such/file.yml", "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stderr));
}

#[test]
fn help_has_examples_and_exits_0() {
    for arguments in [&["--help"][..], &["server", "--help"], &["query", "--help"], &["check", "config", "--help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Example"), "{arguments:?}");
    }
}

#[test]
fn check_config_tells_good_from_bad() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.yml"), folder.path().join("bad.yml"));
    std::fs::write(&good, "scrape_configs:\n  - job_name: a\n    static_configs: [{targets: ['x:1']}]\n").unwrap();
    std::fs::write(&bad, "scrape_configs:\n  - job_name: a\n  - job_name: a\n").unwrap();
    let output = run(&["check", "config", good.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("SUCCESS"));
    let output = run(&["check", "config", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("found multiple scrape configs with job name \"a\""),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn check_config_reads_the_files_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    for (block, missing) in [
        ("authorization: {credentials_file: token}", "token"),
        ("tls_config: {ca_file: ca.pem}", "ca.pem"),
        ("http_sd_configs: [{url: 'http://x', basic_auth: {username: u, password_file: pass}}]", "pass"),
    ] {
        std::fs::write(&config, format!("scrape_configs:\n  - job_name: a\n    {block}\n")).unwrap();
        let output = run(&["check", "config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{block}");
        assert!(text(&output.stdout).contains(missing), "{}", text(&output.stdout));
    }
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    std::fs::write(&config, NO_SCRAPES).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = binary()
        .args(["check", "config", config.to_str().unwrap()])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn query_prints_a_table_or_json() {
    let node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms();
    assert_eq!(node.write(&[(&[("__name__", "up"), ("job", "x")], &[(now, 1.0)])]).0, 204);
    let output = run(&["query", "instant", &node.url(""), "up"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("up{job=\"x\"}"), "{}", text(&output.stdout));
    let output = run(&["query", "instant", &node.url(""), "up", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["result"][0]["value"][1], "1");
    let output = run(&["query", "range", &node.url(""), "up", "--step=1m"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = run(&["query", "instant", &node.url(""), "up{"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("parse error"), "{}", text(&output.stderr));
}

#[test]
fn test_promql_counts_and_names_the_failing_line() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("a.test");
    std::fs::write(&script, "load 1m\n  x 1 2 3\n\neval instant at 2m x\n  x 3\n\neval instant at 2m x\n  x 4\n")
        .unwrap();
    let output = run(&["test", "promql", script.to_str().unwrap()]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("a.test 1/2") && stdout.contains("line 7"), "{stdout}");
}

#[test]
fn sigterm_ends_cleanly_and_keeps_the_data() {
    let mut node = Node::start(NO_SCRAPES, &[]);
    let now = now_ms();
    assert_eq!(node.write(&[(&[("__name__", "kept")], &[(now, 7.0)])]).0, 204);
    assert_eq!(node.terminate(), 0);
    node.restart();
    assert_eq!(node.number("kept", None), Some(7.0));
}

#[test]
fn sigterm_while_the_store_opens_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::launch_in(folder.path(), NO_SCRAPES, &[]);
    assert_eq!(node.terminate(), 0);
}

#[test]
fn sighup_while_the_store_opens_reloads_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::launch_in(folder.path(), "global: {scrape_interval: 31s}\n", &[]);
    std::fs::write(folder.path().join("config.yml"), "global: {scrape_interval: 32s}\n").unwrap();
    node.signal("HUP");
    eventually("the new configuration is in force", || {
        let (status, body) = node.get("/api/v1/status/config");
        status == 200 && body.contains("scrape_interval: 32s")
    });
}

#[test]
fn called_prometheus_it_is_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("prometheus");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pharos"), &link).unwrap();
    let output = std::process::Command::new(link).arg("--help").output().unwrap();
    assert!(text(&output.stdout).contains("--web.listen-address"));
}
