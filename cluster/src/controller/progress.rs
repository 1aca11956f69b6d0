//! Takes a partition one step on: its move if there is one, and its group's configuration to what the placement says.

use std::collections::BTreeSet;

use pharos_model::PartitionId;

use super::View;
use super::configure::{self, Goal};
use super::observed::GroupReport;
use super::step::{GroupRef, Guard, Step};
use crate::meta::{Move, PartitionPlacement};
use crate::peers::NodeId;

/// Where a partition is on its way.
pub(super) enum Progress {
    Step(Step),
    /// Something is under way, or it is unknown.
    Waits,
    /// Nothing moves, and its group is what the placement says or as near as it gets.
    AtRest,
}

pub(super) fn next(view: View<'_>, partition: PartitionId, placed: &PartitionPlacement) -> Progress {
    let Some(report) = view.observed.partitions.get(&partition) else { return Progress::Waits };
    let step = match placed.moving {
        Some(moving) => move_on(view, partition, placed, (moving, report)),
        None => {
            let goal = Goal { voters: placed.replicas.clone(), learners: BTreeSet::new() };
            configure::next(view, guard(partition, placed, report), report, &goal)
        }
    };
    match step {
        Some(step) => Progress::Step(step),
        // Also when a replica is missing that cannot come now: a move that replaces it is the way on.
        None if placed.moving.is_none() && report.settled => Progress::AtRest,
        None => Progress::Waits,
    }
}

fn move_on(
    view: View<'_>,
    partition: PartitionId,
    placed: &PartitionPlacement,
    (moving, report): (Move, &GroupReport),
) -> Option<Step> {
    let (guard, epoch) = (guard(partition, placed, report), placed.epoch);
    let after = Goal { voters: placed.after_move(), learners: BTreeSet::new() };
    if after.is_reached(report) {
        return Some(Step::FinishMove { partition, epoch, moving });
    }
    // One who stays is damaged: it is made anew before anything else changes, for the others are needed as they are.
    let stays = placed.replicas.iter().filter(|node| Some(**node) != moving.remove);
    let hurt = stays.copied().any(|node| view.is_damaged(node, partition, placed));
    // Once it may have a vote, there is only the way forward.
    let coming = moving.add.filter(|node| !report.voters.contains(node));
    let Some(coming) = coming else {
        let as_before =
            report.settled && report.voters.iter().eq(&placed.replicas.iter().copied().collect::<BTreeSet<_>>());
        // Too few could agree until somebody comes back; should that one come under another name, it is let in once the move is given up.
        let silent = |node: &&NodeId| view.is_silent_for(**node, view.limits.move_silence_max);
        let too_few = after.voters.iter().filter(silent).count() >= after.voters.len().div_ceil(2);
        if (hurt || too_few) && as_before {
            return Some(Step::CancelMove { partition, epoch, moving });
        }
        return configure::next(view, guard, report, &after);
    };
    let lost = view.is_silent_for(coming, view.limits.move_silence_max) || view.is_damaged(coming, partition, placed);
    if !view.topology.is_active(coming) || lost || hurt {
        // Out of the group first: that fails if it has a vote meanwhile.
        return Some(match report.has_member(coming) {
            true => Step::RemoveLearner { guard, node: coming },
            false => Step::CancelMove { partition, epoch, moving },
        });
    }
    if view.is_alive(coming) && report.has_caught_up(coming, view.limits.lag_entries_max) {
        return configure::next(view, guard, report, &after);
    }
    let goal = Goal { voters: placed.replicas.clone(), learners: BTreeSet::from([coming]) };
    configure::next(view, guard, report, &goal)
}

/// Replicas on nodes that neither the placement nor the group knows any more.
pub(super) fn drops(view: View<'_>, partition: PartitionId, placed: &PartitionPlacement) -> Vec<Step> {
    let report = view.observed.partitions.get(&partition).filter(|report| report.settled);
    let Some(report) = report else { return Vec::new() };
    let superfluous = |node: &NodeId| {
        let said = &view.observed.nodes[node];
        let knows = said.revision >= placed.revision && view.is_alive(*node);
        knows && said.replicas.contains(&partition) && !placed.names(*node) && !report.has_member(*node)
    };
    let drop = |node| Step::DropReplica { partition, node, epoch: placed.epoch, config: report.config };
    view.observed.nodes.keys().copied().filter(superfluous).map(drop).collect()
}

pub(super) fn guard(partition: PartitionId, placed: &PartitionPlacement, report: &GroupReport) -> Guard {
    Guard {
        group: GroupRef::Partition(partition),
        leader: report.leader,
        term: report.term,
        config: report.config,
        epoch: placed.epoch,
    }
}
