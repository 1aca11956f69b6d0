//! A store in memory, and workers over it, for scripts and tests.

mod cluster;
#[cfg(test)]
pub(crate) mod gated;
mod hint;
mod memory;
mod split;

pub use crate::distributed::bytes::read as read_part;
pub use cluster::Cluster;
pub use memory::{MemorySample, MemorySource};
pub use split::SplitSource;

/// The `at`th of the numbers that a seed stands for.
fn random(seed: u64, at: u64) -> u64 {
    twox_hash::XxHash64::oneshot(seed, &at.to_le_bytes())
}
