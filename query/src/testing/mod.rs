//! A store in memory, for scripts and tests.

mod hint;
mod memory;

pub use memory::{MemorySample, MemorySource};
