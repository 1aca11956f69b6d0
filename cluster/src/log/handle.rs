//! What a group's Raft adaptor does with its part of the log.

use std::sync::Arc;

use super::entry::{Entry, GroupId, HardState, LogId, Vote};
use super::index::{Found, GroupLog, Place};
use super::recovery::read_entry;
use super::writer::{Done, Request, Work};
use super::{LogError, Shared};

/// One group's log. Clones share it. Requests of a group must be handed in one after another.
#[derive(Clone)]
pub struct GroupHandle {
    shared: Arc<Shared>,
    group: Arc<GroupLog>,
}

impl std::fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupHandle").field("group", &self.group.id).finish_non_exhaustive()
    }
}

impl GroupHandle {
    pub(super) fn new(shared: Arc<Shared>, group: Arc<GroupLog>) -> Self {
        Self { shared, group }
    }

    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// Appends entries that follow the last one; they can be read at once and are durable when `done` says so.
    pub fn append(&self, entries: Vec<Entry>, done: Done) {
        let (epoch, committed) = self.group.push(&entries);
        self.submit(Work::Append { entries, epoch, committed }, Some(done));
    }

    pub fn save_vote(&self, vote: Vote, done: Done) {
        self.group.set_vote(vote);
        self.submit(Work::Vote(vote), Some(done));
    }

    /// Drops the entries from `index` on.
    pub fn truncate(&self, index: u64, done: Done) {
        self.group.truncate(index);
        self.submit(Work::Truncate(index), Some(done));
    }

    /// Drops the entries up to and including `upto`. Need not be durable: a log that still has them is as good.
    pub fn purge(&self, upto: LogId) {
        self.group.purge(upto);
        self.submit(Work::Purge(upto), None);
    }

    /// As [`GroupHandle::purge`] where the log ends before `upto`: without the record it would not be the log that goes on from there.
    pub fn skip(&self, upto: LogId, done: Done) {
        self.group.purge(upto);
        self.submit(Work::Purge(upto), Some(done));
    }

    /// Drops the group at a configuration, by its log index: its entries go, at the next start it is not there. Only its vote and
    /// that index stay.
    pub fn drop_group(&self, config: u64, done: Done) {
        self.group.clear(config);
        self.submit(Work::Drop(config), Some(done));
    }

    /// Notes what is committed; written with the next append.
    pub fn set_committed(&self, committed: Option<LogId>) {
        self.group.set_committed(committed);
    }

    pub fn hard_state(&self) -> HardState {
        self.group.hard_state()
    }

    /// The newest entry, or the newest purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.group.last()
    }

    /// Bytes of records that no checkpoint covers yet.
    pub fn live_bytes(&self) -> u64 {
        self.group.live_bytes()
    }

    /// The oldest segment that the group needs.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.group.oldest_segment()
    }

    /// The entries `from..to`, as far as the log has them. May read files.
    pub fn read(&self, from: u64, to: u64) -> Result<Vec<Entry>, LogError> {
        self.load(self.group.find(from, to))
    }

    /// As [`GroupHandle::read`], for applying them: they leave memory.
    pub fn take(&self, from: u64, to: u64) -> Result<Vec<Entry>, LogError> {
        self.load(self.group.take(from, to))
    }

    fn load(&self, found: Vec<(u64, Found)>) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::with_capacity(found.len());
        for (index, found) in found {
            match found {
                Found::InMemory(entry) => entries.push(entry),
                Found::Written(place) => match self.load_one(place) {
                    Ok(entry) => entries.push(entry),
                    // Purged while it was read: its segment may hold something else by now.
                    Err(_) if !self.group.has(index) => entries.clear(),
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(entries)
    }

    fn load_one(&self, place: Place) -> Result<Entry, LogError> {
        let Place { segment, offset, len } = place;
        let read = |reason: String| LogError::Read { segment, offset, reason };
        let file = self.shared.segments.read().get(&segment).map(|segment| Arc::clone(&segment.file));
        let file = file.ok_or_else(|| read("no such segment".to_owned()))?;
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, u64::from(offset)).map_err(|error| read(error.to_string()))?;
        read_entry(bytes, place).ok_or(LogError::Damaged { segment, offset })
    }

    fn submit(&self, work: Work, done: Option<Done>) {
        let request = Request { group: Arc::clone(&self.group), work, done };
        if let Err(refused) = self.shared.queue.push(request)
            && let Some(done) = refused.done
        {
            done(Err(LogError::Stopped));
        }
    }
}
