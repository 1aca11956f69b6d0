//! The metadata group: what all nodes agree on. The cluster's name and partition count, its members, who holds which
//! partition, configuration documents, and for each partition and tenant the pointer to its current manifest. Never samples, never
//! series; under a hundred entries a second at any size.
//!
//! What may happen is decided where a command is applied, by pure functions of the state: [`Topology`] and
//! [`Documents`]. Every command may be repeated: it succeeds again or tells what is there now.

mod member;
mod topology;

mod find;
mod members;
mod moves;

mod diff;
mod documents;

mod checkpoint_file;
mod client;
mod command;
mod machine;
#[cfg(test)]
mod tests;

pub use client::{DocumentError, MemberChange, MetaClient, MetaError, PlaceChange, PlaceError, SwapError};
pub use command::{Cluster, Founder, ManifestPointer, ManifestRow, OBJECT_NAME_BYTES_MAX};
pub use diff::{DIFF_EDITS_MAX, Line, diff};
pub use documents::{
    DOCUMENT_BYTES_MAX, DOCUMENT_NAME_BYTES_MAX, DOCUMENT_VERSIONS_MAX, DOCUMENTS_BYTES_MAX, DOCUMENTS_MAX, Document,
    Documents, Version,
};
pub use find::{FindError, PREFIX_DIGITS_MIN};
pub(crate) use machine::MetaMachine;
pub use member::{
    ADDRESS_BYTES_MAX, CLUSTER_NAME_BYTES_MAX, MEMBERS_MAX, Member, MemberState, NodeSpec, TOMBSTONES_MAX,
    ZONE_BYTES_MAX,
};
pub use topology::{Move, PartitionPlacement, Topology, TopologyView};
