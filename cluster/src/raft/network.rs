//! A group's links to its other members, over the port to other nodes.
//!
//! Whatever fails counts as a peer that cannot be reached: the library tries others of its errors again at once, without a pause.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, OptionalSend, Snapshot, Vote};
use tokio::sync::Semaphore;

use super::config::TypeConfig;
use super::snapshot::{Copy, SnapshotData};
use super::wire;
use crate::log::entry::GroupId;
use crate::metrics::RaftMetrics;
use crate::peers::{CallError, NodeId, Peers, method};

/// A peer that failed is asked again after so long. Shorter than [`crate::gate`] waits for the leader of a node that is back.
const RETRY: Duration = Duration::from_millis(200);
/// After a snapshot that failed: the next one costs a copy of the whole store.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(2);
/// A snapshot that takes longer is given up.
const SNAPSHOT_MAX: Duration = Duration::from_secs(600);
const PIECE_BYTES: usize = 256 << 10;

/// Makes the links of one group.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub group: GroupId,
    pub peers: Arc<dyn Peers>,
    /// Copies of stores that are in memory at once, on their way to others.
    pub snapshots: Arc<Semaphore>,
    pub metrics: RaftMetrics,
}

/// The way of one group to one member.
#[derive(Debug)]
pub(crate) struct Link {
    network: Network,
    to: NodeId,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("node {node:016x} gave an answer that cannot be read")]
    Answer { node: NodeId },
    #[error("copying the store for node {node:016x}: {reason}")]
    Copy { node: NodeId, reason: String },
    #[error("the snapshot did not reach node {node:016x} within {waited:?}")]
    Slow { node: NodeId, waited: Duration },
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Link {
        Link { network: self.clone(), to: target }
    }
}

impl Link {
    async fn call<T>(
        &self,
        method: crate::peers::Method,
        body: Bytes,
        option: &RPCOption,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Unreachable> {
        let called = self.network.peers.call(self.to, method, body, option.hard_ttl()).await;
        let decoded = called.map_err(LinkError::from).and_then(|answer| self.read(&answer, decode));
        decoded.map_err(|error| Unreachable::new(&error))
    }

    fn read<T>(&self, answer: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, LinkError> {
        decode(answer).ok_or(LinkError::Answer { node: self.to })
    }

    /// Copies the store and sends it; the receiver has it on disk when this returns.
    async fn send_copy(&self, vote: Vote<u64>, snapshot: SnapshotData) -> Result<Vote<u64>, LinkError> {
        let failed = |reason: String| LinkError::Copy { node: self.to, reason };
        let _permit = self.network.snapshots.acquire().await.map_err(|error| failed(error.to_string()))?;
        let copied = crate::blocking::spawn(move || snapshot.into_copy()).await;
        let copied = copied.map_err(|panicked| failed(panicked.to_string()))?;
        let Copy { state, bytes } = copied.map_err(|error| failed(error.to_string()))?;
        let header = wire::SnapshotHeader {
            group: self.network.group,
            vote,
            state,
            bytes: bytes.len() as u64,
            crc: crc32fast::hash(&bytes),
        };
        let bytes = Bytes::from(bytes);
        let starts = (0..bytes.len()).step_by(PIECE_BYTES);
        let pieces = starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE_BYTES))));
        let pieces = stream::iter(pieces).boxed();
        let sent = self.network.peers.upload(self.to, method::SNAPSHOT, header.encode(), pieces);
        let waited = SNAPSHOT_MAX;
        let sent = tokio::time::timeout(waited, sent).await.map_err(|_| LinkError::Slow { node: self.to, waited })?;
        self.read(&sent?, wire::decode_vote_alone)
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = wire::encode_append(self.network.group, request);
        Ok(self.call(method::APPEND, body, &option, wire::decode_append_answer).await?)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = wire::encode_vote(self.network.group, &request);
        Ok(self.call(method::VOTE, body, &option, wire::decode_vote_answer).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let send = async {
            let sent = self.send_copy(vote, *snapshot.snapshot).await;
            if sent.is_err() {
                self.network.metrics.snapshots_failed.inc();
                tokio::time::sleep(SNAPSHOT_RETRY).await;
            }
            sent
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = send => {
                let vote = sent.map_err(|error| Unreachable::new(&error))?;
                self.network.metrics.snapshots_sent.inc();
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(RETRY))
    }
}
