//! Every way in for samples: exposition parsers, scraping, discovery, relabelling, remote write.
//!
//! Leaves storing to a [`sink::Sink`].

pub mod config;
pub mod discovery;
pub mod http_client;
pub mod relabel;
pub mod scrape;

pub mod fs;
pub mod sink;

pub mod compression;
pub mod exposition;
pub mod remote_write;

pub mod label_limits;
mod native_histogram;
pub mod raw_cache;
pub mod series_hash;
mod wire;

#[cfg(test)]
mod test_server;
