//! A Raft group as far as the controller can tell: who leads, configurations with their indexes, and who has which entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::{GroupReport, Guard};
use crate::fs::sim::Random;
use crate::peers::NodeId;

/// Set of voters, and the one they replace while both have to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub index: u64,
    pub voters: BTreeSet<NodeId>,
    pub old: Option<BTreeSet<NodeId>>,
    /// Who leads in another term does not know how the change was to go on.
    term: u64,
    pub learners: BTreeSet<NodeId>,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub term: u64,
    pub leader: Option<NodeId>,
    pub last: u64,
    pub committed: u64,
    /// Those in the leader's log, the newest in force.
    configs: Vec<Config>,
    /// Replicas on disk, with their last entry; nodes that left have theirs until they drop it.
    pub replicas: BTreeMap<NodeId, u64>,
    /// Nodes that the leader sent something in the last round.
    heard: BTreeSet<NodeId>,
    /// The configuration at which a node dropped its replica.
    dropped: BTreeMap<NodeId, u64>,
    /// Nodes whose replicas lost something, and take no part.
    pub damaged: BTreeSet<NodeId>,
    /// Blank replicas that began to be filled.
    pub copies: usize,
}

impl Config {
    pub(super) fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.union(self.old.as_ref().unwrap_or(&BTreeSet::new())).copied().collect()
    }

    pub(super) fn has_member(&self, node: NodeId) -> bool {
        self.all_voters().contains(&node) || self.learners.contains(&node)
    }

    /// Whether a majority of each set of voters fulfils something.
    fn has_majority(&self, fulfils: impl Fn(NodeId) -> bool) -> bool {
        let majority = |set: &BTreeSet<NodeId>| set.iter().filter(|node| fulfils(**node)).count() > set.len() / 2;
        majority(&self.voters) && self.old.as_ref().is_none_or(majority)
    }
}

impl Group {
    pub(super) fn new(founder: NodeId) -> Self {
        let founding =
            Config { index: 1, term: 1, voters: BTreeSet::from([founder]), old: None, learners: BTreeSet::new() };
        Self {
            term: 1,
            leader: Some(founder),
            last: 1,
            committed: 1,
            configs: vec![founding],
            replicas: BTreeMap::from([(founder, 1)]),
            heard: BTreeSet::new(),
            dropped: BTreeMap::new(),
            damaged: BTreeSet::new(),
            copies: 0,
        }
    }

    pub(super) fn config(&self) -> &Config {
        self.configs.last().expect("a group has a configuration")
    }

    fn is_committed(&self) -> bool {
        self.config().index <= self.committed
    }

    /// The index of the newest configuration in a replica's log.
    fn known_config(&self, node: NodeId) -> u64 {
        let last = self.replicas.get(&node).copied().unwrap_or(0);
        self.configs.iter().map(|config| config.index).filter(|index| *index <= last).max().unwrap_or(0)
    }

    /// Whether a node did, that was not in the group as of a configuration. It refuses when it knows a newer one, or hears from
    /// a leader.
    pub(super) fn drop_replica(&mut self, node: NodeId, config: u64) -> bool {
        if self.known_config(node) > config || self.heard.contains(&node) || !self.replicas.contains_key(&node) {
            return false;
        }
        self.replicas.remove(&node);
        self.damaged.remove(&node);
        self.dropped.insert(node, config);
        true
    }

    /// The replica of a node loses some of its log, and its vote, if everything is there without it; tells whether it did.
    pub(super) fn damage(&mut self, node: NodeId, alive: &BTreeSet<NodeId>, random: &mut Random) -> bool {
        // While the members change, some go by the old ones, who may be too few without this one.
        let settled = self.is_committed() && self.config().old.is_none();
        let survives = settled && self.survives_without(node, alive);
        let Some(last) = self.replicas.get_mut(&node).filter(|_| survives && self.damaged.is_empty()) else {
            return false;
        };
        *last = random.below(*last + 1);
        self.damaged.insert(node);
        if self.leader == Some(node) {
            self.leader = None;
        }
        true
    }

