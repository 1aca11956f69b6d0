use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use parking_lot::Mutex;

use super::*;
use crate::test_node::{PARTITION, TestNode, memory_bucket, owner, tenant};

fn entry(start_ms: i64, read_at_version: u64) -> FileEntry {
    FileEntry {
        key: data_key(&tenant(), PARTITION, BlockSpan::new(start_ms, start_ms + 100), 0, owner(1)),
        start_ms,
        end_ms: start_ms + 100,
        min_ts: start_ms,
        max_ts: start_ms + 99,
        level: 0,
        rows: 1,
        samples: 2,
        bytes: 3,
        index_bytes: 4,
        crc: 5,
        owner: owner(1),
        read_at_version,
    }
}

fn empty() -> Manifest {
    Manifest::empty(&tenant(), PARTITION)
}

#[test]
fn a_slice_is_taken_once_whoever_wrote_it() {
    let one = empty().apply(&Edit::AddFile(entry(100, 0)), 0).unwrap();
    assert_eq!(one.version, 1);
    let other = FileEntry { key: "other".to_owned(), owner: owner(2), ..entry(100, 1) };
    assert_eq!(one.apply(&Edit::AddFile(other), 0), None);
    let two = one.apply(&Edit::AddFile(entry(0, 1)), 0).unwrap();
    assert_eq!(two.files.iter().map(|file| file.start_ms).collect::<Vec<_>>(), [0, 100]);
}

#[test]
fn removed_files_are_retired_with_their_index() {
    let one = empty().apply(&Edit::AddFile(entry(0, 0)), 0).unwrap();
    let remove = Edit::RemoveFiles(vec![entry(0, 0).key]);
    let two = one.apply(&remove, 77).unwrap();
    assert!(two.files.is_empty());
    let retired: Vec<_> = two.retired.iter().map(|retired| (retired.key.as_str(), retired.since_ms)).collect();
    assert_eq!(retired, [(entry(0, 0).key.as_str(), 77), (entry(0, 0).index_key().as_str(), 77)]);
    assert_eq!(two.apply(&remove, 78), None);
}

#[test]
fn tombstones_concern_files_read_before_them_and_go_with_the_last() {
    let matchers = vec![Matcher::equal("job", "a"), Matcher::new(MatchOp::NotRegex, "x", "a.*").unwrap()];
    let delete = Edit::Delete { matchers: matchers.clone(), range: TimeRange::new(0, 150) };
    let one = empty().apply(&Edit::AddFile(entry(100, 0)), 0).unwrap();
    let two = one.apply(&delete, 0).unwrap();
    assert_eq!(two.tombstones[0].matchers().unwrap(), matchers);
    // Begun before the deletion, committed after it.
    let three = two.apply(&Edit::AddFile(entry(0, 1)), 0).unwrap();
    // Begun after it.
    let four = three.apply(&Edit::AddFile(entry(200, 2)), 0).unwrap();
    let concerned: Vec<_> = four.files.iter().map(|file| four.tombstones[0].concerns(file)).collect();
    assert_eq!(concerned, [true, true, false]);
    let gone = four.apply(&Edit::RemoveFiles(vec![entry(0, 0).key, entry(100, 0).key]), 0).unwrap();
    assert_eq!(gone.tombstones, []);
}

#[test]
fn bytes_are_checked_before_they_are_read() {
    let manifest = empty().apply(&Edit::AddFile(entry(0, 0)), 0).unwrap();
    let bytes = manifest.encode();
    let checksum = crc32fast::hash(&bytes);
    assert_eq!(Manifest::decode(&bytes, checksum).unwrap(), manifest);
    assert!(matches!(Manifest::decode(&bytes, checksum ^ 1), Err(ManifestError::Checksum { .. })));
    let newer = String::from_utf8(bytes).unwrap().replace("\"format\":1", "\"format\":2").into_bytes();
    assert!(matches!(Manifest::decode(&newer, crc32fast::hash(&newer)), Err(ManifestError::Format(2))));
}

