//! What nodes tell each other before they are in one cluster. Asking is [`super::Network::probe`] and [`super::Network::apply`]; what
//! follows from the answers says [`crate::founding`].

use async_trait::async_trait;
use bytes::Bytes;

use super::identity::common_protocol;
use super::wire::{self, PROTOCOL, PROTOCOL_OLDEST};
use crate::founding::{Answer, Member};
use crate::peers::{CallError, NodeId};

/// What a node says about itself to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Drawn when its process started: by this it knows its own answers.
    pub process: u64,
    /// The name of the cluster that it is in, or wants to be in.
    pub name: String,
    pub node: NodeId,
    /// Its advertised address, `host:port`.
    pub address: String,
    /// `--cluster.initial-nodes`, in its order; empty when it was started without.
    pub initial_nodes: Vec<String>,
    /// The id of the cluster that it is in, 32 hexadecimal digits; `None` while its directory is fresh.
    pub cluster: Option<String>,
    /// The members that it knows and their addresses; none while it is in no cluster. Whoever was away learns from them where
    /// the others are now.
    pub members: Vec<(NodeId, String)>,
    /// The nodes that were removed.
    pub removed: Vec<NodeId>,
    /// Of the metadata that these two are from: of two nodes of one cluster, the one with the larger knows better.
    pub revision: u64,
}

/// Answers for this node before others may call it.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    fn introduction(&self) -> Introduction;

    /// A node asks to be taken in. `details` and the answer mean what both sides' nodes agree on. It may ask again when an
    /// answer got lost.
    async fn admit(&self, applicant: Introduction, details: Bytes) -> Result<Bytes, CallError>;
}

impl Introduction {
    pub(super) fn to_wire(&self) -> wire::Introduction {
        wire::Introduction {
            protocol_min: PROTOCOL_OLDEST,
            protocol_max: PROTOCOL,
            process: self.process,
            name: self.name.clone(),
            node: self.node,
            address: self.address.clone(),
            initial_nodes: self.initial_nodes.clone(),
            cluster: self.cluster.clone(),
            removed: self.removed.clone(),
            revision: self.revision,
            members: self
                .members
                .iter()
                .map(|(node, address)| wire::Member { node: *node, address: address.clone() })
                .collect(),
        }
    }

    /// Fails with the versions that the other side speaks if this one speaks none of them.
    pub(super) fn from_wire(wire: wire::Introduction) -> Result<Self, (u32, u32)> {
        let theirs = (wire.protocol_min, wire.protocol_max);
        if !common_protocol(theirs) {
            return Err(theirs);
        }
        Ok(Self {
            process: wire.process,
            name: wire.name,
            node: wire.node,
            address: wire.address,
            initial_nodes: wire.initial_nodes,
            cluster: wire.cluster,
            members: wire.members.into_iter().map(|member| (member.node, member.address)).collect(),
            removed: wire.removed,
            revision: wire.revision,
        })
    }

    /// What follows from it for a node that starts.
    pub fn into_answer(self) -> Answer {
        let Self { process, name, node, initial_nodes, members, removed, .. } = self;
        match self.cluster {
            None => Answer::Fresh { process, name, initial_nodes },
            Some(cluster) => Answer::InCluster(Member { process, node, cluster, name, members, removed }),
        }
    }
}
