use std::sync::Arc;

use object_store::memory::InMemory;

use super::{HEAD_SLICES_MAX, Snapshot};
use crate::manifest::{Catalog, MemoryPointers, PointerStore};
use crate::select::PartitionReader;
use crate::test_node::{PARTITION, SLICE_MS, TestNode, labels, memory_bucket, owner, tenant};

#[tokio::test]
async fn a_copy_serves_the_same_samples_without_the_head() {
    let node = TestNode::new();
    for ts in (0..3 * SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "m"), ("job", "x")]), ts, ts as f64);
    }
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let expected = node.dump().await;
    let target = memory_bucket(Arc::new(InMemory::new()));
    let manifest = snapshot(&node).write(&tenant(), &target).await.unwrap();
    assert_eq!(manifest.files.len(), 3, "two sealed slices and the head's");

    // A node that has the directory and nothing else.
    let mut other = TestNode::new();
    let pointers = Arc::new(MemoryPointers::default());
    other.catalog = Arc::new(Catalog::new(PARTITION, target, pointers.clone(), i64::MAX));
    let pointer = other.catalog.recover_pointer(&tenant()).await.unwrap().expect("the copy has a pointer");
    pointers.compare_and_swap(&tenant(), PARTITION, 0, pointer).await.unwrap();
    assert_eq!(PartitionReader::file_stats(&other.reader(), &tenant()).await.unwrap().files, 3);
    assert_eq!(other.dump().await, expected);
}

fn snapshot(node: &TestNode) -> Snapshot<'_> {
    Snapshot {
        partition: &node.partition,
        catalog: &node.catalog,
        slice_ms: SLICE_MS,
        owner: owner(9),
        with_head: true,
    }
}

#[tokio::test]
async fn a_head_with_a_hole_of_years_is_copied_whole() {
    let node = TestNode::new();
    let series = labels(&[("__name__", "m"), ("job", "x")]);
    for ts in [0, 1_000_000_000_000] {
        node.append(&series, ts, 1.0);
    }
    let manifest = snapshot(&node).write(&tenant(), &memory_bucket(Arc::new(InMemory::new()))).await.unwrap();
    assert_eq!(manifest.files.iter().map(|file| file.min_ts).collect::<Vec<_>>(), [0, 1_000_000_000_000]);
}

#[tokio::test]
async fn a_head_of_too_many_slices_is_not_copied_in_part() {
    let node = TestNode::new();
    let series = labels(&[("__name__", "m"), ("job", "x")]);
    for slice in 0..=HEAD_SLICES_MAX as i64 {
        node.append(&series, slice * SLICE_MS, 1.0);
    }
    let target = memory_bucket(Arc::new(InMemory::new()));
    let refused = snapshot(&node).write(&tenant(), &target).await.unwrap_err();
    assert_eq!(refused.to_string(), "the head of tenant `anonymous` has samples in more than 1024 slices");
    assert_eq!(target.list("v1").await.unwrap(), [""; 0]);
}
