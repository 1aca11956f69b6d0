//! One node: its Raft groups, the stores behind them, and the tasks that keep the stores in shape.

mod index;
mod machine;
mod maintenance;
mod pointers;
mod retention;
mod router;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::checkpoint::CheckpointPolicy;
use pharos_cluster::fs::Disk;
use pharos_cluster::group::Restored;
use pharos_cluster::log::LogOptions;
use pharos_cluster::metrics::Metrics as ClusterMetrics;
use pharos_cluster::node::{
    self as cluster, ClusterOptions, DirError, FreshIds, NodeDir, NodeError, NodeOptions, OpenPartition,
};
use pharos_cluster::proposer::ProposerOptions;
use pharos_model::{Clock, Matcher, PartitionId, TenantId, TimeRange};
use pharos_query::source::{Local, SeriesSource};
use pharos_storage::datafile::{FILE_CACHE_BYTES_MAX, FileCache};
use pharos_storage::deletion::{DeleteError, Deletion};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::manifest::{Catalog, Owner};
use pharos_storage::metrics::StorageMetrics;
use pharos_storage::object::{Bucket, ClaimError, ObjectMetrics, UrlError};
use pharos_storage::partition::{self, Partition, PartitionOptions};
use pharos_storage::select::PartitionReader;
use prometheus::Registry;

use crate::flags::ServerFlags;
pub use index::IndexRequest;
use machine::Machine;
use maintenance::{Maintenance, Proposers, Tasks};
use pointers::MetaPointers;
pub use retention::Retention;
use router::Intake;
pub use router::Router;

/// Folders below the storage path.
const CLUSTER_DIR: &str = "cluster";
const HEAD_DIR: &str = "head";
const OBJECTS_DIR: &str = "objects";
const SNAPSHOTS_DIR: &str = "snapshots";
/// Longest wait for the groups to have their leaders: a node alone elects itself at once.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest wait at the end for commands that were already taken.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Objects that a manifest no longer names are deleted after this long; a query that began before may still read them.
const RETIRED_GRACE: Duration = Duration::from_secs(15 * 60);

/// Why the node's stores could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    ObjectStore(#[from] UrlError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("storage path {path}")]
    Path { path: String, source: std::io::Error },
    #[error("random numbers: {0}")]
    Entropy(getrandom::Error),
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    cluster: Arc<cluster::Node>,
    readers: Vec<Arc<PartitionReader>>,
    log: Arc<Proposers>,
    router: Arc<Router>,
    source: Arc<dyn SeriesSource>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    retention: Retention,
    slice: Duration,
    snapshots: snapshot::Folder,
}

