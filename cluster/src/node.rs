//! This node's groups: opens them in order, makes their checkpoints, stops them.
//!
//! ```text
//! NodeDir::lock -> Node::open: log -> metadata group -> cluster and partition count agreed -> partition groups
//! ```
//! The caller locks the directory before it opens anything in it, and opens a partition's store when it is asked to.

mod dir;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, select_all};
use parking_lot::Mutex;
use pharos_model::{Clock, PartitionId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::checkpoint::{CheckpointPolicy, GroupLoad, next_due};
use crate::group::{Group, GroupContext, GroupError, Restored, stop};
use crate::log::body::commands_record_len;
use crate::log::entry::GroupId;
use crate::log::{Log, LogOptions, OpenError, RecoveryReport};
use crate::meta::{Cluster, Founder, MetaClient, MetaError, MetaMachine, NodeSpec};
use crate::metrics::{MetaMetrics, Metrics};
use crate::proposer::{Proposer, ProposerOptions};
use crate::state_machine::CheckpointError;

pub use dir::{DirError, NodeDir};

/// The metadata group; partitions follow it.
const META_GROUP: GroupId = GroupId(0);

/// How a node is opened.
#[derive(Debug)]
pub struct NodeOptions {
    /// Partitions of the cluster, fixed when it is first started.
    pub partitions: u16,
    /// Names for a first start, drawn by the caller.
    pub fresh: FreshIds,
    pub log: LogOptions,
    pub proposer: ProposerOptions,
    pub checkpoints: CheckpointPolicy,
    /// Longest wait for a group's leader at the start.
    pub leader_wait_max: Duration,
    /// Longest wait for commands in flight at a stop; a log that cannot write would hold it up for ever.
    pub drain_max: Duration,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
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
    /// The metadata group, then the partitions'.
    groups: Arc<Vec<Arc<Group>>>,
    log: Arc<Log>,
    recovery: RecoveryReport,
    checkpointer: Mutex<Option<JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
    /// Why a store cannot be trusted any more.
    store_lost: watch::Receiver<Option<String>>,
    drain_max: Duration,
    /// Held to the end: the lock goes last.
    _dir: NodeDir,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("node_id", &self.node_id).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the node in a locked directory. When this returns, the node leads all its groups and everything in the log is
    /// applied. On an error everything is stopped again.
    pub async fn open(mut dir: NodeDir, options: NodeOptions, open: OpenPartition) -> Result<Self, NodeError> {
        check_limits(&options)?;
        let node_id = dir.node_id(options.fresh.node)?;
        let (log, recovery) = open_log(&dir, &options).await?;
        if dir.is_initialized() && recovery.segments == 0 {
            return Err(NodeError::LogMissing { dir: dir.log_dir().display().to_string(), node_id });
        }
        let log = Arc::new(log);
        let context = GroupContext {
            log: Arc::clone(&log),
            lossy: recovery.losses.iter().map(|loss| loss.group).collect(),
            node_id,
            proposer: options.proposer,
            leader_wait_max: options.leader_wait_max,
            metrics: options.metrics.raft.clone(),
            clock: Arc::clone(&options.clock),
            replays: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
        };
        let (meta_group, meta) = open_meta(&dir, &context, options.metrics.meta.clone()).await?;
        let opened = open_partitions(&context, &options, &meta, open).await;
        let (cluster, partitions) = match opened {
            Ok(opened) => opened,
            Err((error, opened)) => {
                let groups: Vec<Arc<Group>> = std::iter::once(meta_group).chain(opened).collect();
                stop(&groups, &log, options.drain_max).await;
                return Err(error);
            }
        };
        dir.set_initialized()?;

        let groups: Arc<Vec<Arc<Group>>> = Arc::new(std::iter::once(meta_group).chain(partitions).collect());
        let stopping = watch::Sender::new(false);
        let (lost, store_lost) = watch::channel(None);
        let checkpointer = Checkpointer {
            groups: Arc::clone(&groups),
            log: Arc::clone(&log),
            policy: options.checkpoints,
            clock: Arc::clone(&options.clock),
            lost,
        };
        let checkpointer = Mutex::new(Some(tokio::spawn(checkpointer.run(stopping.subscribe()))));
        info!(node_id, cluster = cluster.id, partitions = cluster.partitions, "node open");
        let drain_max = options.drain_max;
        let running = Self {
            node_id,
            cluster,
            meta,
            groups,
            log,
            recovery,
            checkpointer,
            stopping,
            store_lost,
            drain_max,
            _dir: dir,
        };
        Ok(running)
    }

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

    /// The group of a partition. Panics when the cluster has no such partition.
    pub fn partition(&self, partition: PartitionId) -> &Group {
        assert!(partition.0 < self.cluster.partitions, "partition {partition} of {}", self.cluster.partitions);
        &self.groups[1 + usize::from(partition.0)]
    }

    /// Takes commands for a partition. Panics when the cluster has no such partition.
    pub fn proposer(&self, partition: PartitionId) -> &Proposer {
        self.partition(partition).proposer()
    }

    /// Bytes of all log segments in use.
    pub fn log_bytes(&self) -> u64 {
        self.log.live_bytes()
    }

    /// Returns the reason when the log or a group has ended by a failure, or a store may have lost something: the process has to be
    /// started again.
    pub async fn failed(&self) -> String {
        let mut store_lost = self.store_lost.clone();
        let store_lost = async {
            match store_lost.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                // The checkpoints have ended with the node.
                Err(_) => std::future::pending().await,
            }
        };
        let mut log = self.log.failed();
        let log_failed = async {
            match log.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => "the log is closed".to_owned(),
            }
        };
        let groups = self.groups.iter().map(|group| {
            Box::pin(async move {
                let reason = group.ended().await;
                format!("group {} ended: {reason}", group.id())
            })
        });
        tokio::select! {
            reason = log_failed => reason,
            reason = store_lost => reason,
            (reason, ..) = select_all(groups) => reason,
        }
    }

    /// Finishes what was proposed, stops all groups and closes the log.
    pub async fn shutdown(&self) {
        self.stopping.send_replace(true);
        let checkpointer = self.checkpointer.lock().take();
        if let Some(task) = checkpointer
            && task.await.is_err()
        {
            warn!("the checkpoint task panicked");
        }
        stop(&self.groups, &self.log, self.drain_max).await;
    }
}

