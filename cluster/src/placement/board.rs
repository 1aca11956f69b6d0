//! The placement while it is worked on: nodes and zones by position, and who holds what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Hop, shortest};
use super::{Host, Replicas, weight};
use crate::peers::NodeId;

pub(super) struct Board {
    nodes: Vec<NodeId>,
    zone_of: Vec<usize>,
    /// Most replicas of one partition in each zone.
    zone_max: Vec<usize>,
    replication_factor: usize,
    /// By partition: nodes that hold it now, as far as they may, in their order.
    before: Vec<Vec<usize>>,
    /// By partition: nodes that are to hold it, the leader first.
    held: Vec<Vec<usize>>,
    /// By node: partitions that it is to hold.
    holds: Vec<BTreeSet<usize>>,
}

impl Board {
    pub(super) fn new(hosts: &[Host], partitions: u16, replication_factor: usize, current: &[Replicas]) -> Self {
        // Sorted, so that the result depends on who is there and not on who was named first.
        let hosts: BTreeMap<NodeId, &str> = hosts.iter().map(|host| (host.node, host.zone.as_str())).collect();
        let nodes: Vec<NodeId> = hosts.keys().copied().collect();
        let zones: Vec<&str> = hosts.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let position = |zone: &str| zones.binary_search(&zone).expect("every host's zone is among the zones");
        let zone_of: Vec<usize> = hosts.values().map(|zone| position(zone)).collect();
        let replication_factor = replication_factor.min(nodes.len());
        let known = |replicas: &Replicas| replicas.iter().filter_map(|node| nodes.binary_search(node).ok()).collect();
        let mut before: Vec<Vec<usize>> = current.iter().take(partitions.into()).map(known).collect();
        before.resize(partitions.into(), Vec::new());
        Self {
            zone_max: zone_max(&zone_of, zones.len(), replication_factor),
            replication_factor,
            held: vec![Vec::new(); partitions.into()],
            holds: vec![BTreeSet::new(); nodes.len()],
            before,
            nodes,
            zone_of,
        }
    }

    /// Everyone keeps what is held now, as far as zones and the replication factor let it. The leader is never the one too many.
    pub(super) fn keep(&mut self) {
        for partition in 0..self.before.len() {
            for node in self.before[partition].clone() {
                if self.held[partition].len() < self.replication_factor && self.may_take(partition, node) {
                    self.give(partition, node);
                }
            }
        }
    }

    /// Partitions with too few replicas get the nodes that want them most, among those with the least to bear: below the mean
    /// first, then up to the mean rounded up, then beyond it where zones leave no other.
    pub(super) fn fill(&mut self) {
        let replicas = self.replication_factor * self.held.len();
        let mean = replicas.checked_div(self.nodes.len()).unwrap_or(0);
        let bound = replicas.div_ceil(self.nodes.len().max(1));
        for partition in 0..self.held.len() {
            while self.held[partition].len() < self.replication_factor {
                let class = |node: usize| match self.holds[node].len() {
                    load if load < mean => 0,
                    load if load < bound => 1,
                    load => 2 + load - bound,
                };
                let free = (0..self.nodes.len()).filter(|node| self.may_take(partition, *node));
                let node = free.min_by_key(|node| (class(*node), Reverse(weight(self.nodes[*node], partition))));
                // There is one: a zone that is not full has a node that does not hold the partition.
                let node = node.expect("the zones have room for all replicas of a partition");
                self.give(partition, node);
            }
        }
    }

    /// Moves replicas along chains until none makes two nodes more alike.
    pub(super) fn level(&mut self) {
        let loads = |board: &Self| board.holds.iter().map(BTreeSet::len).collect::<Vec<_>>();
        while let Some(hops) = shortest(&loads(self), |from, to| self.best_move(from, to)) {
            for hop in hops {
                self.move_replica(hop);
            }
        }
    }

    /// The replicas of each partition, leaders spread evenly: who led goes on, unless that makes loads uneven.
    pub(super) fn lead(mut self) -> Vec<Replicas> {
        let mut leads: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.nodes.len()];
        for (partition, held) in self.held.iter().enumerate() {
            if let Some(leader) = held.first() {
                leads[*leader].insert(partition);
            }
        }
        let loads = |leads: &[BTreeSet<usize>]| leads.iter().map(BTreeSet::len).collect::<Vec<_>>();
        let best = |leads: &[BTreeSet<usize>], from: usize, to: usize| {
            let can = leads[from].iter().copied().filter(|partition| self.holds[to].contains(partition));
            can.min_by_key(|partition| Reverse(weight(self.nodes[to], *partition)))
        };
        while let Some(hops) = shortest(&loads(&leads), |from, to| best(&leads, from, to)) {
            for Hop { partition, from, to } in hops {
                leads[from].remove(&partition);
                leads[to].insert(partition);
            }
        }
        for (node, partitions) in leads.iter().enumerate() {
            for partition in partitions {
                let held = &mut self.held[*partition];
                held.retain(|other| *other != node);
                held.insert(0, node);
            }
        }
        let named = |held: &Vec<usize>| held.iter().map(|node| self.nodes[*node]).collect();
        self.held.iter().map(named).collect()
    }

    /// What `from` should hand to `to`: what moves anyway or goes back before what would stay, followers before leaders,
    /// then what `to` wants most.
    fn best_move(&self, from: usize, to: usize) -> Option<usize> {
        let fits = |partition: &usize| {
            let same_zone = self.zone_of[from] == self.zone_of[to];
            !self.holds[to].contains(partition) && (same_zone || self.zone_has_room(*partition, self.zone_of[to]))
        };
        let cost = |partition: usize| {
            let stays = |node: &usize| self.before[partition].contains(node);
            let copies = u8::from(!stays(&to)) + u8::from(stays(&from));
            (copies, self.held[partition][0] == from, Reverse(weight(self.nodes[to], partition)))
        };
        self.holds[from].iter().copied().filter(fits).min_by_key(|partition| cost(*partition))
    }

    fn may_take(&self, partition: usize, node: usize) -> bool {
        !self.holds[node].contains(&partition) && self.zone_has_room(partition, self.zone_of[node])
    }

    fn zone_has_room(&self, partition: usize, zone: usize) -> bool {
        let there = self.held[partition].iter().filter(|node| self.zone_of[**node] == zone).count();
        there < self.zone_max[zone]
    }

    fn give(&mut self, partition: usize, node: usize) {
        self.held[partition].push(node);
        self.holds[node].insert(partition);
    }

    fn move_replica(&mut self, hop: Hop) {
        let Hop { partition, from, to } = hop;
        self.holds[from].remove(&partition);
        self.holds[to].insert(partition);
        let place = self.held[partition].iter_mut().find(|node| **node == from);
        *place.expect("a node hands over what it holds") = to;
    }
}

/// Most replicas of one partition in each zone: the smallest number that leaves room for all of them, and no more than the
/// zone has nodes.
fn zone_max(zone_of: &[usize], zones: usize, replication_factor: usize) -> Vec<usize> {
    let mut sizes = vec![0; zones];
    for zone in zone_of {
        sizes[*zone] += 1;
    }
    let capped = |most: usize| sizes.iter().map(|size| most.min(*size)).collect::<Vec<_>>();
    let enough = (0..=replication_factor).find(|most| capped(*most).iter().sum::<usize>() >= replication_factor);
    capped(enough.unwrap_or(replication_factor))
}
