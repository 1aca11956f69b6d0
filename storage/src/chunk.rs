//! Chunks: up to 120 samples of one series in one bit stream.
//!
//! [`codec`] is the stream of float samples, [`histogram`] that of native histograms, [`blocks`] the memory that open chunks grow in, [`segment`] and [`files`] the append-only
//! files that full ones move to. When a chunk is cut is the head's business, as is which chunk a sample goes to.
//! Invariant: a chunk is written once and never changes after it is cut. Layouts: `docs/format/chunk.md`.

pub mod codec;
pub mod histogram;

pub mod blocks;

pub(crate) mod files;
pub(crate) mod segment;

#[cfg(test)]
mod tests;
