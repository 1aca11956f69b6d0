//! Who leads: the first replica that can; and not a node that is drained, if another can. One transfer at a time for each node,
//! for a node that takes over many groups at once answers none of them.

use std::collections::BTreeSet;

use pharos_model::PartitionId;

use super::View;
use super::observed::GroupReport;
use super::progress::guard;
use super::step::{GroupRef, Guard, Step};
use crate::meta::PartitionPlacement;
use crate::peers::NodeId;

/// Transfers in groups where nothing else happens, and none on nodes that take part in one of `steps`, or one under way.
pub(super) fn next(view: View<'_>, at_rest: &BTreeSet<PartitionId>, steps: &[Step]) -> Vec<Step> {
    let mut busy: BTreeSet<NodeId> =
        steps.iter().chain(view.under_way).flat_map(transfer).flat_map(|(guard, to)| [guard.leader, to]).collect();
    let mut transfers = Vec::new();
    for (partition, placed) in view.placement().filter(|(partition, _)| at_rest.contains(partition)) {
        let Some(report) = view.observed.partitions.get(&partition) else { continue };
        let Some(to) = better(view, placed, report) else { continue };
        if [report.leader, to].iter().all(|node| !busy.contains(node)) {
            busy.extend([report.leader, to]);
            transfers.push(Step::TransferLeader { guard: guard(partition, placed, report), to });
        }
    }
    transfers
}

fn transfer(step: &Step) -> Option<(Guard, NodeId)> {
    match step {
        Step::TransferLeader { guard, to } if guard.group != GroupRef::Meta => Some((*guard, *to)),
        _ => None,
    }
}

/// Who should lead instead of who does.
fn better(view: View<'_>, placed: &PartitionPlacement, report: &GroupReport) -> Option<NodeId> {
    let can_lead = |node: &NodeId| *node != report.leader && can_lead(view, report, *node);
    if view.topology.is_active(report.leader) {
        // A leader that works is only left for the one that is preferred.
        return placed.replicas.first().copied().filter(can_lead);
    }
    placed.replicas.iter().copied().find(can_lead)
}

/// Whether a transfer to the node would soon succeed, and the node stays.
pub(super) fn can_lead(view: View<'_>, report: &GroupReport, node: NodeId) -> bool {
    can_take_over(view, report, node) && view.topology.is_active(node)
}

/// Whether a transfer to the node would soon succeed.
pub(super) fn can_take_over(view: View<'_>, report: &GroupReport, node: NodeId) -> bool {
    let caught_up = report.has_caught_up(node, view.limits.lag_entries_max);
    let leaving = view.observed.nodes.get(&node).is_some_and(|report| report.leaving);
    caught_up && report.voters.contains(&node) && view.is_alive(node) && !leaving
}
