//! The metadata group: what all nodes agree on. Here the cluster's name and partition count, and for each partition and
//! tenant the pointer to its current manifest. Never samples, never series; under a hundred entries a second at any size.

mod checkpoint_file;
mod client;
mod command;
mod machine;

pub use client::{MetaClient, MetaError, SwapError};
pub use command::{Cluster, ManifestPointer, ManifestRow, OBJECT_NAME_BYTES_MAX};
pub(crate) use machine::MetaMachine;
