//! One Raft group of this node: its log, its state machine, its core and its proposer.
//!
//! A group of this node alone leads when it is open. One with other members is open at once, and follows whoever leads or is elected
//! when [`crate::gate`] lets it. A fresh replica waits for a leader that takes it in.

mod members;
mod opening;
mod replay;
mod standing;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use openraft::Raft;
use openraft::metrics::WaitError;
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::log::entry::{GroupId, LogId};
use crate::log::{GroupHandle, Log, LogError};
use crate::metrics::RaftMetrics;
use crate::peers::{NodeId, Peers};
use crate::proposer::{ProposeError, Proposer, ProposerOptions};
use crate::raft::{Machine, RaftTimes, TypeConfig};
use crate::state_machine::{CheckpointError, StateMachine};

pub use members::{At, Leaving, MemberError, MemberStep};
pub(crate) use standing::Changes;
pub use standing::Standing;
pub use transfer::TransferError;

type RaftLogId = openraft::LogId<u64>;

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

/// What a group without any log becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// One of this node alone. Only right where no other node may have a replica.
    Found,
    /// An empty replica that waits for the group's leader.
    Join,
}

/// What the groups of a node share.
#[derive(Clone)]
pub(crate) struct GroupContext {
    pub log: Arc<Log>,
    /// Whether nobody else may have a replica of the group, by all but its own log: that may have lost who has.
    pub is_sole: Arc<dyn Fn(GroupId) -> bool + Send + Sync>,
    pub node_id: NodeId,
    pub peers: Arc<dyn Peers>,
    pub times: RaftTimes,
    /// Copies of stores on their way to others.
    pub snapshots: Arc<Semaphore>,
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
    #[error(
        "the replica of group {group} lost something that other members may count on: it is not opened before it is made anew"
    )]
    Lossy { group: GroupId },
    #[error("dropping group {group} from the log")]
    Drop { group: GroupId, source: LogError },
}

impl GroupError {
    /// Whether this replica is to be made anew from others; a node alone has none.
    pub(crate) fn is_damage(&self, start: Start) -> bool {
        match self {
            Self::Lossy { .. } => true,
            Self::CheckpointLost { .. } => start == Start::Join,
            _ => false,
        }
    }
}

/// Why a read would not be linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("this node does not lead group {group}, {}", leader.map_or("nobody does".to_owned(), |id| format!("node {id:016x} does")))]
    NotLeader { group: GroupId, leader: Option<NodeId> },
    #[error("group {group} cannot confirm what is committed: {reason}")]
    Unconfirmed { group: GroupId, reason: String },
    #[error("group {group} is stopped")]
    Stopped { group: GroupId },
    #[error("this node has not applied entry {index} of group {group} within {waited:?}")]
    Behind { group: GroupId, index: u64, waited: Duration },
}

/// A running group.
pub struct Group {
    id: GroupId,
    node_id: NodeId,
    peers: Arc<dyn Peers>,
    raft: Raft<TypeConfig>,
    machine: Arc<Machine>,
    log: GroupHandle,
    proposer: Proposer,
    worker: Mutex<Option<JoinHandle<()>>>,
    /// Where the log ended when the group was opened, and the term, if this node led in it.
    resumed: Option<LogId>,
    /// One change of members or leader at a time.
    changing: tokio::sync::Mutex<()>,
    /// Snapshots being taken in.
    installing: AtomicUsize,
    clock: Arc<dyn Clock>,
    /// When a leader was last heard, by the monotonic clock.
    led_at: Mutex<Option<Duration>>,
    metrics: RaftMetrics,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
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

    /// The library's handle, for requests of other members.
    pub(crate) fn raft(&self) -> &Raft<TypeConfig> {
        &self.raft
    }

