//! The port to other nodes: calls, uploads and downloads, all of them bytes with a method number.
//!
//! `rpc` is the one over the network; tests and simulations bring one in memory, whose links can be cut. Who receives is a [`Service`].
//! What the bytes mean is the business of both ends: groups speak [`Method`]s below [`Method::APPLICATION`], the node package
//! those from there on.

mod nobody;

#[cfg(test)]
pub(crate) mod memory;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use nobody::Nobody;

/// A node of the cluster, for ever: drawn at random when its directory is made.
pub type NodeId = u64;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(pub u16);

impl Method {
    /// Methods from here on belong to whoever embeds this crate.
    pub const APPLICATION: Self = Self(0x100);
}

/// What groups ask of each other; see [`crate::service`].
pub(crate) mod method {
    use super::Method;

    pub(crate) const APPEND: Method = Method(1);
    pub(crate) const VOTE: Method = Method(2);
    /// An upload.
    pub(crate) const SNAPSHOT: Method = Method(3);
    /// Whether this node's votes still are the asking leader's.
    pub(crate) const CONFIRM: Method = Method(4);
    pub(crate) const READ_POINTS: Method = Method(5);
    pub(crate) const PROPOSE: Method = Method(6);
    /// To stand for election now, for the leader that asks wants to go.
    pub(crate) const ELECT: Method = Method(7);
    /// What the node and the groups that it leads report; see [`crate::member`].
    pub(crate) const REPORT: Method = Method(8);
    /// A step of the controller for a group that the node leads, or for a replica of it.
    pub(crate) const STEP: Method = Method(9);
}

/// Bytes in pieces, or the reason why no more come. Ends early when it is dropped.
pub type Pieces = BoxStream<'static, Result<Bytes, CallError>>;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Certainly not received.
    #[error("node {node:016x} cannot be reached: {reason}")]
    Unreachable { node: NodeId, reason: String },
    /// Perhaps received and done.
    #[error("node {node:016x} did not answer: {reason}")]
    Lost { node: NodeId, reason: String },
    /// The other side's own words.
    #[error("{reason}")]
    Refused { reason: String },
}

/// The way to other nodes.
#[async_trait]
pub trait Peers: Send + Sync + std::fmt::Debug + 'static {
    /// A small question and a small answer, each at most a few MiB. Calls to one node keep their order on the way but may be
    /// answered in any.
    async fn call(&self, to: NodeId, method: Method, body: Bytes, timeout: Duration) -> Result<Bytes, CallError>;

    /// Many bytes there, a small answer back.
    async fn upload(&self, to: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError>;

    /// A small question, many bytes back.
    async fn download(&self, to: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError>;

    /// Keeps in touch with the node from now on, though nobody calls it: something has to come from it at least twice in the longest
    /// election time (1.5 s) while it is well, for groups do not elect without a majority that is heard.
    fn meet(&self, node: NodeId);

    /// How long ago anything came from the node; `None` when nothing ever did.
    fn silence(&self, node: NodeId) -> Option<Duration>;

    /// Whether anything came from the node that recently.
    fn hears(&self, node: NodeId, silence_max: Duration) -> bool {
        self.silence(node).is_some_and(|silence| silence <= silence_max)
    }
}

/// What a node does for others. Called concurrently; a call that is given up by its caller is dropped.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    async fn call(&self, from: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError>;

    async fn upload(&self, from: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError>;

    async fn download(&self, from: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError>;
}
