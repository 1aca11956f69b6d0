//! The node among the others of its cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use pharos_cluster::controller::{Limits, NodeReport, Observed};
use pharos_cluster::meta::MetaClient;
use pharos_cluster::peers::NodeId;
use pharos_cluster::status::ClusterStatus;
use pharos_model::PartitionId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Node;
use super::others::{self, method};

/// A node that does not say within this what it goes by is left out.
const CONFIG_ANSWER_MAX: Duration = Duration::from_secs(2);
/// Nodes that are asked for that at once.
const ASKED_AT_ONCE: usize = 64;

impl Node {
    /// What all nodes agree on.
    pub fn meta(&self) -> &MetaClient {
        self.cluster.meta()
    }

    /// The cluster as it is now, a node alone as one that leads everything.
    pub async fn cluster_status(&self) -> ClusterStatus {
        if let Some(member) = &self.member {
            return member.status().await;
        }
        let topology = self.meta().topology().borrow().clone();
        let replicas = self.cluster.replicas();
        let led = |partition: &PartitionId| Some((*partition, self.cluster.replica(*partition)?.report()?));
        let partitions = replicas.iter().filter_map(led).collect();
        let damaged = self.cluster.damaged_replicas();
        let (silence, revision) = (Duration::ZERO, topology.revision);
        let own = NodeReport { silence, revision, replicas, damaged, leaving: false };
        let nodes = BTreeMap::from([(self.cluster.node_id(), own)]);
        let observed = Observed { meta: self.cluster.meta_group().report(), partitions, nodes };
        ClusterStatus::of(&topology, &observed, &Limits::default())
    }

    /// From now on others are told this of the configuration that the node goes by.
    pub fn say_config(&self, report: &impl Serialize) {
        self.office.say_config(report);
    }

    /// What the other members that can be heard say of theirs.
    pub async fn configs_of_others<T: DeserializeOwned>(&self) -> Vec<(NodeId, T)> {
        let peers = &self.whereabouts.peers;
        let topology = self.meta().topology().borrow().clone();
        let others = topology.present().map(|member| member.spec.id).filter(|node| *node != self.id());
        let asked: Vec<_> = others
            .filter(|node| self.whereabouts.is_alive(*node))
            .map(|node| async move {
                let answer = peers.call(node, method::CONFIG, Bytes::new(), CONFIG_ANSWER_MAX).await.ok()?;
                Some((node, others::decode(&answer).ok()?))
            })
            .collect();
        stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await
    }
}