    /// Marks the group as one that takes a snapshot in, until the guard is dropped.
    pub(crate) fn begin_install(&self) -> Installing<'_> {
        self.installing.fetch_add(1, Ordering::SeqCst);
        Installing(self)
    }

    pub(crate) fn is_installing(&self) -> bool {
        self.installing.load(Ordering::SeqCst) > 0
    }

    /// Lets the core tell the others that it leads, or not.
    pub(crate) fn set_heard(&self, heard: bool) {
        self.raft.runtime_config().heartbeat(heard);
    }

    /// Lets the core stand for election by itself, or not.
    pub(crate) fn set_elects(&self, elects: bool) {
        self.raft.runtime_config().elect(elects && !self.is_barred());
    }

    /// Whether this replica was dropped before and made anew, and has not come further than to configurations from before that. It
    /// may have had a vote by them, and has forgotten which entries it agreed to: it neither votes nor elects.
    pub(crate) fn is_barred(&self) -> bool {
        is_barred(&self.log, &self.raft)
    }

    /// Log index of the configuration that is in force: of the newest in the log, committed or not.
    pub(crate) fn config(&self) -> u64 {
        config(&self.raft)
    }

    /// A leader of the group was heard.
    pub(crate) fn note_leader(&self) {
        *self.led_at.lock() = Some(self.clock.monotonic());
    }

    /// How long ago a leader of the group was heard; `None` when none was since it was opened.
    pub(crate) fn leader_silence(&self) -> Option<Duration> {
        let led_at = (*self.led_at.lock())?;
        Some(self.clock.monotonic().saturating_sub(led_at))
    }

    /// Proposes a command if this node leads; a command that could only be refused does not wait for company first.
    pub(crate) async fn propose_led(
        &self,
        command: Bytes,
        linger: Duration,
        patience: Duration,
    ) -> Result<Bytes, ProposeError> {
        let standing = self.standing();
        if self.is_ended() {
            return Err(ProposeError::Stopped { reason: "its core has ended".to_owned() });
        }
        if !standing.leads {
            return Err(ProposeError::NotLeader { leader: standing.leader });
        }
        self.proposer.propose_within(command, linger, patience).await
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

    async fn save_checkpoint(&self) -> Result<Option<RaftLogId>, CheckpointError> {
        let machine = Arc::clone(&self.machine);
        let done = crate::blocking::spawn(move || machine.checkpoint()).await;
        done.map_err(|panicked| CheckpointError::Store(panicked.into()))?
    }

    /// Drops the log that a checkpoint covers, once the library knows of the checkpoint.
    async fn drop_log(&self, upto: RaftLogId) -> Result<(), WaitError> {
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
        // A core's standings end with it. What the library calls its metrics tells that it ended as well, but also every step of
        // it: whoever waits there is woken ten times for each entry.
        let mut standings = self.standings();
        while standings.next().await {}
        let metrics = self.raft.metrics();
        let reason = metrics.borrow().running_state.as_ref().err().map(ToString::to_string);
        reason.unwrap_or_else(|| "the core is gone".to_owned())
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.raft.metrics().borrow().running_state.is_err()
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

    /// Whether it was done in time.
    async fn drains_within(&self, most: Duration) -> bool {
        tokio::time::timeout(most, self.drain()).await.is_ok()
    }

    /// Finishes what was proposed and stops the core, and waits until nothing is written to the store; the log goes on for others.
    pub(crate) async fn close(&self, drain_max: Duration) {
        if !self.drains_within(drain_max).await {
            info!(group = %self.id, waited = ?drain_max, "commands in flight had no answer in time and were given up, the group is closed");
        }
        stop_core(&self.raft).await;
        let machine = Arc::clone(&self.machine);
        if crate::blocking::spawn(move || machine.close()).await.is_err() {
            error!(group = %self.id, "a task that waited for the last checkpoint of a group panicked");
        }
        self.metrics.groups.dec();
    }
}

/// See [`Group::begin_install`].
pub(crate) struct Installing<'a>(&'a Group);

