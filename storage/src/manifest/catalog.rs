//! Reads the manifests of one partition, and hands out the right to change them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use parking_lot::Mutex;
use pharos_model::{PartitionId, TenantId, TimestampMs};

use super::pointer_key;
use super::{Change, Manifest, ManifestError, ManifestPointer, PointerError, PointerStore};
use crate::amendments::{Amendments, Reliance, Revision};
use crate::object::{Bucket, Created, ObjectError};
use crate::select::ReadError;

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
    #[error("another node has led partition {partition} after term {term}, in which this one did")]
    Deposed { partition: PartitionId, term: u64 },
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

/// The manifests of one partition. Many read; only the partition's leader changes them.
#[derive(Debug)]
pub struct Catalog {
    pub(super) partition: PartitionId,
    pub(super) bucket: Bucket,
    pub(super) pointers: Arc<dyn PointerStore>,
    /// Retired objects are deleted after this long: the longest time a query may take, and more.
    pub(super) retired_grace_ms: i64,
    /// Retired objects that are deleted already, as long as the current manifests name them.
    pub(super) deleted: Mutex<HashMap<TenantId, HashSet<String>>>,
    /// Tenants whose leftovers of older terms are to be deleted.
    pub(super) unswept: Mutex<HashSet<TenantId>>,
    changes: tokio::sync::Mutex<()>,
    cached: Mutex<HashMap<TenantId, Arc<Manifest>>>,
    amendments: Amendments,
    /// Versions whose pointers are known to be beside the manifests.
    published: Mutex<HashMap<TenantId, u64>>,
}

impl Catalog {
    pub fn new(partition: PartitionId, bucket: Bucket, pointers: Arc<dyn PointerStore>, retired_grace_ms: i64) -> Self {
        Self {
            partition,
            bucket,
            pointers,
            retired_grace_ms,
            deleted: Mutex::default(),
            unswept: Mutex::default(),
            changes: tokio::sync::Mutex::default(),
            cached: Mutex::default(),
            amendments: Amendments::default(),
            published: Mutex::default(),
        }
    }

    /// The right to change the manifests, once whoever has it is done.
    pub async fn change(&self) -> Change<'_> {
        Change::new(self, self.changes.lock().await)
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

    /// The newest manifest that was read here, without asking whether there is a newer one.
    pub(crate) fn known(&self, tenant: &TenantId) -> Option<Arc<Manifest>> {
        self.cached.lock().get(tenant).cloned()
    }

    /// The current manifest. Asks for the pointer, and reads an object only when that has moved.
    pub async fn current(&self, tenant: &TenantId) -> Result<Arc<Manifest>, CommitError> {
        self.current_with_pointer(tenant).await.map(|(manifest, _)| manifest)
    }

    /// The current manifest and the pointer to it; `None` before the first.
    pub(super) async fn current_with_pointer(
        &self,
        tenant: &TenantId,
    ) -> Result<(Arc<Manifest>, Option<ManifestPointer>), CommitError> {
        let pointer = self.pointer(tenant).await?;
        Ok((self.at(tenant, pointer.as_ref()).await?, pointer))
    }

    /// The current manifests of several partitions, whose pointers are in one store and asked for together.
    pub(crate) async fn current_of(
        catalogs: &[&Arc<Self>],
        tenant: &TenantId,
    ) -> Result<Vec<Arc<Manifest>>, CommitError> {
        let Some(first) = catalogs.first() else { return Ok(Vec::new()) };
        assert!(
            catalogs.iter().all(|catalog| Arc::ptr_eq(&catalog.pointers, &first.pointers)),
            "catalogs of one store"
        );
        let partitions: Vec<_> = catalogs.iter().map(|catalog| catalog.partition).collect();
        let pointers = first.pointers.get(tenant, &partitions).await?;
        try_join_all(catalogs.iter().zip(&pointers).map(|(catalog, pointer)| catalog.at(tenant, pointer.as_ref())))
            .await
    }

    pub(super) async fn pointer(&self, tenant: &TenantId) -> Result<Option<ManifestPointer>, PointerError> {
        Ok(self.pointers.get(tenant, &[self.partition]).await?.pop().flatten())
    }

    /// The manifest that a pointer names; the empty one where there is none.
    async fn at(&self, tenant: &TenantId, pointer: Option<&ManifestPointer>) -> Result<Arc<Manifest>, CommitError> {
        let Some(pointer) = pointer else { return Ok(Arc::new(Manifest::empty(tenant, self.partition))) };
        let known = self.cached.lock().get(tenant).filter(|known| known.version == pointer.version).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let manifest = Arc::new(self.read(pointer).await?);
        self.remember(tenant, &manifest);
        Ok(manifest)
    }

    async fn read(&self, pointer: &ManifestPointer) -> Result<Manifest, CommitError> {
        let bytes = self.bucket.get(&pointer.key).await?;
        Manifest::decode(&bytes, pointer.checksum)
            .map_err(|source| CommitError::Manifest { key: pointer.key.clone(), source })
    }

    pub(super) fn remember(&self, tenant: &TenantId, manifest: &Arc<Manifest>) {
        let before = self.cached.lock().insert(tenant.clone(), Arc::clone(manifest));
        let changed = match before {
            Some(before) => manifest.amends(&before),
            None => manifest.amends(&Manifest::empty(tenant, self.partition)),
        };
        changed.into_iter().for_each(|range| self.amendments.note(tenant, range));
    }

    /// Has changes of what the files say at or before a time noted from now on, see [`Amendments`]. Those that were made elsewhere
    /// are seen here first.
    pub(crate) async fn rely(
        &self,
        tenant: &TenantId,
        until_ms: TimestampMs,
        since: Option<Revision>,
    ) -> Result<Reliance, CommitError> {
        self.current(tenant).await?;
        Ok(self.amendments.rely(tenant, until_ms, since))
    }

    /// Writes the current pointer beside the manifests, unless it is there, so that a bucket alone is enough to start from.
    /// A leader calls it before anything else, because the one before it may have died between swap and publication.
    pub async fn publish(&self, tenant: &TenantId) -> Result<(), CommitError> {
        let Some(pointer) = self.pointer(tenant).await? else { return Ok(()) };
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
