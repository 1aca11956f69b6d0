//! Opening a node, step by step; on an error everything is stopped again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::future::join_all;
use parking_lot::Mutex;
use pharos_model::PartitionId;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::checkpointer::Checkpointer;
use super::{META_GROUP, Node, NodeDir, NodeError, NodeOptions, OpenPartition, blocking, group_of, partition_of};
use crate::gate::GateTimes;
use crate::group::{Group, GroupContext, GroupError, Restored, Start, stop};
use crate::groups::Groups;
use crate::log::body::commands_record_len;
use crate::log::{Log, RecoveryReport};
use crate::meta::{Cluster, Founder, MetaClient, MetaMachine};
use crate::reads::Reads;
use crate::router::{Router, Ways};
use crate::warden::{Standings, Warden};

/// Copies of stores in memory on their way to others, at most.
const SNAPSHOTS_MAX: usize = 1;

impl Node {
    /// Opens the node in a locked directory. When this returns, everything that the log knows to be committed is applied, and a node
    /// alone leads all its groups.
    pub async fn open(mut dir: NodeDir, options: NodeOptions, open: OpenPartition) -> Result<Self, NodeError> {
        check_limits(&options)?;
        let node_id = dir.node_id(options.fresh.node)?;
        let (log, recovery) = open_log(&dir, &options).await?;
        if dir.is_initialized() && recovery.segments == 0 {
            return Err(NodeError::LogMissing { dir: dir.log_dir().display().to_string(), node_id });
        }
        let context = context(node_id, Arc::new(log), dir.had_others(), &options);
        let groups = Arc::new(Groups::default());
        let ways = Ways {
            peers: Arc::clone(&options.cluster.peers),
            replicas: Arc::clone(&options.cluster.replicas),
            silence_max: GateTimes::of(options.cluster.times).silence_max,
        };
        let router = Arc::new(Router::new(node_id, Arc::clone(&groups), ways, options.metrics.raft.clone()));
        let reads = Arc::new(Reads::new(Arc::clone(&router)));
        options.cluster.service.serve(Arc::clone(&router), Arc::clone(&reads));
        let stopping = watch::Sender::new(false);
        let (warden, standings) = warden(&context, &groups, &stopping);

        let opening = Opening { dir: &dir, context: &context, options: &options, open: &open, groups: &groups };
        let opened = opening.open_groups(&router, &reads).await;
        let (cluster, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                stopping.send_replace(true);
                drop(warden.await);
                stop(&groups.all(), &context.log, options.drain_max).await;
                return Err(error);
            }
        };
        dir.record(&cluster)?;

        let (lost, store_lost) = watch::channel(None);
        let checkpointer = Checkpointer {
            groups: Arc::clone(&groups),
            log: Arc::clone(&context.log),
            policy: options.checkpoints,
            clock: Arc::clone(&options.clock),
            lost,
        };
        let checkpointer = tokio::spawn(checkpointer.run(stopping.subscribe()));
        info!(node_id, cluster = cluster.id, partitions = cluster.partitions, "node open");
        Ok(Self {
            node_id,
            cluster,
            meta,
            context,
            groups,
            router,
            reads,
            open,
            remove: options.cluster.remove,
            moving: tokio::sync::Mutex::new(()),
            recovery,
            standings,
            tasks: Mutex::new(vec![warden, checkpointer]),
            stopping,
            leaving: AtomicBool::new(false),
            store_lost,
            drain_max: options.drain_max,
            dir: Mutex::new(dir),
        })
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

fn context(node_id: u64, log: Arc<Log>, had_others: bool, options: &NodeOptions) -> GroupContext {
    let topology = options.cluster.topology.clone();
    let is_sole = move |group| {
        let Some(partition) = partition_of(group) else { return !had_others };
        let topology = topology.now();
        let placed = topology.as_ref().and_then(|topology| topology.placement.get(usize::from(partition.0)));
        placed.is_none_or(|placed| placed.replicas == [node_id] && placed.moving.is_none())
    };
    GroupContext {
        log,
        is_sole: Arc::new(is_sole),
        node_id,
        peers: Arc::clone(&options.cluster.peers),
        times: options.cluster.times,
        snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
        proposer: options.proposer,
        leader_wait_max: options.leader_wait_max,
        metrics: options.metrics.raft.clone(),
        clock: Arc::clone(&options.clock),
        replays: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
    }
}

fn warden(
    context: &GroupContext,
    groups: &Arc<Groups>,
    stopping: &watch::Sender<bool>,
) -> (JoinHandle<()>, watch::Receiver<Standings>) {
    let (standings, known) = watch::channel(Standings::new());
    let warden = Warden {
        own: context.node_id,
        groups: Arc::clone(groups),
        peers: Arc::clone(&context.peers),
        times: GateTimes::of(context.times),
        tick: context.times.heartbeat,
        clock: Arc::clone(&context.clock),
        room: Arc::clone(context.log.room()),
        standings,
        metrics: context.metrics.clone(),
    };
    (tokio::spawn(warden.run(stopping.subscribe())), known)
}

/// What the steps share.
struct Opening<'a> {
    dir: &'a NodeDir,
    context: &'a GroupContext,
    options: &'a NodeOptions,
    open: &'a OpenPartition,
    groups: &'a Groups,
}

