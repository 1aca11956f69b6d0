//! Manifest pointers, kept by the metadata group.

use async_trait::async_trait;
use pharos_cluster::meta::{MetaClient, SwapError};
use pharos_model::{PartitionId, TenantId};
use pharos_storage::manifest::{ManifestPointer, PointerError, PointerStore, Swap};

/// The metadata group as the store of pointers. It keeps a version and one text, which holds checksum and key.
#[derive(Debug)]
pub struct MetaPointers(pub MetaClient);

#[async_trait]
impl PointerStore for MetaPointers {
    async fn get(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<ManifestPointer>>, PointerError> {
        let stored = self.0.manifests_of(tenant, partitions).await.map_err(unanswered)?;
        let pointers =
            stored.into_iter().map(|stored| stored.map(|stored| read(stored.version, &stored.object)).transpose());
        pointers.collect()
    }

    async fn tenants(&self, partition: PartitionId) -> Result<Vec<TenantId>, PointerError> {
        let rows = self.0.manifests().await.map_err(unanswered)?;
        let of_partition = rows.into_iter().filter(|row| row.partition == partition.0);
        of_partition.map(|row| TenantId::new(&row.tenant).map_err(|error| PointerError(error.to_string()))).collect()
    }

    async fn compare_and_swap(
        &self,
        tenant: &TenantId,
        partition: PartitionId,
        expected: u64,
        next: ManifestPointer,
    ) -> Result<Swap, PointerError> {
        match self.0.swap_manifest(partition, tenant, expected, write(&next)).await {
            Ok(_) => Ok(Swap::Done),
            Err(SwapError::Conflict { .. }) => Ok(Swap::Conflict),
            Err(SwapError::Meta(error)) => Err(unanswered(error)),
        }
    }
}

fn unanswered(error: impl std::fmt::Display) -> PointerError {
    PointerError(error.to_string())
}

/// `CHECKSUM KEY`, the checksum in hexadecimal.
fn write(pointer: &ManifestPointer) -> String {
    format!("{:08x} {}", pointer.checksum, pointer.key)
}

fn read(version: u64, text: &str) -> Result<ManifestPointer, PointerError> {
    text.split_once(' ')
        .and_then(|(checksum, key)| {
            let checksum = u32::from_str_radix(checksum, 16).ok()?;
            Some(ManifestPointer { version, key: key.to_owned(), checksum })
        })
        .ok_or_else(|| PointerError(format!("`{text}` is no checksum and key")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_survive_their_text() {
        let pointer = ManifestPointer { version: 7, key: "a/b c/manifest-7".into(), checksum: 0x00ab_cdef };
        assert_eq!(read(7, &write(&pointer)), Ok(pointer));
        assert!(read(1, "nonsense").is_err());
    }
}
