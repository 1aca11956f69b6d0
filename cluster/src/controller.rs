//! What happens next so that replicas, voters and leaders get to where they should be: a pure function, called again and again on
//! the leader of the metadata group.
//!
//! ```text
//! members, placement (metadata) --\
//!                                  next -> steps -> whoever carries them out; then the next round
//! reports of groups and nodes ----/
//! ```
//! Nothing is kept between rounds. What is under way is in the metadata (a partition's `move`) and in the configurations of the Raft
//! groups, so the next leader goes on where the last one crashed. A move is
//!
//! ```text
//! BeginMove -> (the node that comes opens an empty replica) -> AddLearner -> it catches up -> ChangeVoters -> FinishMove -> DropReplica
//! ```
//! and `CancelMove` instead of `ChangeVoters` when the node that comes dies on the way.
//!
//! **What the one who carries steps out has to do**, for steps may come late, twice and from a leader that is deposed:
//! - begin a round with a linearizable read of the metadata ([`crate::meta::MetaClient::read_topology`]), ask for reports after it, and say
//!   which steps of earlier rounds are still under way: there are none for their groups before they have ended;
//! - propose changes of the placement as they are: they are compare-and-set of the epoch;
//! - hand a step with a [`Guard`] to the leader that it names, which refuses it when it does not lead in that term, when its group's
//!   configuration is not the one of that index, or when its metadata has another epoch of the placement;
//! - hand a [`Step::DropReplica`] to its node, which refuses it when its metadata has another epoch, when that names the node, when
//!   its replica's log has a configuration that is newer than the step's, or when a leader of the group sent it anything lately.
//!
//! A node opens a replica when its metadata names it, and never drops one unasked. **It remembers the configuration at which it dropped
//! one** (the step's index): should it get the partition again, the new replica neither votes nor stands for election until its log
//! has a newer configuration. On the way there it reads old ones, in which it has a vote that it does not remember to have given.
//! What fails is tried again in a later round.
//!
//! **A damaged replica is made anew.** Its node says that it lost something that others count on, and takes no part with it. While a majority
//! of the group's voters works without it, a move takes it away and brings nothing; then it is dropped, with the bar above, for it may
//! have forgotten votes too; and the next move brings one where one is missing: there again, as a rule. One replica of a group at a
//! time, for nothing else begins while one moves.
//!
//! **Dead nodes keep their replicas.** The data is safe on the others, the node catches up from the log when it is back, and replacing it
//! copies hours of samples through a cluster that has lost a machine already. An operator who knows that it will not be back removes it,
//! or a new node takes its address; [`Limits::dead_after`] does so by the clock for those who want that.

mod limits;
mod observed;
mod step;

mod configure;
mod leaders;
mod left;
mod meta_voters;
mod plan;
mod progress;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use pharos_model::PartitionId;

pub use left::{Left, left};
pub use limits::Limits;
pub use observed::{GroupReport, NodeReport, Observed};
pub use step::{GroupRef, Guard, Step};

use crate::meta::{MemberState, PartitionPlacement, Topology};
use crate::peers::NodeId;
use crate::placement::replication_factor;

/// What decisions are made from.
#[derive(Clone, Copy)]
struct View<'a> {
    topology: &'a Topology,
    observed: &'a Observed,
    limits: &'a Limits,
    /// Steps of earlier rounds that have not ended.
    under_way: &'a [Step],
}

/// The steps of a round: at most one for each group, and drops. None when all is as it should be, or nothing can be done.
pub fn next(topology: &Topology, observed: &Observed, limits: &Limits, under_way: &[Step]) -> Vec<Step> {
    let observed = &observed.without_damaged();
    let view = View { topology, observed, limits, under_way };
    let mut steps = if view.is_busy(GroupRef::Meta) { Vec::new() } else { meta_voters::next(view) };
    let mut at_rest = BTreeSet::new();
    for (partition, placed) in view.placement() {
        if view.is_busy(GroupRef::Partition(partition)) {
            continue;
        }
        match progress::next(view, partition, placed) {
            progress::Progress::Step(step) => steps.push(step),
            progress::Progress::Waits => (),
            progress::Progress::AtRest => drop(at_rest.insert(partition)),
        }
        steps.extend(progress::drops(view, partition, placed));
    }
    for step in leaders::next(view, &at_rest, &steps) {
        at_rest.retain(|partition| step.group() != GroupRef::Partition(*partition));
        steps.push(step);
    }
    steps.extend(plan::next(view, &at_rest));
    steps
}

impl<'a> View<'a> {
    fn placement(self) -> impl Iterator<Item = (PartitionId, &'a PartitionPlacement)> {
        (0..).map(PartitionId).zip(&self.topology.placement)
    }

    /// Whether a step is under way for the group.
    fn is_busy(self, group: GroupRef) -> bool {
        self.under_way.iter().any(|step| step.group() == group)
    }

    /// Heard from lately. A removed node is not, whatever an old report says: its disk may be gone.
    fn is_alive(self, node: NodeId) -> bool {
        let removed = self.topology.state(node).is_none_or(|state| state == MemberState::Removed);
        !removed && self.observed.is_heard(node, self.limits)
    }

    /// Whether the node says of its replica, as of this placement, that it is damaged: it takes no part, though the node lives.
    fn is_damaged(self, node: NodeId, partition: PartitionId, placed: &PartitionPlacement) -> bool {
        let said = self.observed.nodes.get(&node);
        said.is_some_and(|said| said.revision >= placed.revision && said.damaged.contains(&partition))
    }

    /// A replica that works.
    fn is_sound(self, node: NodeId, partition: PartitionId, placed: &PartitionPlacement) -> bool {
        self.is_alive(node) && !self.is_damaged(node, partition, placed)
    }

    /// Silent for so long that it is not waited for any more.
    fn is_silent_for(self, node: NodeId, least: std::time::Duration) -> bool {
        self.observed.nodes.get(&node).is_some_and(|report| report.silence >= least)
    }

    /// Active members that `dead_after` takes for dead. None when that would leave too few nodes for all copies, or when so many are
    /// silent that it rather is the network.
    fn given_up(self) -> BTreeSet<NodeId> {
        let Some(dead_after) = self.limits.dead_after else { return BTreeSet::new() };
        let active: Vec<NodeId> = self.topology.active().map(|member| member.spec.id).collect();
        let silent: BTreeSet<NodeId> =
            active.iter().copied().filter(|node| self.is_silent_for(*node, dead_after)).collect();
        let enough_left = active.len() - silent.len() >= replication_factor(active.len());
        if enough_left && silent.len() <= self.limits.dead_at_a_time_max { silent } else { BTreeSet::new() }
    }
}
