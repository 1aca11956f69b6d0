//! Queries over nodes: who reads which partitions, and the way to them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use pharos_cluster::hearing::Hearing;
use pharos_cluster::meta::Topology;
use pharos_cluster::peers::{NodeId, Peers};
use pharos_model::PartitionId;
use pharos_query::distributed::{
    Channels, InProcess, NearAndFar, Pieces, Placement, Remote, Share, Snapshot, Transport, Unplaced, Worker, WorkerId,
};
use tokio::sync::watch;

use super::others::{ANSWER_MAX, method};

/// A node as a worker of queries.
pub fn worker_of(node: NodeId) -> WorkerId {
    WorkerId::new(&format!("{node:016x}")).expect("hexadecimal digits")
}

fn node_of(worker: &WorkerId) -> Option<NodeId> {
    NodeId::from_str_radix(worker.as_str(), 16).ok()
}

/// Which nodes read which partitions, by the placement that this node knows.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    pub own: NodeId,
    pub topology: watch::Receiver<Arc<Topology>>,
    /// A node that is not heard is asked after all others.
    pub hearing: Hearing,
}

impl Whereabouts {
    /// By node, the partitions that it is to be asked for. This node is before all others, then the preferred leader.
    pub fn shares(&self, lost: &[NodeId]) -> Result<Vec<(NodeId, Vec<PartitionId>)>, Unplaced> {
        let topology = Arc::clone(&self.topology.borrow());
        let heard = self.hearing.heard(topology.present().map(|member| member.spec.id));
        shares(&topology, self.own, lost, |node| heard.contains(&node))
    }

    /// The way to other nodes.
    pub fn peers(&self) -> &Arc<dyn Peers> {
        self.hearing.peers()
    }
}

fn shares(
    topology: &Topology,
    own: NodeId,
    lost: &[NodeId],
    is_alive: impl Fn(NodeId) -> bool,
) -> Result<Vec<(NodeId, Vec<PartitionId>)>, Unplaced> {
    let mut shares: Vec<(NodeId, Vec<PartitionId>)> = Vec::new();
    for (partition, placed) in topology.placement.iter().enumerate() {
        // A node that is on its way out has its replica until the placement says otherwise; one that comes is not asked yet.
        let candidates = || placed.replicas.iter().copied().filter(|node| !lost.contains(node));
        let own = candidates().find(|node| *node == own);
        let node = own.or_else(|| candidates().find(|node| is_alive(*node))).or_else(|| candidates().next());
        let node = node.ok_or(Unplaced { partition })?;
        let id = PartitionId(partition as u16);
        match shares.iter_mut().find(|(known, _)| *known == node) {
            Some((_, partitions)) => partitions.push(id),
            None => shares.push((node, vec![id])),
        }
    }
    Ok(shares)
}

impl Placement for Whereabouts {
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced> {
        let lost: Vec<NodeId> = lost.iter().filter_map(node_of).collect();
        let shares = self.shares(&lost)?;
        if shares.iter().all(|(node, _)| *node == self.own) {
            return Ok(None);
        }
        let share = |(node, partitions): (NodeId, Vec<PartitionId>)| {
            Share::new(worker_of(node), partitions.into_iter().map(|partition| usize::from(partition.0)).collect())
        };
        Ok(Some(Snapshot::new(shares.into_iter().map(share).collect())))
    }

    fn here(&self) -> Option<WorkerId> {
        Some(worker_of(self.own))
    }
}

/// The way to other nodes' workers.
#[derive(Debug)]
struct Way(Arc<dyn Peers>);

fn known(worker: &WorkerId) -> Result<NodeId, String> {
    node_of(worker).ok_or_else(|| format!("{worker} is no node"))
}

#[async_trait]
impl Transport for Way {
    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let answer = self.0.call(known(worker)?, method::QUERY_QUESTION, Bytes::from(question), ANSWER_MAX).await;
        answer.map(Vec::from).map_err(|error| error.to_string())
    }

    async fn stream(&self, worker: &WorkerId, request: Vec<u8>) -> Result<Pieces, String> {
        let pieces = self.0.download(known(worker)?, method::QUERY_PART, Bytes::from(request)).await;
        Ok(pieces.map_err(|error| error.to_string())?.map_err(|error| error.to_string()).boxed())
    }
}

/// Channels to all nodes, this one included.
pub fn channels(own: NodeId, worker: Worker, peers: Arc<dyn Peers>) -> Arc<dyn Channels> {
    let near = InProcess::new([(worker_of(own), worker)]);
    Arc::new(NearAndFar { near, far: Arc::new(Remote(Arc::new(Way(peers)))) })
}

#[cfg(test)]
mod tests {
    use pharos_cluster::meta::PartitionPlacement;

    use super::*;

    fn topology(replicas: &[&[NodeId]]) -> Topology {
        let placed = |replicas: &&[NodeId]| PartitionPlacement {
            epoch: 1,
            revision: 1,
            replicas: replicas.to_vec(),
            moving: None,
        };
        Topology { placement: replicas.iter().map(placed).collect(), ..Topology::default() }
    }

    fn asked(replicas: &[&[NodeId]], lost: &[NodeId], dead: &[NodeId]) -> Result<Vec<(NodeId, Vec<u16>)>, usize> {
        let shares = shares(&topology(replicas), 1, lost, |node| !dead.contains(&node));
        let plain = |shares: Vec<(NodeId, Vec<PartitionId>)>| {
            shares.into_iter().map(|(node, of)| (node, of.into_iter().map(|id| id.0).collect())).collect()
        };
        shares.map(plain).map_err(|unplaced| unplaced.partition)
    }

    #[test]
    fn this_node_reads_what_it_has_and_others_the_rest() {
        let placed: &[&[NodeId]] = &[&[2, 1], &[2, 3], &[3, 2], &[3, 1]];
        assert_eq!(asked(placed, &[], &[]), Ok(vec![(1, vec![0, 3]), (2, vec![1]), (3, vec![2])]));
        assert_eq!(asked(placed, &[], &[2]), Ok(vec![(1, vec![0, 3]), (3, vec![1, 2])]));
        assert_eq!(asked(placed, &[1], &[]), Ok(vec![(2, vec![0, 1]), (3, vec![2, 3])]));
        // Silence is no proof of death: when nobody else is left, it is asked.
        assert_eq!(asked(placed, &[], &[2, 3]), Ok(vec![(1, vec![0, 3]), (2, vec![1]), (3, vec![2])]));
        assert_eq!(asked(placed, &[2, 3], &[]), Err(1));
    }

    #[test]
    fn a_node_is_a_worker_by_its_id() {
        for node in [0, 7, NodeId::MAX] {
            assert_eq!(node_of(&worker_of(node)), Some(node));
        }
    }
}
