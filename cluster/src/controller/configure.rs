//! Brings the configuration of a Raft group to the members that it should have, one change at a time.
//!
//! Invariant: no change is asked for that a majority of the voters to be could not commit, so none gets stuck half-way while nobody
//! else dies, and none makes a voter of a node that does not have the data.

use std::collections::BTreeSet;

use super::observed::GroupReport;
use super::step::{Guard, Step};
use super::{View, leaders};
use crate::peers::NodeId;

/// Who should be in a group.
pub(super) struct Goal {
    /// Who should rather lead first.
    pub voters: Vec<NodeId>,
    pub learners: BTreeSet<NodeId>,
}

impl Goal {
    fn voter_set(&self) -> BTreeSet<NodeId> {
        self.voters.iter().copied().collect()
    }

    fn has_member(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }

    /// Whether the group is exactly that.
    pub(super) fn is_reached(&self, report: &GroupReport) -> bool {
        report.settled && report.voters == self.voter_set() && report.learners == self.learners
    }
}

/// The next change; none when the goal is reached, or waits for somebody who is dead or lags.
pub(super) fn next(view: View<'_>, guard: Guard, report: &GroupReport, goal: &Goal) -> Option<Step> {
    let wanted = goal.voters.iter().chain(&goal.learners).copied();
    let missing = wanted.filter(|node| !report.has_member(*node) && view.is_alive(*node)).min();
    let superfluous = report.learners.iter().copied().find(|node| !goal.has_member(*node));
    if !report.settled || report.voters != goal.voter_set() {
        change_voters(view, guard, report, goal)
            .or_else(|| missing.map(|node| Step::AddLearner { guard, node }))
            .or_else(|| superfluous.map(|node| Step::RemoveLearner { guard, node }))
    } else {
        let missing = missing.map(|node| Step::AddLearner { guard, node });
        missing.or_else(|| superfluous.map(|node| Step::RemoveLearner { guard, node }))
    }
}

fn change_voters(view: View<'_>, guard: Guard, report: &GroupReport, goal: &Goal) -> Option<Step> {
    let voters = goal.voter_set();
    if voters.contains(&report.leader) {
        return can_vote(view, report, &voters).then_some(Step::ChangeVoters { guard, voters });
    }
    // Who leads and goes hands over before, so that nobody has to wait for an election.
    let stay: Vec<NodeId> = goal.voters.iter().copied().filter(|node| report.voters.contains(node)).collect();
    if !stay.is_empty() {
        let best = stay.iter().find(|node| leaders::can_lead(view, report, **node));
        let to = best.or_else(|| stay.iter().find(|node| leaders::can_take_over(view, report, **node)));
        return to.map(|to| Step::TransferLeader { guard, to: *to });
    }
    let both: BTreeSet<NodeId> = report.voters.union(&voters).copied().collect();
    can_vote(view, report, &both).then_some(Step::ChangeVoters { guard, voters: both })
}

/// Whether all new voters and a majority of all are alive and have the data.
fn can_vote(view: View<'_>, report: &GroupReport, voters: &BTreeSet<NodeId>) -> bool {
    let ready = |node: &&NodeId| view.is_alive(**node) && report.has_caught_up(**node, view.limits.lag_entries_max);
    let ready: BTreeSet<NodeId> = voters.iter().filter(ready).copied().collect();
    let new_are_ready = voters.difference(&report.voters).all(|node| ready.contains(node));
    new_are_ready && ready.len() > voters.len() / 2
}
