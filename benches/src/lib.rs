//! Micro-benchmarks (`benches/*.rs`, criterion), and `versus`: side by side with installed peers.

pub mod versus;
