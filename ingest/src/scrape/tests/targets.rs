//! How a discovered address becomes a target.

use super::target::{ExternalAddress, Made, targets_of};
use super::*;

/// The target of an address and labels `a=1 b=2` under a job's keys; the error's text when there is none.
fn make(keys: &str, address: &str, labels: &str) -> Result<Made, String> {
    let labels = labels.split(' ').filter_map(|pair| pair.split_once('='));
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let group = TargetGroup { targets: vec![address.to_owned()], labels, source: "s".into(), ..TargetGroup::default() };
    targets_of(&group, &job("j", keys)).remove(0).map_err(|e| e.to_string())
}

fn target(keys: &str, address: &str, labels: &str) -> Target {
    match make(keys, address, labels) {
        Ok(Made::Target(target)) => *target,
        other => panic!("{keys} {address} {labels}: {other:?}"),
    }
}

#[test]
fn a_target_has_the_jobs_defaults_and_loses_internal_labels() {
    let made = target("scrape_interval: 15s", "h:1", "__meta_x=y env=prod __tmp=1");
    assert_eq!(made.labels.to_string(), r#"{env="prod", instance="h:1", job="j"}"#);
    assert_eq!(made.url_text, "http://h:1/metrics");
    assert_eq!((made.interval, made.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
    assert_eq!(
        made.discovered.to_string(),
        r#"{__address__="h:1", __meta_x="y", __metrics_path__="/metrics", __scheme__="http", __scrape_interval__="15s", __scrape_timeout__="10s", __tmp="1", env="prod", job="j"}"#
    );
}

#[test]
fn labels_override_how_a_target_is_scraped() {
    let labels = "__scheme__=https __metrics_path__=/probe __param_module=http __scrape_interval__=1m __scrape_timeout__=5s instance=i job=own";
    let made = target("params: {module: [a, b], x: ['1 2']}", "h", labels);
    assert_eq!(made.url_text, "https://h/probe?module=http&module=b&x=1+2");
    assert_eq!((made.interval_text.as_str(), made.timeout), ("1m", Duration::from_secs(5)));
    assert_eq!(made.labels.to_string(), r#"{instance="i", job="own"}"#);
}

#[test]
fn no_port_is_added_and_none_is_removed() {
    for (keys, address, url) in [
        ("scheme: http", "h", "http://h/metrics"),
        ("scheme: http", "h:80", "http://h:80/metrics"),
        ("scheme: https", "h:443", "https://h:443/metrics"),
        ("scheme: http", "[::1]:9100", "http://[::1]:9100/metrics"),
        ("metrics_path: 'a b?c'", "h:1", "http://h:1/a%20b%3Fc"),
    ] {
        let made = target(keys, address, "");
        assert_eq!((made.url_text.as_str(), made.labels.get("instance")), (url, Some(address)));
    }
}

#[test]
fn an_address_that_cannot_be_a_target_says_why() {
    for (keys, address, labels, error) in [
        ("relabel_configs: [{target_label: __address__, replacement: ''}]", "h:1", "", "no address"),
        (
            "relabel_configs: [{target_label: x, replacement: y}]",
            "http://h:1",
            "",
            "\"http://h:1\" is not a valid hostname",
        ),
        ("", "h:1", "__scrape_interval__=x", "error parsing scrape interval: not a valid duration string: \"x\""),
        ("", "h:1", "__scrape_interval__=0s", "scrape interval cannot be 0"),
        ("", "h:1", "__scrape_timeout__=0s", "scrape timeout cannot be 0"),
        (
            "",
            "h:1",
            "__scrape_timeout__=1h",
            "scrape timeout cannot be greater than scrape interval (\"1h\" > \"20ms\")",
        ),
        ("", "h:1", "__scheme__=ftp", "invalid scheme: \"ftp\""),
        ("", "h:port", "", "invalid address \"h:port\": invalid port number"),
    ] {
        assert_eq!(make(keys, address, labels), Err(format!("instance 0 in group s: {error}")), "{keys} {labels}");
    }
}

#[test]
fn relabelling_may_drop_a_target() {
    let made = make("relabel_configs: [{source_labels: [env], regex: prod, action: keep}]", "h:1", "env=dev");
    let Ok(Made::Dropped(discovered)) = made else { panic!("{made:?}") };
    assert_eq!(discovered.get("env"), Some("dev"));
}

#[test]
fn the_phase_depends_on_the_target_and_the_seed_alone() {
    let made = target("scrape_interval: 15s", "h:1", "");
    let next = |now: i64, seed| now + made.offset(now, seed).as_millis() as i64;
    let first = next(1_000_000, 7);
    for now in [1_000_000, first - 1, first] {
        assert_eq!(next(now, 7), first);
    }
    assert_eq!(next(first + 1, 7), first + 15_000);
    assert_eq!(next(first + 1_500_000_001, 7).rem_euclid(15_000), first.rem_euclid(15_000));
    assert_ne!(next(1_000_000, 8), first);
    assert_eq!(made.identity(), target("scrape_interval: 15s, honor_labels: true", "h:1", "").identity());
    assert_ne!(made.identity(), target("scrape_interval: 15s, metrics_path: /x", "h:1", "").identity());
}

#[test]
fn targets_spread_over_the_interval() {
    let mut tenths = [0; 10];
    for i in 0..1000 {
        let offset = target("scrape_interval: 10s", &format!("h{i}:9100"), "").offset(0, 0);
        tenths[offset.as_secs() as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
}

#[test]
fn local_targets_are_shown_under_the_nodes_name() {
    let external = ExternalAddress { scheme: "https".into(), host: "pharos.example:8443".into(), listen_port: 9090 };
    for (address, url) in [
        ("localhost:9090", "https://pharos.example:8443/metrics"),
        ("127.0.0.1:9100", "http://pharos.example:9100/metrics"),
        ("[::1]:9100", "http://pharos.example:9100/metrics"),
        ("h:9100", "http://h:9100/metrics"),
        ("localhost", "http://localhost/metrics"),
    ] {
        assert_eq!(target("", address, "").global_url(&external), url, "{address}");
    }
}
