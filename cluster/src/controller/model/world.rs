//! The nodes, their groups, the metadata and the network of the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::PartitionId;

use super::group::Group;
use crate::controller::{GroupRef, Guard, Left, Limits, NodeReport, Observed, Step, left, next};
use crate::fs::sim::Random;
use crate::meta::{Cluster, MemberState, NodeSpec, Topology};
use crate::peers::NodeId;
use crate::placement::{Host, Replicas, replication_factor, target};

/// Rounds that observations and steps may be late.
const LATE_MAX: u64 = 8;
const NODES_MAX: usize = 7;

struct Node {
    alive: bool,
    /// Its disk is gone.
    lost: bool,
    silent_since: u64,
    topology: Arc<Topology>,
}

pub(super) struct World {
    random: Random,
    now: u64,
    zones: u64,
    limits: Limits,
    topology: Arc<Topology>,
    groups: BTreeMap<GroupRef, Group>,
    nodes: BTreeMap<NodeId, Node>,
    seen: VecDeque<Observed>,
    steps: Vec<Step>,
    /// Most replicas that changes of members so far were worth.
    copies_allowed: usize,
    cancelled: usize,
}

impl World {
    pub(super) fn new(seed: u64, partitions: u16, zones: u64) -> Self {
        let limits = Limits {
            moves_max: 4,
            lag_entries_max: 10,
            alive_silence_max: Duration::from_secs(2),
            move_silence_max: Duration::from_secs(15),
            meta_voter_silence_max: Duration::from_secs(10),
            ..Limits::default()
        };
        let cluster = Cluster { id: "aa".to_owned(), name: "model".to_owned(), partitions };
        let mut topology = Topology { cluster: Some(cluster), ..Topology::default() };
        topology.found(spec(1, 0), 0);
        let mut groups: BTreeMap<GroupRef, Group> =
            (0..partitions).map(|at| (GroupRef::Partition(PartitionId(at)), Group::new(1))).collect();
        groups.insert(GroupRef::Meta, Group::new(1));
        let topology = Arc::new(topology);
        let founder = Node { alive: true, lost: false, silent_since: 0, topology: Arc::clone(&topology) };
        Self {
            random: Random(seed),
            now: 0,
            zones,
            limits,
            topology,
            groups,
            nodes: BTreeMap::from([(1, founder)]),
            seen: VecDeque::new(),
            steps: Vec::new(),
            copies_allowed: 0,
            cancelled: 0,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn pick(&mut self, among: &[NodeId]) -> Option<NodeId> {
        let at = self.random.below(among.len() as u64) as usize;
        among.get(at).copied()
    }

    fn alive(&self) -> BTreeSet<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(id, _)| *id).collect()
    }

    fn in_state(&self, state: MemberState) -> Vec<NodeId> {
        let members = self.topology.members.values().filter(|member| member.state == state);
        members.map(|member| member.spec.id).collect()
    }

    /// Changes the metadata, if its group can commit.
    fn metadata(&mut self, change: impl FnOnce(&mut Topology) -> bool) -> bool {
        self.groups[&GroupRef::Meta].leader.is_some() && change(Arc::make_mut(&mut self.topology))
    }

    /// A change of members, and what it is worth.
    fn members(&mut self, change: impl FnOnce(&mut Topology) -> bool) -> bool {
        let changed = self.metadata(change);
        if changed {
            let current = self.current();
            let target = self.target();
            let new = |(now, then): (&Replicas, &Replicas)| then.iter().filter(|node| !now.contains(node)).count();
            self.copies_allowed += current.iter().zip(&target).map(new).sum::<usize>();
        }
        changed
    }

    fn current(&self) -> Vec<Replicas> {
        self.topology.placement.iter().map(|placed| placed.after_move()).collect()
    }

    fn target(&self) -> Vec<Replicas> {
        let hosts = Host::of(self.topology.members.values());
        let partitions = self.topology.placement.len() as u16;
        target(&hosts, partitions, replication_factor(hosts.len()), &self.current())
    }

    pub(super) fn join(&mut self) {
        let id = self.nodes.len() as NodeId + 1;
        let zone = if self.zones == 0 { 0 } else { 1 + self.random.below(self.zones) };
        if self.topology.present().count() < NODES_MAX
            && self.members(|topology| topology.put(spec(id, zone), None, false, 0).is_ok())
        {
            let topology = Arc::clone(&self.topology);
            self.nodes.insert(id, Node { alive: true, lost: false, silent_since: self.now, topology });
        }
    }

