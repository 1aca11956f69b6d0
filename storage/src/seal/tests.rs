use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::manifest::{Catalog, Manifest, index_key};
use crate::retention::RetentionRule;
use crate::test_node::{Dump, GRACE_MS, PARTITION, SLICE_MS, TestNode, labels, owner, rule, tenant};

/// Four slices of two series, one of which begins late and ends with a staleness marker, with a hole in the third slice.
fn fill(node: &TestNode) -> Dump {
    let steady = labels(&[("__name__", "steady"), ("job", "a")]);
    let late = labels(&[("__name__", "late"), ("job", "b")]);
    let mut expected = Dump::new();
    let times = (0..4 * SLICE_MS).step_by(5_000).filter(|ts| ts / SLICE_MS != 2);
    for ts in times {
        let value = ts as f64 / 8.0;
        node.append(&steady, ts, value);
        expected.entry(steady.clone()).or_default().push((ts, value.to_bits()));
        if ts >= 150_000 {
            let value = if ts == 395_000 { pharos_model::sample::stale_nan() } else { -1e-3 * ts as f64 };
            node.append(&late, ts, value);
            expected.entry(late.clone()).or_default().push((ts, value.to_bits()));
        }
    }
    expected
}

#[tokio::test]
async fn sealed_slices_leave_the_head_and_read_the_same() {
    let node = TestNode::new();
    let expected = fill(&node);
    let report = node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(report.files, 2, "slices 0 and 1 have samples, 2 has none, 3 is open");
    let extent = node.partition.extent(&tenant()).unwrap();
    assert_eq!(extent.dropped_until_ms, 3 * SLICE_MS);
    assert_eq!(node.dump().await, expected);
    assert_eq!((node.metrics.blocks_loaded.get(), node.metrics.compactions.get()), (2, 2));
    assert_eq!(node.metrics.blocks_bytes.get() as u64, node.manifest().await.bytes());
    let again = node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(again.files, 0);
}

/// The sweep: the process dies at its k-th write, with or without that write taking effect; the next one, in a later
/// term, completes. At every point a query reads every sample once.
#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_and_doubles_nothing() {
    for takes_effect in [false, true] {
        let mut crashes = 0;
        for k in 0.. {
            let mut node = TestNode::new();
            let expected = fill(&node);
            node.faults.fail_after(k, takes_effect);
            let crashed = node.sealer().run(&tenant(), owner(1), 0).await.is_err();
            assert_eq!(node.dump().await, expected, "after a crash at write {k}, effect {takes_effect}");
            node.restart();
            assert_eq!(node.dump().await, expected, "after a restart at write {k}, effect {takes_effect}");
            node.sealer().run(&tenant(), owner(2), 0).await.unwrap();
            assert_eq!(node.dump().await, expected, "after resuming at write {k}, effect {takes_effect}");
            check_sealed(&node).await;
            if !crashed {
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 10, "only {crashes} writes were swept");
    }
}

/// Each slice is covered once, its objects are there, the head holds the open slice only.
async fn check_sealed(node: &TestNode) {
    let manifest = node.manifest().await;
    let spans: BTreeSet<_> = manifest.files.iter().map(|file| file.start_ms).collect();
    assert_eq!(spans, BTreeSet::from([0, SLICE_MS]));
    assert_eq!(manifest.files.len(), 2);
    for file in &manifest.files {
        assert_eq!(node.bucket.size(&file.key).await.unwrap(), file.bytes);
        assert_eq!(node.bucket.size(&index_key(&file.key)).await.unwrap(), file.index_bytes);
    }
    assert_eq!(node.partition.extent(&tenant()).unwrap().dropped_until_ms, 3 * SLICE_MS);
    let published = node.catalog.recover_pointer(&tenant()).await.unwrap().unwrap();
    assert_eq!(published.version, manifest.version, "the bucket alone knows the current version");
}

#[tokio::test]
async fn a_deposed_leader_does_not_bring_a_slice_in_twice() {
    let node = TestNode::new();
    let expected = fill(&node);
    let theirs = Arc::new(Catalog::new(PARTITION, node.bucket.clone(), node.pointers.clone(), GRACE_MS));
    let (old, new) = (node.sealer(), Sealer { catalog: theirs, ..node.sealer() });
    let (a, b) = (tenant(), tenant());
    let (old, new) = tokio::join!(old.run(&a, owner(1), 0), new.run(&b, owner(2), 0));
    assert!(old.is_ok() || new.is_ok());
    node.sealer().run(&tenant(), owner(3), 0).await.unwrap();
    check_sealed(&node).await;
    assert_eq!(node.dump().await, expected);
}

#[tokio::test]
async fn retention_drops_files_and_then_their_objects() {
    let mut node = TestNode::new();
    fill(&node);
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let first = node.manifest().await.files[0].clone();
    node.retention = RetentionRule { time_ms: Some(250_000), bytes: None };
    let report = node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(report.expired, 1);
    assert_eq!(node.metrics.blocks_loaded.get(), 1);
    assert!(node.dump().await.values().flatten().all(|(ts, _)| *ts >= SLICE_MS));
    assert!(node.bucket.size(&first.key).await.is_ok(), "queries under way may still read it");
    node.retention = RetentionRule { time_ms: Some(150_000), bytes: None };
    node.sealer().run(&tenant(), owner(1), GRACE_MS).await.unwrap();
    assert!(node.bucket.size(&first.key).await.is_err());
    assert!(node.bucket.size(&first.index_key()).await.is_err());
}

#[tokio::test]
async fn retired_objects_make_room_when_nothing_can_be_written() {
    let mut node = TestNode::new();
    fill(&node);
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let first = node.manifest().await.files[0].clone();
    node.retention = RetentionRule { time_ms: Some(250_000), bytes: None };
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    node.append(&labels(&[("__name__", "steady"), ("job", "a")]), 6 * SLICE_MS, 1.0);
    node.retention = RetentionRule::default();
    node.faults.refuse_writes();
    assert!(node.sealer().run(&tenant(), owner(1), GRACE_MS).await.is_err());
    assert!(node.bucket.size(&first.key).await.is_err(), "a full disk gets its room back");
    node.faults.clear();
    assert_eq!(node.sealer().run(&tenant(), owner(1), GRACE_MS).await.unwrap().files, 2);
    assert!(node.manifest().await.retired.iter().all(|retired| retired.key != first.key));
}

#[test]
fn steps_follow_from_what_is_there() {
    let extent = |sealed_until_ms, dropped_until_ms| HeadExtent {
        min_ts: Some(10),
        max_ts: Some(3 * SLICE_MS),
        sealed_until_ms,
        dropped_until_ms,
        series: 1,
        chunks: 1,
    };
    let manifest = Manifest::empty(&tenant(), PARTITION);
    let first = BlockSpan::new(0, SLICE_MS);
    for (sealed, dropped, empty, expected) in [
        (i64::MIN, i64::MIN, vec![], Some(SealStep::Close { until_ms: SLICE_MS })),
        (SLICE_MS, i64::MIN, vec![], Some(SealStep::Write { span: first })),
        (SLICE_MS, i64::MIN, vec![first], Some(SealStep::Drop { until_ms: SLICE_MS })),
        (SLICE_MS, SLICE_MS, vec![], Some(SealStep::Close { until_ms: 2 * SLICE_MS })),
        (2 * SLICE_MS, 2 * SLICE_MS, vec![], None),
    ] {
        assert_eq!(next_step(&extent(sealed, dropped), &manifest, &rule(), &empty, 0), expected);
    }
}
