//! Whether a cluster has come to rest: everybody agrees who is in it, everything is where it should be, everything is applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::PartitionId;

use super::house::House;
use crate::group::{Group, Standing};
use crate::member::Member;
use crate::meta::Topology;
use crate::node::group_of;
use crate::peers::NodeId;
use crate::placement::{Host, replication_factor, target};

/// Why it has not; `None` when it has. `houses` are those that should be in the cluster.
pub(super) fn unrest(houses: &[House]) -> Option<String> {
    let members: Option<Vec<Arc<Member>>> = houses.iter().map(House::member).collect();
    let Some(members) = members else { return Some("not all members are open".to_owned()) };
    let topologies: Vec<Arc<Topology>> =
        members.iter().map(|member| Arc::clone(&member.node().meta().topology().borrow())).collect();
    let topology = &topologies[0];
    if topologies.iter().any(|other| other != topology) {
        return Some("members know different topologies".to_owned());
    }
    let ids: BTreeSet<NodeId> = members.iter().map(|member| member.node().node_id()).collect();
    let present: BTreeSet<NodeId> = topology.present().map(|member| member.spec.id).collect();
    if ids != present {
        return Some(format!("members are {present:x?} by the metadata, but {ids:x?} are there"));
    }
    metadata(&members, topology).or_else(|| placement(topology)).or_else(|| partitions(&members, topology))
}

fn metadata(members: &[Arc<Member>], topology: &Topology) -> Option<String> {
    let groups: Vec<Arc<Group>> = members.iter().map(|member| member.node().meta_group()).collect();
    let leader = match sole_leader(&groups) {
        Ok(leader) => leader,
        Err(reason) => return Some(format!("metadata: {reason}")),
    };
    let active: BTreeSet<NodeId> = topology.active().map(|member| member.spec.id).collect();
    let present: BTreeSet<NodeId> = topology.present().map(|member| member.spec.id).collect();
    let voters = leader.all_voters();
    let known: BTreeSet<NodeId> = voters.union(&leader.learners).copied().collect();
    let candidates = active.union(&voters).count();
    let wanted = if candidates >= 5 { 5 } else { candidates.min(3) };
    // Drained nodes vote where there are too few active ones.
    let fit = voters.is_subset(&active) || active.is_subset(&voters);
    let settled = leader.voters.len() == 1 && fit && voters.len() == wanted && known == present;
    (!settled).then(|| format!("metadata: {leader:x?} of {active:x?} active, {present:x?} present"))
}

/// What there is has to be what is wanted.
fn placement(topology: &Topology) -> Option<String> {
    let hosts = Host::of(topology.members.values());
    let current: Vec<Vec<NodeId>> = topology.placement.iter().map(|placed| placed.replicas.clone()).collect();
    let partitions = u16::try_from(current.len()).expect("few partitions");
    let wanted = target(&hosts, partitions, replication_factor(hosts.len()), &current);
    let moving = topology.placement.iter().any(|placed| placed.moving.is_some());
    let sets = |all: &[Vec<NodeId>]| {
        all.iter().map(|nodes| nodes.iter().copied().collect::<BTreeSet<_>>()).collect::<Vec<_>>()
    };
    (moving || sets(&wanted) != sets(&current))
        .then(|| format!("placement {current:x?}, moving {moving}, wanted {wanted:x?}"))
}

fn partitions(members: &[Arc<Member>], topology: &Topology) -> Option<String> {
    for (at, placed) in (0..).zip(&topology.placement) {
        let partition = PartitionId(at);
        let placed: BTreeSet<NodeId> = placed.replicas.iter().copied().collect();
        let holders = members.iter().filter(|member| member.node().replicas().contains(&partition));
        let holders: BTreeSet<NodeId> = holders.map(|member| member.node().node_id()).collect();
        if holders != placed {
            return Some(format!("partition {at} is placed on {placed:x?}, but {holders:x?} have something of it"));
        }
        let groups: Vec<Arc<Group>> = members.iter().filter_map(|member| member.node().replica(partition)).collect();
        if groups.len() != placed.len() {
            return Some(format!("partition {at}: {} replicas are open", groups.len()));
        }
        let leader = match sole_leader(&groups) {
            Ok(leader) => leader,
            Err(reason) => return Some(format!("group {}: {reason}", group_of(partition))),
        };
        if leader.voters.len() != 1 || leader.all_voters() != placed || !leader.learners.is_empty() {
            return Some(format!("partition {at} is placed on {placed:x?}, its group is {leader:x?}"));
        }
    }
    None
}

/// Where the one leader of these replicas stands, if all have the same and have applied it.
fn sole_leader(groups: &[Arc<Group>]) -> Result<Standing, String> {
    let leaders: Vec<Standing> =
        groups.iter().map(|group| group.standing()).filter(|standing| standing.leads).collect();
    let [leader] = &leaders[..] else { return Err(format!("{} leaders", leaders.len())) };
    let applied: Vec<Option<u64>> = groups.iter().map(|group| group.applied().borrow().map(|id| id.index)).collect();
    let ends: Vec<Option<u64>> = groups.iter().map(|group| group.last().map(|id| id.index)).collect();
    if applied.iter().chain(&ends).any(|at| *at != applied[0]) {
        return Err(format!("replicas have applied {applied:?} of {ends:?}"));
    }
    Ok(leader.clone())
}
