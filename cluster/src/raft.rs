//! openraft 0.9 behind our own types: one module for everything that its traits ask for.
//!
//! Nothing outside of this module and [`crate::group`] names the library, so that its next major version, which merges
//! appends and moves leaders by itself, replaces this module only.

#![expect(clippy::result_large_err, reason = "the library's storage errors are what its traits return")]

mod codec;
mod config;
mod machine;
mod network;
mod snapshot;
mod store;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use codec::{AppliedState, to_log_id};
pub use config::RaftTimes;
pub(crate) use config::{Answers, Commands, TypeConfig, library_config};
pub(crate) use machine::{Adaptor, Machine, received};
pub(crate) use network::Network;
pub(crate) use snapshot::Copy;
pub(crate) use store::{LogStore, from_entry, vote_no_leader, vote_none};
pub(crate) use wire::{
    SnapshotHeader, decode_append, decode_vote, encode_append_answer, encode_vote_alone, encode_vote_answer,
};
