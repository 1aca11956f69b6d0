//! Bytes of what the library keeps in a log or a checkpoint: memberships and the applied state.
//!
//! Layout in `docs/format/log.md`. Decoding takes any bytes and never panics.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{BasicNode, CommittedLeaderId, Membership, StoredMembership};

use crate::codec::{Reader, put_u32, put_u64};
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
        self.put(&mut out);
        Bytes::from(out)
    }

    /// `None` when the bytes are not an applied state that we know.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == STATE_VERSION).then_some(())?;
        Self::read(&mut reader)
    }

    /// Without the version, as part of something that has one.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_option_id(out, self.applied);
        put_option_id(out, *self.membership.log_id());
        put_membership(out, self.membership.membership());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let applied = option_id(reader)?;
        let log_id = option_id(reader)?;
        let membership = membership(reader)?;
        Some(Self { applied, membership: StoredMembership::new(log_id, membership) })
    }
}

pub(super) fn encode_membership(membership: &Membership<u64, BasicNode>) -> Bytes {
    let mut out = Vec::new();
    put_membership(&mut out, membership);
    Bytes::from(out)
}

pub(super) fn decode_membership(bytes: &[u8]) -> Option<Membership<u64, BasicNode>> {
    membership(&mut Reader::new(bytes))
}

pub(crate) fn to_log_id(id: &LogId) -> entry::LogId {
    entry::LogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(super) fn from_log_id(id: entry::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
}

pub(super) fn put_option_id(out: &mut Vec<u8>, id: Option<LogId>) {
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

/// The last index there is counts as unreadable: every index has one after it.
pub(super) fn option_id(reader: &mut Reader<'_>) -> Option<Option<LogId>> {
    if !reader.bool()? {
        return Some(None);
    }
    let leader = CommittedLeaderId::new(reader.u64()?, reader.u64()?);
    let index = reader.u64()?;
    (index < u64::MAX).then(|| Some(LogId::new(leader, index)))
}

fn membership(reader: &mut Reader<'_>) -> Option<Membership<u64, BasicNode>> {
    let mut configs = Vec::new();
    for _ in 0..reader.u32()? {
        let mut voters = BTreeSet::new();
        for _ in 0..reader.u32()? {
            voters.insert(reader.u64()?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.u32()? {
        let id = reader.u64()?;
        let len = reader.u32()? as usize;
        let addr = std::str::from_utf8(reader.take(len)?).ok()?;
        nodes.insert(id, BasicNode::new(addr));
    }
    Some(Membership::new(configs, nodes))
}
