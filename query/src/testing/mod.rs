//! A store in memory, for scripts and tests.

mod memory;

pub use memory::MemorySource;
