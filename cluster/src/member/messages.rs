//! What members say to each other beside what their groups do: reports, steps, admissions. JSON: few, small, and readable; layout in
//! `docs/format/wire.md`.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::controller::{GroupRef, GroupReport, Guard, Step};
use crate::group::MemberStep;
use crate::meta::Cluster;
use crate::node::{META_GROUP, group_of};
use crate::peers::{CallError, NodeId};

/// What a node says about itself and the groups that it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Of the topology that it had applied before it looked at the rest.
    pub revision: u64,
    /// Partitions of which it has anything on disk.
    pub replicas: Vec<u16>,
    /// Those among them that are damaged and wait to be made anew.
    #[serde(default)]
    pub damaged: Vec<u16>,
    /// By the number of the group.
    pub leads: Vec<(u32, GroupReport)>,
    /// It is about to stop.
    #[serde(default)]
    pub leaving: bool,
}

/// When a change of a group is right; see [`crate::controller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condition {
    pub group: u32,
    pub term: u64,
    pub config: u64,
    pub epoch: u64,
}

/// A step that one node carries out: the leader of a group, or who has a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    Change { at: Condition, step: MemberStep },
    Transfer { at: Condition, to: NodeId },
    Drop { partition: u16, epoch: u64, config: u64 },
}

/// Details of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Application {
    pub http: String,
    pub zone: String,
    pub replaces: Option<NodeId>,
}

/// The node is a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Admission {
    pub cluster: Cluster,
    pub revision: u64,
    pub members: Vec<(NodeId, String)>,
}

impl Condition {
    fn of(guard: Guard) -> Self {
        let group = match guard.group {
            GroupRef::Meta => META_GROUP,
            GroupRef::Partition(partition) => group_of(partition),
        };
        Self { group: group.0, term: guard.term, config: guard.config, epoch: guard.epoch }
    }
}

impl Task {
    /// The node to hand a step to, and what it is told; none for changes of the metadata.
    pub(super) fn of(step: &Step) -> Option<(NodeId, Self)> {
        let change = |guard: &Guard, step| Some((guard.leader, Self::Change { at: Condition::of(*guard), step }));
        match step {
            Step::BeginMove { .. } | Step::FinishMove { .. } | Step::CancelMove { .. } | Step::PreferLeader { .. } => {
                None
            }
            Step::AddLearner { guard, node } => change(guard, MemberStep::AddLearner(*node)),
            Step::RemoveLearner { guard, node } => change(guard, MemberStep::RemoveLearner(*node)),
            Step::ChangeVoters { guard, voters } => change(guard, MemberStep::ChangeVoters(voters.clone())),
            Step::TransferLeader { guard, to } => {
                Some((guard.leader, Self::Transfer { at: Condition::of(*guard), to: *to }))
            }
            Step::DropReplica { partition, node, epoch, config } => {
                Some((*node, Self::Drop { partition: partition.0, epoch: *epoch, config: *config }))
            }
        }
    }
}

pub(super) fn encode(message: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(message).expect("numbers, strings and lists of them always have a JSON form"))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(bytes).map_err(|error| refused(format!("a message cannot be read: {error}")))
}

pub(super) fn refused(reason: impl Into<String>) -> CallError {
    CallError::Refused { reason: reason.into() }
}
