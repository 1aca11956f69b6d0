//! Changes the manifests of one partition.
//!
//! A file is made of what the head had at one moment, and a deletion goes to the head first and to the manifest after it. Were
//! the two mixed, a file made before the deletion could come into the manifest after it, and bring back what was
//! deleted. So whoever changes anything holds a [`Change`] from before it looks at the head until it has committed.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::{TenantId, TimestampMs};
use tokio::sync::MutexGuard;

use super::{Catalog, CommitError, Edit, Manifest, ManifestPointer, Owner, Retired, Swap, manifest_key, pointer_key};
use crate::object::ObjectError;

/// A commit that meets other versions this often gives up: somebody else leads the partition.
pub const COMMIT_ATTEMPTS_MAX: usize = 5;

/// The right to change the manifests of a partition: one in the process at a time, given back when it is dropped.
#[derive(Debug)]
pub struct Change<'a> {
    pub(super) catalog: &'a Catalog,
    _alone: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    pub(super) fn new(catalog: &'a Catalog, alone: MutexGuard<'a, ()>) -> Self {
        Self { catalog, _alone: alone }
    }

    /// Makes an edit current and returns the version that has it; an edit that is there already is left alone.
    pub async fn commit(
        &self,
        tenant: &TenantId,
        edit: &Edit,
        owner: Owner,
        now_ms: TimestampMs,
    ) -> Result<Arc<Manifest>, CommitError> {
        let partition = self.catalog.partition;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let (current, pointer) = self.catalog.current_with_pointer(tenant).await?;
            if current.deposes(owner) {
                return Err(CommitError::Deposed { partition, term: owner.term });
            }
            let Some(mut next) = current.apply(edit, now_ms) else {
                self.catalog.publish(tenant).await?;
                return Ok(current);
            };
            next.leader = Some(owner);
            let before = pointer.map(|pointer| [pointer.key, pointer_key(tenant, partition, pointer.version)]);
            next.retired.extend(before.into_iter().flatten().map(|key| Retired { key, since_ms: now_ms }));
            let deleted = self.delete_due(tenant, &current, now_ms).await?;
            next.retired.retain(|retired| !deleted.contains(&retired.key));
            if let Some(done) = self.make_current(tenant, current.version, next, owner).await? {
                self.catalog.deleted.lock().remove(tenant);
                return Ok(done);
            }
        }
        Err(CommitError::Contended { tenant: tenant.clone(), partition })
    }

    /// Makes a manifest of other origin the first one here: how a copy is begun.
    pub async fn install(
        &self,
        tenant: &TenantId,
        manifest: Manifest,
        owner: Owner,
    ) -> Result<Arc<Manifest>, CommitError> {
        let made = self.make_current(tenant, 0, manifest, owner).await?;
        made.ok_or_else(|| CommitError::Contended { tenant: tenant.clone(), partition: self.catalog.partition })
    }

    /// Deletes the objects that have been retired long enough. The manifest forgets them with the next commit, so that room is made
    /// even where there is none left for a manifest.
    pub async fn delete_retired(&self, tenant: &TenantId, now_ms: TimestampMs) -> Result<(), CommitError> {
        let manifest = self.catalog.current(tenant).await?;
        self.delete_due(tenant, &manifest, now_ms).await?;
        Ok(())
    }

    /// Deletes what is due and not deleted yet; returns all that is. Nothing that was retired is ever named again, so this is
    /// safe whatever becomes of a commit.
    async fn delete_due(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        now_ms: TimestampMs,
    ) -> Result<HashSet<String>, ObjectError> {
        let mut deleted = self.catalog.deleted.lock().get(tenant).cloned().unwrap_or_default();
        let is_due = |retired: &&Retired| now_ms.saturating_sub(retired.since_ms) >= self.catalog.retired_grace_ms;
        for Retired { key, .. } in manifest.retired.iter().filter(is_due) {
            if !deleted.contains(key) {
                self.catalog.bucket.delete(key).await?;
                deleted.insert(key.clone());
            }
        }
        self.catalog.deleted.lock().insert(tenant.clone(), deleted.clone());
        Ok(deleted)
    }

    /// Writes a version and swaps the pointer to it; `None` when another version than `expected` is current.
    async fn make_current(
        &self,
        tenant: &TenantId,
        expected: u64,
        next: Manifest,
        owner: Owner,
    ) -> Result<Option<Arc<Manifest>>, CommitError> {
        let Catalog { partition, bucket, pointers, .. } = self.catalog;
        let bytes = Bytes::from(next.encode());
        let checksum = crc32fast::hash(&bytes);
        let key = manifest_key(tenant, *partition, next.version, checksum, owner);
        bucket.put(&key, bytes).await?;
        let pointer = ManifestPointer { version: next.version, key: key.clone(), checksum };
        if pointers.compare_and_swap(tenant, *partition, expected, pointer).await? == Swap::Conflict {
            self.discard(tenant, &key).await?;
            return Ok(None);
        }
        let next = Arc::new(next);
        self.catalog.remember(tenant, &next);
        self.catalog.publish(tenant).await?;
        Ok(Some(next))
    }

    /// Deletes a version whose swap was refused, unless it is current all the same: by an earlier try whose answer was lost.
    async fn discard(&self, tenant: &TenantId, key: &str) -> Result<(), CommitError> {
        let current = self.catalog.pointer(tenant).await?;
        if current.is_none_or(|current| current.key != key) {
            self.catalog.bucket.delete(key).await?;
        }
        Ok(())
    }
}
