//! This node's groups: opens them in order, makes their checkpoints, stops them.
//!
//! ```text
//! NodeDir::lock -> Node::open: log -> metadata group -> cluster and partition count agreed -> partition groups
//! ```
//! A node alone has all partitions and leads them when it is open. One among others opens the replicas that it had, and others
//! when it is told to ([`Node::open_replica`]).
//!
//! The caller locks the directory before it opens anything in it, and opens a partition's store when it is asked to.

mod checkpointer;
mod dir;
mod opening;
mod replicas;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{pending, select_all};
use parking_lot::Mutex;
use pharos_model::{Clock, PartitionId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::checkpoint::CheckpointPolicy;
use crate::gate::{GateTimes, is_majority};
use crate::group::{Group, GroupContext, GroupError, ReadError, Restored, Start, stop};
use crate::groups::Groups;
use crate::log::entry::GroupId;
use crate::log::{LogOptions, OpenError, RecoveryReport};
use crate::meta::{Cluster, MetaClient, MetaError, NodeSpec, TopologyView};
use crate::metrics::Metrics;
use crate::peers::{Nobody, NodeId, Peers};
use crate::proposer::{ProposeError, Proposer, ProposerOptions};
use crate::raft::RaftTimes;
use crate::reads::Reads;
use crate::router::{Replicas, Router, Sending};
use crate::service::GroupService;
use crate::state_machine::CheckpointError;
use crate::warden::Standings;

pub use dir::{DirError, InCluster, NodeDir};

/// The metadata group; partitions follow it.
pub const META_GROUP: GroupId = GroupId(0);

/// The group of a partition.
pub fn group_of(partition: PartitionId) -> GroupId {
    GroupId(META_GROUP.0 + 1 + u32::from(partition.0))
}

/// The partition of a group; `None` for the metadata group.
pub fn partition_of(group: GroupId) -> Option<PartitionId> {
    let at = group.0.checked_sub(META_GROUP.0 + 1)?;
    u16::try_from(at).ok().map(PartitionId)
}

/// How a node is opened.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Partitions of the cluster, fixed when it is first started.
    pub partitions: u16,
    /// Names for a first start, drawn by the caller.
    pub fresh: FreshIds,
    pub log: LogOptions,
    pub proposer: ProposerOptions,
    pub checkpoints: CheckpointPolicy,
    /// Longest wait for the leader of a group of this node alone, and for the cluster's name, at the start.
    pub leader_wait_max: Duration,
    /// Longest wait for commands in flight at a stop; a log that cannot write would hold it up for ever.
    pub drain_max: Duration,
    pub cluster: ClusterOptions,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// How a node lives with others.
#[derive(Clone)]
pub struct ClusterOptions {
    pub peers: Arc<dyn Peers>,
    /// What others ask of this node goes there. Has to be reachable before the node is opened.
    pub service: Arc<GroupService>,
    /// What a node without anything does: founds a cluster, or waits for one to take it in.
    pub start: Start,
    /// Where replicas should be.
    pub replicas: Replicas,
    /// Removes the store of a partition whose replica goes.
    pub remove: RemovePartition,
    pub times: RaftTimes,
    /// What a founded cluster is called, or one without a name from now on; may be empty.
    pub name: String,
    /// Where this node is, for the cluster that it founds.
    pub place: NodePlace,
    /// Where the metadata can be seen before the node is open.
    pub topology: TopologyView,
}

/// What a node says of itself beside its id; all may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePlace {
    pub peer: String,
    pub http: String,
    pub zone: String,
}

impl NodePlace {
    pub fn spec(&self, id: u64) -> NodeSpec {
        let Self { peer, http, zone } = self.clone();
        NodeSpec { id, peer, http, zone }
    }
}

impl ClusterOptions {
    /// A cluster of one.
    pub fn alone() -> Self {
        Self {
            peers: Arc::new(Nobody),
            service: Arc::default(),
            start: Start::Found,
            replicas: Arc::new(|_| Vec::new()),
            remove: Arc::new(|_| Ok(())),
            times: RaftTimes::default(),
            name: String::new(),
            place: NodePlace::default(),
            topology: TopologyView::default(),
        }
    }
}

impl std::fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterOptions").field("start", &self.start).field("times", &self.times).finish_non_exhaustive()
    }
}

