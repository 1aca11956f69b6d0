//! One node: its Raft groups, the stores behind them, the tasks that keep the stores in shape, and its part in a cluster.

mod deletion;
mod find;
mod held;
mod index;
mod machine;
mod maintenance;
mod members;
mod membership;
mod meter;
mod others;
mod ownership;
mod pointers;
mod retention;
mod router;
mod snapshot;
mod stores;
mod targets;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::gossip::SecretError;
use pharos_cluster::hearing::Hearing;
use pharos_cluster::member::{Member, MemberError, Phase};
use pharos_cluster::node::{self as cluster, DirError, NodeError};
use pharos_ingest::scrape::{Ownership, OwnsAll};
use pharos_model::{Clock, PartitionId, TenantId};
use pharos_query::distributed::{Channels, Placement, Worker};
use pharos_query::source::{Local, SeriesSource};
use pharos_storage::datafile::{FILE_CACHE_BYTES_MAX, FileCache};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::manifest::Catalog;
use pharos_storage::metrics::StorageMetrics;
use pharos_storage::object::{Bucket, ClaimError, ObjectMetrics, UrlError};
use pharos_storage::partition;
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::warn;

use crate::flags::ServerFlags;
use held::Held;
pub use index::{IndexRequest, Newest, NewestValue};
use maintenance::{Maintenance, Tasks};
use membership::{Joined, Joining};
use others::{Office, Serving};
use ownership::LedTargets;
use pointers::MetaPointers;
pub use retention::Retention;
use router::Intake;
pub use router::{Router, SeriesLimits};
use stores::{StoreOptions, Stores};
pub use targets::Scrapes;
use workers::Whereabouts;

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
    Member(#[from] MemberError),
    #[error(transparent)]
    ObjectStore(#[from] UrlError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(
        "the object store of this node is not the one of the other nodes: give all of them the same --object-store, a bucket or a folder \
         on a shared file system"
    )]
    OtherStore,
    #[error("{path}")]
    Path { path: String, source: std::io::Error },
    #[error("--cluster.gossip-secret-file={path}: {source}")]
    GossipSecret { path: String, source: SecretError },
    #[error("cannot listen for gossip: UDP port of --cluster.listen-address={address}: {source}")]
    Gossip { address: String, source: std::io::Error },
    #[error("random numbers: {0}")]
    Entropy(getrandom::Error),
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// What a node shares with the rest of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub registry: Registry,
    /// Where parts of queries that other nodes ask for work.
    pub query_threads: Handle,
    /// Told how far a start among others is.
    pub phase: watch::Sender<Phase>,
    /// Where the web interface listens.
    pub web: SocketAddr,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    cluster: Arc<cluster::Node>,
    /// Missing on a node that is alone.
    member: Option<Member>,
    held: Arc<Held>,
    office: Arc<Office>,
    router: Arc<Router>,
    source: Arc<dyn SeriesSource>,
    worker: Worker,
    whereabouts: Whereabouts,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    retention: Retention,
    slice: Duration,
    snapshots: snapshot::Folder,
}

