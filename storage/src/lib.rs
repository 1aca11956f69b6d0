//! The time-series store of one node: head, chunks, series index, data files, manifests, retention.

pub mod select;