/// Random numbers that name a node and a cluster if this is the first start.
#[derive(Clone, Copy, Debug)]
pub struct FreshIds {
    /// Never used again by another node, nor by this one once its directory is gone.
    pub node: u64,
    pub cluster: u128,
}

/// What opening a partition's store may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens the store of a partition. Called on blocking threads, for several partitions at once.
pub type OpenPartition = Arc<dyn Fn(PartitionId) -> Result<Restored, BoxError> + Send + Sync>;

/// Removes the store of a partition; one that is not there is removed. Called on blocking threads.
pub type RemovePartition = Arc<dyn Fn(PartitionId) -> Result<(), BoxError> + Send + Sync>;

/// Why a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error("opening the log")]
    Log(#[from] OpenError),
    #[error(
        "the log in {dir} is gone, but its node {node_id} took part before: a node that lost its log must not come back under its name"
    )]
    LogMissing { dir: String, node_id: u64 },
    #[error("entries of {entry_bytes_max} bytes do not fit records of {record_bytes_max}")]
    Limits { entry_bytes_max: usize, record_bytes_max: u64 },
    #[error("opening the metadata")]
    Metadata(#[source] CheckpointError),
    #[error("agreeing on the cluster")]
    Cluster(#[from] MetaError),
    #[error(
        "the cluster has {stored} partitions since it was first started, {asked} were asked for: the number cannot be changed"
    )]
    Partitions { stored: u16, asked: u16 },
    #[error("opening the store of partition {partition}")]
    Store { partition: PartitionId, source: BoxError },
    #[error("removing the store of partition {partition}")]
    RemoveStore { partition: PartitionId, source: BoxError },
    #[error("taking note of damage to the log")]
    Damage { source: std::io::Error },
    #[error("no cluster took this node in within {waited:?}")]
    NotTakenIn { waited: Duration },
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("a task of the start ended early: {reason}")]
    Task { reason: String },
}

/// A running node.
pub struct Node {
    node_id: u64,
    cluster: Cluster,
    meta: MetaClient,
    context: GroupContext,
    groups: Arc<Groups>,
    router: Arc<Router>,
    reads: Arc<Reads>,
    open: OpenPartition,
    remove: RemovePartition,
    /// One replica comes or goes at a time.
    moving: tokio::sync::Mutex<()>,
    recovery: RecoveryReport,
    standings: watch::Receiver<Standings>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
    leaving: AtomicBool,
    /// Why a store cannot be trusted any more.
    store_lost: watch::Receiver<Option<String>>,
    drain_max: Duration,
    /// Held to the end: the lock goes last.
    dir: Mutex<NodeDir>,
}

