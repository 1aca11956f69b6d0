//! Who votes in the metadata group: three nodes, five from five on, spread over zones. All other members are learners.
//!
//! Voters stay while they are fit: the ones who go are nodes that are removed or silent, drained ones when an active one can take their
//! place, and one of two in a zone when a node of another zone is there. While there is nobody else a drained node keeps its vote: of two
//! voters none can be lost. It leads only where nobody else can.

use std::collections::BTreeMap;

use super::configure::{self, Goal};
use super::observed::GroupReport;
use super::step::{GroupRef, Guard, Step};
use super::{View, leaders};
use crate::meta::Member;
use crate::peers::NodeId;

pub(super) fn next(view: View<'_>) -> Vec<Step> {
    let Some(report) = view.observed.meta.as_ref().filter(|_| view.topology.active().next().is_some()) else {
        return Vec::new();
    };
    let voters = voters(view, report);
    let others = view.topology.present().map(|member| member.spec.id).filter(|node| !voters.contains(node));
    let goal = Goal { learners: others.collect(), voters };
    let GroupReport { leader, term, config, .. } = *report;
    let guard = Guard { group: GroupRef::Meta, leader, term, config, epoch: 0 };
    let step = configure::next(view, guard, report, &goal).or_else(|| {
        let leads = !view.topology.is_active(leader) && report.settled;
        let to = goal.voters.iter().copied().find(|node| leads && leaders::can_lead(view, report, *node))?;
        Some(Step::TransferLeader { guard, to })
    });
    step.into_iter().collect()
}

/// How many vote among so many nodes.
fn voter_count(nodes: usize) -> usize {
    match nodes {
        0..=2 => nodes,
        3..=4 => 3,
        _ => 5,
    }
}

/// Chosen among those who vote and those who could at once: a fresh node becomes a learner first.
fn voters(view: View<'_>, report: &GroupReport) -> Vec<NodeId> {
    let ready = |node| view.is_alive(node) && report.has_caught_up(node, view.limits.lag_entries_max);
    let may_vote = |member: &&Member| {
        let node = member.spec.id;
        report.voters.contains(&node) || (view.topology.is_active(node) && ready(node))
    };
    let mut left: BTreeMap<NodeId, &Member> =
        view.topology.present().filter(may_vote).map(|member| (member.spec.id, member)).collect();
    let count = voter_count(left.len());
    let mut chosen: Vec<&Member> = Vec::new();
    while chosen.len() < count {
        let order = |member: &&Member| {
            let node = member.spec.id;
            let silent = view.is_silent_for(node, view.limits.meta_voter_silence_max);
            let in_zone = chosen.iter().filter(|other| other.spec.zone == member.spec.zone).count();
            // A majority that lives is worth more than one that is spread, and that more than one that stays.
            let stays = report.voters.contains(&node);
            (silent, !view.topology.is_active(node), in_zone, !stays, node != report.leader, node)
        };
        let Some(best) = left.values().copied().min_by_key(order) else { break };
        left.remove(&best.spec.id);
        chosen.push(best);
    }
    chosen.into_iter().map(|member| member.spec.id).collect()
}
