//! Changes of members. Each is answered in the same way when it is repeated.

use super::member::{MEMBERS_MAX, Member, MemberState, NodeSpec, TOMBSTONES_MAX};
use super::topology::{PartitionPlacement, Topology};
use crate::peers::NodeId;

/// Why a change is not made; said to whoever asked.
type Refusal = String;

impl Topology {
    /// Makes a cluster without members one of this member, which holds everything. No change where there are members.
    pub(crate) fn found(&mut self, spec: NodeSpec, at_ms: i64) {
        let Some(cluster) = self.cluster.as_ref().filter(|_| self.members.is_empty()) else { return };
        let partitions = cluster.partitions.into();
        let revision = self.revise();
        let placed = PartitionPlacement { epoch: 1, revision, replicas: vec![spec.id], moving: None };
        self.placement = vec![placed; partitions];
        self.members.insert(spec.id, Member { spec, state: MemberState::Active, since_ms: at_ms });
    }

    /// Takes a node in, or takes note of where it is now. At the address of another member only if it `replaces` that one, which
    /// is removed then as by [`Topology::remove`].
    pub(crate) fn put(
        &mut self,
        spec: NodeSpec,
        replaces: Option<NodeId>,
        force: bool,
        at_ms: i64,
    ) -> Result<(), Refusal> {
        let id = spec.id;
        if let Some(reason) = spec.invalid() {
            return Err(reason);
        }
        if self.members.is_empty() {
            return Err("the cluster has no first member yet".to_owned());
        }
        let known = self.members.get(&id);
        if let Some(tombstone) = known.filter(|member| member.is_removed()) {
            return Err(removed(tombstone));
        }
        if known.is_none() && self.present().count() >= MEMBERS_MAX {
            return Err(format!("the cluster has {MEMBERS_MAX} members, no more are taken in"));
        }
        if replaces == Some(id) {
            return Err(format!("node {id:016x} cannot replace itself"));
        }
        let others = || self.present().filter(|member| member.spec.id != id && Some(member.spec.id) != replaces);
        let taken = |address: &str, of: fn(&NodeSpec) -> &str| {
            let other = others().find(|member| !address.is_empty() && of(&member.spec) == address)?;
            Some(format!(
                "address {address} is that of node {:016x}: remove that node first, or give this one another address",
                other.spec.id
            ))
        };
        let taken = taken(&spec.peer, |spec| &spec.peer).or_else(|| taken(&spec.http, |spec| &spec.http));
        if let Some(reason) = taken {
            return Err(reason);
        }
        if known.is_some_and(|member| member.spec == spec) && replaces.is_none_or(|old| self.is_tombstone(old)) {
            return Ok(());
        }
        // Before who goes is removed: an only node can be replaced by force.
        let (state, since_ms) = known.map_or((MemberState::Active, at_ms), |member| (member.state, member.since_ms));
        let previous = self.members.insert(id, Member { spec, state, since_ms });
        if let Some(old) = replaces
            && let Err(reason) = self.remove(old, force, at_ms)
        {
            match previous {
                Some(previous) => self.members.insert(id, previous),
                None => self.members.remove(&id),
            };
            return Err(reason);
        }
        self.revise();
        Ok(())
    }

    /// What the node holds is to go elsewhere.
    pub(crate) fn drain(&mut self, id: NodeId, at_ms: i64) -> Result<(), Refusal> {
        let state = self.present_state(id)?;
        if state == MemberState::Active && self.active().count() == 1 {
            return Err(format!("node {id:016x} is the last active one: nobody could take what it holds"));
        }
        self.change_state(id, MemberState::Draining, at_ms);
        Ok(())
    }

    /// The node may hold replicas again.
    pub(crate) fn undrain(&mut self, id: NodeId, at_ms: i64) -> Result<(), Refusal> {
        self.present_state(id)?;
        self.change_state(id, MemberState::Active, at_ms);
        Ok(())
    }

    /// Declares a node gone for ever. Refused while that leaves a partition with so few replicas that they are no majority of
    /// those it has now, which is what its group needs to replace the node.
    ///
    /// `force` does it all the same: for a node whose disk is lost. Partitions without a majority then have no leader: they take
    /// no writes and no reads of what is not in data files, and no move can begin, until a removed node's replicas are made up
    /// for by hand. The last active member is not removed even so.
    pub(crate) fn remove(&mut self, id: NodeId, force: bool, at_ms: i64) -> Result<(), Refusal> {
        let Some(member) = self.members.get(&id) else { return Err(unknown(id)) };
        if member.is_removed() {
            return Ok(());
        }
        if !self.active().any(|other| other.spec.id != id) {
            return Err(format!("node {id:016x} is the last active one: the cluster would end"));
        }
        let removed = self.members.len() - self.present().count();
        if removed >= TOMBSTONES_MAX {
            return Err(format!(
                "{removed} nodes were removed from this cluster, it can forget none and takes no more"
            ));
        }
        let lost = self.without_majority(id);
        if !force && let Some(first) = lost.first() {
            return Err(format!(
                "{} partitions, {first} the first, would be left without a majority: drain node {id:016x} and wait until \
                 nothing is left on it, or force it if its disk is lost",
                lost.len()
            ));
        }
        self.change_state(id, MemberState::Removed, at_ms);
        Ok(())
    }

    /// Partitions that this member has or gets, and that have no majority without it: of their replicas now, or of those after
    /// the move that is under way, whose voters its group may have already.
    fn without_majority(&self, gone: NodeId) -> Vec<usize> {
        let lost = |placed: &PartitionPlacement| {
            let sets = [&placed.replicas, &placed.after_move()];
            sets.into_iter().any(|set| set.contains(&gone) && !self.has_majority(set, Some(gone)))
        };
        self.placement.iter().enumerate().filter(|(_, placed)| lost(placed)).map(|(at, _)| at).collect()
    }

    /// Partitions of which so many replicas were removed that the rest is no majority. Only force leads there.
    pub fn without_leader_for_ever(&self) -> Vec<usize> {
        let lost = |(_, placed): &(usize, &PartitionPlacement)| !self.has_majority(&placed.replicas, None);
        self.placement.iter().enumerate().filter(lost).map(|(at, _)| at).collect()
    }

    /// Whether more than half of the nodes are members, even without `gone`.
    fn has_majority(&self, nodes: &[NodeId], gone: Option<NodeId>) -> bool {
        let stays = |node: &&NodeId| Some(**node) != gone && !self.is_tombstone(**node);
        nodes.iter().filter(stays).count() > nodes.len() / 2
    }

    fn is_tombstone(&self, id: NodeId) -> bool {
        self.state(id) == Some(MemberState::Removed)
    }

    fn present_state(&self, id: NodeId) -> Result<MemberState, Refusal> {
        match self.members.get(&id) {
            None => Err(unknown(id)),
            Some(member) if member.is_removed() => Err(removed(member)),
            Some(member) => Ok(member.state),
        }
    }

    fn change_state(&mut self, id: NodeId, state: MemberState, at_ms: i64) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| member.state != state) {
            (member.state, member.since_ms) = (state, at_ms);
            self.revise();
        }
    }
}

fn unknown(id: NodeId) -> Refusal {
    format!("node {id:016x} is not a member of the cluster")
}

fn removed(member: &Member) -> Refusal {
    let (id, since_ms) = (member.spec.id, member.since_ms);
    format!(
        "node {id:016x} was removed from the cluster at {since_ms} and is never admitted again: a new directory joins as a new node"
    )
}
