//! Which nodes hold which partition: rendezvous hashing with bounded load, kept apart by zone.
//!
//! A pure function of who may hold replicas and of who holds them now. What it promises (`placement/tests.rs` holds it to that):
//! - **Replicas** of a partition are on different nodes, and in as many zones as there are: no zone has more of them than the most
//!   even spread needs. Zones come first, balance second.
//! - **Balance**: no chain of moves makes two nodes more alike. Without zones, or with zones of equal size, all nodes
//!   have the mean rounded down or up; a node that is alone in its zone has what the zone needs.
//! - **Leaders**: each node is the preferred leader of the mean rounded down or up, as far as its replicas allow.
//! - **Stability**: nothing moves while nothing changes. A node that comes gets its own share, with N nodes before at most
//!   1.2 / (N + 1) of all replicas where zones ask for no more, and beside that at most one in [`JOIN_EXTRA_SHARE`] of all moves to make
//!   the zones fit. When a node goes, what was on it moves, and at most one in [`LEAVE_EXTRA_SHARE`] of all others.
//!
//! Does not know what moves now: [`crate::controller`] walks from what there is to what is wanted here, a step at a time.

mod board;
mod chain;
#[cfg(test)]
mod tests;

use crate::meta::{Member, MemberState};
use crate::peers::NodeId;
use board::Board;

/// Copies of each partition where there are as many nodes.
pub const REPLICATION_FACTOR_MAX: usize = 3;
/// When a node comes, at most one in so many replicas moves between the others. Only where there are zones.
pub const JOIN_EXTRA_SHARE: usize = 30;
/// When a node goes, at most one in so many replicas moves that was not on it: the rest of its zone takes what has to stay there,
/// and gives other replicas away.
pub const LEAVE_EXTRA_SHARE: usize = 12;

/// The nodes of one partition, the preferred leader first.
pub type Replicas = Vec<NodeId>;

/// A node that may hold replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub node: NodeId,
    /// Nodes of one zone are expected to fail together. Nodes that name none share the zone of no name.
    pub zone: String,
}

impl Host {
    /// The members that may hold replicas: neither draining nor removed.
    pub fn of<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<Self> {
        let active = members.into_iter().filter(|member| member.state == MemberState::Active);
        active.map(|member| Self { node: member.spec.id, zone: member.spec.zone.clone() }).collect()
    }
}

/// How many copies of a partition so many nodes keep.
pub fn replication_factor(hosts: usize) -> usize {
    hosts.min(REPLICATION_FACTOR_MAX)
}

/// Who should hold each partition, given who holds them now: `current` by partition, empty for one that nobody holds yet. Nodes
/// in it that are not among `hosts` lose what they hold. The order of `hosts` does not matter; without any nobody holds anything.
pub fn target(hosts: &[Host], partitions: u16, replication_factor: usize, current: &[Replicas]) -> Vec<Replicas> {
    let mut board = Board::new(hosts, partitions, replication_factor, current);
    board.keep();
    board.fill();
    board.level();
    board.lead()
}

/// How much a node wants a partition: the rendezvous hash. Another one would move nothing that is placed, for what is held
/// is kept; it spreads what is free, in the same way on every node.
fn weight(node: NodeId, partition: usize) -> u64 {
    mix(mix(node) ^ (partition as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The finalizer of splitmix64: every bit of the input turns half of the output's.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