#[test]
fn keys_are_pinned() {
    assert_eq!(entry(0, 0).key, "v1/anonymous/00007/data/0-100-l0-n1-t1.parquet");
    assert_eq!(entry(0, 0).index_key(), "v1/anonymous/00007/data/0-100-l0-n1-t1.idx");
    assert_eq!(
        manifest_key(&tenant(), PARTITION, 12, 0xabc, owner(3)),
        "v1/anonymous/00007/manifests/00000000000000000012-00000abc-n1-t3.json"
    );
    assert_eq!(pointer_key(&tenant(), PARTITION, 12), "v1/anonymous/00007/pointers/00000000000000000012.json");
}

fn catalog(pointers: &Arc<MemoryPointers>, bucket: &crate::object::Bucket) -> Catalog {
    Catalog::new(PARTITION, bucket.clone(), pointers.clone(), 1_000)
}

#[tokio::test]
async fn a_commit_over_a_stale_view_reads_again_and_keeps_both_changes() {
    let (pointers, bucket) = (Arc::new(MemoryPointers::default()), memory_bucket(Arc::new(InMemory::new())));
    let (ours, theirs) = (catalog(&pointers, &bucket), catalog(&pointers, &bucket));
    ours.change().await.commit(&tenant(), &Edit::AddFile(entry(0, 0)), owner(1), 0).await.unwrap();
    theirs.change().await.commit(&tenant(), &Edit::AddFile(entry(100, 0)), owner(2), 0).await.unwrap();
    let done = ours.change().await.commit(&tenant(), &Edit::AddFile(entry(200, 0)), owner(1), 0).await.unwrap();
    assert_eq!(done.files.len(), 3);
    assert_eq!(theirs.current(&tenant()).await.unwrap(), done);
}

/// Pointers under which another commit of the same owner takes place right after the first look.
#[derive(Debug)]
struct Overtaken {
    inner: Arc<MemoryPointers>,
    by: Mutex<Option<(Catalog, Edit)>>,
}

