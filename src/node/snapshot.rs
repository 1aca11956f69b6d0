//! The admin API's snapshot: a copy of all tenants' data, laid out as an object store.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use pharos_model::PartitionId;
use pharos_storage::fs::OsFileSystem;
use pharos_storage::manifest::Owner;
use pharos_storage::manifest::PointerError;
use pharos_storage::object::{Bucket, ObjectMetrics, UrlError};
use pharos_storage::seal::SealError;
use pharos_storage::snapshot::Snapshot;

use super::maintenance::tenants;
use super::{Node, random};

/// Why no snapshot was made. What is left of it is in a folder that no other snapshot uses.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Folder(#[from] UrlError),
    #[error("path of the snapshot")]
    Path(#[from] std::io::Error),
    #[error(transparent)]
    Pointers(#[from] PointerError),
    #[error(transparent)]
    Copy(#[from] SealError),
    #[error("a name for the snapshot: {0}")]
    Name(String),
    #[error("partition {0} has no replica on this node: a snapshot is of what one node has, and would not have it all")]
    NotHere(PartitionId),
}

/// Where snapshots go.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    metrics: ObjectMetrics,
}

impl Folder {
    pub fn new(path: PathBuf, metrics: ObjectMetrics) -> Self {
        Self { path, metrics }
    }

    fn create(&self, name: &str) -> Result<Bucket, SnapshotError> {
        let path = std::path::absolute(self.path.join(name))?;
        let url = format!("file://{}", path.display());
        Ok(Bucket::open(&url, [], Arc::new(OsFileSystem), self.metrics.clone())?)
    }
}

impl Node {
    /// Copies everything, the head too unless `skip_head`, and returns the name of the new folder: time and a random number, as
    /// Prometheus names it.
    pub async fn snapshot(&self, skip_head: bool) -> Result<String, SnapshotError> {
        let number = random::<8>().map_err(|error| SnapshotError::Name(error.to_string()))?;
        let time = DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default();
        let name = format!("{}-{:016x}", time.format("%Y%m%dT%H%M%SZ"), u64::from_le_bytes(number));
        let readers = self.held.all();
        let missing = |partition: &PartitionId| readers.iter().all(|reader| reader.catalog().partition() != *partition);
        if let Some(partition) = self.held.partitions().find(missing) {
            return Err(SnapshotError::NotHere(partition));
        }
        let target = self.snapshots.create(&name)?;
        for reader in &readers {
            let partition = reader.catalog().partition();
            // Names the files in a folder that nobody else writes to, whether this node leads or not.
            let term = self.cluster.partition(partition).term();
            let snapshot = Snapshot {
                partition: reader.partition(),
                catalog: reader.catalog(),
                slice_ms: self.slice.as_millis() as i64,
                owner: Owner { node: self.id(), term },
                with_head: !skip_head,
            };
            for tenant in tenants(reader).await? {
                snapshot.write(&tenant, &target).await?;
            }
        }
        Ok(name)
    }
}
