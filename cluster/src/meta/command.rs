//! What is proposed to the metadata group, and what it answers. JSON: few, small, and readable in a log.

use serde::{Deserialize, Serialize};

/// Longest name of a manifest object in bytes.
pub const OBJECT_NAME_BYTES_MAX: usize = 1024;

/// What makes this cluster this one; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// 32 hexadecimal digits, drawn when the cluster was first started.
    pub id: String,
    /// The number of partitions: stored data depends on it.
    pub partitions: u16,
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
    /// Founds the cluster; answered with the cluster that there is.
    Found(Cluster),
    /// Points to another manifest if the version is still `expected`; 0 when there is none.
    SwapManifest { partition: u16, tenant: String, expected: u64, object: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Cluster(Cluster),
    Swapped(ManifestPointer),
    /// The version was another one; the pointer that there is.
    Conflict(Option<ManifestPointer>),
    /// The command is not understood or not allowed, on any replica.
    Refused(String),
}