/// The largest entry holds one command of the largest size, so its record is that and what stands before it.
fn check_limits(options: &NodeOptions) -> Result<(), NodeError> {
    let (entry_bytes_max, record_bytes_max) = (options.proposer.entry_bytes_max, options.log.record_bytes_max);
    if commands_record_len(std::iter::once(entry_bytes_max)) as u64 > record_bytes_max {
        return Err(NodeError::Limits { entry_bytes_max, record_bytes_max });
    }
    Ok(())
}

async fn open_log(dir: &NodeDir, options: &NodeOptions) -> Result<(Log, RecoveryReport), NodeError> {
    let (fs, path) = (dir.fs(), dir.log_dir());
    let (log_options, clock, metrics) = (options.log, Arc::clone(&options.clock), options.metrics.log.clone());
    blocking(move || Log::open(fs, &path, log_options, clock, metrics)).await?.map_err(NodeError::Log)
}

async fn open_meta(
    dir: &NodeDir,
    context: &GroupContext,
    metrics: MetaMetrics,
) -> Result<(Arc<Group>, MetaClient), NodeError> {
    let (fs, path) = (dir.fs(), dir.meta_dir());
    let opened = blocking(move || MetaMachine::open(fs, &path, metrics)).await?;
    let (machine, raft_state) = opened.map_err(NodeError::Metadata)?;
    let machine = Arc::new(machine);
    let restored = Restored { machine: Arc::clone(&machine) as _, raft_state };
    let group = Arc::new(Group::open(context, META_GROUP, restored).await?);
    let client = MetaClient::new(Arc::clone(&group), machine);
    Ok((group, client))
}