    /// Whether a majority that lives has all that was committed, without this node.
    pub(super) fn survives_without(&self, node: NodeId, alive: &BTreeSet<NodeId>) -> bool {
        let sets = [Some(&self.config().voters), self.config().old.as_ref()];
        sets.into_iter().flatten().all(|set| {
            let have = |other: &&NodeId| {
                **other != node
                    && alive.contains(other)
                    && !self.damaged.contains(other)
                    && self.replicas.get(other) >= Some(&self.committed)
            };
            set.iter().filter(have).count() > set.len() / 2
        })
    }

    /// Whether a replica votes: not in configurations that it left before it was dropped.
    fn takes_part(&self, node: NodeId) -> bool {
        let knows = Some(&self.known_config(node)) > self.dropped.get(&node);
        self.replicas.contains_key(&node) && knows && !self.damaged.contains(&node)
    }

    /// Some writes, some replication, some commits; elections where the leader is gone.
    pub(super) fn tick(&mut self, alive: &BTreeSet<NodeId>, random: &mut Random) {
        let has = |group: &Self, node: NodeId| {
            alive.contains(&node) && group.replicas.contains_key(&node) && !group.damaged.contains(&node)
        };
        if self.leader.is_some_and(|leader| !has(self, leader)) {
            self.leader = None;
        }
        if self.leader.is_none() {
            self.elect(alive, random);
        }
        self.heard.clear();
        let Some(leader) = self.leader else { return };
        self.append(random.below(4));
        for node in self.config().all_voters().union(&self.config().learners.clone()).copied() {
            if node != leader && has(self, node) {
                self.heard.insert(node);
                // By log, and once in a while by snapshot.
                let speed = 1 + random.below(12);
                let snapshot = if random.below(10) == 0 { self.committed } else { 0 };
                let last = self.last;
                let matched = self.replicas.get_mut(&node).expect("it has one");
                if *matched == 0 {
                    self.copies += 1;
                }
                *matched = last.min(snapshot.max(*matched + speed));
            }
        }
        let counts = |node: NodeId| !self.damaged.contains(&node);
        let reached =
            |index: u64| self.config().has_majority(|node| counts(node) && self.replicas.get(&node) >= Some(&index));
        if let Some(index) = (self.committed + 1..=self.last).rev().find(|index| reached(*index)) {
            self.committed = index;
        }
        // The leader goes on from both sets to the new one by itself.
        let begun_here = self.config().old.is_some() && self.config().term == self.term;
        if self.is_committed() && begun_here && random.below(3) == 0 {
            let config = self.config().clone();
            self.configure(config.voters, None, config.learners);
        }
        // Who is no voter any more steps down.
        if self.is_committed() && !self.config().all_voters().contains(&leader) {
            self.leader = None;
        }
    }

    fn elect(&mut self, alive: &BTreeSet<NodeId>, random: &mut Random) {
        let up = |node: NodeId| alive.contains(&node) && self.takes_part(node);
        let votes_for = |candidate: NodeId| {
            let last = self.replicas[&candidate];
            // Each goes by the newest configuration in its own log.
            let config = self.configs.iter().rev().find(|config| config.index <= last);
            config.is_some_and(|config| {
                config.all_voters().contains(&candidate)
                    && config.has_majority(|node| up(node) && self.replicas[&node] <= last)
            })
        };
        let candidates: Vec<NodeId> =
            self.replicas.keys().copied().filter(|node| up(*node) && votes_for(*node)).collect();
        if candidates.is_empty() || random.below(3) == 0 {
            return;
        }
        let leader = candidates[random.below(candidates.len() as u64) as usize];
        let last = self.replicas[&leader];
        assert!(last >= self.committed, "entry {} is lost, {leader} leads with {last}", self.committed);
        self.configs.retain(|config| config.index <= last);
        // Replicas that nobody sends to keep what they have.
        let config = self.config().clone();
        for (_, matched) in self.replicas.iter_mut().filter(|(node, _)| config.has_member(**node)) {
            *matched = last.min(*matched);
        }
        (self.leader, self.last) = (Some(leader), last);
        self.term += 1;
        self.append(1);
    }

