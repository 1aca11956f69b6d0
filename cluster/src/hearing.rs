//! Whether nodes are heard: the one answer for whoever chooses a node to ask.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::gossip::Gossip;
use crate::meta::Topology;
use crate::peers::{NodeId, Peers};

/// What a node hears of the others. With nodes that it shares a group with it keeps in touch, so their silence tells. Of the rest gossip
/// tells, for nothing has to come from them. Clones are alike.
#[derive(Clone, Debug)]
pub struct Hearing {
    pub(crate) own: NodeId,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
    pub(crate) gossip: Option<Arc<Gossip>>,
    /// Heard from within this, a node is alive.
    pub(crate) silence_max: Duration,
}

impl Hearing {
    /// Of a node that has no others.
    pub fn alone(own: NodeId, topology: watch::Receiver<Arc<Topology>>) -> Self {
        let peers = Arc::new(crate::peers::Nobody);
        Self { own, peers, topology, gossip: None, silence_max: Duration::ZERO }
    }

    /// The way to those that are heard.
    pub fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    /// Whether another node was heard lately.
    pub fn hears(&self, node: NodeId) -> bool {
        !self.heard([node]).is_empty()
    }

    /// Those of some nodes that were heard lately.
    pub fn heard(&self, nodes: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
        let neighbours = neighbours(&self.topology.borrow(), self.own);
        let called = |node: NodeId| self.peers.hears(node, self.silence_max);
        let told = |node: NodeId| self.gossip.as_ref().is_some_and(|gossip| gossip.hears(node));
        nodes.into_iter().filter(|node| is_heard(*node, &neighbours, called, told)).collect()
    }
}

/// By what came over connections, and by what gossip tells.
fn is_heard(
    node: NodeId,
    neighbours: &BTreeSet<NodeId>,
    called: impl Fn(NodeId) -> bool,
    told: impl Fn(NodeId) -> bool,
) -> bool {
    called(node) || !neighbours.contains(&node) && told(node)
}

/// Nodes that share a partition with this one.
fn neighbours(topology: &Topology, own: NodeId) -> BTreeSet<NodeId> {
    let shared = topology.placement.iter().filter(|placed| placed.replicas.contains(&own));
    shared.flat_map(|placed| placed.replicas.iter().copied()).filter(|node| *node != own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::PartitionPlacement;

    #[test]
    fn gossip_tells_of_nodes_that_nothing_has_to_come_from() {
        let placed = |replicas: &[NodeId]| PartitionPlacement {
            epoch: 1,
            revision: 1,
            replicas: replicas.to_vec(),
            moving: None,
        };
        let placement = vec![placed(&[1, 2, 3]), placed(&[3, 4, 5]), placed(&[4, 1])];
        let neighbours = neighbours(&Topology { placement, ..Topology::default() }, 1);
        assert_eq!(neighbours, BTreeSet::from([2, 3, 4]));
        let heard = |node| is_heard(node, &neighbours, |node| [2, 6].contains(&node), |node| [3, 5].contains(&node));
        assert!(heard(2) && heard(6), "by a connection, whoever it is");
        assert!(!heard(3), "a neighbour that is silent is gone, whatever others still tell");
        assert!(heard(5) && !heard(7));
    }
}
