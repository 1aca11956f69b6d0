//! One Raft group of this node: its log, its state machine, its core and its proposer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use openraft::metrics::WaitError;
use openraft::{BasicNode, LogId, Raft};
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::log::entry::GroupId;
use crate::log::{GroupHandle, Log, LogError};
use crate::metrics::RaftMetrics;
use crate::proposer::{Proposer, ProposerOptions};
use crate::raft::{
    Adaptor, AppliedState, LogStore, Machine, NoPeers, TypeConfig, from_entry, library_config, vote_no_leader,
    vote_none,
};
use crate::state_machine::{CheckpointError, StateMachine};

/// Most bytes of entries that are read and applied at once when a group is replayed.
const REPLAY_BYTES_MAX: usize = 4 << 20;
/// The library reports a checkpoint or a purge within one round of its core.
const CORE_ROUND_MAX: Duration = Duration::from_secs(10);

/// A state machine as it comes back from disk.
pub struct Restored {
    pub machine: Arc<dyn StateMachine>,
    /// What its last checkpoint carried; `None` when it has none and is empty.
    pub raft_state: Option<Bytes>,
}

impl std::fmt::Debug for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restored").field("raft_state", &self.raft_state).finish_non_exhaustive()
    }
}

/// What the groups of a node share.
#[derive(Clone)]
pub(crate) struct GroupContext {
    pub log: Arc<Log>,
    /// Groups that lost entries of their log.
    pub lossy: BTreeSet<GroupId>,
    pub node_id: u64,
    pub proposer: ProposerOptions,
    pub leader_wait_max: Duration,
    pub metrics: RaftMetrics,
    pub clock: Arc<dyn Clock>,
    /// Replaying is work for a core each; more at once only take memory.
    pub replays: Arc<Semaphore>,
}

/// Why a group could not be opened, or lost its core.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("the checkpoint of group {group} carries a position that cannot be read")]
    Position { group: GroupId },
    #[error("the log of group {group} begins after entry {purged}, but its state machine has none after {}",
        applied.map_or("the start".to_owned(), |index| index.to_string()))]
    CheckpointLost { group: GroupId, purged: u64, applied: Option<u64> },
    #[error("replaying group {group}")]
    Replay { group: GroupId, source: LogError },
    #[error("replaying group {group}: {reason}")]
    Apply { group: GroupId, reason: String },
    #[error("the core of group {group}: {reason}")]
    Core { group: GroupId, reason: String },
    #[error("group {group} had no leader within {waited:?}")]
    NoLeader { group: GroupId, waited: Duration },
}

/// Why a read would not be linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group {group} cannot confirm that this node has everything committed: {reason}")]
pub struct ReadError {
    pub group: GroupId,
    pub reason: String,
}

/// A running group.
pub struct Group {
    id: GroupId,
    raft: Raft<TypeConfig>,
    machine: Arc<Machine>,
    log: GroupHandle,
    proposer: Proposer,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
    /// Replays what the state machine lacks, starts the core and waits until this node leads and has applied everything. A
    /// group without any log becomes one of this node alone.
    pub(crate) async fn open(context: &GroupContext, id: GroupId, restored: Restored) -> Result<Self, GroupError> {
        let log = context.log.group(id);
        let store = LogStore::new(log.clone());
        let machine = replay(context, &log, restored).await?;
        let core_error = |reason: String| GroupError::Core { group: id, reason };

        if log.last().is_none() && machine.applied().is_none() && log.hard_state().vote.is_some() {
            // With its first entries gone the group has lost its members. It had none but this node, so starting again can
            // contradict nobody.
            error!(group = %id, "the group's log is gone with its members, starting it anew");
            vote_none(&mut store.clone()).await.map_err(core_error)?;
        } else if context.lossy.contains(&id) {
            // In the old term other entries would get the positions of those that are gone.
            vote_no_leader(&mut store.clone()).await.map_err(core_error)?;
        }
        let resumes = log.hard_state().vote.is_some_and(|vote| vote.committed && vote.node == context.node_id);
        let config = Arc::new(library_config(id.0));
        let raft = Raft::new(context.node_id, config, NoPeers, store, Adaptor(Arc::clone(&machine))).await;
        let raft = raft.map_err(|error| core_error(error.to_string()))?;

        let waited = context.leader_wait_max;
        let led = tokio::time::timeout(waited, lead(context.node_id, id, &raft, resumes)).await;
        if let Err(error) = led.unwrap_or(Err(GroupError::NoLeader { group: id, waited })) {
            // The core may wait for a log that cannot write; it ends when the log does.
            stop_log(&context.log).await;
            stop_core(&raft).await;
            return Err(error);
        }
        context.metrics.groups.inc();
        let (proposer, work) = Proposer::new(
            raft.clone(),
            Arc::clone(context.log.room()),
            context.proposer,
            context.metrics.clone(),
            Arc::clone(&context.clock),
        );
        let worker = Mutex::new(Some(tokio::spawn(work)));
        Ok(Self { id, raft, machine, log, proposer, worker })
    }

