//! Every way in for samples: exposition parsers, scraping, discovery, relabelling, remote write.
//!
//! Leaves storing to a [`sink::Sink`].

pub mod sink;