/// Agrees on the partition count, then opens all partitions. On an error also returns the groups that were opened.
async fn open_partitions(
    context: &GroupContext,
    options: &NodeOptions,
    meta: &MetaClient,
    open: OpenPartition,
) -> Result<(Cluster, Vec<Arc<Group>>), (NodeError, Vec<Arc<Group>>)> {
    let cluster = agree(context.node_id, options, meta).await.map_err(|error| (error, Vec::new()))?;
    let opening = (0..cluster.partitions).map(|at| open_partition(context, PartitionId(at), Arc::clone(&open)));
    let mut groups = Vec::new();
    let mut failed = None;
    for opened in join_all(opening).await {
        match opened {
            Ok(group) => groups.push(Arc::new(group)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        None => Ok((cluster, groups)),
        Some(error) => Err((error, groups)),
    }
}

/// Founds the cluster at the first start; later makes sure that it is the one asked for.
async fn agree(node_id: u64, options: &NodeOptions, meta: &MetaClient) -> Result<Cluster, NodeError> {
    let asked = options.partitions;
    let fresh = Cluster { id: format!("{:032x}", options.fresh.cluster), name: String::new(), partitions: asked };
    let node = NodeSpec { id: node_id, peer: String::new(), http: String::new(), zone: String::new() };
    let founder = Founder { node, at_ms: options.clock.now_ms() };
    let cluster = meta.found(fresh, founder).await?;
    if cluster.partitions != asked {
        return Err(NodeError::Partitions { stored: cluster.partitions, asked });
    }
    Ok(cluster)
}

async fn open_partition(
    context: &GroupContext,
    partition: PartitionId,
    open: OpenPartition,
) -> Result<Group, NodeError> {
    let permit = context.replays.acquire().await;
    let restored = blocking(move || open(partition)).await?;
    drop(permit);
    let restored = restored.map_err(|source| NodeError::Store { partition, source })?;
    let id = GroupId(META_GROUP.0 + 1 + u32::from(partition.0));
    Ok(Group::open(context, id, restored).await?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| NodeError::Task { reason: error.to_string() })
}

/// Makes checkpoints as the policy says, one at a time.
struct Checkpointer {
    groups: Arc<Vec<Arc<Group>>>,
    log: Arc<Log>,
    policy: CheckpointPolicy,
    clock: Arc<dyn Clock>,
    /// Told when a store may have lost something.
    lost: watch::Sender<Option<String>>,
}

impl Checkpointer {
    async fn run(self, mut stopping: watch::Receiver<bool>) {
        let started = self.clock.monotonic();
        let mut last: Vec<LastCheckpoint> = vec![LastCheckpoint { at: started, failed_at: None }; self.groups.len()];
        let mut tick = tokio::time::interval(self.policy.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            // At most one for each group: a checkpoint that makes no room must not be made again at once.
            for _ in 0..self.groups.len() {
                let Some(due) = self.due(&last) else { break };
                let made = tokio::select! {
                    made = self.groups[due].checkpoint() => made,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                let now = self.clock.monotonic();
                match made {
                    Ok(()) => last[due] = LastCheckpoint { at: now, failed_at: None },
                    Err(error) => {
                        last[due].failed_at = Some(now);
                        self.report(self.groups[due].id(), &error);
                    }
                }
            }
        }
    }

    fn report(&self, group: GroupId, error: &CheckpointError) {
        if let CheckpointError::Lost(source) = error {
            error!(%group, error = error as &dyn std::error::Error, "the process has to be started again");
            self.lost.send_replace(Some(format!("group {group}: {error}: {source}")));
        } else {
            warn!(%group, error = error as &dyn std::error::Error, "checkpoint failed, the log is kept");
        }
    }

    fn due(&self, last: &[LastCheckpoint]) -> Option<usize> {
        let now = self.clock.monotonic();
        let load = |(group, last): (&Arc<Group>, &LastCheckpoint)| GroupLoad {
            log_bytes: group.log_bytes(),
            oldest_segment: group.oldest_segment(),
            age: now.saturating_sub(last.at),
            failed_ago: last.failed_at.map(|at| now.saturating_sub(at)),
        };
        let loads: Vec<GroupLoad> = self.groups.iter().zip(last).map(load).collect();
        next_due(&loads, self.log.live_bytes(), &self.policy)
    }
}

#[derive(Clone, Copy)]
struct LastCheckpoint {
    at: Duration,
    failed_at: Option<Duration>,
}
