//! The time-series store of one node: head, chunks, series index, data files, manifests, retention.
//!
//! A [`partition::Partition`] is what one Raft group keeps: for each tenant a head of the newest hours. It changes only by
//! applying [`record`]s that come out of the log. What the head holds longer than a slice goes to data files.

pub mod partition;
pub mod record;

pub mod head;
pub mod index;

pub mod chunk;
pub mod fs;

pub mod datafile;
pub mod manifest;
pub mod object;

pub mod deletion;
pub mod retention;
pub mod seal;
pub mod snapshot;

pub mod amendments;
pub mod metrics;
pub mod select;

mod starts;
mod wire;

#[cfg(test)]
mod test_histograms;
#[cfg(test)]
mod test_node;
