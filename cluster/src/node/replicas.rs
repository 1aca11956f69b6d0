//! Replicas that come and go while the node runs. Both may be repeated after any failure.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::PartitionId;
use tracing::info;

use super::opening::open_partition;
use super::{Node, NodeError, blocking, group_of, partition_of};
use crate::group::{Group, Start, drop_log};

impl Node {
    /// Opens a replica of a partition: the one that this node had, or an empty one, which waits until the group's leader takes it in.
    pub async fn open_replica(&self, partition: PartitionId) -> Result<Arc<Group>, NodeError> {
        let _turn = self.moving.lock().await;
        if let Some(open) = self.replica(partition) {
            return Ok(open);
        }
        if !self.context.log.groups().contains(&group_of(partition)) {
            // What a replica left that was dropped when the power went.
            self.remove_store(partition).await?;
        }
        let group = Arc::new(open_partition(&self.context, partition, Start::Join, &self.open).await?);
        self.groups.insert(Arc::clone(&group));
        info!(%partition, "replica open");
        Ok(group)
    }

    /// Closes the replica of a partition and removes its log and its store. Only right when the group's members do not name this node
    /// any more, or never will hear of it; `config` is the log index of the configuration by which that is so. Should the replica come
    /// back, it neither votes nor elects before it has a newer one.
    pub async fn drop_replica(&self, partition: PartitionId, config: u64) -> Result<(), NodeError> {
        let _turn = self.moving.lock().await;
        let id = group_of(partition);
        if let Some(group) = self.groups.remove(id) {
            group.close(self.drain_max).await;
        }
        // The log first: a log without its store could not be opened again.
        let damaged = self.context.log.damage().has(id);
        // Also where nothing is left of the log: it remembers the configuration by which the replica is gone.
        if damaged || self.context.log.groups().contains(&id) {
            drop_log(&self.context.log.group(id), config).await?;
        }
        self.remove_store(partition).await?;
        if damaged {
            let log = Arc::clone(&self.context.log);
            let forgotten = blocking(move || log.forget_damage(id)).await?;
            forgotten.map_err(|source| NodeError::Damage { source })?;
            self.context.metrics.damaged_dropped.inc();
            info!(%partition, config, "damaged replica dropped, it may come back empty");
        } else {
            info!(%partition, "replica dropped");
        }
        Ok(())
    }

    /// Partitions whose replicas here lost something that other members count on: they are not open, and have to be removed from their
    /// groups and dropped here before they may come back empty.
    pub fn damaged_replicas(&self) -> BTreeSet<PartitionId> {
        self.context.log.damage().groups().filter_map(partition_of).collect()
    }

    async fn remove_store(&self, partition: PartitionId) -> Result<(), NodeError> {
        let remove = Arc::clone(&self.remove);
        let removed = blocking(move || remove(partition)).await?;
        removed.map_err(|source| NodeError::RemoveStore { partition, source })
    }
}
