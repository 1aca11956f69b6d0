//! Receives Prometheus remote write 1.0 and 2.0.
//!
//! [`Receiver`] admits requests; an [`Admission`] turns a body into one batch and an append's outcome into an answer; [`Decoder`] is its synchronous part:
//! decompress, walk the protobuf, look the series up by the hash of their raw label bytes, build the batch. Only labels that
//! the cache does not know are parsed. Leaves HTTP, tenants and storing to others.
//!
//! Invariant: a request is either refused as a whole (headers, compression, protobuf, size) before anything is stored,
//! or each of its samples is stored or refused on its own.

mod answer;
mod decoder;
mod headers;
mod histogram;
mod labels;
mod metadata;
mod metrics;
mod receiver;
mod refusals;
mod request;
mod version2;

pub use answer::{WriteError, WriteSummary};
pub use decoder::{Decoded, Decoder, RequestLimits, Scratch};
pub use headers::{RequestHeaders, Version};
pub use histogram::RequestHistogram;
pub use labels::SeriesError;
pub use metadata::MetadataStore;
pub use metrics::Metrics;
pub use receiver::{Admission, Receiver, ReceiverConfig};
pub use request::{Exemplar, Item, RequestMetadata, Series, Walker};

#[cfg(test)]
mod tests;
