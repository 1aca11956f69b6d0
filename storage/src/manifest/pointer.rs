//! The pointer to the current manifest, and the port to where it is kept.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use parking_lot::Mutex;
use pharos_model::{PartitionId, TenantId};
use serde::{Deserialize, Serialize};

/// Names one version of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPointer {
    pub version: u64,
    /// Key of the manifest in the object store.
    pub key: String,
    /// CRC-32 of the manifest's bytes.
    pub checksum: u32,
}

/// The store of pointers could not answer. The swap may or may not have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest pointer: {0}")]
pub struct PointerError(pub String);

/// How a swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    Done,
    /// Another version is current; nothing was changed.
    Conflict,
}

/// Where the current pointer of each (tenant, partition) is kept, linearizable. Implementations: the node's, over the
/// metadata group; [`MemoryPointers`], for tests and snapshots.
#[async_trait]
pub trait PointerStore: fmt::Debug + Send + Sync {
    /// The tenant's current pointer in each of the partitions, all at one moment; `None` before the first.
    async fn get(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<ManifestPointer>>, PointerError>;

    /// Tenants that have a pointer in the partition, sorted.
    async fn tenants(&self, partition: PartitionId) -> Result<Vec<TenantId>, PointerError>;

    /// Makes `next` current if the current version is `expected` (0 for none).
    async fn compare_and_swap(
        &self,
        tenant: &TenantId,
        partition: PartitionId,
        expected: u64,
        next: ManifestPointer,
    ) -> Result<Swap, PointerError>;
}

/// Pointers of one process, gone with it.
#[derive(Debug, Default)]
pub struct MemoryPointers(Mutex<BTreeMap<(PartitionId, TenantId), ManifestPointer>>);

#[async_trait]
impl PointerStore for MemoryPointers {
    async fn get(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<ManifestPointer>>, PointerError> {
        let pointers = self.0.lock();
        Ok(partitions.iter().map(|partition| pointers.get(&(*partition, tenant.clone())).cloned()).collect())
    }

    async fn tenants(&self, partition: PartitionId) -> Result<Vec<TenantId>, PointerError> {
        Ok(self.0.lock().keys().filter(|(of, _)| *of == partition).map(|(_, tenant)| tenant.clone()).collect())
    }

    async fn compare_and_swap(
        &self,
        tenant: &TenantId,
        partition: PartitionId,
        expected: u64,
        next: ManifestPointer,
    ) -> Result<Swap, PointerError> {
        let mut pointers = self.0.lock();
        let place = (partition, tenant.clone());
        if pointers.get(&place).map_or(0, |pointer| pointer.version) != expected {
            return Ok(Swap::Conflict);
        }
        pointers.insert(place, next);
        Ok(Swap::Done)
    }
}
