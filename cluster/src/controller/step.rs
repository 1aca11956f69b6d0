//! What is to be done, for one group or node.

use std::collections::BTreeSet;

use pharos_model::PartitionId;

use crate::meta::Move;
use crate::peers::NodeId;

/// A Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupRef {
    Meta,
    Partition(PartitionId),
}

/// When a change of a group was right: see [`crate::controller`] for who checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    pub group: GroupRef,
    /// Whom to ask.
    pub leader: NodeId,
    pub term: u64,
    /// Log index of the configuration.
    pub config: u64,
    /// Of the partition's placement; 0 for the metadata group, which has none.
    pub epoch: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    BeginMove {
        partition: PartitionId,
        epoch: u64,
        moving: Move,
    },
    FinishMove {
        partition: PartitionId,
        epoch: u64,
        moving: Move,
    },
    CancelMove {
        partition: PartitionId,
        epoch: u64,
        moving: Move,
    },
    /// Puts another replica first.
    PreferLeader {
        partition: PartitionId,
        epoch: u64,
        leader: NodeId,
    },
    /// Begins to send the log to a node that has no vote.
    AddLearner {
        guard: Guard,
        node: NodeId,
    },
    RemoveLearner {
        guard: Guard,
        node: NodeId,
    },
    /// Makes these the voters. Who was one and is not among them leaves the group.
    ChangeVoters {
        guard: Guard,
        voters: BTreeSet<NodeId>,
    },
    /// By the recipe of the measurements; given up when the target does not lead soon.
    TransferLeader {
        guard: Guard,
        to: NodeId,
    },
    /// The node is in neither the placement of that epoch nor the configuration of that index.
    DropReplica {
        partition: PartitionId,
        node: NodeId,
        epoch: u64,
        config: u64,
    },
}

impl Step {
    /// The label of its metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BeginMove { .. } => "begin_move",
            Self::FinishMove { .. } => "finish_move",
            Self::CancelMove { .. } => "cancel_move",
            Self::PreferLeader { .. } => "prefer_leader",
            Self::AddLearner { .. } => "add_learner",
            Self::RemoveLearner { .. } => "remove_learner",
            Self::ChangeVoters { .. } => "change_voters",
            Self::TransferLeader { .. } => "transfer_leader",
            Self::DropReplica { .. } => "drop_replica",
        }
    }

    /// The group that it is about.
    pub fn group(&self) -> GroupRef {
        match self {
            Self::BeginMove { partition, .. }
            | Self::FinishMove { partition, .. }
            | Self::CancelMove { partition, .. }
            | Self::PreferLeader { partition, .. }
            | Self::DropReplica { partition, .. } => GroupRef::Partition(*partition),
            Self::AddLearner { guard, .. }
            | Self::RemoveLearner { guard, .. }
            | Self::ChangeVoters { guard, .. }
            | Self::TransferLeader { guard, .. } => guard.group,
        }
    }
}