impl Node {
    /// Opens the storage path, or begins one. When this returns, everything that was ever acknowledged can be queried.
    pub async fn open(
        flags: &ServerFlags,
        retention: Retention,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Arc<Self>, OpenError> {
        let (cluster, stores) = open_groups(flags, clock.clone(), registry).await?;
        let cluster = Arc::new(cluster);
        let object_metrics = ObjectMetrics::register(registry)?;
        let storage_metrics = StorageMetrics::register(registry)?;
        let bucket =
            Bucket::open(&object_store_url(flags)?, std::env::vars(), Arc::new(OsFileSystem), object_metrics.clone())?;
        bucket.claim(&cluster.cluster().id).await?;
        let cache = Arc::new(FileCache::new(FILE_CACHE_BYTES_MAX, storage_metrics.clone()));
        let pointers = Arc::new(MetaPointers(cluster.meta().clone()));
        let readers: Vec<_> = (0..)
            .map(PartitionId)
            .zip(&stores)
            .map(|(id, store)| {
                let grace_ms = RETIRED_GRACE.as_millis() as i64;
                let catalog = Arc::new(Catalog::new(id, bucket.clone(), pointers.clone(), grace_ms));
                Arc::new(PartitionReader::new(store.clone(), catalog, cache.clone()))
            })
            .collect();
        let proposers: Vec<_> = (0..cluster.cluster().partitions).map(|at| cluster.proposer(PartitionId(at))).collect();
        let log = Arc::new(Proposers(proposers.clone()));
        let intake = Intake { series_max: flags.series_limit, starts: flags.starts() };
        let router = Arc::new(Router::new(proposers, stores, clock.clone(), intake));
        let tasks = Tasks::start(Maintenance {
            readers: readers.clone(),
            cache,
            log: log.clone(),
            metrics: storage_metrics,
            router: router.clone(),
            clock: clock.clone(),
            cluster: cluster.clone(),
            slice: flags.seal_interval,
            retention: retention.clone(),
            idle: Mutex::default(),
        });
        let snapshots = snapshot::Folder::new(flags.storage_path.join(SNAPSHOTS_DIR), object_metrics);
        let source = Arc::new(Local::new(readers.clone()));
        let slice = flags.seal_interval;
        Ok(Arc::new(Self { cluster, readers, log, router, source, tasks, clock, retention, slice, snapshots }))
    }

    pub fn router(&self) -> &Arc<Router> {
        &self.router
    }

    pub fn source(&self) -> &Arc<dyn SeriesSource> {
        &self.source
    }

    /// A number that stays the node's own over restarts.
    pub fn id(&self) -> u64 {
        self.cluster.node_id()
    }

    /// Damaged places that were found in the log when it was opened.
    pub fn corruptions(&self) -> usize {
        self.cluster.recovery().quarantined.len()
    }

    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    fn owner(&self, partition: PartitionId) -> Owner {
        Owner { node: self.cluster.node_id(), term: self.cluster.partition(partition).term() }
    }

    /// Hides the samples in the range of all series that satisfy the matchers: in the head through the log, in data files by
    /// a tombstone in the manifest.
    pub async fn delete_series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(), DeleteError> {
        let deletion = Deletion { tenant, matchers, range };
        for catalog in self.readers.iter().map(|reader| reader.catalog()) {
            deletion.run(catalog, &*self.log, self.owner(catalog.partition()), self.clock.now_ms()).await?;
        }
        Ok(())
    }

    /// Returns the reason once the log or a group can no longer be written.
    pub async fn log_failed(&self) -> String {
        self.cluster.failed().await
    }

    /// Finishes what was accepted and closes the log.
    pub async fn close(&self) {
        self.tasks.stop().await;
        self.cluster.shutdown().await;
    }
}

async fn open_groups(
    flags: &ServerFlags,
    clock: Arc<dyn Clock>,
    registry: &Registry,
) -> Result<(cluster::Node, Vec<Arc<Partition>>), OpenError> {
    let dir = NodeDir::lock(Arc::new(Disk), &flags.storage_path.join(CLUSTER_DIR))?;
    let stores = Arc::new(Stores::default());
    let hash_seed = random::<8>().map(u64::from_le_bytes)?;
    let open = stores.opener(flags, partition::Metrics::register(registry)?, hash_seed);
    let options = NodeOptions {
        partitions: flags.partitions,
        fresh: FreshIds {
            node: random::<8>().map(u64::from_le_bytes)?,
            cluster: random::<16>().map(u128::from_le_bytes)?,
        },
        log: LogOptions::default(),
        proposer: ProposerOptions::default(),
        checkpoints: CheckpointPolicy { age_max: flags.checkpoint_interval, ..CheckpointPolicy::default() },
        leader_wait_max: LEADER_WAIT_MAX,
        drain_max: DRAIN_MAX,
        cluster: ClusterOptions::alone(),
        clock,
        metrics: ClusterMetrics::register(registry)?,
    };
    let cluster = cluster::Node::open(dir, options, open).await?;
    let stores = stores.take(cluster.cluster().partitions);
    Ok((cluster, stores))
}

/// The URL of the flag, or of a folder below the storage path.
fn object_store_url(flags: &ServerFlags) -> Result<String, OpenError> {
    if let Some(url) = &flags.object_store {
        return Ok(url.clone());
    }
    let path = flags.storage_path.join(OBJECTS_DIR);
    let absolute =
        std::path::absolute(&path).map_err(|source| OpenError::Path { path: path.display().to_string(), source })?;
    Ok(format!("file://{}", absolute.display()))
}

/// The stores that were opened, by partition: the groups know them as state machines only.
#[derive(Debug, Default)]
struct Stores(Mutex<Vec<Option<Arc<Partition>>>>);

impl Stores {
    fn opener(self: &Arc<Self>, flags: &ServerFlags, metrics: partition::Metrics, hash_seed: u64) -> OpenPartition {
        let (stores, root) = (self.clone(), flags.storage_path.join(HEAD_DIR));
        Arc::new(move |id: PartitionId| {
            let options = PartitionOptions { hash_seed, ..PartitionOptions::default() };
            let dir = root.join(format!("{:04}", id.0));
            let opened = Partition::open(&dir, Arc::new(OsFileSystem), options, &metrics)?;
            let store = Arc::new(opened.partition);
            let mut all = stores.0.lock();
            if all.len() <= usize::from(id.0) {
                all.resize(usize::from(id.0) + 1, None);
            }
            all[usize::from(id.0)] = Some(store.clone());
            Ok(Restored { machine: Arc::new(Machine(store)), raft_state: opened.raft_state })
        })
    }

    fn take(&self, count: u16) -> Vec<Arc<Partition>> {
        let stores: Vec<_> = std::mem::take(&mut *self.0.lock()).into_iter().flatten().collect();
        assert_eq!(stores.len(), usize::from(count), "every partition is opened before the node is");
        stores
    }
}

/// Random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(OpenError::Entropy)?;
    Ok(bytes)
}
