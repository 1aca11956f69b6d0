//! Members of the cluster: nodes that are in it, and those that were.

use serde::{Deserialize, Serialize};

use crate::peers::NodeId;

/// Longest address of a node in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Longest name of a zone in bytes.
pub const ZONE_BYTES_MAX: usize = 64;
/// Longest name of a cluster in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;
/// Most members that are not removed.
pub const MEMBERS_MAX: usize = 1000;
/// Most members that were removed: about 10 MiB of metadata. Nothing ever takes one away.
pub const TOMBSTONES_MAX: usize = 65_536;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`; empty while it takes part in no cluster of several.
    pub peer: String,
    /// Where its HTTP interface is reached; empty when it is not told.
    pub http: String,
    /// Nodes of one zone are expected to fail together; empty when it is not told.
    pub zone: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Holds replicas.
    Active,
    /// Gives away what it holds, and still works.
    Draining,
    /// Was declared gone for ever. The id is never admitted again.
    Removed,
}

/// A node of the cluster, or the tombstone of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    #[serde(flatten)]
    pub spec: NodeSpec,
    pub state: MemberState,
    /// When it came into that state, in milliseconds since 1970 by the clock of the node that asked for it.
    pub since_ms: i64,
}

impl Member {
    pub fn is_removed(&self) -> bool {
        self.state == MemberState::Removed
    }
}

impl NodeSpec {
    /// The reason why nobody can be a member like this.
    pub(super) fn invalid(&self) -> Option<String> {
        let fields = [
            ("peer address", &self.peer, ADDRESS_BYTES_MAX),
            ("http address", &self.http, ADDRESS_BYTES_MAX),
            ("zone", &self.zone, ZONE_BYTES_MAX),
        ];
        let too_long = fields.into_iter().find(|(_, value, most)| value.len() > *most);
        too_long.map(|(field, value, most)| format!("{field} of {} bytes, allowed are {most}", value.len()))
    }
}
