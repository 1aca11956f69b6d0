//! The stores of this node's replicas, which the groups know as state machines only. They come and go with the replicas.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use pharos_cluster::group::Restored;
use pharos_cluster::node::{OpenPartition, RemovePartition};
use pharos_model::PartitionId;
use pharos_storage::fs::OsFileSystem;
use pharos_storage::partition::{self, Partition, PartitionOptions};

use super::machine::Machine;

/// What stores are opened with.
#[derive(Debug)]
pub struct StoreOptions {
    /// Each partition has a folder below it.
    pub root: PathBuf,
    pub metrics: partition::Metrics,
    /// Random.
    pub hash_seed: u64,
}

/// The stores that are open.
#[derive(Debug)]
pub struct Stores {
    options: StoreOptions,
    open: RwLock<BTreeMap<PartitionId, Arc<Partition>>>,
}

impl Stores {
    pub fn new(options: StoreOptions) -> Self {
        Self { options, open: RwLock::default() }
    }

    pub fn get(&self, partition: PartitionId) -> Option<Arc<Partition>> {
        self.open.read().get(&partition).cloned()
    }

    pub fn all(&self) -> Vec<(PartitionId, Arc<Partition>)> {
        self.open.read().iter().map(|(id, store)| (*id, Arc::clone(store))).collect()
    }

    /// Opens the store of a replica that comes.
    pub fn opener(self: &Arc<Self>) -> OpenPartition {
        let stores = Arc::clone(self);
        Arc::new(move |id: PartitionId| {
            let options = PartitionOptions { hash_seed: stores.options.hash_seed, ..PartitionOptions::default() };
            let (dir, files) = (stores.dir(id), Arc::new(OsFileSystem));
            let opened = Partition::open(&dir, files, options, &stores.options.metrics)?;
            let store = Arc::new(opened.partition);
            stores.open.write().insert(id, Arc::clone(&store));
            Ok(Restored { machine: Arc::new(Machine(store)), raft_state: opened.raft_state })
        })
    }

    /// Removes the store of a replica that goes. Queries that read it meanwhile have their files to the end.
    pub fn remover(self: &Arc<Self>) -> RemovePartition {
        let stores = Arc::clone(self);
        Arc::new(move |id: PartitionId| {
            stores.open.write().remove(&id);
            match std::fs::remove_dir_all(stores.dir(id)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn dir(&self, id: PartitionId) -> PathBuf {
        self.options.root.join(format!("{:04}", id.0))
    }
}
