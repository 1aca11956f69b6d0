//! The node among the others of its cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_cluster::controller::{Limits, NodeReport, Observed};
use pharos_cluster::meta::MetaClient;
use pharos_cluster::status::ClusterStatus;
use pharos_model::PartitionId;

use super::Node;

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
        let own = NodeReport { silence: Duration::ZERO, revision: topology.revision, replicas, leaving: false };
        let nodes = BTreeMap::from([(self.cluster.node_id(), own)]);
        let observed = Observed { meta: self.cluster.meta_group().report(), partitions, nodes };
        ClusterStatus::of(&topology, &observed, &Limits::default())
    }
}
