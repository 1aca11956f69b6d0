use std::time::Duration;

use pharos_model::{LabelSet, Metadata, MetricType, TimestampMs};
use proptest::prelude::*;

use super::super::status::Health;
use super::*;

fn labels(text: &str) -> LabelSet {
    LabelSet::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')))
}

fn target(url: &str, at: Option<TimestampMs>) -> TargetSnapshot {
    let last = LastScrape { at, ..LastScrape::default() };
    let (discovered, labels) = (labels("__address__=h:1 job=j"), labels("instance=h:1 job=j"));
    let (url, global_url) = (url.to_owned(), url.to_owned());
    TargetSnapshot { discovered, labels, url, global_url, interval_ms: 15_000, timeout_ms: 10_000, last }
}

fn dropped(names: &str) -> Vec<DroppedSnapshot> {
    names.chars().map(|name| DroppedSnapshot { discovered: labels(&format!("__address__={name}")) }).collect()
}

/// A node's pool `j`: URLs with the time of the last scrape, how many are elsewhere, and what was dropped of how many.
fn node(active: &[(&str, Option<i64>)], elsewhere: usize, (names, dropped_count): (&str, usize)) -> PoolSnapshots {
    let active = active.iter().map(|(url, at)| target(url, *at)).collect();
    let pool = PoolSnapshot { active, elsewhere, dropped: dropped(names), dropped_count };
    PoolSnapshots::from([("j".to_owned(), pool)])
}

#[test]
fn nodes_show_all_targets_once_and_the_newest_state_of_each() {
    let a = node(&[("a", Some(10)), ("c", Some(30))], 2, ("xy", 4));
    let b = node(&[("b", None), ("c", Some(31))], 2, ("yz", 5));
    let both = node(&[("a", Some(10)), ("b", None), ("c", Some(31))], 1, ("xyz", 5));
    assert_eq!(merge([a.clone(), b.clone()]), both);
    let shown = |order: [PoolSnapshots; 2]| merge(order).remove("j").unwrap().active;
    assert_eq!(shown([b, a.clone()]), both["j"].active);
    // A scrape that was is newer than none.
    let fresh = node(&[("a", None), ("c", None)], 2, ("", 0));
    assert_eq!(shown([fresh.clone(), a.clone()]), shown([a.clone(), fresh]));
    assert_eq!(merge([a.clone()]), a);
    assert_eq!(merge([]), PoolSnapshots::new());
}

#[test]
fn targets_with_the_same_url_and_other_labels_are_two() {
    let (one, mut other) = (node(&[("a", None)], 1, ("", 0)), node(&[("a", None)], 1, ("", 0)));
    other.get_mut("j").unwrap().active[0].labels = labels("instance=other job=j");
    assert_eq!(merge([one, other])["j"].active.len(), 2);
}

#[test]
fn what_one_node_dropped_twice_stays_twice() {
    let dropped_by = |names: [&str; 2]| merge(names.map(|names| node(&[], 0, (names, 3))))["j"].dropped.clone();
    assert_eq!(dropped_by(["xx", "xy"]), dropped("xxy"));
    assert_eq!(dropped_by(["xy", "xx"]), dropped("xyx"));
    assert_eq!(dropped_by(["", "xx"]), dropped("xx"));
}

#[test]
fn a_job_that_only_one_node_has_is_shown() {
    let mut other = node(&[("b", None)], 0, ("", 0));
    let pool = other.remove("j").unwrap();
    other.insert("k".to_owned(), pool);
    let merged = merge([node(&[("a", None)], 0, ("", 0)), other]);
    assert_eq!(merged.keys().collect::<Vec<_>>(), ["j", "k"]);
}

fn said(url: &str, scraped_at: Option<TimestampMs>, names: &str) -> TargetMetadata {
    let metadata = Metadata { metric_type: MetricType::Counter, help: "Help.".into(), unit: String::new() };
    let families = names.chars().map(|name| Family { name: name.into(), metadata: metadata.clone() }).collect();
    TargetMetadata { pool: "j".into(), labels: labels("job=j"), url: url.into(), scraped_at, families }
}

#[test]
fn metadata_is_that_of_the_newest_scrape_up_to_the_limit() {
    let nodes = || [vec![said("a", Some(2), "pq"), said("b", Some(2), "r")], vec![said("a", Some(1), "x")]];
    assert_eq!(merge_metadata(nodes(), 9), [said("a", Some(2), "pq"), said("b", Some(2), "r")]);
    assert_eq!(merge_metadata(nodes(), 2), [said("a", Some(2), "pq")]);
    assert_eq!(merge_metadata(nodes(), 1), [said("a", Some(2), "p")]);
    assert_eq!(merge_metadata(nodes(), 0), []);
}

#[test]
fn the_wire_form_is_plain_and_what_does_not_fit_is_refused() {
    let metadata = said("a", Some(7), "p");
    let json = serde_json::to_string(&metadata).unwrap();
    let family = r#"{"name":"p","metadata":{"type":"counter","help":"Help.","unit":""}}"#;
    assert_eq!(
        json,
        format!(r#"{{"pool":"j","labels":{{"job":"j"}},"url":"a","scraped_at":7,"families":[{family}]}}"#)
    );
    assert_eq!(serde_json::from_str::<TargetMetadata>(&json).unwrap(), metadata);
    let error = serde_json::from_str::<TargetMetadata>(&json.replace("counter", "count")).unwrap_err();
    assert!(error.to_string().starts_with("`count` is no metric type"), "{error}");
    let long = "x".repeat(pharos_model::labels::LABEL_BYTES_MAX + 1);
    let error = serde_json::from_str::<DroppedSnapshot>(&format!(r#"{{"discovered":{{"a":"{long}"}}}}"#)).unwrap_err();
    assert!(error.to_string().starts_with("a label is longer than 16777215 bytes"), "{error}");
}

proptest! {
    #[test]
    fn targets_survive_the_wire(
        pairs in proptest::collection::btree_map("[a-z_\\PC]{1,8}", "\\PC{1,20}", 0..5),
        error in "\\PC{0,20}",
        at in proptest::option::of(any::<i64>()),
        took in any::<(u32, u32)>(),
        health in 0..3_usize,
    ) {
        let health = [Health::Unknown, Health::Up, Health::Down][health];
        let last = LastScrape { health, error, at, took: Duration::new(took.0.into(), took.1 % 1_000_000_000) };
        let discovered = LabelSet::from_pairs(pairs);
        let target = TargetSnapshot { discovered: discovered.clone(), last, ..target("http://h:1/metrics", None) };
        let pool = PoolSnapshot {
            active: vec![target],
            elsewhere: 3,
            dropped: vec![DroppedSnapshot { discovered }],
            dropped_count: 1,
        };
        let pools = PoolSnapshots::from([("j".to_owned(), pool)]);
        let json = serde_json::to_vec(&pools).unwrap();
        prop_assert_eq!(serde_json::from_slice::<PoolSnapshots>(&json).unwrap(), pools);
    }
}