    pub fn id(&self) -> GroupId {
        self.id
    }

    pub fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    /// The term this node is in: it leads the group in it, or another node does.
    pub fn term(&self) -> u64 {
        self.raft.metrics().borrow().current_term
    }

    /// After this returns, the local state machine has everything that was committed when it was called (Q2, M1).
    pub async fn read_point(&self) -> Result<(), ReadError> {
        let confirmed = self.raft.ensure_linearizable().await;
        confirmed.map(drop).map_err(|error| ReadError { group: self.id, reason: error.to_string() })
    }

    /// Bytes of log that no checkpoint covers.
    pub fn log_bytes(&self) -> u64 {
        self.log.live_bytes()
    }

    /// The oldest segment that the group needs.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.log.oldest_segment()
    }

    /// Makes everything applied durable in the state machine, then drops the log before it.
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let covered = self.raft.metrics().borrow().snapshot;
        let upto = if self.machine.applied() == covered { covered } else { self.save_checkpoint().await? };
        // Also where nothing was saved: the process that made the checkpoint may have ended before it dropped the log. From
        // here on nothing can be lost: what fails leaves more log than is needed.
        if let Some(upto) = upto
            && let Err(reason) = self.drop_log(upto).await
        {
            info!(group = %self.id, %reason, "the log before a checkpoint is kept for now");
        }
        Ok(())
    }

    async fn save_checkpoint(&self) -> Result<Option<LogId<u64>>, CheckpointError> {
        let machine = Arc::clone(&self.machine);
        let done = tokio::task::spawn_blocking(move || machine.checkpoint()).await;
        done.map_err(|panicked| CheckpointError::Store(panicked.into()))?
    }

    /// Drops the log that a checkpoint covers, once the library knows of the checkpoint.
    async fn drop_log(&self, upto: LogId<u64>) -> Result<(), WaitError> {
        let known = self.raft.metrics().borrow().snapshot;
        if known < Some(upto) {
            self.raft.trigger().snapshot().await.map_err(|_| WaitError::ShuttingDown)?;
            let wait = self.raft.wait(Some(CORE_ROUND_MAX));
            wait.metrics(|metrics| metrics.snapshot >= Some(upto), "checkpoint known").await?;
        }
        self.raft.trigger().purge_log(upto.index).await.map_err(|_| WaitError::ShuttingDown)?;
        let wait = self.raft.wait(Some(CORE_ROUND_MAX));
        wait.metrics(|metrics| metrics.purged >= Some(upto), "log purged").await?;
        Ok(())
    }

    /// Returns the reason when the core has ended, by a failure or because the node was stopped.
    pub async fn ended(&self) -> String {
        let mut metrics = self.raft.metrics();
        match metrics.wait_for(|metrics| metrics.running_state.is_err()).await {
            Ok(metrics) => metrics.running_state.as_ref().err().map_or_else(String::new, ToString::to_string),
            Err(_) => "the core is gone".to_owned(),
        }
    }

    /// Takes no more commands and finishes those that wait.
    async fn drain(&self) {
        self.proposer.close();
        let worker = self.worker.lock().take();
        if let Some(worker) = worker
            && worker.await.is_err()
        {
            error!(group = %self.id, "the proposer of a group panicked");
        }
    }
}