impl Drop for Installing<'_> {
    fn drop(&mut self) {
        self.0.installing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Drops the log of a group that is closed, at a configuration; only the vote and that stay.
pub(crate) async fn drop_log(log: &GroupHandle, config: u64) -> Result<(), GroupError> {
    let (done, dropped) = oneshot::channel();
    log.drop_group(config, Box::new(|outcome| drop(done.send(outcome))));
    let dropped = dropped.await.unwrap_or(Err(LogError::Stopped));
    dropped.map_err(|source| GroupError::Drop { group: log.id(), source })
}

/// Stops groups and the log they share: takes no more commands, finishes those that wait, closes the log, ends the cores.
pub(crate) async fn stop(groups: &[Arc<Group>], log: &Arc<Log>, drain_max: Duration) {
    let drained = groups.iter().map(async |group| (group.id, group.drains_within(drain_max).await));
    let given_up: Vec<u32> =
        join_all(drained).await.into_iter().filter(|(_, drained)| !drained).map(|(id, _)| id.0).collect();
    if !given_up.is_empty() {
        match log.room().check() {
            Err(reason) => {
                error!(groups = ?given_up, %reason, "commands in flight were given up, the log cannot write them")
            }
            Ok(()) => warn!(
                groups = ?given_up,
                waited = ?drain_max,
                "commands in flight were given up, no majority has confirmed them in time; they may come to be committed yet"
            ),
        }
    }
    stop_log(log).await;
    join_all(groups.iter().map(|group| stop_core(&group.raft))).await;
}

async fn stop_log(log: &Arc<Log>) {
    let log = Arc::clone(log);
    if crate::blocking::spawn(move || log.stop()).await.is_err() {
        error!("closing the log panicked");
    }
}

async fn stop_core(raft: &Raft<TypeConfig>) {
    if let Err(error) = raft.shutdown().await {
        error!(%error, "the core of a group did not stop cleanly");
    }
}

/// See [`Group::config`].
fn config(raft: &Raft<TypeConfig>) -> u64 {
    raft.server_metrics().borrow().membership_config.log_id().map_or(0, |id| id.index)
}

/// See [`Group::is_barred`].
fn is_barred(log: &GroupHandle, raft: &Raft<TypeConfig>) -> bool {
    log.hard_state().dropped.is_some_and(|dropped| config(raft) <= dropped)
}

/// Whether a leader that has applied so much has applied everything that was answered before it led. Its first entry comes after all of
/// that, unless it `resumed` the term with a log that may hold more than it knows to be committed.
///
/// A term alone does not name a leader: the library lets a node of a higher id take over in the same term, and what it applied of the
/// one before is not its own.
fn has_own(applied: Option<LogId>, leader: Leadership, resumed: Option<LogId>) -> bool {
    let Some(applied) = applied else { return false };
    let floor = resumed.filter(|resumed| resumed.term == leader.term).map(|resumed| resumed.index);
    (applied.term, applied.node) >= (leader.term, leader.node) && Some(applied.index) >= floor
}

/// A leader in its term.
#[derive(Clone, Copy, Debug)]
struct Leadership {
    term: u64,
    node: NodeId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_leader_of_the_term_wrote_is_not_ones_own() {
        let id = |term, node, index| Some(LogId { term, node, index });
        let leader = Leadership { term: 2, node: 7 };
        assert!(!has_own(None, leader, None));
        assert!(!has_own(id(1, 7, 9), leader, None));
        assert!(!has_own(id(2, 6, 9), leader, None), "node 6 led in term 2 before");
        assert!(has_own(id(2, 7, 10), leader, None));
        assert!(!has_own(id(2, 7, 10), leader, id(2, 7, 11)), "it was answered to before the restart");
        assert!(has_own(id(2, 7, 11), leader, id(2, 7, 11)));
        assert!(has_own(id(2, 7, 10), leader, id(1, 7, 11)), "that was another term");
    }
}
