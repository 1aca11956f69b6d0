//! The partitions that this node has a replica of: reading them, and which of them it leads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pharos_cluster::group::Group;
use pharos_cluster::node as cluster;
use pharos_model::PartitionId;
use pharos_query::source::{ReadError, Readers};
use pharos_storage::datafile::FileCache;
use pharos_storage::manifest::{Catalog, Owner};
use pharos_storage::partition::Partition;
use pharos_storage::select::PartitionReader;

use super::stores::Stores;

/// Longest wait until the leaders of the partitions say what a read has to see. An election takes 1 to 3 s.
const READ_POINT_MAX: Duration = Duration::from_secs(10);
/// Longest wait until a replica here has applied that. One that takes longer catches up from far, and another one is read.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// This node's partitions. Catalogs are there for all of the cluster's, for a partition may come at any time.
#[derive(Debug)]
pub struct Held {
    pub cluster: Arc<cluster::Node>,
    pub stores: Arc<Stores>,
    pub catalogs: Vec<Arc<Catalog>>,
    pub cache: Arc<FileCache>,
    /// Others may have taken samples that have not come here yet. A node alone has everything that it answered.
    pub among_others: bool,
}

impl Held {
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.cluster.cluster().partitions).map(PartitionId)
    }

    /// Readers of all partitions that are here, as far as they have come.
    pub fn all(&self) -> Vec<PartitionReader> {
        self.stores.all().into_iter().map(|(id, store)| self.reader(id, store)).collect()
    }

    /// Readers of the partitions that this node leads, and in whose name it may change their data files.
    pub fn led(&self) -> Vec<(PartitionReader, Owner)> {
        let led = |reader: PartitionReader| Some((self.owner(reader.catalog().partition())?, reader));
        self.all().into_iter().filter_map(led).map(|(owner, reader)| (reader, owner)).collect()
    }

    /// The reader of a partition that this node leads.
    pub fn led_one(&self, partition: PartitionId) -> Option<(PartitionReader, Owner)> {
        let owner = self.owner(partition)?;
        Some((self.reader(partition, self.stores.get(partition)?), owner))
    }

    pub fn owner(&self, partition: PartitionId) -> Option<Owner> {
        let standing = self.cluster.replica(partition)?.standing();
        standing.leads.then_some(Owner { node: self.cluster.node_id(), term: standing.term })
    }

    fn reader(&self, partition: PartitionId, store: Arc<Partition>) -> PartitionReader {
        PartitionReader::new(store, Arc::clone(&self.catalogs[usize::from(partition.0)]), Arc::clone(&self.cache))
    }

    fn replica(&self, partition: PartitionId) -> Result<Arc<Group>, ReadError> {
        self.cluster.replica(partition).ok_or_else(|| elsewhere(partition, "it has no replica here"))
    }

    /// A reader of a replica that has applied the entry at `index`.
    async fn reader_at(&self, partition: PartitionId, index: u64) -> Result<PartitionReader, ReadError> {
        let group = self.replica(partition)?;
        let store = self.stores.get(partition).ok_or_else(|| elsewhere(partition, "it has no store here"))?;
        let applied = group.wait_applied(index, CATCH_UP_MAX).await;
        applied.map_err(|error| elsewhere(partition, error))?;
        // A replica that was dropped and made anew meanwhile has another store.
        if !Arc::ptr_eq(&group, &self.replica(partition)?) {
            return Err(elsewhere(partition, "its replica here was made anew"));
        }
        Ok(self.reader(partition, store))
    }
}

fn elsewhere(partition: PartitionId, reason: impl ToString) -> ReadError {
    ReadError::Elsewhere { partition, reason: reason.to_string() }
}

#[async_trait]
impl Readers for Held {
    fn partitions(&self) -> usize {
        usize::from(self.cluster.cluster().partitions)
    }

    async fn readers(&self, partitions: &[usize]) -> Result<Vec<PartitionReader>, ReadError> {
        let ids: Vec<PartitionId> = partitions.iter().map(|partition| PartitionId(*partition as u16)).collect();
        if !self.among_others {
            let reader = |id| Ok(self.reader(id, self.stores.get(id).ok_or_else(|| elsewhere(id, "it is closed"))?));
            return ids.into_iter().map(reader).collect();
        }
        let points = self.cluster.read_points(ids.iter().copied(), READ_POINT_MAX).await;
        let mut readers = Vec::with_capacity(ids.len());
        for id in ids {
            let index = match points.get(&id) {
                Some(Ok(index)) => *index,
                Some(Err(error)) => return Err(elsewhere(id, error)),
                None => return Err(elsewhere(id, "nobody said what is committed")),
            };
            readers.push(self.reader_at(id, index).await?);
        }
        Ok(readers)
    }
}
