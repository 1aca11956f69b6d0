//! Bytes of the library's requests and answers between nodes. Layout in `docs/format/wire.md`.
//!
//! Decoding takes any bytes and never panics, and lets nothing through that the library takes for granted: entries follow one
//! another, only a leader that was elected appends. Commands are slices of what was received, not copies.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

use super::codec::{AppliedState, option_id, put_option_id};
use super::config::TypeConfig;
use super::store::{from_entry, to_entry};
use crate::codec::{Reader, put_u32, put_u64};
use crate::log::body;
use crate::log::entry::GroupId;

type LogId = openraft::LogId<u64>;
type Vote = openraft::Vote<u64>;
type Append = AppendEntriesRequest<TypeConfig>;
type AppendAnswer = AppendEntriesResponse<u64>;

/// Of every message of this module.
const VERSION: u8 = 1;

const SUCCESS: u8 = 0;
const PARTIAL: u8 = 1;
const CONFLICT: u8 = 2;
const HIGHER_VOTE: u8 = 3;

/// Stands before a snapshot's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub group: GroupId,
    /// The leader's.
    pub vote: Vote,
    /// How far the copy has come.
    pub state: AppliedState,
    pub bytes: u64,
    /// CRC-32 (IEEE) of the copy.
    pub crc: u32,
}

pub(super) fn encode_append(group: GroupId, request: Append) -> Bytes {
    let entries: Vec<_> = request.entries.into_iter().map(to_entry).collect();
    let payload: usize = entries.iter().map(|entry| 4 + body::entry_len(&entry.payload)).sum();
    let mut out = head(group, 80 + payload);
    put_vote(&mut out, &request.vote);
    put_option_id(&mut out, request.prev_log_id);
    put_option_id(&mut out, request.leader_commit);
    put_u32(&mut out, entries.len());
    for entry in &entries {
        put_u32(&mut out, body::entry_len(&entry.payload));
        body::put_entry(&mut out, entry);
    }
    Bytes::from(out)
}

pub(crate) fn decode_append(bytes: &Bytes) -> Option<(GroupId, Append)> {
    let mut reader = Reader::new(bytes);
    let group = read_head(&mut reader)?;
    let vote = read_vote(&mut reader)?;
    let prev_log_id = option_id(&mut reader)?;
    let leader_commit = option_id(&mut reader)?;
    let mut next = prev_log_id.map_or(0, |prev| prev.index + 1);
    let entries = reader.list(30, |reader| {
        let entry = body::entry(&bytes.slice_ref(reader.counted()?))?;
        (entry.id.index == next).then_some(())?;
        next += 1;
        from_entry(entry).ok()
    })?;
    reader.end()?;
    let request = Append { vote, prev_log_id, entries, leader_commit };
    vote.committed.then_some((group, request))
}

pub(crate) fn encode_append_answer(answer: &AppendAnswer) -> Bytes {
    let mut out = vec![VERSION];
    match answer {
        AppendAnswer::Success => out.push(SUCCESS),
        AppendAnswer::PartialSuccess(upto) => {
            out.push(PARTIAL);
            put_option_id(&mut out, *upto);
        }
        AppendAnswer::Conflict => out.push(CONFLICT),
        AppendAnswer::HigherVote(vote) => {
            out.push(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    Bytes::from(out)
}

pub(super) fn decode_append_answer(bytes: &[u8]) -> Option<AppendAnswer> {
    let mut reader = Reader::new(bytes);
    version(&mut reader)?;
    let answer = match reader.u8()? {
        SUCCESS => AppendAnswer::Success,
        PARTIAL => AppendAnswer::PartialSuccess(option_id(&mut reader)?),
        CONFLICT => AppendAnswer::Conflict,
        HIGHER_VOTE => AppendAnswer::HigherVote(read_vote(&mut reader)?),
        _ => return None,
    };
    reader.end().map(|()| answer)
}

pub(super) fn encode_vote(group: GroupId, request: &VoteRequest<u64>) -> Bytes {
    let mut out = head(group, 48);
    put_vote(&mut out, &request.vote);
    put_option_id(&mut out, request.last_log_id);
    Bytes::from(out)
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Option<(GroupId, VoteRequest<u64>)> {
    let mut reader = Reader::new(bytes);
    let group = read_head(&mut reader)?;
    let request = VoteRequest { vote: read_vote(&mut reader)?, last_log_id: option_id(&mut reader)? };
    reader.end()?;
    (!request.vote.committed).then_some((group, request))
}

pub(crate) fn encode_vote_answer(answer: &VoteResponse<u64>) -> Bytes {
    let mut out = vec![VERSION];
    put_vote(&mut out, &answer.vote);
    out.push(u8::from(answer.vote_granted));
    put_option_id(&mut out, answer.last_log_id);
    Bytes::from(out)
}

pub(super) fn decode_vote_answer(bytes: &[u8]) -> Option<VoteResponse<u64>> {
    let mut reader = Reader::new(bytes);
    version(&mut reader)?;
    let vote = read_vote(&mut reader)?;
    let vote_granted = reader.bool()?;
    let last_log_id: Option<LogId> = option_id(&mut reader)?;
    reader.end().map(|()| VoteResponse { vote, vote_granted, last_log_id })
}

impl SnapshotHeader {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = head(self.group, 128);
        put_vote(&mut out, &self.vote);
        put_u64(&mut out, self.bytes);
        out.extend_from_slice(&self.crc.to_le_bytes());
        self.state.put(&mut out);
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let group = read_head(&mut reader)?;
        let vote = read_vote(&mut reader)?;
        let (bytes, crc) = (reader.u64()?, reader.u32()?);
        let state = AppliedState::read(&mut reader)?;
        reader.end()?;
        vote.committed.then_some(Self { group, vote, state, bytes, crc })
    }
}

/// The answer to a snapshot: the receiver's vote.
pub(crate) fn encode_vote_alone(vote: &Vote) -> Bytes {
    let mut out = vec![VERSION];
    put_vote(&mut out, vote);
    Bytes::from(out)
}

pub(super) fn decode_vote_alone(bytes: &[u8]) -> Option<Vote> {
    let mut reader = Reader::new(bytes);
    version(&mut reader)?;
    let vote = read_vote(&mut reader)?;
    reader.end().map(|()| vote)
}

fn head(group: GroupId, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.push(VERSION);
    out.extend_from_slice(&group.0.to_le_bytes());
    out
}

fn read_head(reader: &mut Reader<'_>) -> Option<GroupId> {
    version(reader)?;
    reader.u32().map(GroupId)
}

fn version(reader: &mut Reader<'_>) -> Option<()> {
    (reader.u8()? == VERSION).then_some(())
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    put_u64(out, vote.leader_id.term);
    put_u64(out, vote.leader_id.node_id);
    out.push(u8::from(vote.committed));
}

fn read_vote(reader: &mut Reader<'_>) -> Option<Vote> {
    let (term, node) = (reader.u64()?, reader.u64()?);
    Some(if reader.bool()? { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}
