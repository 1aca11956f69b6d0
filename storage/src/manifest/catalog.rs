//! Reads and commits the manifests of one partition.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::{PartitionId, TenantId, TimestampMs};

use super::{Edit, Manifest, ManifestError, ManifestPointer, Owner, PointerError, PointerStore, Retired, Swap};
use super::{manifest_key, pointer_key};
use crate::object::{Bucket, Created, ObjectError};
use crate::select::ReadError;

/// A commit that meets other versions this often gives up: somebody else leads the partition.
pub const COMMIT_ATTEMPTS_MAX: usize = 5;

/// Why a change of the list did not happen, or is not known to have happened. Repeating it is safe.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Pointer(#[from] PointerError),
    #[error("manifest {key}")]
    Manifest {
        key: String,
        #[source]
        source: ManifestError,
    },
    #[error("manifest of tenant `{tenant}` in partition {partition} changes under us")]
    Contended { tenant: TenantId, partition: PartitionId },
}

impl From<CommitError> for ReadError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Object(error) => error.into(),
            CommitError::Manifest { key, source } => Self::DataFile { file: key, reason: source.to_string() },
            other => Self::ObjectStore(other.to_string()),
        }
    }
}

/// The manifests of one partition. Many read; only the partition's leader commits.
#[derive(Debug)]
pub struct Catalog {
    partition: PartitionId,
    bucket: Bucket,
    pointers: Arc<dyn PointerStore>,
    /// Retired objects are deleted after this long: the longest time a query may take, and more.
    retired_grace_ms: i64,
    cached: Mutex<HashMap<TenantId, Arc<Manifest>>>,
    /// Versions whose pointers are known to be beside the manifests.
    published: Mutex<HashMap<TenantId, u64>>,
}

impl Catalog {
    pub fn new(partition: PartitionId, bucket: Bucket, pointers: Arc<dyn PointerStore>, retired_grace_ms: i64) -> Self {
        Self { partition, bucket, pointers, retired_grace_ms, cached: Mutex::default(), published: Mutex::default() }
    }

    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Tenants that have data files here.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, PointerError> {
        self.pointers.tenants(self.partition).await
    }

    /// The current manifest. Asks for the pointer, and reads an object only when that has moved.
    pub async fn current(&self, tenant: &TenantId) -> Result<Arc<Manifest>, CommitError> {
        let Some(pointer) = self.pointers.get(tenant, self.partition).await? else {
            return Ok(Arc::new(Manifest::empty(tenant, self.partition)));
        };
        let known = self.cached.lock().get(tenant).filter(|known| known.version == pointer.version).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let manifest = Arc::new(self.read(&pointer).await?);
        self.remember(tenant, &manifest);
        Ok(manifest)
    }

    async fn read(&self, pointer: &ManifestPointer) -> Result<Manifest, CommitError> {
        let bytes = self.bucket.get(&pointer.key).await?;
        Manifest::decode(&bytes, pointer.checksum)
            .map_err(|source| CommitError::Manifest { key: pointer.key.clone(), source })
    }

    fn remember(&self, tenant: &TenantId, manifest: &Arc<Manifest>) {
        self.cached.lock().insert(tenant.clone(), Arc::clone(manifest));
    }

