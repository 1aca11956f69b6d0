//! Payloads of records, one codec for each kind. Layout in `docs/format/log.md`.
//!
//! Decoding takes any bytes and never panics: the checksum proves that we wrote them, not which version of us did.

use bytes::Bytes;

use super::entry::{Entry, HardState, LogId, Payload, Vote};
use super::record::record_len;

const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

const LOG_ID_BYTES: usize = 24;
const ENTRY_HEAD_BYTES: usize = LOG_ID_BYTES + 1;

/// Bytes of an entry's payload.
pub(crate) fn entry_len(payload: &Payload) -> usize {
    ENTRY_HEAD_BYTES
        + match payload {
            Payload::Blank => 0,
            Payload::Commands(commands) => commands_len(commands.iter().map(Bytes::len)),
            Payload::Membership(members) => members.len(),
        }
}

/// Bytes that a command adds to its own in an entry.
pub const COMMAND_OVERHEAD_BYTES: usize = 4;

fn commands_len(lengths: impl Iterator<Item = usize>) -> usize {
    4 + lengths.map(|len| COMMAND_OVERHEAD_BYTES + len).sum::<usize>()
}

/// Bytes in the log of an entry with commands of these lengths.
pub fn commands_record_len(lengths: impl Iterator<Item = usize>) -> usize {
    record_len(ENTRY_HEAD_BYTES + commands_len(lengths))
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, entry.id);
    match &entry.payload {
        Payload::Blank => out.push(BLANK),
        Payload::Commands(commands) => {
            out.push(COMMANDS);
            put_u32(out, commands.len() as u32);
            for command in commands {
                put_u32(out, command.len() as u32);
                out.extend_from_slice(command);
            }
        }
        Payload::Membership(members) => {
            out.push(MEMBERSHIP);
            out.extend_from_slice(members);
        }
    }
}

/// Commands are slices of `bytes`, not copies.
pub(crate) fn entry(bytes: &Bytes) -> Option<Entry> {
    let mut reader = Reader(bytes);
    let id = reader.log_id()?;
    let payload = match reader.u8()? {
        BLANK => Payload::Blank,
        COMMANDS => Payload::Commands(commands(bytes, reader.0)?),
        MEMBERSHIP => Payload::Membership(bytes.slice_ref(reader.0)),
        _ => return None,
    };
    Some(Entry { id, payload })
}

fn commands(bytes: &Bytes, rest: &[u8]) -> Option<Vec<Bytes>> {
    let mut reader = Reader(rest);
    let count = reader.u32()? as usize;
    // Each command takes four bytes at least, so a false count cannot reserve more than the payload's own size.
    let mut commands = Vec::with_capacity(count.min(reader.0.len() / 4));
    for _ in 0..count {
        let len = reader.u32()? as usize;
        commands.push(bytes.slice_ref(reader.take(len)?));
    }
    reader.0.is_empty().then_some(commands)
}

/// The id of an encoded entry, without its payload.
pub(super) fn entry_id(bytes: &[u8]) -> Option<LogId> {
    Reader(bytes).log_id()
}

pub(super) fn put_vote(out: &mut Vec<u8>, vote: Vote) {
    put_u64(out, vote.term);
    put_u64(out, vote.node);
    out.push(u8::from(vote.committed));
}

pub(super) fn vote(bytes: &[u8]) -> Option<Vote> {
    Reader(bytes).vote()
}

pub(super) fn put_log_id(out: &mut Vec<u8>, id: LogId) {
    put_u64(out, id.term);
    put_u64(out, id.node);
    put_u64(out, id.index);
}

pub(super) fn log_id(bytes: &[u8]) -> Option<LogId> {
    Reader(bytes).log_id()
}

pub(super) fn put_index(out: &mut Vec<u8>, index: u64) {
    put_u64(out, index);
}

pub(super) fn index(bytes: &[u8]) -> Option<u64> {
    Reader(bytes).u64()
}

fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    put_option(out, state.vote, put_vote);
    put_option(out, state.committed, put_log_id);
    put_option(out, state.purged, put_log_id);
    put_option(out, state.dropped, put_index);
}

/// What a segment begins with for each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub state: HardState,
    /// Records that it had in the segment before, without the base: by that, damage there is known to be the group's or not. Missing in
    /// records of programs that did not count.
    pub records: Option<u64>,
    /// Index of its newest entry then: by that it is known what was in segments before the first one that is there. Missing in records
    /// of programs that did not tell.
    pub last: Option<u64>,
}

pub(super) fn put_base(out: &mut Vec<u8>, state: &HardState, records: u64, last: Option<u64>) {
    put_hard_state(out, state);
    put_u64(out, records);
    put_option(out, last, put_index);
}

pub(super) fn base(bytes: &[u8]) -> Option<Base> {
    let mut reader = Reader(bytes);
    let state = reader.hard_state()?;
    let records = if reader.0.is_empty() { None } else { Some(reader.u64()?) };
    let last = if reader.0.is_empty() { None } else { reader.option(Reader::u64)? };
    Some(Base { state, records, last })
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: fn(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Takes values off the front of a slice; `None` when it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// The last index there is counts as unreadable: every index has one after it.
    fn log_id(&mut self) -> Option<LogId> {
        let id = LogId { term: self.u64()?, node: self.u64()?, index: self.u64()? };
        (id.index < u64::MAX).then_some(id)
    }

    fn hard_state(&mut self) -> Option<HardState> {
        Some(HardState {
            vote: self.option(Self::vote)?,
            committed: self.option(Self::log_id)?,
            purged: self.option(Self::log_id)?,
            // Not in records of programs that dropped no groups.
            dropped: if self.0.is_empty() { None } else { self.option(Self::u64)? },
        })
    }

    fn vote(&mut self) -> Option<Vote> {
        Some(Vote { term: self.u64()?, node: self.u64()?, committed: self.u8()? != 0 })
    }

    fn option<T>(&mut self, read: fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}
