//! Raft groups and the log they share.
//!
//! A node is a set of groups: the metadata group and one group for each partition. A group replicates *commands*, opaque
//! bytes that a [`StateMachine`] applies in one order. All groups of a node write to one [`log::Log`], which is the
//! write-ahead log: an answer to [`proposer::Proposer::propose`] means that the command is on disk, on a majority of the group's
//! voters. Other nodes are reached through the port [`peers`].
//!
//! What commands mean is left to the state machines: partitions bring theirs through [`node::Node::open`], the metadata
//! group's is [`meta`]. The Raft library is named in [`raft`] and [`group`] only.

pub mod state_machine;

pub mod group;
pub mod meta;
pub mod node;
pub mod proposer;
pub mod router;

mod gate;
mod groups;
mod reads;
mod warden;

pub mod controller;
pub mod founding;
pub mod gossip;
pub mod hearing;
pub mod member;
pub mod placement;
pub mod status;

pub mod peers;
pub mod rpc;
pub mod service;

mod blocking;
mod codec;
mod messages;
mod rounds;

pub mod log;
pub mod raft;

pub mod checkpoint;
pub mod fs;
pub mod metrics;

#[cfg(test)]
mod simulation;

pub use state_machine::{CheckpointError, FinishCheckpoint, StateMachine};
