//! Where a group stands: who leads it in which term, and who are its members. And how far it has come.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::metrics::RaftServerMetrics;
use openraft::{BasicNode, Raft};
use tokio::sync::watch;

use super::{Group, Leadership, ReadError, has_own};
use crate::controller::GroupReport;
use crate::log::entry::LogId;
use crate::peers::NodeId;
use crate::raft::{TypeConfig, to_log_id};

/// A group as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub term: u64,
    /// Whom this node takes for the leader. May be one that was.
    pub leader: Option<NodeId>,
    /// This node was elected in this term, and knows of no later one.
    pub leads: bool,
    /// One configuration, or two while voters change.
    pub voters: Vec<BTreeSet<NodeId>>,
    pub learners: BTreeSet<NodeId>,
}

impl Standing {
    pub(super) fn of(metrics: &RaftServerMetrics<NodeId, BasicNode>) -> Self {
        let members = metrics.membership_config.membership();
        Self {
            term: metrics.vote.leader_id.term,
            leader: metrics.current_leader,
            leads: metrics.state.is_leader() && metrics.vote.committed,
            voters: members.get_joint_config().clone(),
            learners: members.learner_ids().collect(),
        }
    }

    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.iter().any(|voters| voters.contains(&node))
    }

    pub fn is_member(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    pub(crate) fn is_only_voter(&self, node: NodeId) -> bool {
        self.voters.iter().all(|voters| voters.iter().eq([&node])) && !self.voters.is_empty()
    }

    /// All voters of all configurations.
    pub fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.iter().flatten().copied().collect()
    }
}

/// Waits for changes of a group's standing.
pub(crate) struct Changes(watch::Receiver<RaftServerMetrics<NodeId, BasicNode>>);

impl Changes {
    /// `false` when the group has ended.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    pub(crate) fn standing(&mut self) -> Standing {
        Standing::of(&self.0.borrow_and_update())
    }
}

impl Group {
    pub fn standing(&self) -> Standing {
        standing(&self.raft)
    }

    pub(crate) fn standings(&self) -> Changes {
        Changes(self.raft.server_metrics())
    }

    /// The newest entry that is applied here, and every one after it.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.machine.progress()
    }

    /// Waits until the entry at `index` is applied here.
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> Result<(), ReadError> {
        let mut applied = self.applied();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied.index >= index));
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ReadError::Behind { group: self.id, index, waited: timeout }),
        }
    }

    /// As the leader of `term`: the newest entry applied, once everything is that was answered before this node led.
    pub(crate) async fn own_applied(&self, term: u64, timeout: Duration) -> Result<u64, ReadError> {
        let mut applied = self.applied();
        let leader = Leadership { term, node: self.node_id };
        let own = applied.wait_for(|applied| has_own(*applied, leader, self.resumed));
        if let Ok(Ok(applied)) = tokio::time::timeout(timeout, own).await
            && let Some(applied) = *applied
        {
            return Ok(applied.index);
        }
        let reason = format!("the leader of term {term} has not applied what was there before it within {timeout:?}");
        Err(ReadError::Unconfirmed { group: self.id, reason })
    }

    /// Whether the vote of this node is `leader`'s in `term`: then no later leader was elected with it.
    pub(crate) fn votes_for(&self, leader: NodeId, term: u64) -> bool {
        self.log.hard_state().vote.is_some_and(|vote| (vote.node, vote.term) == (leader, term))
    }

    /// What the leader says of its group; none when this node does not lead it.
    pub fn report(&self) -> Option<GroupReport> {
        let standing = self.standing();
        if !standing.leads || self.is_ended() {
            return None;
        }
        let settled = standing.voters.len() == 1 && self.members_committed();
        let members = standing.all_voters().into_iter().chain(standing.learners.iter().copied());
        let matched = members.filter_map(|node| Some((node, self.matched(node)?.index))).collect();
        Some(GroupReport {
            leader: self.node_id,
            term: standing.term,
            config: self.config(),
            voters: standing.all_voters(),
            learners: standing.learners,
            settled,
            last: self.last().map_or(0, |last| last.index),
            matched,
        })
    }

    /// The newest entry of the log.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.raft.data_metrics().borrow().last_log.as_ref().map(to_log_id)
    }

    /// As a leader, the newest entry that a member is known to have.
    pub(super) fn matched(&self, member: NodeId) -> Option<LogId> {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow();
        metrics.replication.as_ref()?.get(&member)?.as_ref().map(to_log_id)
    }
}

fn standing(raft: &Raft<TypeConfig>) -> Standing {
    Standing::of(&raft.server_metrics().borrow())
}