    /// Something happens to nodes, or the operator does something.
    pub(super) fn change(&mut self) {
        let alive: Vec<NodeId> = self.alive().into_iter().collect();
        let dead: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| !node.alive && !node.lost).map(|(id, _)| *id).collect();
        match self.random.below(40) {
            0 | 1 => self.kill(alive.as_slice()),
            2..=4 => drop(self.pick(&dead).map(|node| self.revive(node))),
            5 => self.join(),
            6 => {
                if let Some(node) = self.pick(&self.in_state(MemberState::Active)) {
                    self.members(|topology| topology.drain(node, 0).is_ok());
                }
            }
            7 => {
                if let Some(node) = self.pick(&self.in_state(MemberState::Draining)) {
                    self.members(|topology| topology.undrain(node, 0).is_ok());
                }
            }
            8 => self.lose(),
            9 => self.retire(),
            10 | 11 => self.damage(),
            _ => (),
        }
    }

    fn kill(&mut self, alive: &[NodeId]) {
        if let Some(node) = self.pick(alive) {
            let now = self.now;
            let node = self.nodes.get_mut(&node).expect("it is one of them");
            (node.alive, node.silent_since) = (false, now);
        }
    }

    fn revive(&mut self, node: NodeId) {
        let node = self.nodes.get_mut(&node).expect("it is one of them");
        node.alive = !node.lost;
    }

    /// A node's replica of a partition loses something. It is copied once more.
    fn damage(&mut self) {
        let alive = self.alive();
        let partition = PartitionId(self.random.below(self.topology.placement.len() as u64) as u16);
        let group = self.groups.get_mut(&GroupRef::Partition(partition)).expect("one for each");
        let holders: Vec<NodeId> = group.replicas.keys().copied().filter(|node| alive.contains(node)).collect();
        let Some(node) = holders.get(self.random.below(holders.len() as u64) as usize) else { return };
        if group.damage(*node, &alive, &mut self.random) {
            self.copies_allowed += 1;
            // The node was away for that, and longer than a round takes: nobody counts on it by what was seen before.
            self.seen.clear();
            self.steps.retain(|step| step.group() != GroupRef::Partition(partition));
        }
    }

    /// A node burns down while all that it shares with others has a majority without it, and is removed.
    fn lose(&mut self) {
        let alive = self.alive();
        let present: Vec<NodeId> = self.topology.present().map(|member| member.spec.id).collect();
        let Some(node) = self.pick(&present) else { return };
        let survives = self.groups.values().all(|group| group.survives_without(node, &alive));
        // Nor does a change that is on its way leave it with too few.
        let on_its_way = self.steps.iter().any(|step| match step {
            Step::ChangeVoters { voters, .. } => voters.contains(&node),
            _ => false,
        });
        if survives && !on_its_way && self.members(|topology| topology.remove(node, false, 0).is_ok()) {
            self.burn(node);
        }
    }

    /// A drained node that has nothing left is removed.
    fn retire(&mut self) {
        let Some(node) = self.pick(&self.in_state(MemberState::Draining)) else { return };
        let holds = self.topology.placement.iter().any(|placed| placed.names(node))
            || self.groups.values().any(|group| group.config().all_voters().contains(&node));
        if !holds && self.members(|topology| topology.remove(node, false, 0).is_ok()) {
            self.burn(node);
        }
    }

    fn burn(&mut self, node: NodeId) {
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(&node) {
            (node.alive, node.lost, node.silent_since) = (false, true, now);
        }
        for group in self.groups.values_mut() {
            group.replicas.remove(&node);
            group.damaged.remove(&node);
        }
    }

    /// All who can come back do, and what is late arrives.
    pub(super) fn heal(&mut self) {
        let dead: Vec<NodeId> = self.nodes.keys().copied().collect();
        dead.into_iter().for_each(|node| self.revive(node));
    }

    /// A second: groups and nodes live on, the controller decides, some of its steps are carried out.
    pub(super) fn round(&mut self, faulty: bool) {
        self.now += 1;
        let alive = self.alive();
        for group in self.groups.values_mut() {
            group.tick(&alive, &mut self.random);
        }
        self.nodes_follow(faulty);
        let observed = self.observe(faulty);
        if self.groups[&GroupRef::Meta].leader.is_some() {
            let mut steps = next(&self.topology, &observed, &self.limits, &[]);
            if faulty && self.chance(4) {
                // It crashes after some of them.
                steps.truncate(self.random.below(steps.len() as u64 + 1) as usize);
            }
            self.steps.extend(steps);
        }
        let steps = std::mem::take(&mut self.steps);
        for step in steps {
            if faulty && self.chance(3) {
                match self.random.below(LATE_MAX) {
                    0 => (),
                    _ => self.steps.push(step),
                }
                continue;
            }
            self.carry_out(&step);
            if faulty && self.chance(8) {
                self.steps.push(step);
            }
        }
    }

    /// Nodes apply metadata, some sooner than others, and open what it names.
    fn nodes_follow(&mut self, faulty: bool) {
        let known = self.groups[&GroupRef::Meta].leader.is_some();
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.alive) {
            node.silent_since = self.now;
            if known && (!faulty || self.random.below(3) > 0) {
                node.topology = Arc::clone(&self.topology);
            }
            for (at, placed) in node.topology.placement.iter().enumerate() {
                let group = self.groups.get_mut(&GroupRef::Partition(PartitionId(at as u16))).expect("one for each");
                if placed.names(*id) {
                    group.replicas.entry(*id).or_insert(0);
                }
            }
            self.groups.get_mut(&GroupRef::Meta).expect("there is one").replicas.entry(*id).or_insert(0);
        }
    }

    /// What the controller sees: everything from some round of late.
    fn observe(&mut self, faulty: bool) -> Observed {
        let report = |group: &GroupRef| self.groups[group].report();
        let partitions = (0..self.topology.placement.len() as u16).map(PartitionId);
        let node = |(id, node): (&NodeId, &Node)| {
            let held = |(group, state): (&GroupRef, &Group)| match group {
                GroupRef::Partition(partition) if state.replicas.contains_key(id) => Some(*partition),
                _ => None,
            };
            let silence = Duration::from_secs(self.now - node.silent_since);
            let replicas: BTreeSet<PartitionId> = self.groups.iter().filter_map(held).collect();
            let is_damaged = |at: &PartitionId| self.groups[&GroupRef::Partition(*at)].damaged.contains(id);
            let damaged = replicas.iter().copied().filter(is_damaged).collect();
            (*id, NodeReport { silence, revision: node.topology.revision, replicas, damaged, leaving: false })
        };
        let fresh = Observed {
            meta: report(&GroupRef::Meta),
            partitions: partitions.filter_map(|at| Some((at, report(&GroupRef::Partition(at))?))).collect(),
            nodes: self.nodes.iter().map(node).collect(),
        };
        self.seen.push_front(fresh.clone());
        self.seen.truncate(LATE_MAX as usize);
        if !faulty {
            return fresh;
        }
        let mut mixed = fresh;
        let ages = self.seen.len() as u64;
        let (seen, random) = (&self.seen, &mut self.random);
        let mut old = || &seen[(random.below(ages) * random.below(2)) as usize];
        mixed.meta.clone_from(&old().meta);
        for (partition, report) in &mut mixed.partitions {
            if let Some(older) = old().partitions.get(partition) {
                report.clone_from(older);
            }
        }
        for (node, report) in &mut mixed.nodes {
            if let Some(older) = old().nodes.get(node) {
                report.clone_from(older);
            }
        }
        mixed
    }

    /// Does what the module's documentation asks of whoever carries out steps.
    fn carry_out(&mut self, step: &Step) {
        let alive = self.alive();
        match *step {
            Step::BeginMove { partition, epoch, moving } => {
                self.metadata(|topology| topology.begin_move(partition.0, epoch, moving).is_ok());
            }
            Step::FinishMove { partition, epoch, moving } => {
                self.metadata(|topology| topology.finish_move(partition.0, epoch, moving).is_ok());
            }
            Step::CancelMove { partition, epoch, moving } => {
                if self.metadata(|topology| topology.cancel_move(partition.0, epoch, moving).is_ok()) {
                    self.cancelled += 1;
                }
            }
            Step::PreferLeader { partition, epoch, leader } => {
                self.metadata(|topology| topology.prefer(partition.0, epoch, leader).is_ok());
            }
            Step::AddLearner { guard, node } => self.group(&guard, |group| group.add_learner(node)),
            Step::RemoveLearner { guard, node } => self.group(&guard, |group| group.remove_learner(node)),
            Step::ChangeVoters { guard, ref voters } => self.group(&guard, |group| group.change_voters(voters)),
            Step::TransferLeader { guard, to } => self.group(&guard, |group| group.transfer(to, &alive)),
            Step::DropReplica { partition, node, epoch, config } => self.drop_replica(partition, node, epoch, config),
        }
    }

    fn group(&mut self, guard: &Guard, change: impl FnOnce(&mut Group)) {
        let Some(leader) = self.nodes.get(&guard.leader).filter(|node| node.alive) else { return };
        let epoch = match guard.group {
            GroupRef::Meta => 0,
            GroupRef::Partition(partition) => leader.topology.placement[usize::from(partition.0)].epoch,
        };
        let group = self.groups.get_mut(&guard.group).expect("every group there is");
        if group.allows(guard) && epoch == guard.epoch {
            change(group);
        }
    }

    fn drop_replica(&mut self, partition: PartitionId, node: NodeId, epoch: u64, config: u64) {
        let Some(state) = self.nodes.get(&node).filter(|state| state.alive) else { return };
        let placed = &state.topology.placement[usize::from(partition.0)];
        let group = self.groups.get_mut(&GroupRef::Partition(partition)).expect("one for each");
        if placed.epoch != epoch || placed.names(node) {
            return;
        }
        if group.drop_replica(node, config) {
            let now = &self.topology.placement[usize::from(partition.0)];
            assert!(!now.replicas.contains(&node), "node {node} dropped partition {partition}, which it holds");
            // It may have become a learner that heard nothing yet; that is no promise.
            let voters = group.config().all_voters();
            assert!(!voters.contains(&node), "node {node} dropped partition {partition}, where it has a vote");
        }
    }

    pub(super) fn check(&self) {
        self.groups.values().for_each(Group::check);
    }

    /// Everything is where it should be, and the controller knows nothing better.
    pub(super) fn is_settled(&self) -> bool {
        let target = self.target();
        let placed = self.topology.placement.iter().zip(&target).enumerate().all(|(at, (placed, wanted))| {
            let group = &self.groups[&GroupRef::Partition(PartitionId(at as u16))];
            let replicas: BTreeSet<NodeId> = placed.replicas.iter().copied().collect();
            let holders: BTreeSet<NodeId> = group.replicas.keys().copied().collect();
            placed.moving.is_none()
                && placed.replicas == *wanted
                && group.config().voters == replicas
                && group.config().old.is_none()
                && group.config().learners.is_empty()
                && holders == replicas
                && group.leader == wanted.first().copied()
        });
        placed && self.meta_is_settled()
    }

    /// What the controller says that it has left to do.
    pub(super) fn left(&mut self) -> Left {
        let observed = self.observe(false);
        left(&self.topology, &observed, &self.limits)
    }

    fn meta_is_settled(&self) -> bool {
        let config = self.groups[&GroupRef::Meta].config();
        let members: BTreeSet<NodeId> = self.topology.present().map(|member| member.spec.id).collect();
        let active: BTreeSet<NodeId> = self.in_state(MemberState::Active).into_iter().collect();
        let candidates = active.union(&config.voters).count();
        let voters = if candidates >= 5 { 5 } else { candidates.min(3) };
        let active_first = config.voters.is_subset(&active) || active.is_subset(&config.voters);
        let all: BTreeSet<NodeId> = config.voters.union(&config.learners).copied().collect();
        config.old.is_none() && config.voters.len() == voters && active_first && all == members
    }

    /// Copies are what the changes of members asked for, what was given up on the way, and little more: a plan that changes half-way
    /// is seldom as short as two.
    pub(super) fn check_copies(&self) {
        let partitions = self.groups.iter().filter(|(group, _)| **group != GroupRef::Meta);
        let copies: usize = partitions.map(|(_, group)| group.copies).sum();
        let asked = self.copies_allowed + self.cancelled;
        let allowed = asked + 1 + asked / 10;
        assert!(copies <= allowed, "{copies} copies, allowed are {allowed} with {} given up", self.cancelled);
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for member in self.topology.members.values() {
            let alive = self.nodes[&member.spec.id].alive;
            let _ =
                writeln!(text, "node {} {:?} zone {} alive {alive}", member.spec.id, member.state, member.spec.zone);
        }
        for ((at, placed), wanted) in self.topology.placement.iter().enumerate().zip(self.target()) {
            let group = &self.groups[&GroupRef::Partition(PartitionId(at as u16))];
            let _ = writeln!(text, "{at} {placed:?} wanted {wanted:?}\n   {}", group.describe());
        }
        let _ = writeln!(text, "meta {}", self.groups[&GroupRef::Meta].describe());
        let observed = self.seen.front().cloned().unwrap_or_default();
        let _ = writeln!(text, "next {:?}", next(&self.topology, &observed, &self.limits, &[]));
        text
    }
}

fn spec(id: NodeId, zone: u64) -> NodeSpec {
    let zone = if zone == 0 { String::new() } else { format!("zone-{zone}") };
    NodeSpec { id, peer: format!("node-{id}:9095"), http: String::new(), zone }
}
