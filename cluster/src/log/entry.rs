//! What a log keeps for a group: its entries and its vote. Independent of the Raft library.

use std::fmt;

use bytes::Bytes;

/// One replicated group of a node, unique in the node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one entry of a group for ever: the leader that proposed it and its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    pub term: u64,
    pub node: u64,
    /// Counted from 0 without gaps.
    pub index: u64,
}

/// Whom this node votes for, and whether a quorum agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: LogId,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// What a fresh leader writes to commit what came before it.
    Blank,
    /// Commands for the state machine, applied in order.
    Commands(Vec<Bytes>),
    /// The group's members, encoded by the Raft adaptor.
    Membership(Bytes),
}

impl Payload {
    /// Bytes of content.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Commands(commands) => commands.iter().map(Bytes::len).sum(),
            Self::Membership(members) => members.len(),
        }
    }
}

/// What a group must remember beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub vote: Option<Vote>,
    /// Newest entry known to be committed. May lag; replay up to it needs no agreement.
    pub committed: Option<LogId>,
    /// Newest entry that a checkpoint covers and the log no longer has.
    pub purged: Option<LogId>,
    /// Log index of the configuration at which the group was last dropped from this node. Until there is a newer one, older ones
    /// may name this node, which does not know any more what it did by them.
    pub dropped: Option<u64>,
}

impl HardState {
    /// What is left of it when the group is dropped at a configuration.
    #[must_use]
    pub fn dropped_at(self, config: u64) -> Self {
        Self { vote: self.vote, dropped: self.dropped.max(Some(config)), ..Self::default() }
    }
}