impl Opening<'_> {
    /// The metadata group, the cluster's name, then the partitions.
    async fn open_groups(&self, router: &Arc<Router>, reads: &Arc<Reads>) -> Result<(Cluster, MetaClient), NodeError> {
        let (fs, path, metrics) = (self.dir.fs(), self.dir.meta_dir(), self.options.metrics.meta.clone());
        let opened = blocking(move || MetaMachine::open(fs, &path, metrics)).await?;
        let (machine, raft_state) = opened.map_err(NodeError::Metadata)?;
        let machine = Arc::new(machine);
        self.options.cluster.topology.show(machine.topology());
        let restored = Restored { machine: Arc::clone(&machine) as _, raft_state };
        let group = Arc::new(Group::open(self.context, META_GROUP, self.options.cluster.start, restored).await?);
        self.groups.insert(Arc::clone(&group));
        let (router, reads) = (Arc::clone(router), Arc::clone(reads));
        let patience = self.options.proposer.timeout;
        let meta = MetaClient::new(Arc::clone(&group), Arc::clone(&machine), router, reads, patience);

        let standing = group.standing();
        let alone = standing.is_only_voter(self.context.node_id) && standing.learners.is_empty();
        let cluster = if alone { self.agree(&meta).await? } else { self.taken_in(&group, &machine).await? };
        // A first start that was interrupted left partitions that nobody else can have.
        let founding = self.options.cluster.start == Start::Found && !self.dir.is_initialized();
        let damaged = if alone || founding {
            self.open_partitions((0..cluster.partitions).map(PartitionId), Start::Found).await?
        } else {
            let had = self.context.log.groups().into_iter().filter_map(partition_of);
            self.open_partitions(had, Start::Join).await?
        };
        self.note_damage(damaged, alone).await?;
        Ok((cluster, meta))
    }

    /// Takes note of replicas that are not open because they have to be made anew; those that are open have nothing any more that somebody
    /// could miss.
    async fn note_damage(&self, damaged: Vec<PartitionId>, alone: bool) -> Result<(), NodeError> {
        let open: Vec<_> = self.groups.all().into_iter().map(|group| group.id()).collect();
        let log = Arc::clone(&self.context.log);
        let noted = blocking(move || {
            if alone && damaged.is_empty() {
                return log.forget_all_damage();
            }
            open.into_iter().try_for_each(|group| log.forget_damage(group))?;
            damaged.into_iter().try_for_each(|partition| log.note_damage(group_of(partition)))
        });
        noted.await?.map_err(|source| NodeError::Damage { source })
    }

    /// Founds the cluster at the first start; later makes sure that it is the one asked for.
    async fn agree(&self, meta: &MetaClient) -> Result<Cluster, NodeError> {
        let asked = self.options.partitions;
        let id = format!("{:032x}", self.options.fresh.cluster);
        let fresh = Cluster { id, name: self.options.cluster.name.clone(), partitions: asked };
        let node = self.options.cluster.place.spec(self.context.node_id);
        let founder = Founder { node, at_ms: self.options.clock.now_ms() };
        let cluster = meta.found(fresh, founder).await?;
        if cluster.partitions != asked {
            return Err(NodeError::Partitions { stored: cluster.partitions, asked });
        }
        Ok(cluster)
    }

    /// Waits until the local copy of the metadata names the cluster: at once for a member that was here before.
    async fn taken_in(&self, group: &Group, machine: &MetaMachine) -> Result<Cluster, NodeError> {
        let waited = self.options.leader_wait_max;
        let mut applied = group.applied();
        let named = async {
            loop {
                applied.borrow_and_update();
                if let Some(cluster) = machine.cluster() {
                    return Ok(cluster);
                }
                if applied.changed().await.is_err() {
                    return Err(NodeError::NotTakenIn { waited });
                }
            }
        };
        tokio::select! {
            named = tokio::time::timeout(waited, named) => named.unwrap_or(Err(NodeError::NotTakenIn { waited })),
            // A log that fails meanwhile takes nobody in.
            reason = group.ended() => Err(GroupError::Core { group: group.id(), reason }.into()),
        }
    }

    /// Opens all of them, and returns those that lost something others count on, or have it.
    async fn open_partitions(
        &self,
        partitions: impl Iterator<Item = PartitionId>,
        start: Start,
    ) -> Result<Vec<PartitionId>, NodeError> {
        let opening =
            partitions.map(|at| async move { (at, open_partition(self.context, at, start, self.open).await) });
        let mut damaged = Vec::new();
        let mut failed = None;
        for (partition, opened) in join_all(opening).await {
            match opened {
                Ok(group) => self.groups.insert(Arc::new(group)),
                Err(NodeError::Group(error)) if error.is_damage(start) => {
                    error!(%partition, %error, "a damaged replica does not take part, it is to be made anew from the others");
                    damaged.push(partition);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(damaged), Err)
    }
}

pub(super) async fn open_partition(
    context: &GroupContext,
    partition: PartitionId,
    start: Start,
    open: &OpenPartition,
) -> Result<Group, NodeError> {
    context.check_damage(group_of(partition))?;
    let permit = context.replays.acquire().await;
    let open = Arc::clone(open);
    let restored = blocking(move || open(partition)).await?;
    drop(permit);
    let restored = restored.map_err(|source| NodeError::Store { partition, source })?;
    Ok(Group::open(context, group_of(partition), start, restored).await?)
}