impl NodeError {
    /// Whether this node's part of the metadata is gone or not what others count on: it can go on as another node only.
    pub(crate) fn costs_the_name(&self) -> bool {
        match self {
            Self::LogMissing { .. } => true,
            Self::Group(GroupError::Lossy { group } | GroupError::CheckpointLost { group, .. }) => *group == META_GROUP,
            _ => false,
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("node_id", &self.node_id).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Node {
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn meta(&self) -> &MetaClient {
        &self.meta
    }

    /// What opening the log found: damage is for the operator to know.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// The group of a partition. Panics when this node has no replica of it; see [`Node::replica`].
    pub fn partition(&self, partition: PartitionId) -> Arc<Group> {
        let replica = self.replica(partition);
        replica.unwrap_or_else(|| panic!("partition {partition} of {} has no replica here", self.cluster.partitions))
    }

    /// The group of a partition, if this node has a replica.
    pub fn replica(&self, partition: PartitionId) -> Option<Arc<Group>> {
        self.groups.get(group_of(partition))
    }

    /// The metadata group.
    pub fn meta_group(&self) -> Arc<Group> {
        self.groups.get(META_GROUP).expect("the metadata group is open as long as its node")
    }

    /// Takes commands for a partition that this node leads. Panics when it has no replica of it.
    pub fn proposer(&self, partition: PartitionId) -> Proposer {
        self.partition(partition).proposer().clone()
    }

    /// Proposes a command for a partition at its leader, wherever that is.
    pub async fn propose(
        &self,
        partition: PartitionId,
        command: Bytes,
        sending: Sending,
    ) -> Result<Bytes, ProposeError> {
        self.router.propose(group_of(partition), command, sending).await
    }

    /// Has a partition's leader, wherever it is, do something that is the embedder's: `ask` asks one node, this one among them, and gives
    /// `None` when that does not lead the partition or cannot be reached. `None` when nobody answers in time.
    pub async fn at_leader<T, F: Future<Output = Option<T>>>(
        &self,
        partition: PartitionId,
        patience: Duration,
        ask: impl Fn(NodeId) -> F,
    ) -> Option<T> {
        self.router.at_leader(group_of(partition), patience, ask).await
    }

    /// For each partition the entry up to which a replica has to be, for a read that begins now to see everything that was answered
    /// before. See [`Group::wait_applied`].
    pub async fn read_points(
        &self,
        partitions: impl IntoIterator<Item = PartitionId>,
        patience: Duration,
    ) -> BTreeMap<PartitionId, Result<u64, ReadError>> {
        let points = self.reads.points(partitions.into_iter().map(group_of), patience).await;
        points.into_iter().filter_map(|(group, point)| Some((partition_of(group)?, point))).collect()
    }

    /// Who leads which of the groups that this node has a replica of, in which term, and every change of it.
    pub fn standings(&self) -> watch::Receiver<Standings> {
        self.standings.clone()
    }

    /// Partitions that this node leads while it hears a majority of their voters. Who is cut off goes on in its term for as long as it hears of
    /// no other, when others may lead already.
    pub fn leading(&self) -> BTreeSet<PartitionId> {
        let silence_max = GateTimes::of(self.context.times).silence_max;
        let is_heard = |voter: u64| voter == self.node_id || self.context.peers.hears(voter, silence_max);
        let leads = |group: &Arc<Group>| {
            let standing = group.standing();
            standing.leads && is_majority(&standing.voters, is_heard)
        };
        self.groups.all().into_iter().filter(leads).filter_map(|group| partition_of(group.id())).collect()
    }

    /// Partitions of which this node has anything on disk, open or not, or had before it was damaged.
    pub fn replicas(&self) -> BTreeSet<PartitionId> {
        let open = self.groups.all().into_iter().map(|group| group.id());
        let damaged = self.context.log.damage();
        open.chain(self.context.log.groups()).chain(damaged.groups()).filter_map(partition_of).collect()
    }

    /// Takes note on disk that the cluster has other members.
    pub(crate) fn note_others(&self) -> Result<(), DirError> {
        self.dir.lock().note_others()
    }

    /// From now on this node reports that it is about to stop, so that nobody makes it a leader.
    pub fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The groups that are open, the metadata's among them.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.all()
    }

    /// Bytes of all log segments in use.
    pub fn log_bytes(&self) -> u64 {
        self.context.log.live_bytes()
    }

    /// Returns the reason when the log or a group has ended by a failure, or a store may have lost something: the process has to be
    /// started again.
    pub async fn failed(&self) -> String {
        let mut store_lost = self.store_lost.clone();
        let store_lost = async {
            match store_lost.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                // The checkpoints have ended with the node.
                Err(_) => pending().await,
            }
        };
        let mut log = self.context.log.failed();
        let log_failed = async {
            match log.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => "the log is closed".to_owned(),
            }
        };
        tokio::select! {
            reason = log_failed => reason,
            reason = store_lost => reason,
            reason = self.group_ended() => reason,
        }
    }

    /// Returns when a group ends that was not dropped.
    async fn group_ended(&self) -> String {
        let mut changes = self.groups.changes();
        loop {
            let groups = self.groups.all();
            let ended = groups.iter().map(|group| Box::pin(async move { (group.ended().await, group) }));
            tokio::select! {
                ((reason, group), ..) = select_all(ended) => {
                    if self.groups.get(group.id()).is_some_and(|open| Arc::ptr_eq(&open, group)) {
                        return format!("group {} ended: {reason}", group.id());
                    }
                }
                changed = changes.changed() => if changed.is_err() { pending().await },
            }
        }
    }

    /// Finishes what was proposed, stops all groups and closes the log.
    pub async fn shutdown(&self) {
        self.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if task.await.is_err() {
                warn!("a task of the node panicked");
            }
        }
        stop(&self.groups.all(), &self.context.log, self.drain_max).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    crate::blocking::spawn(work).await.map_err(|error| NodeError::Task { reason: error.to_string() })
}
