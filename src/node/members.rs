//! The node among the others of its cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use pharos_cluster::controller::{Limits, NodeReport, Observed};
use pharos_cluster::gossip::Gossip;
use pharos_cluster::member::Member;
use pharos_cluster::meta::MetaClient;
use pharos_cluster::peers::NodeId;
use pharos_cluster::status::ClusterStatus;
use pharos_model::PartitionId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::membership;
use super::others::{self, method};
use super::{Node, OpenError};
use crate::flags::ServerFlags;

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

    /// From now on others are told this of the configuration that the node goes by; in gossip, in short.
    pub fn say_config(&self, report: &impl Serialize, short: String) {
        self.office.say_config(report);
        if let Some(gossip) = self.gossip() {
            gossip.say_config(short);
        }
    }

    /// Reads the secret of gossip again.
    pub fn reread_gossip_secret(&self, flags: &ServerFlags) -> Result<(), OpenError> {
        if let (Some(gossip), Some(of_cluster)) = (self.gossip(), &flags.cluster) {
            gossip.replace_secrets(&membership::gossip_secrets(of_cluster)?);
        }
        Ok(())
    }

    fn gossip(&self) -> Option<&Gossip> {
        self.member.as_ref().and_then(Member::gossip).map(|gossip| &**gossip)
    }

    /// What the other members that can be heard say of theirs.
    pub async fn configs_of_others<T: DeserializeOwned>(&self) -> Vec<(NodeId, T)> {
        let peers = self.whereabouts.peers();
        let topology = self.meta().topology().borrow().clone();
        let others = topology.present().map(|member| member.spec.id).filter(|node| *node != self.id());
        let heard = self.whereabouts.hearing.heard(others);
        let asked: Vec<_> = heard
            .into_iter()
            .map(|node| async move {
                let answer = peers.call(node, method::CONFIG, Bytes::new(), CONFIG_ANSWER_MAX).await.ok()?;
                Some((node, others::decode(&answer).ok()?))
            })
            .collect();
        stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await
    }
}
