//! Which moves begin: from where replicas are to where [`crate::placement`] wants them, the most urgent first, as many as the limits
//! let. Then, when nothing moves, which replica is preferred as the leader.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::PartitionId;

use super::observed::GroupReport;
use super::step::Step;
use super::{Limits, View};
use crate::meta::{MemberState, Move, PartitionPlacement};
use crate::peers::NodeId;
use crate::placement::{Host, Replicas, replication_factor, target};

/// Why a replica moves, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// One of the copies is damaged and is made anew.
    Damaged,
    /// One of the copies is gone for ever, or is taken for that.
    Lost,
    /// There are fewer copies than there could be.
    Missing,
    Drained,
    Balance,
}

pub(super) fn next(view: View<'_>, at_rest: &BTreeSet<PartitionId>) -> Vec<Step> {
    let given_up = view.given_up();
    let wanted = wanted(view);

    let mut moves: Vec<(Reason, PartitionId, Move)> = Vec::new();
    for ((partition, placed), wanted) in view.placement().zip(&wanted) {
        if at_rest.contains(&partition)
            && let Some((reason, moving)) =
                heal(view, partition, placed).or_else(|| first_move(view, &given_up, (&placed.replicas, wanted)))
        {
            moves.push((reason, partition, moving));
        }
    }
    moves.sort_by_key(|(reason, partition, _)| (*reason, *partition));

    let mut room = Room::left(view);
    let mut steps = Vec::new();
    for (reason, partition, moving) in moves {
        let placed = &view.topology.placement[usize::from(partition.0)];
        let report = &view.observed.partitions[&partition];
        if may_begin(view, (partition, placed), report, (reason, moving)) && room.take(moving, report.leader) {
            steps.push(Step::BeginMove { partition, epoch: placed.epoch, moving });
        }
    }
    // Who should lead depends on who holds what, so it is decided when that is.
    let moves = begun(view).next().is_some() || view.topology.placement.iter().any(|placed| placed.moving.is_some());
    if steps.is_empty() && !moves {
        steps = prefer(view, at_rest, &wanted);
    }
    steps
}

/// Moves that begin by a step that is under way, as far as the metadata did not say so yet.
fn begun(view: View<'_>) -> impl Iterator<Item = (PartitionId, Move)> {
    let in_metadata = move |partition: PartitionId| {
        let placed = view.topology.placement.get(usize::from(partition.0));
        placed.is_some_and(|placed| placed.moving.is_some())
    };
    view.under_way.iter().filter_map(move |step| match step {
        Step::BeginMove { partition, moving, .. } if !in_metadata(*partition) => Some((*partition, *moving)),
        _ => None,
    })
}

/// Who should hold each partition, by partition.
pub(super) fn wanted(view: View<'_>) -> Vec<Replicas> {
    let given_up = view.given_up();
    let mut hosts = Host::of(view.topology.members.values());
    hosts.retain(|host| !given_up.contains(&host.node));
    let current: Vec<Replicas> = view.topology.placement.iter().map(PartitionPlacement::after_move).collect();
    target(&hosts, current.len() as u16, replication_factor(hosts.len()), &current)
}

/// Takes a damaged replica away. What takes its place is decided when it is gone: a node drops what it has before it gets anything. But for
/// one that has a vote already, left over from a move that was given up by an old report: without it too few may be sound.
fn heal(view: View<'_>, partition: PartitionId, placed: &PartitionPlacement) -> Option<(Reason, Move)> {
    let damaged = placed.replicas.iter().copied().find(|node| view.is_damaged(*node, partition, placed))?;
    let voters = &view.observed.partitions.get(&partition)?.voters;
    let add = voters.iter().copied().find(|node| !placed.replicas.contains(node) && view.topology.is_active(*node));
    Some((Reason::Damaged, Move { add, remove: Some(damaged) }))
}

/// The first exchange on the way from one set to the other; who is gone for ever goes first.
fn first_move(
    view: View<'_>,
    given_up: &BTreeSet<NodeId>,
    (now, wanted): (&Replicas, &Replicas),
) -> Option<(Reason, Move)> {
    let add = wanted.iter().copied().find(|node| !now.contains(node));
    let goes = now.iter().copied().filter(|node| !wanted.contains(node));
    let remove = goes.min_by_key(|node| why_goes(view, given_up, *node));
    let moving = Move { add, remove };
    (add.is_some() || remove.is_some()).then(|| (reason(view, given_up, moving), moving))
}

