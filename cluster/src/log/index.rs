//! Where a group's entries are: in memory while they wait to be applied, and at a place in a segment.
//!
//! Invariant: entries are consecutive; an entry without a place (not yet written) is in memory. Readers and the Raft core see
//! an entry from the moment it is handed in; the writer adds its place once it is durable.

use std::collections::VecDeque;

use parking_lot::Mutex;
use prometheus::IntGauge;

use super::body;
use super::entry::{Entry, GroupId, HardState, LogId, Vote};
use super::record::record_len;

/// A written record: segment, offset and length of the whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u32,
    pub len: u32,
}

/// One group's part of the log. Shared by its store, its readers and the writer.
#[derive(Debug)]
pub(super) struct GroupLog {
    pub id: GroupId,
    state: Mutex<State>,
    cache_bytes_max: u64,
    cached_bytes: IntGauge,
}

#[derive(Debug, Default)]
struct State {
    hard: HardState,
    /// What the log says is committed; newer ones are written along with the next entries.
    committed_written: Option<LogId>,
    first_index: u64,
    slots: VecDeque<Slot>,
    /// One for each purge and truncation whose record is not on disk yet: the oldest segment that held entries before it.
    pins: VecDeque<Pin>,
    /// Who proposed the entries, run-length encoded: each from its index to the next one's.
    leaders: VecDeque<LogId>,
    /// Bytes of all records of live entries.
    live_bytes: u64,
    /// Counts truncations, so that the place of an entry that was replaced while it was written is not taken for that of its
    /// successor.
    epoch: u32,
    cached_bytes: u64,
    /// No entry before this one is in memory.
    cached_from: u64,
}

/// What must stay on disk until a purge or truncation is: recovery needs every entry that is not known to be gone.
#[derive(Clone, Copy, Debug)]
enum Pin {
    /// The group had no entries.
    Nothing,
    From(u64),
    /// The first entry has no place yet.
    Everything,
}

#[derive(Debug)]
struct Slot {
    epoch: u32,
    bytes: u32,
    place: Option<Place>,
    entry: Option<Box<Entry>>,
}

/// Where one entry can be had.
#[derive(Debug)]
pub(super) enum Found {
    InMemory(Entry),
    Written(Place),
}

impl GroupLog {
    pub(super) fn new(id: GroupId, cache_bytes_max: u64, cached_bytes: IntGauge) -> Self {
        Self { id, state: Mutex::default(), cache_bytes_max, cached_bytes }
    }

    /// A group read back from its records: its consecutive entries.
    pub(super) fn recovered(self, hard: HardState, entries: impl IntoIterator<Item = (LogId, Place)>) -> Self {
        {
            let mut state = self.state.lock();
            state.hard = hard;
            state.committed_written = hard.committed;
            for (id, place) in entries {
                state.push(id, Slot { epoch: 0, bytes: place.len, place: Some(place), entry: None });
            }
            state.cached_from = state.next_index();
        }
        self
    }

    pub(super) fn hard_state(&self) -> HardState {
        self.state.lock().hard
    }