impl Node {
    /// Opens the storage path, or begins one, and takes part in the cluster if there is one. When this returns, everything that
    /// was ever acknowledged can be queried.
    pub async fn open(
        flags: &ServerFlags,
        retention: Retention,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>, OpenError> {
        let Surroundings { clock, registry, query_threads, phase, web } = surroundings;
        let head_metrics = partition::Metrics::register(&registry)?;
        let stores = Arc::new(Stores::new(StoreOptions {
            root: flags.storage_path.join(HEAD_DIR),
            metrics: head_metrics.clone(),
            hash_seed: random::<8>().map(u64::from_le_bytes)?,
        }));
        let office = Arc::new(Office::default());
        let joining = Joining {
            flags,
            dir: &flags.storage_path.join(CLUSTER_DIR),
            stores: &stores,
            application: office.clone(),
            meter: meter::meter(head_metrics),
            phase,
            web,
            clock: clock.clone(),
            registry: &registry,
        };
        let Joined { cluster, member } = joining.open().await?;
        let object_metrics = ObjectMetrics::register(&registry)?;
        let storage_metrics = StorageMetrics::register(&registry)?;
        let bucket =
            Bucket::open(&object_store_url(flags)?, std::env::vars(), Arc::new(OsFileSystem), object_metrics.clone())?;
        let fresh_mark = format!("{:016x}", random::<8>().map(u64::from_le_bytes)?);
        let mark = bucket.claim(&cluster.cluster().id, &fresh_mark).await?;
        same_store(&cluster, mark).await?;

        let pointers = Arc::new(MetaPointers(cluster.meta().clone()));
        let catalog = |id| {
            let grace_ms = RETIRED_GRACE.as_millis() as i64;
            Arc::new(Catalog::new(id, bucket.clone(), pointers.clone(), grace_ms))
        };
        let held = Arc::new(Held {
            cluster: cluster.clone(),
            stores: stores.clone(),
            catalogs: (0..cluster.cluster().partitions).map(PartitionId).map(catalog).collect(),
            cache: Arc::new(FileCache::new(FILE_CACHE_BYTES_MAX, storage_metrics.clone())),
            among_others: member.is_some(),
        });
        let source: Arc<dyn SeriesSource> = Arc::new(Local::new(held.clone()));
        let worker = Worker::new(source.clone(), clock.clone(), random::<8>().map(u64::from_le_bytes)?);
        office.open(Serving { held: held.clone(), worker: worker.clone(), threads: query_threads });
        let (own, topology) = (cluster.node_id(), cluster.meta().topology());
        let hearing = match &member {
            Some(member) => member.hearing(),
            None => Hearing::alone(own, topology.clone()),
        };
        let whereabouts = Whereabouts { own, topology, hearing };
        let limits = SeriesLimits { default: flags.series_limit, ..SeriesLimits::default() };
        let intake = Intake { limits, starts: flags.starts() };
        let router = Arc::new(Router::new(cluster.clone(), stores, clock.clone(), intake));
        let slice = flags.seal_interval;
        let tasks = Tasks::start(Maintenance {
            held: held.clone(),
            metrics: storage_metrics,
            router: router.clone(),
            clock: clock.clone(),
            slice,
            retention: retention.clone(),
            idle: Mutex::default(),
        });
        let snapshots = snapshot::Folder::new(flags.storage_path.join(SNAPSHOTS_DIR), object_metrics);
        Ok(Arc::new(Self {
            cluster,
            member,
            held,
            office,
            router,
            source,
            worker,
            whereabouts,
            tasks,
            clock,
            retention,
            slice,
            snapshots,
        }))
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

    /// Where queries of this node read what it has not itself; nothing on a node that is alone.
    pub fn workers(&self) -> Option<(Arc<dyn Placement>, Arc<dyn Channels>)> {
        self.member.as_ref()?;
        let channels = workers::channels(self.id(), self.worker.clone(), self.whereabouts.peers().clone());
        Some((Arc::new(self.whereabouts.clone()), channels))
    }

    /// Which targets of a tenant this node scrapes.
    pub fn ownership(&self, tenant: TenantId) -> Arc<dyn Ownership> {
        match &self.member {
            Some(_) => Arc::new(LedTargets::watch(&self.cluster, tenant)),
            None => Arc::new(OwnsAll),
        }
    }

    /// A number that all nodes of the cluster share, and keep.
    pub fn cluster_seed(&self) -> u64 {
        u128::from_str_radix(&self.cluster.cluster().id, 16).unwrap_or_default() as u64
    }

    /// Returns once the cluster has declared this node gone for ever.
    pub async fn removed(&self) {
        match &self.member {
            Some(member) => member.removed().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the reason once the log or a group can no longer be written.
    pub async fn log_failed(&self) -> String {
        self.cluster.failed().await
    }

    /// Hands over what this node leads, while it still answers.
    pub async fn leave(&self) {
        if let Some(member) = &self.member {
            member.leave().await;
        }
    }

    /// Finishes what was accepted and closes the log.
    pub async fn close(&self) {
        self.tasks.stop().await;
        match &self.member {
            Some(member) => member.shutdown().await,
            None => self.cluster.shutdown().await,
        }
    }
}

/// Makes sure that this node's object store is that of the others: a folder that is not shared has data files that nobody else can read.
async fn same_store(cluster: &cluster::Node, mark: String) -> Result<(), OpenError> {
    let meta = cluster.meta();
    let in_force = match meta.store() {
        Some(known) => known,
        None => match meta.mark_store(mark.clone()).await {
            Ok(in_force) => in_force,
            Err(error) => {
                // Nobody knows yet: it is said with the next start.
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the object store is not compared with that of other nodes"
                );
                return Ok(());
            }
        },
    };
    if in_force == mark { Ok(()) } else { Err(OpenError::OtherStore) }
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

/// Random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(OpenError::Entropy)?;
    Ok(bytes)
}
