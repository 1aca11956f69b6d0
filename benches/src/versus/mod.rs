//! The same work for Pharos, Prometheus and VictoriaMetrics in one run: the same bytes on loopback, answers compared, and
//! CPU-seconds, anonymous memory and bytes on disk printed as ratios. Wall time is only a sanity column, machines are noisy.

pub mod cluster;
pub mod data;
pub mod day;
pub mod disk;
pub mod process;
pub mod queries;
pub mod remote_write;
pub mod report;
pub mod scrape;
pub mod selectors;
pub mod soak;
