//! Connections to other members of a group.
//!
//! Every group of a node has this node as its only voter, so none is ever asked for; should a membership name another node,
//! it is unreachable, and says so.

use std::future::Future;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, OptionalSend, Snapshot, Vote};

use super::config::TypeConfig;

/// A network without peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPeers;

/// A peer that cannot be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    id: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("node {id} cannot be reached: this node has no connections to others")]
struct NoConnection {
    id: u64,
}

impl Peer {
    fn unreachable(self) -> Unreachable {
        Unreachable::new(&NoConnection { id: self.id })
    }
}

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Peer {
        Peer { id: target }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: Vote<u64>,
        _: Snapshot<TypeConfig>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        Err(self.unreachable().into())
    }
}
