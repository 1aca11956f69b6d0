//! Who is in the cluster and who holds which partition.
//!
//! Invariants, kept by every command and checked when the state is read:
//! - as many placements as the cluster has partitions, none before it has a member;
//! - replicas of a partition are different members, at least one; a move names a member that comes and is none of them, or
//!   one that goes and is, or both;
//! - an epoch never comes again: each change of a partition's placement but the begin of a move raises it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::command::Cluster;
use super::member::{Member, MemberState};
use crate::peers::NodeId;

/// No number of changes comes near.
pub(super) const CHANGES_MAX: u64 = 1 << 62;

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPlacement {
    /// One more with each change.
    pub epoch: u64,
    /// The topology's revision when this last changed, the begin of a move too.
    pub revision: u64,
    /// The voters of its group when no move is under way, the preferred leader first.
    pub replicas: Vec<NodeId>,
    #[serde(rename = "move", default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Move>,
}

/// A replica on its way: a node that comes, one that goes, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<NodeId>,
}

/// Members and placement, as of one point in the metadata group's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pub cluster: Option<Cluster>,
    /// One more with each change of members or placement.
    pub revision: u64,
    /// All that ever were, tombstones too.
    pub members: BTreeMap<NodeId, Member>,
    /// By partition.
    pub placement: Vec<PartitionPlacement>,
}

/// Where a node's copy of the topology can be seen, from the moment it is read back from disk. That is before the node is open, for to open
/// it may need others, whose addresses are there. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TopologyView(Arc<OnceLock<watch::Receiver<Arc<Topology>>>>);

impl TopologyView {
    /// # Panics
    /// When it shows another node's already.
    pub(crate) fn show(&self, topology: watch::Receiver<Arc<Topology>>) {
        assert!(self.0.set(topology).is_ok(), "a view is of one node");
    }

    /// None before the node has read it.
    pub fn now(&self) -> Option<Arc<Topology>> {
        self.0.get().map(|topology| Arc::clone(&topology.borrow()))
    }
}

impl PartitionPlacement {
    /// The replicas there will be when the move has ended: who comes takes the place of who goes.
    pub fn after_move(&self) -> Vec<NodeId> {
        let Some(Move { add, remove }) = self.moving else { return self.replicas.clone() };
        let mut replicas = self.replicas.clone();
        match (add, remove.and_then(|node| replicas.iter().position(|held| *held == node))) {
            (Some(add), Some(at)) => replicas[at] = add,
            (Some(add), None) => replicas.push(add),
            (None, Some(at)) => drop(replicas.remove(at)),
            (None, None) => (),
        }
        replicas
    }

    /// Whether the node has a replica or gets one.
    pub fn names(&self, node: NodeId) -> bool {
        self.replicas.contains(&node) || self.moving.is_some_and(|moving| moving.add == Some(node))
    }
}

impl Topology {
    /// Members that are not removed.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| !member.is_removed())
    }

    /// Members that may get replicas.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.state == MemberState::Active)
    }

    pub fn state(&self, node: NodeId) -> Option<MemberState> {
        self.members.get(&node).map(|member| member.state)
    }

    pub fn is_active(&self, node: NodeId) -> bool {
        self.state(node) == Some(MemberState::Active)
    }

    /// The next change's revision.
    pub(super) fn revise(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// The reason why a state that was read is none that commands lead to.
    pub(super) fn invalid(&self) -> Option<String> {
        if self.revision > CHANGES_MAX {
            return Some(format!("revision {}, to which no changes lead", self.revision));
        }
        let partitions = self.cluster.as_ref().map_or(0, |cluster| usize::from(cluster.partitions));
        let expected = if self.members.is_empty() { 0 } else { partitions };
        if self.placement.len() != expected {
            return Some(format!("{} placements of {expected} partitions", self.placement.len()));
        }
        let wrong = |(at, placed): (usize, &PartitionPlacement)| {
            let reason = self.invalid_placement(placed)?;
            Some(format!("placement of partition {at}: {reason}"))
        };
        self.placement.iter().enumerate().find_map(wrong)
    }

    fn invalid_placement(&self, placed: &PartitionPlacement) -> Option<&'static str> {
        let different: BTreeSet<&NodeId> = placed.replicas.iter().collect();
        if placed.epoch > CHANGES_MAX || placed.revision > self.revision {
            return Some("an epoch or revision that no changes lead to");
        }
        let moving = placed.moving.unwrap_or(Move { add: None, remove: None });
        let named = placed.replicas.iter().chain(&moving.add);
        if placed.replicas.is_empty() || different.len() < placed.replicas.len() {
            return Some("no replicas, or a node twice");
        }
        if named.into_iter().any(|node| !self.members.contains_key(node)) {
            return Some("a node that never was a member");
        }
        let moves = moving.add.is_some() || moving.remove.is_some();
        if placed.moving.is_some() && !(moves && self.move_fits(placed, moving)) {
            return Some("a move that does not fit");
        }
        None
    }

    /// Whether the one who comes is not there yet, who goes is, and somebody stays.
    pub(super) fn move_fits(&self, placed: &PartitionPlacement, moving: Move) -> bool {
        let comes = moving.add.is_none_or(|node| !placed.replicas.contains(&node));
        let goes = moving.remove.is_none_or(|node| placed.replicas.contains(&node));
        let stays = moving.add.is_some() || moving.remove.is_none() || placed.replicas.len() > 1;
        comes && goes && stays
    }
}