    /// The newest entry, or the newest purged one when there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        let state = self.state.lock();
        let last = state.slots.len().checked_sub(1).and_then(|back| state.id_of(state.first_index + back as u64));
        last.or(state.hard.purged)
    }

    /// Bytes of records that wait for a checkpoint.
    pub(super) fn live_bytes(&self) -> u64 {
        self.state.lock().live_bytes
    }

    /// The oldest segment with an entry that is not purged.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        let state = self.state.lock();
        let pinned = state.pins.iter().filter_map(|pin| match pin {
            Pin::Nothing => None,
            Pin::From(segment) => Some(*segment),
            Pin::Everything => Some(0),
        });
        let first = state.slots.front().and_then(|slot| slot.place).map(|place| place.segment);
        pinned.chain(first).min()
    }

    /// Takes consecutive entries in, following the last one. Returns the epoch to hand to [`GroupLog::place`], and the committed position to write along
    /// if it is new.
    pub(super) fn push(&self, entries: &[Entry]) -> (u32, Option<LogId>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for entry in entries {
            let bytes = record_len(body::entry_len(&entry.payload)) as u32;
            let slot = Slot { epoch: state.epoch, bytes, place: None, entry: Some(Box::new(entry.clone())) };
            if entry.id.index != state.next_index() {
                // What comes before is covered by a snapshot, or else the group's next start tells that it is missing.
                let dropped: Vec<Slot> = state.slots.drain(..).collect();
                self.forget(state, &dropped);
            }
            state.push(entry.id, slot);
            state.cached_bytes += u64::from(bytes);
            self.cached_bytes.add(i64::from(bytes));
        }
        let committed = (state.hard.committed > state.committed_written).then_some(state.hard.committed).flatten();
        if committed.is_some() {
            state.committed_written = committed;
        }
        (state.epoch, committed)
    }

    /// An entry that was pushed in `epoch` is durable at `place`.
    pub(super) fn place(&self, index: u64, epoch: u32, place: Place) {
        let mut state = self.state.lock();
        if let Some(slot) = state.slot_mut(index)
            && slot.epoch == epoch
        {
            slot.place = Some(place);
        }
        self.shrink_cache(&mut state);
    }

    /// Drops the entries from `index` on.
    pub(super) fn truncate(&self, index: u64) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.pin();
        state.epoch += 1;
        state.cached_from = state.cached_from.min(index);
        let keep = index.saturating_sub(state.first_index) as usize;
        while state.leaders.back().is_some_and(|leader| leader.index >= index) {
            state.leaders.pop_back();
        }
        let dropped: Vec<Slot> = state.slots.drain(keep.min(state.slots.len())..).collect();
        self.forget(state, &dropped);
    }

    /// Drops the entries up to and including `upto`.
    pub(super) fn purge(&self, upto: LogId) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.pin();
        state.hard.purged = state.hard.purged.max(Some(upto));
        let count = (upto.index + 1).saturating_sub(state.first_index) as usize;
        let dropped: Vec<Slot> = state.slots.drain(..count.min(state.slots.len())).collect();
        state.first_index += dropped.len() as u64;
        while state.leaders.get(1).is_some_and(|next| next.index <= state.first_index) {
            state.leaders.pop_front();
        }
        self.forget(state, &dropped);
    }

    /// Drops everything but the vote and the configuration at which that is done: a group that is made anew here must not vote twice
    /// in a term, nor by a configuration that is old.
    pub(super) fn clear(&self, config: u64) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.pin();
        state.epoch += 1;
        state.hard = state.hard.dropped_at(config);
        state.committed_written = None;
        state.leaders.clear();
        let dropped: Vec<Slot> = state.slots.drain(..).collect();
        (state.first_index, state.cached_from) = (0, 0);
        self.forget(state, &dropped);
    }

    /// Whether the log has, or had, entries of the group.
    pub(super) fn is_begun(&self) -> bool {
        self.last().is_some()
    }

    /// The record of the oldest purge, truncation or drop that was handed in is on disk.
    pub(super) fn unpin(&self) {
        self.state.lock().pins.pop_front();
    }

    fn forget(&self, state: &mut State, dropped: &[Slot]) {
        for slot in dropped {
            state.live_bytes -= u64::from(slot.bytes);
            if slot.entry.is_some() {
                state.cached_bytes -= u64::from(slot.bytes);
                self.cached_bytes.sub(i64::from(slot.bytes));
            }
        }
    }

    pub(super) fn set_vote(&self, vote: Vote) {
        self.state.lock().hard.vote = Some(vote);
    }

    pub(super) fn set_committed(&self, committed: Option<LogId>) {
        self.state.lock().hard.committed = committed;
    }

    /// Where the entries of a range are, without those that the log does not have.
    pub(super) fn find(&self, from: u64, to: u64) -> Vec<(u64, Found)> {
        let mut state = self.state.lock();
        state.range(from, to).map(|(index, slot)| (index, slot.found())).collect()
    }

    /// As [`GroupLog::find`] for the state machine: entries that are written leave memory, nobody else will ask soon.
    pub(super) fn take(&self, from: u64, to: u64) -> Vec<(u64, Found)> {
        let mut state = self.state.lock();
        let mut freed = 0;
        let found = state.range(from, to).map(|(index, slot)| {
            let found = slot.found();
            if slot.place.is_some() && slot.entry.take().is_some() {
                freed += u64::from(slot.bytes);
            }
            (index, found)
        });
        let found = found.collect();
        state.cached_bytes -= freed;
        self.cached_bytes.sub(freed as i64);
        found
    }

    /// Whether the log still has an entry.
    pub(super) fn has(&self, index: u64) -> bool {
        self.state.lock().slot_mut(index).is_some()
    }

    /// Drops the oldest written entries from memory while there are too many.
    fn shrink_cache(&self, state: &mut State) {
        state.cached_from = state.cached_from.max(state.first_index);
        while state.cached_bytes > self.cache_bytes_max {
            let at = state.cached_from;
            let Some(slot) = state.slot_mut(at) else { return };
            if slot.place.is_none() {
                return;
            }
            let freed = if slot.entry.take().is_some() { u64::from(slot.bytes) } else { 0 };
            state.cached_bytes -= freed;
            self.cached_bytes.sub(freed as i64);
            state.cached_from += 1;
        }
    }
}

impl State {
    fn pin(&mut self) {
        self.pins.push_back(match self.slots.front() {
            None => Pin::Nothing,
            Some(slot) => slot.place.map_or(Pin::Everything, |place| Pin::From(place.segment)),
        });
    }

    fn push(&mut self, id: LogId, slot: Slot) {
        if self.slots.is_empty() {
            self.first_index = id.index;
            self.cached_from = id.index;
            self.leaders.clear();
        }
        assert_eq!(id.index, self.next_index(), "entries of a group's log are consecutive");
        if self.leaders.back().is_none_or(|last| (last.term, last.node) != (id.term, id.node)) {
            self.leaders.push_back(id);
        }
        self.live_bytes += u64::from(slot.bytes);
        self.slots.push_back(slot);
    }

    fn next_index(&self) -> u64 {
        self.first_index + self.slots.len() as u64
    }

    fn id_of(&self, index: u64) -> Option<LogId> {
        let leader = self.leaders.iter().rev().find(|leader| leader.index <= index)?;
        Some(LogId { index, ..*leader })
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        self.slots.get_mut(at)
    }

    fn range(&mut self, from: u64, to: u64) -> impl Iterator<Item = (u64, &mut Slot)> {
        let len = self.slots.len() as u64;
        let from = from.saturating_sub(self.first_index).min(len);
        let to = to.saturating_sub(self.first_index).clamp(from, len);
        (self.first_index + from..).zip(self.slots.range_mut(from as usize..to as usize))
    }
}

impl Slot {
    fn found(&self) -> Found {
        match (&self.entry, self.place) {
            (Some(entry), _) => Found::InMemory(Entry::clone(entry)),
            (None, Some(place)) => Found::Written(place),
            (None, None) => unreachable!("an entry without a place is in memory"),
        }
    }
}