#[async_trait]
impl PointerStore for Overtaken {
    async fn get(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<ManifestPointer>>, PointerError> {
        let seen = self.inner.get(tenant, partitions).await?;
        let by = self.by.lock().take();
        if let Some((catalog, edit)) = by {
            catalog.change().await.commit(tenant, &edit, owner(1), 0).await.unwrap();
        }
        Ok(seen)
    }

    async fn tenants(&self, partition: PartitionId) -> Result<Vec<TenantId>, PointerError> {
        self.inner.tenants(partition).await
    }

    async fn compare_and_swap(
        &self,
        tenant: &TenantId,
        partition: PartitionId,
        expected: u64,
        next: ManifestPointer,
    ) -> Result<Swap, PointerError> {
        self.inner.compare_and_swap(tenant, partition, expected, next).await
    }
}

#[tokio::test]
async fn an_overtaken_commit_of_the_same_owner_harms_nothing_and_leaves_nothing() {
    let (inner, bucket) = (Arc::new(MemoryPointers::default()), memory_bucket(Arc::new(InMemory::new())));
    let by = Mutex::new(Some((catalog(&inner, &bucket), Edit::AddFile(entry(0, 0)))));
    let ours = Catalog::new(PARTITION, bucket.clone(), Arc::new(Overtaken { inner: inner.clone(), by }), 1_000);
    let done = ours.change().await.commit(&tenant(), &Edit::AddFile(entry(100, 0)), owner(1), 0).await.unwrap();
    assert_eq!(done.files.len(), 2);
    assert_eq!(catalog(&inner, &bucket).current(&tenant()).await.unwrap(), done, "read by another process");
    let manifests = bucket.list("v1/anonymous/00007/manifests").await.unwrap();
    assert_eq!(manifests.len(), 2, "the one that was refused is gone: {manifests:?}");
}

#[tokio::test]
async fn old_versions_are_deleted_after_their_grace() {
    let (pointers, bucket) = (Arc::new(MemoryPointers::default()), memory_bucket(Arc::new(InMemory::new())));
    let catalog = catalog(&pointers, &bucket);
    for (i, now_ms) in [0, 10, 20, 5_000].into_iter().enumerate() {
        catalog
            .change()
            .await
            .commit(&tenant(), &Edit::AddFile(entry(i as i64 * 100, 0)), owner(1), now_ms)
            .await
            .unwrap();
    }
    let keys = bucket.list("v1/anonymous/00007").await.unwrap();
    let versions: Vec<_> = keys.iter().filter(|key| key.contains("manifests")).collect();
    assert_eq!(versions.len(), 2, "the current one and the one it replaced: {keys:?}");
    assert_eq!(keys.iter().filter(|key| key.contains("pointers")).count(), 2);
}

#[tokio::test]
async fn a_torn_published_pointer_is_written_again() {
    let node = TestNode::new();
    let key = pointer_key(&tenant(), PARTITION, 1);
    node.bucket.put(&key, Bytes::from_static(b"{\"ver")).await.unwrap();
    assert_eq!(node.catalog.recover_pointer(&tenant()).await.unwrap(), None);
    node.catalog.change().await.commit(&tenant(), &Edit::AddFile(entry(0, 0)), owner(1), 0).await.unwrap();
    assert_eq!(node.catalog.recover_pointer(&tenant()).await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_new_leader_deposes_those_before_and_deletes_what_they_left() {
    let (pointers, bucket) = (Arc::new(MemoryPointers::default()), memory_bucket(Arc::new(InMemory::new())));
    let (old, new) = (catalog(&pointers, &bucket), catalog(&pointers, &bucket));
    let kept = entry(0, 0);
    bucket.put(&kept.key, Bytes::from_static(b"kept")).await.unwrap();
    old.change().await.commit(&tenant(), &Edit::AddFile(kept.clone()), owner(1), 0).await.unwrap();
    let orphan = |term| data_key(&tenant(), PARTITION, BlockSpan::new(500, 600), 0, owner(term));
    for term in [1, 2] {
        bucket.put(&orphan(term), Bytes::from_static(b"never committed")).await.unwrap();
    }
    let uncommitted = manifest_key(&tenant(), PARTITION, 2, 7, owner(1));
    bucket.put(&uncommitted, Bytes::from_static(b"{}")).await.unwrap();

    new.change().await.lead(&tenant(), owner(2), 0).await.unwrap();
    let keys = bucket.list("v1/anonymous/00007").await.unwrap();
    let gone = |key: &String| !keys.contains(key);
    assert!(gone(&orphan(1)) && gone(&uncommitted), "{keys:?}");
    assert!(!gone(&orphan(2)) && !gone(&kept.key), "of this term, or named: {keys:?}");
    let add = Edit::AddFile(entry(100, 1));
    let refused = old.change().await.commit(&tenant(), &add, Owner { node: 2, term: 1 }, 0).await.unwrap_err();
    assert_eq!(refused.to_string(), "another node has led partition 7 after term 1, in which this one did");
    assert_eq!(new.current(&tenant()).await.unwrap().files, [kept]);
    let anew = old.change().await.commit(&tenant(), &add, owner(1), 0).await.unwrap();
    assert_eq!(anew.files.len(), 2, "the same node, whose group had to begin anew");
}

#[tokio::test]
async fn leading_again_in_the_same_term_changes_nothing() {
    let node = TestNode::new();
    node.catalog.change().await.lead(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(node.manifest().await.version, 0, "nothing is written for a tenant without files");
    node.catalog.change().await.commit(&tenant(), &Edit::AddFile(entry(0, 0)), owner(1), 0).await.unwrap();
    node.catalog.change().await.lead(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(node.manifest().await.version, 1);
}
