//! What is proposed to the metadata group, and what it answers. JSON: few, small, and readable in a log.

use serde::{Deserialize, Serialize};

use super::documents::Version;
use super::member::NodeSpec;
use super::topology::{Move, PartitionPlacement};
use crate::peers::NodeId;

/// Longest name of a manifest object in bytes.
pub const OBJECT_NAME_BYTES_MAX: usize = 1024;
/// Longest mark of an object store in bytes.
pub(super) const STORE_MARK_BYTES_MAX: usize = 64;

/// What makes this cluster this one; never changes, but that a cluster from before clusters had names gets one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// 32 hexadecimal digits, drawn when the cluster was first started.
    pub id: String,
    /// The operator's word for it; empty until it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The number of partitions: stored data depends on it.
    pub partitions: u16,
}

/// The first member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founder {
    pub node: NodeSpec,
    pub at_ms: i64,
}

/// The current manifest of one partition's and tenant's data files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPointer {
    /// 1 for the first manifest, one more with each swap.
    pub version: u64,
    /// Name in the object store.
    pub object: String,
}

/// A pointer with whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    pub partition: u16,
    pub tenant: String,
    #[serde(flatten)]
    pub pointer: ManifestPointer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// Founds the cluster; answered with the cluster that there is. One from before clusters had names and members gets both.
    Found(Founding),
    /// Points to another manifest if the version is still `expected`; 0 when there is none.
    SwapManifest {
        partition: u16,
        tenant: String,
        expected: u64,
        object: String,
    },
    /// Takes a node in, or takes note of what it says about itself.
    PutNode {
        node: NodeSpec,
        replaces: Option<NodeId>,
        force: bool,
        at_ms: i64,
    },
    DrainNode {
        node: NodeId,
        at_ms: i64,
    },
    UndrainNode {
        node: NodeId,
        at_ms: i64,
    },
    RemoveNode {
        node: NodeId,
        force: bool,
        at_ms: i64,
    },
    BeginMove(Placing),
    FinishMove(Placing),
    CancelMove(Placing),
    PreferLeader {
        partition: u16,
        epoch: u64,
        leader: NodeId,
    },
    PutDocument {
        name: String,
        expected: u64,
        content: String,
        at_ms: i64,
    },
    RollBackDocument {
        name: String,
        expected: u64,
        to: u64,
        at_ms: i64,
    },
    /// Says by which mark the object store of the cluster is known, unless one was said before.
    MarkStore {
        mark: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Founding {
    #[serde(flatten)]
    pub cluster: Cluster,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founder: Option<Founder>,
}

/// A move of a partition that is at an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placing {
    pub partition: u16,
    pub epoch: u64,
    #[serde(rename = "move")]
    pub moving: Move,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Cluster(Cluster),
    Swapped(ManifestPointer),
    /// The version was another one; the pointer that there is.
    Conflict(Option<ManifestPointer>),
    Done,
    Placed(PartitionPlacement),
    /// The epoch was another one; the placement that there is.
    PlacedElsewhere(PartitionPlacement),
    Written(Version),
    /// The document was at another version; the one that it is at.
    WrittenMeanwhile(u64),
    /// The same, and so far on that nobody knows any more whether this command was the next one.
    Overtaken(u64),
    /// The mark in force.
    Store(String),
    /// The command is not understood or not allowed, on any replica.
    Refused(String),
}

impl Answer {
    /// Whether nothing was changed.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Conflict(_)
            | Self::PlacedElsewhere(_)
            | Self::WrittenMeanwhile(_)
            | Self::Overtaken(_)
            | Self::Refused(_) => true,
            Self::Cluster(_) | Self::Swapped(_) | Self::Done | Self::Placed(_) | Self::Written(_) | Self::Store(_) => {
                false
            }
        }
    }
}
