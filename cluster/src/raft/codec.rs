//! Bytes of what the library keeps in a log or a checkpoint: memberships and the applied state.
//!
//! Layout in `docs/format/log.md`. Decoding takes any bytes and never panics.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{BasicNode, CommittedLeaderId, Membership, StoredMembership};

use crate::log::entry;

type LogId = openraft::LogId<u64>;

const STATE_VERSION: u8 = 1;

/// How far a state machine has come; kept by its checkpoints as opaque bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppliedState {
    pub applied: Option<LogId>,
    pub membership: StoredMembership<u64, BasicNode>,
}

impl AppliedState {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![STATE_VERSION];
        put_option_id(&mut out, self.applied);
        put_option_id(&mut out, *self.membership.log_id());
        put_membership(&mut out, self.membership.membership());
        Bytes::from(out)
    }

    /// `None` when the bytes are not an applied state that we know.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u8()? != STATE_VERSION {
            return None;
        }
        let applied = reader.option_id()?;
        let log_id = reader.option_id()?;
        let membership = reader.membership()?;
        Some(Self { applied, membership: StoredMembership::new(log_id, membership) })
    }
}

pub(super) fn encode_membership(membership: &Membership<u64, BasicNode>) -> Bytes {
    let mut out = Vec::new();
    put_membership(&mut out, membership);
    Bytes::from(out)
}

pub(super) fn decode_membership(bytes: &[u8]) -> Option<Membership<u64, BasicNode>> {
    Reader(bytes).membership()
}

pub(super) fn to_log_id(id: &LogId) -> entry::LogId {
    entry::LogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(super) fn from_log_id(id: entry::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
}

fn put_option_id(out: &mut Vec<u8>, id: Option<LogId>) {
    out.push(u8::from(id.is_some()));
    if let Some(id) = id {
        for part in [id.leader_id.term, id.leader_id.node_id, id.index] {
            put_u64(out, part);
        }
    }
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership<u64, BasicNode>) {
    put_u32(out, membership.get_joint_config().len());
    for voters in membership.get_joint_config() {
        put_u32(out, voters.len());
        for &voter in voters {
            put_u64(out, voter);
        }
    }
    put_u32(out, membership.nodes().count());
    for (&id, node) in membership.nodes() {
        put_u64(out, id);
        put_u32(out, node.addr.len());
        out.extend_from_slice(node.addr.as_bytes());
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("members and their addresses are few");
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

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

    fn option_id(&mut self) -> Option<Option<LogId>> {
        if self.u8()? == 0 {
            return Some(None);
        }
        let leader = CommittedLeaderId::new(self.u64()?, self.u64()?);
        Some(Some(LogId::new(leader, self.u64()?)))
    }

    fn membership(&mut self) -> Option<Membership<u64, BasicNode>> {
        let mut configs = Vec::new();
        for _ in 0..self.u32()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.u32()? {
                voters.insert(self.u64()?);
            }
            configs.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.u32()? {
            let id = self.u64()?;
            let len = self.u32()? as usize;
            let addr = std::str::from_utf8(self.take(len)?).ok()?;
            nodes.insert(id, BasicNode::new(addr));
        }
        Some(Membership::new(configs, nodes))
    }
}
