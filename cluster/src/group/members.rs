//! Changes of a group's members, asked of its leader. All may be repeated: what is done already succeeds again.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers};
use serde::{Deserialize, Serialize};

use super::{Group, Standing};
use crate::peers::NodeId;

/// A change that a majority has not taken by then is left to itself.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// What becomes of voters that are voters no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    AsLearner,
    Entirely,
}

/// Why members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    #[error("this node does not lead the group, {}", leader.map_or("nobody does".to_owned(), |id| format!("node {id:016x} does")))]
    NotLeader { leader: Option<NodeId> },
    #[error("another change of the group's members is under way")]
    InProgress,
    #[error("node {node:016x} is no member of the group, it has to be a learner first")]
    NotMember { node: NodeId },
    #[error("the group is in term {term} with the configuration of entry {config} by now")]
    Changed { term: u64, config: u64 },
    #[error("a group without voters could do nothing")]
    NoVoters,
    /// Perhaps done, perhaps later: to be repeated.
    #[error("the change was not confirmed within {waited:?}")]
    Unconfirmed { waited: Duration },
    #[error("the group is stopped: {reason}")]
    Stopped { reason: String },
}

/// The state of a group that a change was decided for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub term: u64,
    /// Log index of the configuration.
    pub config: u64,
}

/// A change of a group's members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStep {
    AddLearner(NodeId),
    RemoveLearner(NodeId),
    /// Who was a voter and is not among these leaves the group.
    ChangeVoters(BTreeSet<NodeId>),
}

impl Group {
    /// Carries a change out if the group still is in the state that it was decided for. Bounded.
    pub async fn step(&self, at: At, step: MemberStep) -> Result<(), MemberError> {
        let (change, leaving) = match step {
            MemberStep::AddLearner(node) => {
                (ChangeMembers::AddNodes([(node, BasicNode::default())].into()), Leaving::AsLearner)
            }
            MemberStep::RemoveLearner(node) => (ChangeMembers::RemoveNodes([node].into()), Leaving::Entirely),
            MemberStep::ChangeVoters(voters) if voters.is_empty() => return Err(MemberError::NoVoters),
            MemberStep::ChangeVoters(voters) => (ChangeMembers::ReplaceAllVoters(voters), Leaving::Entirely),
        };
        let Ok(_turn) = self.changing.try_lock() else { return Err(MemberError::InProgress) };
        self.check(at)?;
        self.carry_out(change, leaving).await
    }

    /// Fails unless this node leads the group in that term and with that configuration.
    pub fn check(&self, at: At) -> Result<(), MemberError> {
        let now = At { term: self.led()?.term, config: self.config() };
        if now == at { Ok(()) } else { Err(MemberError::Changed { term: now.term, config: now.config }) }
    }

    /// Takes a node in that gets everything and has no vote. Returns when a majority knows; it catches up from then on.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), MemberError> {
        let change = || ChangeMembers::AddNodes([(node, BasicNode::default())].into());
        self.change(|standing| standing.is_member(node), change, Leaving::AsLearner).await
    }

    /// As a leader: whether a member lacks at most `lag` entries.
    pub fn caught_up(&self, node: NodeId, lag: u64) -> Result<bool, MemberError> {
        let standing = self.led()?;
        if !standing.is_member(node) {
            return Err(MemberError::NotMember { node });
        }
        let next = |id: Option<crate::log::entry::LogId>| id.map_or(0, |id| id.index + 1);
        let (matched, last) = (next(self.matched(node)), next(self.last()));
        Ok(node == self.node_id || (matched > 0 && matched + lag >= last))
    }

    /// Makes these members the voters. Whoever leads on may be another, if this node is not among them.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>, leaving: Leaving) -> Result<(), MemberError> {
        if voters.is_empty() {
            return Err(MemberError::NoVoters);
        }
        let done = |standing: &Standing| standing.voters == [voters.clone()];
        self.change(done, || ChangeMembers::ReplaceAllVoters(voters.clone()), leaving).await
    }

    /// Removes a member, voter or not.
    pub async fn remove(&self, node: NodeId) -> Result<(), MemberError> {
        let standing = self.led()?;
        if standing.is_voter(node) {
            let target = standing.voters.last().into_iter().flatten().copied().filter(|&voter| voter != node);
            self.change_voters(target.collect(), Leaving::Entirely).await?;
        }
        let done = |standing: &Standing| !standing.is_member(node);
        self.change(done, || ChangeMembers::RemoveNodes([node].into()), Leaving::Entirely).await
    }

    fn led(&self) -> Result<Standing, MemberError> {
        let standing = self.standing();
        if standing.leads { Ok(standing) } else { Err(MemberError::NotLeader { leader: standing.leader }) }
    }

    /// Carries a change out unless it is `done`.
    async fn change(
        &self,
        done: impl Fn(&Standing) -> bool,
        change: impl FnOnce() -> ChangeMembers<NodeId, BasicNode>,
        leaving: Leaving,
    ) -> Result<(), MemberError> {
        let Ok(_turn) = self.changing.try_lock() else { return Err(MemberError::InProgress) };
        if done(&self.led()?) && self.members_committed() {
            return Ok(());
        }
        self.carry_out(change(), leaving).await
    }

    async fn carry_out(&self, change: ChangeMembers<NodeId, BasicNode>, leaving: Leaving) -> Result<(), MemberError> {
        let changed = self.raft.change_membership(change, leaving == Leaving::AsLearner);
        match tokio::time::timeout(CHANGE_MAX, changed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(why(error)),
            Err(_) => Err(MemberError::Unconfirmed { waited: CHANGE_MAX }),
        }
    }

    /// Whether the members that the group goes by are committed.
    pub(super) fn members_committed(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let since = *metrics.borrow().membership_config.log_id();
        since <= self.machine.applied()
    }
}

fn why(error: RaftError<NodeId, ClientWriteError<NodeId, BasicNode>>) -> MemberError {
    match error {
        RaftError::Fatal(fatal) => MemberError::Stopped { reason: fatal.to_string() },
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => MemberError::NotLeader { leader: to.leader_id },
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) => MemberError::InProgress,
            ChangeMembershipError::EmptyMembership(_) => MemberError::NoVoters,
            ChangeMembershipError::LearnerNotFound(missing) => MemberError::NotMember { node: missing.node_id },
        },
    }
}