/// Stops groups and the log they share: takes no more commands, finishes those that wait, closes the log, ends the cores.
pub(crate) async fn stop(groups: &[Arc<Group>], log: &Arc<Log>, drain_max: Duration) {
    let drained = join_all(groups.iter().map(|group| group.drain()));
    if tokio::time::timeout(drain_max, drained).await.is_err() {
        error!("commands in flight were given up, the log cannot write them");
    }
    stop_log(log).await;
    join_all(groups.iter().map(|group| stop_core(&group.raft))).await;
}

async fn stop_log(log: &Arc<Log>) {
    let log = Arc::clone(log);
    if tokio::task::spawn_blocking(move || log.stop()).await.is_err() {
        error!("closing the log panicked");
    }
}

async fn stop_core(raft: &Raft<TypeConfig>) {
    if let Err(error) = raft.shutdown().await {
        error!(%error, "the core of a group did not stop cleanly");
    }
}

/// Brings a state machine to the last entry known to be committed, before the core starts: the library would apply the whole
/// backlog in one piece.
async fn replay(context: &GroupContext, log: &GroupHandle, restored: Restored) -> Result<Arc<Machine>, GroupError> {
    let group = log.id();
    let state = match &restored.raft_state {
        Some(bytes) => Some(AppliedState::decode(bytes).ok_or(GroupError::Position { group })?),
        None => None,
    };
    let applied = state.as_ref().and_then(|state| state.applied).map(|id| id.index);
    let purged = log.hard_state().purged.map(|id| id.index);
    if let Some(purged) = purged.filter(|_| applied < purged) {
        return Err(GroupError::CheckpointLost { group, purged, applied });
    }
    let machine = Machine::new(restored.machine, state, context.metrics.clone(), Arc::clone(&context.clock));
    let Some(committed) = log.hard_state().committed.map(|id| id.index) else { return Ok(machine) };
    let from = applied.map_or(0, |applied| applied + 1);
    if from > committed {
        return Ok(machine);
    }
    let _permit = context.replays.acquire().await;
    let (log, replaying) = (log.clone(), Arc::clone(&machine));
    let replayed = tokio::task::spawn_blocking(move || replay_range(&log, &replaying, from, committed)).await;
    let entries = replayed.map_err(|panicked| GroupError::Apply { group, reason: panicked.to_string() })??;
    context.metrics.replayed_entries.inc_by(entries);
    Ok(machine)
}

fn replay_range(log: &GroupHandle, machine: &Machine, from: u64, last: u64) -> Result<u64, GroupError> {
    let group = log.id();
    let mut next = from;
    while next <= last {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while next <= last && bytes < REPLAY_BYTES_MAX {
            let read = log.read(next, next + 1).map_err(|source| GroupError::Replay { group, source })?;
            let Some(entry) = read.into_iter().next() else { break };
            bytes += entry.payload.bytes();
            entries.push(from_entry(entry).map_err(|error| GroupError::Apply { group, reason: error.to_string() })?);
            next += 1;
        }
        if entries.is_empty() {
            return Err(GroupError::Apply { group, reason: format!("entry {next} is missing from the log") });
        }
        machine.apply(entries);
    }
    Ok(next - from)
}

/// Makes this node the group's leader: at once if it was, by an election of one voter else. Waits until everything is applied.
async fn lead(node_id: u64, id: GroupId, raft: &Raft<TypeConfig>, resumes: bool) -> Result<(), GroupError> {
    let core_error = |reason: String| GroupError::Core { group: id, reason };
    let initialized = raft.is_initialized().await.map_err(|error| core_error(error.to_string()))?;
    if !initialized {
        let members = BTreeMap::from([(node_id, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| core_error(error.to_string()))?;
    } else if !resumes {
        raft.trigger().elect().await.map_err(|error| core_error(error.to_string()))?;
    }
    let leads = raft.wait(None).current_leader(node_id, "leads").await;
    leads.map_err(|error| core_error(error.to_string()))?;
    raft.ensure_linearizable().await.map(drop).map_err(|error| core_error(error.to_string()))
}
