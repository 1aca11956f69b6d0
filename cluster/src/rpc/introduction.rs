//! What nodes tell each other before they are in one cluster. Asking is [`super::Network::probe`] and [`super::Network::apply`]; what
//! follows from the answers says [`crate::founding`].

use async_trait::async_trait;
use bytes::Bytes;

use super::identity::common_protocol;
use super::wire::{self, PROTOCOL, PROTOCOL_OLDEST};
use crate::peers::{CallError, NodeId};

/// What a node says about itself to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The name of the cluster that it is in, or wants to be in.
    pub cluster: String,
    pub node: NodeId,
    /// Its advertised address, `host:port`.
    pub address: String,
    /// `--cluster.initial-nodes`, in its order; empty when it was started without.
    pub initial_nodes: Vec<String>,
    /// The cluster that it is in; `None` while its directory is fresh.
    pub cluster_id: Option<u64>,
    /// The members that it knows and their addresses; none while it is in no cluster. Whoever was away learns from them where
    /// the others are now.
    pub members: Vec<(NodeId, String)>,
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
            cluster: self.cluster.clone(),
            node: self.node,
            address: self.address.clone(),
            initial_nodes: self.initial_nodes.clone(),
            cluster_id: self.cluster_id,
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
            cluster: wire.cluster,
            node: wire.node,
            address: wire.address,
            initial_nodes: wire.initial_nodes,
            cluster_id: wire.cluster_id,
            members: wire.members.into_iter().map(|member| (member.node, member.address)).collect(),
        })
    }
}
