//! What groups and nodes report. Any of it may be old.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_model::PartitionId;
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::peers::NodeId;

/// Everything known beside the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The metadata group's own.
    pub meta: Option<GroupReport>,
    /// Of each group the report of the highest term; none while it has no leader that was heard of.
    pub partitions: BTreeMap<PartitionId, GroupReport>,
    pub nodes: BTreeMap<NodeId, NodeReport>,
}

/// What the leader of a group says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    pub leader: NodeId,
    pub term: u64,
    /// Log index of the configuration that is in force. With the term it names one; alone too, once it is committed.
    pub config: u64,
    /// While the configuration changes from one set of voters to another, those of both.
    pub voters: BTreeSet<NodeId>,
    pub learners: BTreeSet<NodeId>,
    /// The configuration is committed and has one set of voters.
    pub settled: bool,
    /// Index of the leader's last entry.
    pub last: u64,
    /// Index of the last entry that each member is known to have; none while the leader has not heard of it.
    pub matched: BTreeMap<NodeId, u64>,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Since something came from it; since the observer began, when nothing ever did.
    pub silence: Duration,
    /// Revision of the topology that it had applied when it said the rest.
    pub revision: u64,
    /// Partitions of which it has a replica on disk.
    pub replicas: BTreeSet<PartitionId>,
    /// Those among them that lost something others count on. They take no part.
    pub damaged: BTreeSet<PartitionId>,
    /// It is about to stop, and hands its leads over.
    pub leaving: bool,
}

impl Observed {
    /// Without what damaged replicas had: it was acknowledged once, and is gone.
    #[must_use]
    pub(super) fn without_damaged(&self) -> Self {
        let mut observed = self.clone();
        for (node, report) in &self.nodes {
            for partition in &report.damaged {
                if let Some(group) = observed.partitions.get_mut(partition) {
                    group.matched.remove(node);
                }
            }
        }
        observed
    }

    /// Whether something came from the node lately.
    pub fn is_heard(&self, node: NodeId, limits: &Limits) -> bool {
        self.nodes.get(&node).is_some_and(|report| report.silence <= limits.alive_silence_max)
    }
}

impl GroupReport {
    pub fn has_member(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }

    /// Entries that the node lacks; unknown when the leader has not heard of it.
    pub fn lag(&self, node: NodeId) -> Option<u64> {
        if node == self.leader {
            return Some(0);
        }
        self.matched.get(&node).map(|matched| self.last.saturating_sub(*matched))
    }

    /// Whether a member lacks at most so many entries, and knows that it is a member: it has the configuration in force.
    pub fn has_caught_up(&self, node: NodeId, lag_entries_max: u64) -> bool {
        let knows = node == self.leader || self.matched.get(&node).is_some_and(|matched| *matched >= self.config);
        knows && self.has_member(node) && self.lag(node).is_some_and(|lag| lag <= lag_entries_max)
    }
}
