//! Where nodes are: by this node's metadata, and by what others said who know it better.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::log::entry::GroupId;
use crate::meta::{Topology, TopologyView};
use crate::node::{META_GROUP, partition_of};
use crate::peers::NodeId;
use crate::router::Replicas;
use crate::rpc::identity::{Members, Standing};

/// The address book. What was heard counts as long as it is newer than the own metadata, and for nodes that this does not know.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) view: TopologyView,
    heard: watch::Sender<Heard>,
}

/// Members and removed nodes as somebody else told them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) revision: u64,
    pub(super) members: BTreeMap<NodeId, String>,
    pub(super) removed: BTreeSet<NodeId>,
}

impl Book {
    /// Takes note of what a node of this cluster says.
    pub(super) fn hear(&self, heard: Heard) {
        self.heard.send_if_modified(|newest| {
            let is_newer = heard.revision >= newest.revision;
            if is_newer {
                *newest = heard;
            }
            is_newer
        });
    }

    /// What this node knows best.
    pub(super) fn known(&self) -> Heard {
        let heard = self.heard.borrow().clone();
        match self.view.now() {
            Some(topology) if topology.revision >= heard.revision => of(&topology),
            _ => heard,
        }
    }

    fn standing(&self, node: NodeId) -> Standing {
        let own = self.view.now();
        let heard = self.heard.borrow();
        let by_own = own.as_ref().map_or(Standing::Unknown, |topology| in_topology(topology, node));
        let by_heard = heard.standing(node);
        // A tombstone is for ever, whoever has it.
        if by_own == Standing::Removed || by_heard == Standing::Removed {
            return Standing::Removed;
        }
        let own_is_newer = own.is_some_and(|topology| topology.revision >= heard.revision);
        let (first, second) = if own_is_newer { (by_own, by_heard) } else { (by_heard, by_own) };
        if first == Standing::Unknown { second } else { first }
    }

    /// Returns when somebody has told that the node was removed: one that was not there then may never have it in its own metadata.
    pub(super) async fn removed(&self, node: NodeId) {
        let mut heard = self.heard.subscribe();
        // The book has the sender.
        drop(heard.wait_for(|heard| heard.removed.contains(&node)).await);
    }

    pub(super) fn members(self: &Arc<Self>) -> Members {
        let book = Arc::clone(self);
        Arc::new(move |node| book.standing(node))
    }

    /// Whom to ask for the leader of a group.
    pub(super) fn replicas(self: &Arc<Self>) -> Replicas {
        let book = Arc::clone(self);
        Arc::new(move |group| book.replicas_of(group))
    }

    fn replicas_of(&self, group: GroupId) -> Vec<NodeId> {
        if group == META_GROUP {
            return self.known().members.into_keys().collect();
        }
        let Some((topology, partition)) = self.view.now().zip(partition_of(group)) else { return Vec::new() };
        let placed = topology.placement.get(usize::from(partition.0));
        let coming = placed.and_then(|placed| placed.moving).and_then(|moving| moving.add);
        placed.into_iter().flat_map(|placed| placed.replicas.iter().copied()).chain(coming).collect()
    }
}

impl Heard {
    fn standing(&self, node: NodeId) -> Standing {
        match self.members.get(&node) {
            _ if self.removed.contains(&node) => Standing::Removed,
            Some(address) => Standing::Member { address: address.clone() },
            None => Standing::Unknown,
        }
    }
}

fn of(topology: &Topology) -> Heard {
    let present = topology.present().filter(|member| !member.spec.peer.is_empty());
    Heard {
        revision: topology.revision,
        members: present.map(|member| (member.spec.id, member.spec.peer.clone())).collect(),
        removed: topology.members.values().filter(|member| member.is_removed()).map(|member| member.spec.id).collect(),
    }
}

fn in_topology(topology: &Topology, node: NodeId) -> Standing {
    match topology.members.get(&node) {
        Some(member) if member.is_removed() => Standing::Removed,
        Some(member) if !member.spec.peer.is_empty() => Standing::Member { address: member.spec.peer.clone() },
        _ => Standing::Unknown,
    }
}