fn why_goes(view: View<'_>, given_up: &BTreeSet<NodeId>, node: NodeId) -> Reason {
    match view.topology.state(node) {
        None | Some(MemberState::Removed) => Reason::Lost,
        Some(_) if given_up.contains(&node) => Reason::Lost,
        Some(MemberState::Draining) => Reason::Drained,
        Some(MemberState::Active) => Reason::Balance,
    }
}

fn reason(view: View<'_>, given_up: &BTreeSet<NodeId>, moving: Move) -> Reason {
    moving.remove.map_or(Reason::Missing, |node| why_goes(view, given_up, node))
}

/// Whether the move would come to its end as things are now, and leave the partition able to lose what it can lose before.
fn may_begin(
    view: View<'_>,
    (partition, placed): (PartitionId, &PartitionPlacement),
    report: &GroupReport,
    (reason, moving): (Reason, Move),
) -> bool {
    // A replica from before has to be dropped first: what the node says must be of the time since this placement.
    let is_empty = |node: NodeId| {
        let said = view.observed.nodes.get(&node);
        said.is_some_and(|said| said.revision >= placed.revision && !said.replicas.contains(&partition))
    };
    let votes = |node: NodeId| reason == Reason::Damaged && report.voters.contains(&node);
    let can_come = moving.add.is_none_or(|node| view.is_alive(node) && (is_empty(node) || votes(node)));
    let after = PartitionPlacement { moving: Some(moving), ..placed.clone() }.after_move();
    let sound = |nodes: &[NodeId]| nodes.iter().filter(|node| view.is_sound(**node, partition, placed)).count();
    let voters: Vec<NodeId> = report.voters.iter().copied().collect();
    // For balance's sake alone nothing moves off a dead node, nor where one is waited for.
    let enough = match reason {
        Reason::Balance => sound(&placed.replicas) == placed.replicas.len(),
        Reason::Lost | Reason::Missing | Reason::Drained => sound(&after) > after.len() / 2,
        // Those who are left have to agree to it as they are, and go on alone.
        Reason::Damaged => sound(&voters) > voters.len() / 2 && sound(&after) > after.len() / 2,
    };
    // Leaders leave a drained node first: they do not have to wait for data.
    let leads = moving.remove == Some(report.leader) && reason == Reason::Drained;
    let handed_over = !leads || !after.iter().any(|node| super::leaders::can_lead(view, report, *node));
    can_come && enough && handed_over
}

/// How many more moves there may be.
struct Room {
    in_cluster: usize,
    per_node_max: usize,
    by_node: BTreeMap<NodeId, usize>,
}

impl Room {
    fn left(view: View<'_>) -> Self {
        let Limits { moves_max, moves_per_node_max, .. } = view.limits;
        let mut room = Self { in_cluster: *moves_max, per_node_max: *moves_per_node_max, by_node: BTreeMap::new() };
        let moves = view.placement().filter_map(|(partition, placed)| Some((partition, placed.moving?)));
        for (partition, moving) in moves.chain(begun(view)) {
            room.in_cluster = room.in_cluster.saturating_sub(1);
            let leader = view.observed.partitions.get(&partition).map(|report| report.leader);
            room.count(moving, leader);
        }
        room
    }

    fn take(&mut self, moving: Move, leader: NodeId) -> bool {
        let full = |node: &NodeId| self.by_node.get(node).is_some_and(|moves| *moves >= self.per_node_max);
        if self.in_cluster == 0 || copying(moving, Some(leader)).iter().any(full) {
            return false;
        }
        self.in_cluster -= 1;
        self.count(moving, Some(leader));
        true
    }

    fn count(&mut self, moving: Move, leader: Option<NodeId>) {
        for node in copying(moving, leader) {
            *self.by_node.entry(node).or_default() += 1;
        }
    }
}

/// Who sends and who receives. Nobody when a replica only goes.
fn copying(moving: Move, leader: Option<NodeId>) -> Vec<NodeId> {
    moving.add.map_or(Vec::new(), |add| leader.into_iter().chain([add]).collect())
}

fn prefer(view: View<'_>, at_rest: &BTreeSet<PartitionId>, wanted: &[Replicas]) -> Vec<Step> {
    let other = |((partition, placed), wanted): ((PartitionId, &PartitionPlacement), &Replicas)| {
        let leader = *wanted.first()?;
        let differs = placed.replicas.first() != Some(&leader) && placed.replicas.contains(&leader);
        let step = Step::PreferLeader { partition, epoch: placed.epoch, leader };
        (differs && at_rest.contains(&partition)).then_some(step)
    };
    view.placement().zip(wanted).filter_map(other).collect()
}