    fn append(&mut self, entries: u64) {
        self.last += entries;
        if let Some(leader) = self.leader {
            self.replicas.insert(leader, self.last);
        }
    }

    fn configure(&mut self, voters: BTreeSet<NodeId>, old: Option<BTreeSet<NodeId>>, learners: BTreeSet<NodeId>) {
        self.append(1);
        self.configs.push(Config { index: self.last, term: self.term, voters, old, learners });
    }

    /// Whether the leader would still do what was asked for under this guard.
    pub(super) fn allows(&self, guard: &Guard) -> bool {
        self.leader == Some(guard.leader) && self.term == guard.term && self.config().index == guard.config
    }

    pub(super) fn add_learner(&mut self, node: NodeId) {
        if self.is_committed() && self.config().old.is_none() && !self.config().has_member(node) {
            let mut config = self.config().clone();
            config.learners.insert(node);
            self.configure(config.voters, None, config.learners);
        }
    }

    pub(super) fn remove_learner(&mut self, node: NodeId) {
        if self.is_committed() && self.config().old.is_none() && self.config().learners.contains(&node) {
            let mut config = self.config().clone();
            config.learners.remove(&node);
            self.configure(config.voters, None, config.learners);
        }
    }

    pub(super) fn change_voters(&mut self, voters: &BTreeSet<NodeId>) {
        let config = self.config().clone();
        let known = voters.iter().all(|node| config.has_member(*node));
        if !self.is_committed() || !known || voters.is_empty() {
            return;
        }
        let learners: BTreeSet<NodeId> = config.learners.difference(voters).copied().collect();
        // As the library does: to what is asked for if it is one of the sets that have to agree, else to the newest and that.
        let uniform = config.old.as_ref().is_some_and(|old| voters == old || *voters == config.voters);
        self.configure(voters.clone(), (!uniform).then_some(config.voters), learners);
    }

    pub(super) fn transfer(&mut self, to: NodeId, alive: &BTreeSet<NodeId>) {
        let voter = self.config().all_voters().contains(&to);
        let up = alive.contains(&to) && !self.damaged.contains(&to);
        if let Some(matched) = self.replicas.get_mut(&to).filter(|_| voter && up) {
            *matched = self.last;
            self.leader = Some(to);
            self.term += 1;
            self.append(1);
        }
    }

    /// What the leader says.
    pub(super) fn report(&self) -> Option<GroupReport> {
        let config = self.config();
        Some(GroupReport {
            leader: self.leader?,
            term: self.term,
            config: config.index,
            voters: config.all_voters(),
            learners: config.learners.clone(),
            settled: self.is_committed() && config.old.is_none(),
            last: self.last,
            matched: self
                .replicas
                .iter()
                .filter(|(node, _)| config.has_member(**node))
                .map(|(n, m)| (*n, *m))
                .collect(),
        })
    }

    pub(super) fn describe(&self) -> String {
        let Self { term, leader, last, committed, replicas, dropped, damaged, .. } = self;
        let config = self.config();
        format!(
            "{config:?} led by {leader:?} in {term}, last {last}, committed {committed}, {replicas:?}, dropped {dropped:?}, damaged {damaged:?}"
        )
    }

    /// A majority of those who elect the next leader has everything that was committed, or elects nobody.
    pub(super) fn check(&self) {
        let config = self.config();
        let electors = config.old.as_ref().unwrap_or(&config.voters);
        let have = |node: &&NodeId| self.damaged.contains(node) || self.replicas.get(node) >= Some(&self.committed);
        // The newest configuration may be in few logs yet; those who lack it go by the one before.
        let have_it = electors.iter().filter(have).count();
        assert!(have_it > electors.len() / 2, "{have_it} of {electors:?} have entry {}: {self:?}", self.committed);
    }
}
