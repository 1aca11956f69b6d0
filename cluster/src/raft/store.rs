//! One group's log as the library wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, StorageError, StorageIOError};
use tokio::sync::{oneshot, watch};

use super::codec::{decode_membership, encode_membership, from_log_id, to_log_id};
use super::config::{Commands, TypeConfig};
use super::machine::{Covered, Machine};
use crate::log::entry::{Entry, Payload, Vote};
use crate::log::{GroupHandle, LogError};

type RaftEntry = openraft::Entry<TypeConfig>;
type LogId = openraft::LogId<u64>;
type RaftVote = openraft::Vote<u64>;
type Result<T> = std::result::Result<T, StorageError<u64>>;

/// Most bytes of commands that one replication request carries, unless one entry alone has more: the answer has to be there within a
/// heartbeat's time, its flush on the other side included.
const READ_BYTES_MAX: usize = 1 << 20;

/// The core's own store. What it reads it applies, so entries leave memory with that; replication reads through
/// [`LogReader`].
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    log: GroupHandle,
    covered: Option<watch::Receiver<Covered>>,
}

/// Reads entries for replication to a peer.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    log: GroupHandle,
}

impl LogStore {
    pub(crate) fn new(log: GroupHandle) -> Self {
        Self { log, covered: None }
    }

    /// Drops no log before the state machine has what was in it on disk. When the library takes a snapshot in, it drops the log while
    /// the snapshot is still being written.
    pub(crate) fn covered_by(self, machine: &Machine) -> Self {
        Self { covered: Some(machine.covered()), ..self }
    }

    async fn wait_covered(&mut self, index: u64) -> std::result::Result<(), String> {
        let Some(covered) = &mut self.covered else { return Ok(()) };
        let known = covered.wait_for(|covered| covered.as_ref().map_or(true, |upto| *upto >= Some(index))).await;
        known.map_err(|_| "the state machine is gone".to_owned())?.clone().map(drop)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>> {
        let (from, to) = bounds(&range);
        from_entries(self.log.take(from, to))
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>> {
        let (from, to) = bounds(&range);
        from_entries(self.log.read(from, to))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in start..end {
            let read = self.log.read(index, index + 1).map_err(read_error)?;
            let Some(entry) = read.into_iter().next() else { break };
            bytes += entry.payload.bytes();
            if bytes > READ_BYTES_MAX && !entries.is_empty() {
                break;
            }
            entries.push(from_entry(entry)?);
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>> {
        Ok(LogState {
            last_purged_log_id: self.log.hard_state().purged.map(from_log_id),
            last_log_id: self.log.last().map(from_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { log: self.log.clone() }
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<()> {
        let vote = Vote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed };
        let (done, saved) = oneshot::channel();
        self.log.save_vote(vote, Box::new(|outcome| drop(done.send(outcome))));
        wait(saved).await.map_err(|error| StorageIOError::write_vote(&error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>> {
        let vote = self.log.hard_state().vote;
        Ok(vote.map(|vote| {
            if vote.committed {
                RaftVote::new_committed(vote.term, vote.node)
            } else {
                RaftVote::new(vote.term, vote.node)
            }
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<()> {
        self.log.set_committed(committed.as_ref().map(to_log_id));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>> {
        Ok(self.log.hard_state().committed.map(from_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(to_entry).collect();
        self.log.append(entries, Box::new(|outcome| callback.log_io_completed(outcome.map_err(io::Error::other))));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<()> {
        let (done, truncated) = oneshot::channel();
        self.log.truncate(log_id.index, Box::new(|outcome| drop(done.send(outcome))));
        wait(truncated).await.map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<()> {
        let covered = self.wait_covered(log_id.index).await;
        covered.map_err(|reason| StorageIOError::write_logs(openraft::AnyError::error(reason)))?;
        let upto = to_log_id(&log_id);
        if self.log.last().is_some_and(|last| last.index >= upto.index) {
            self.log.purge(upto);
            return Ok(());
        }
        let (done, skipped) = oneshot::channel();
        self.log.skip(upto, Box::new(|outcome| drop(done.send(outcome))));
        wait(skipped).await.map_err(|error| StorageIOError::write_logs(&error).into())
    }
}

/// Gives up leading the group in the term of the vote, for good: the next leadership needs a new term.
pub(crate) async fn vote_no_leader(store: &mut LogStore) -> std::result::Result<(), String> {
    let Some(vote) = store.read_vote().await.map_err(|error| error.to_string())? else { return Ok(()) };
    let vote = RaftVote::new(vote.leader_id.term, vote.leader_id.node_id);
    store.save_vote(&vote).await.map_err(|error| error.to_string())
}

/// Forgets whom this node voted for. Only right in a group that never had another voter.
pub(crate) async fn vote_none(store: &mut LogStore) -> std::result::Result<(), String> {
    store.save_vote(&RaftVote::default()).await.map_err(|error| error.to_string())
}

/// The writer answers each request; when it cannot, the log is gone.
async fn wait(answer: oneshot::Receiver<std::result::Result<(), LogError>>) -> std::result::Result<(), LogError> {
    answer.await.unwrap_or(Err(LogError::Stopped))
}

/// Half-open range of the indexes that `range` means.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&last) => last + 1,
        Bound::Excluded(&to) => to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

pub(super) fn to_entry(entry: RaftEntry) -> Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(Commands(commands)) => Payload::Commands(commands),
        EntryPayload::Membership(membership) => Payload::Membership(encode_membership(&membership)),
    };
    Entry { id: to_log_id(&entry.log_id), payload }
}

pub(crate) fn from_entry(entry: Entry) -> Result<RaftEntry> {
    let log_id = from_log_id(entry.id);
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Commands(commands) => EntryPayload::Normal(Commands(commands)),
        Payload::Membership(bytes) => match decode_membership(&bytes) {
            Some(membership) => EntryPayload::Membership(membership),
            None => {
                let error = io::Error::other("the entry's membership cannot be decoded");
                return Err(StorageIOError::read_log_entry(log_id, &error).into());
            }
        },
    };
    Ok(RaftEntry { log_id, payload })
}

fn from_entries(entries: std::result::Result<Vec<Entry>, LogError>) -> Result<Vec<RaftEntry>> {
    entries.map_err(read_error)?.into_iter().map(from_entry).collect()
}

fn read_error(error: LogError) -> StorageError<u64> {
    StorageIOError::read_logs(&error).into()
}