    /// Makes a change current and returns the version that has it; a change that is there already is left alone.
    /// Deletes retired objects whose grace is over on the way.
    pub async fn commit(
        &self,
        tenant: &TenantId,
        edit: &Edit,
        owner: Owner,
        now_ms: TimestampMs,
    ) -> Result<Arc<Manifest>, CommitError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let current = self.current(tenant).await?;
            let Some(mut next) = current.apply(edit, now_ms) else {
                self.publish(tenant).await?;
                return Ok(current);
            };
            if let Some(pointer) = self.pointers.get(tenant, self.partition).await? {
                let before = [pointer.key, pointer_key(tenant, self.partition, pointer.version)];
                next.retired.extend(before.map(|key| Retired { key, since_ms: now_ms }));
            }
            self.delete_retired(&mut next, now_ms).await?;
            if let Some(done) = self.make_current(tenant, current.version, next, owner).await? {
                return Ok(done);
            }
        }
        Err(CommitError::Contended { tenant: tenant.clone(), partition: self.partition })
    }

    /// Makes a manifest of other origin the first one here: how a copy is begun.
    pub async fn install(
        &self,
        tenant: &TenantId,
        manifest: Manifest,
        owner: Owner,
    ) -> Result<Arc<Manifest>, CommitError> {
        let made = self.make_current(tenant, 0, manifest, owner).await?;
        made.ok_or_else(|| CommitError::Contended { tenant: tenant.clone(), partition: self.partition })
    }

    /// Writes a version and swaps the pointer to it; `None` when another version than `expected` is current.
    async fn make_current(
        &self,
        tenant: &TenantId,
        expected: u64,
        next: Manifest,
        owner: Owner,
    ) -> Result<Option<Arc<Manifest>>, CommitError> {
        let key = manifest_key(tenant, self.partition, next.version, owner);
        let bytes = Bytes::from(next.encode());
        let pointer = ManifestPointer { version: next.version, key, checksum: crc32fast::hash(&bytes) };
        self.bucket.put(&pointer.key, bytes).await?;
        if self.pointers.compare_and_swap(tenant, self.partition, expected, pointer).await? == Swap::Conflict {
            return Ok(None);
        }
        let next = Arc::new(next);
        self.remember(tenant, &next);
        self.publish(tenant).await?;
        Ok(Some(next))
    }

    /// Deletes what has been retired long enough and forgets it. Nothing that was retired is ever named again, so this is safe
    /// whatever becomes of the commit.
    async fn delete_retired(&self, manifest: &mut Manifest, now_ms: TimestampMs) -> Result<(), CommitError> {
        let grace_ms = self.retired_grace_ms;
        let due = manifest.retired.iter().filter(|retired| now_ms.saturating_sub(retired.since_ms) >= grace_ms);
        for retired in due {
            self.bucket.delete(&retired.key).await?;
        }
        manifest.retired.retain(|retired| now_ms.saturating_sub(retired.since_ms) < grace_ms);
        Ok(())
    }

    /// Writes the current pointer beside the manifests, unless it is there, so that a bucket alone is enough to start from.
    /// A leader calls it before anything else, because the one before it may have died between swap and publication.
    pub async fn publish(&self, tenant: &TenantId) -> Result<(), CommitError> {
        let Some(pointer) = self.pointers.get(tenant, self.partition).await? else { return Ok(()) };
        if self.published.lock().get(tenant) == Some(&pointer.version) {
            return Ok(());
        }
        let key = pointer_key(tenant, self.partition, pointer.version);
        let bytes = Bytes::from(serde_json::to_vec(&pointer).expect("a pointer is plain data"));
        if self.bucket.create(&key, bytes.clone()).await? == Created::Existed && self.bucket.get(&key).await? != bytes {
            // Torn by a power loss before it was durable: the pointer store knows better.
            self.bucket.put(&key, bytes).await?;
        }
        self.published.lock().insert(tenant.clone(), pointer.version);
        Ok(())
    }

    /// The newest pointer beside the manifests, found by listing: for rebuilding a cluster from a bucket alone.
    pub async fn recover_pointer(&self, tenant: &TenantId) -> Result<Option<ManifestPointer>, CommitError> {
        let folder = format!("{}/pointers", super::folder(tenant, self.partition));
        for key in self.bucket.list(&folder).await?.into_iter().rev() {
            let bytes = self.bucket.get(&key).await?;
            if let Ok(pointer) = serde_json::from_slice::<ManifestPointer>(&bytes) {
                return Ok(Some(pointer));
            }
        }
        Ok(None)
    }
}
