//! What the API and other nodes are told of running loops.

use pharos_model::MetricType;

use super::snapshot::{Choice, Family, families, metadata_of, of_pools};
use super::target::ExternalAddress;
use super::*;

#[tokio::test]
async fn a_snapshot_has_what_was_asked_for() {
    let (server, _) = serving("# HELP a Help.\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n").await;
    let world = World::new();
    world.discover(&[("j", &server.address.to_string()), ("k", "gone:1")]);
    let dropping = job("k", "relabel_configs: [{source_labels: [__address__], regex: '.*', action: drop}]");
    world.apply(&[job("j", ""), dropping]).await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;

    let pools = world.manager.status().pools();
    let external = ExternalAddress { scheme: "http".into(), host: "node:9090".into(), listen_port: 9090 };
    let choose = |pool: Option<&str>, active, dropped| {
        of_pools(&pools, &Choice { pool: pool.map(str::to_owned), active, dropped }, &external)
    };
    let whole = choose(None, true, true);
    assert_eq!(whole.keys().collect::<Vec<_>>(), ["j", "k"]);
    let target = &whole["j"].active[0];
    assert_eq!(target.url, server.url("/metrics").as_str());
    assert_eq!(target.global_url, format!("http://node:{}/metrics", server.address.port()));
    assert_eq!(target.labels.to_string(), r#"{instance="x", job="j"}"#);
    assert_eq!(target.discovered.get("__scrape_interval__"), Some("20ms"));
    assert_eq!((target.interval_ms, target.timeout_ms, target.last.at.is_some()), (20, 20, true));
    assert_eq!(whole["k"].dropped[0].discovered.get("__address__"), Some("gone:1"));
    assert_eq!((whole["k"].dropped_count, whole["k"].active.len()), (1, 0));

    assert_eq!(choose(Some("k"), true, true).keys().collect::<Vec<_>>(), ["k"]);
    assert!(choose(Some("other"), true, true).is_empty());
    assert!(choose(None, false, true)["j"].active.is_empty());
    let without_dropped = &choose(None, true, false)["k"];
    assert_eq!((without_dropped.dropped.len(), without_dropped.dropped_count), (0, 0));

    let said = |name: &str, metric_type, help: &str| {
        let metadata = Metadata { metric_type, help: help.into(), unit: String::new() };
        Family { name: name.into(), metadata }
    };
    let (a, b) = (said("a", MetricType::Counter, "Help."), said("b", MetricType::Gauge, ""));
    let told = |family, families_max| {
        let told = metadata_of(&pools, |labels| labels.get("job") == Some("j"), family, families_max);
        told.into_iter().flat_map(|target| target.families).collect::<Vec<_>>()
    };
    assert_eq!(told(None, 10), [a.clone(), b.clone()]);
    assert_eq!((told(None, 1), told(Some("b"), 10)), (vec![a.clone()], vec![b.clone()]));
    assert_eq!((told(Some("c"), 10), told(None, 0)), (vec![], vec![]));
    assert!(metadata_of(&pools, |_| false, None, 10).is_empty());
    assert_eq!(families(&pools, None), [a.clone(), b].into());
    assert_eq!(families(&pools, Some("a")), [a].into());
}
