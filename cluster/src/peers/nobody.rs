//! A node alone.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{CallError, Method, NodeId, Peers, Pieces};

/// The peers of a node without any.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

fn nobody(node: NodeId) -> CallError {
    CallError::Unreachable { node, reason: "this node has no connections to others".to_owned() }
}

#[async_trait]
impl Peers for Nobody {
    async fn call(&self, to: NodeId, _: Method, _: Bytes, _: Duration) -> Result<Bytes, CallError> {
        Err(nobody(to))
    }

    async fn upload(&self, to: NodeId, _: Method, _: Bytes, _: Pieces) -> Result<Bytes, CallError> {
        Err(nobody(to))
    }

    async fn download(&self, to: NodeId, _: Method, _: Bytes) -> Result<Pieces, CallError> {
        Err(nobody(to))
    }

    fn meet(&self, _: NodeId) {}

    fn silence(&self, _: NodeId) -> Option<Duration> {
        None
    }
}
