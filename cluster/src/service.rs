//! What this node's groups do for those of other nodes. Every vote and every entry that is answered for is on disk.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::Semaphore;

use crate::group::Group;
use crate::log::entry::GroupId;
use crate::messages::{self, Confirm, Elect, Propose, ReadPoints};
use crate::metrics::RaftMetrics;
use crate::peers::{CallError, Method, NodeId, Pieces, Service, method};
use crate::raft::{
    Copy, SnapshotHeader, decode_append, decode_vote, encode_append_answer, encode_vote_alone, encode_vote_answer,
    received,
};
use crate::reads::Reads;
use crate::router::Router;

/// Copies of stores that are taken in at once: each is in memory as a whole.
const SNAPSHOTS_MAX: usize = 1;
/// A larger copy is refused before it is received.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// A sender that pauses for longer in the middle of a snapshot is given up.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The groups' end of the port to other nodes. Made before its node, for a node needs others to open; until then it refuses.
#[derive(Debug, Default)]
pub struct GroupService {
    node: OnceLock<Serving>,
}

#[derive(Debug)]
struct Serving {
    router: Arc<Router>,
    reads: Arc<Reads>,
    receiving: Semaphore,
    metrics: RaftMetrics,
}

impl GroupService {
    pub(crate) fn serve(&self, router: Arc<Router>, reads: Arc<Reads>) {
        let metrics = router.metrics.clone();
        let serving = Serving { router, reads, receiving: Semaphore::new(SNAPSHOTS_MAX), metrics };
        assert!(self.node.set(serving).is_ok(), "a service has one node");
    }

    fn serving(&self) -> Result<&Serving, CallError> {
        self.node.get().ok_or_else(|| refused("the node is not open yet"))
    }
}

fn refused(reason: impl Into<String>) -> CallError {
    CallError::Refused { reason: reason.into() }
}

/// What was received, unless it cannot be read.
fn readable<T>(decoded: Option<T>) -> Result<T, CallError> {
    decoded.ok_or_else(|| refused("the request cannot be read"))
}

#[async_trait]
impl Service for GroupService {
    async fn call(&self, from: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError> {
        let serving = self.serving()?;
        match method {
            method::APPEND => serving.append(from, &body).await,
            method::VOTE => serving.vote(from, &body).await,
            method::CONFIRM => serving.confirm(from, &body),
            method::READ_POINTS => serving.read_points(&body).await,
            method::PROPOSE => serving.propose(&body).await,
            method::ELECT => serving.elect(from, &body).await,
            _ => Err(refused("groups know no such call")),
        }
    }

    async fn upload(&self, from: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        let serving = self.serving()?;
        match method {
            method::SNAPSHOT => serving.snapshot(from, &header, pieces).await,
            _ => Err(refused("groups know no such upload")),
        }
    }

    async fn download(&self, _: NodeId, _: Method, _: Bytes) -> Result<Pieces, CallError> {
        Err(refused("groups have no downloads"))
    }
}

impl Serving {
    fn group(&self, id: GroupId) -> Result<Arc<Group>, CallError> {
        self.router.groups.get(id).ok_or_else(|| refused(format!("this node has no replica of group {id}")))
    }

    async fn append(&self, from: NodeId, body: &Bytes) -> Result<Bytes, CallError> {
        let (group, request) = readable(decode_append(body))?;
        check_sender(from, request.vote.leader_id.node_id)?;
        let group = self.group(group)?;
        group.note_leader();
        let answer = group.raft().append_entries(request).await;
        answer.map(|answer| encode_append_answer(&answer)).map_err(|error| refused(error.to_string()))
    }

    async fn vote(&self, from: NodeId, body: &Bytes) -> Result<Bytes, CallError> {
        let (group, request) = readable(decode_vote(body))?;
        check_sender(from, request.vote.leader_id.node_id)?;
        let group = self.group(group)?;
        if group.is_barred() {
            return Err(refused("this replica was made anew and has not caught up: it has no vote yet"));
        }
        let answer = group.raft().vote(request).await;
        answer.map(|answer| encode_vote_answer(&answer)).map_err(|error| refused(error.to_string()))
    }

    fn confirm(&self, from: NodeId, body: &Bytes) -> Result<Bytes, CallError> {
        let Confirm(asked) = readable(Confirm::decode(body))?;
        let votes = asked.iter().map(|&(id, term)| self.router.groups.get(id).is_some_and(|g| g.votes_for(from, term)));
        Ok(messages::encode_bools(votes))
    }

    async fn read_points(&self, body: &Bytes) -> Result<Bytes, CallError> {
        let ReadPoints { patience, groups } = readable(ReadPoints::decode(body))?;
        let points = groups.iter().map(|&group| self.reads.led_point(group, patience));
        Ok(messages::encode_points(&join_all(points).await))
    }

    async fn propose(&self, body: &Bytes) -> Result<Bytes, CallError> {
        let Propose { group, linger, patience, command } = readable(Propose::decode(body))?;
        let outcome = self.group(group)?.propose_led(command, linger, patience).await;
        Ok(messages::encode_proposed(&outcome))
    }

    async fn elect(&self, from: NodeId, body: &Bytes) -> Result<Bytes, CallError> {
        let Elect { group, term } = readable(Elect::decode(body))?;
        Ok(messages::encode_bool(self.group(group)?.stand(from, term).await))
    }

    /// Takes a copy of a store in. It is on disk when the answer goes.
    async fn snapshot(&self, from: NodeId, header: &Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        let header = readable(SnapshotHeader::decode(header))?;
        check_sender(from, header.vote.leader_id.node_id)?;
        let group = self.group(header.group)?;
        if header.bytes > SNAPSHOT_BYTES_MAX {
            let SnapshotHeader { bytes, .. } = header;
            return Err(refused(format!("a snapshot of {bytes} bytes, allowed are {SNAPSHOT_BYTES_MAX}")));
        }
        let _permit = self.receiving.acquire().await.map_err(|error| refused(error.to_string()))?;
        let bytes = receive(&header, pieces).await?;
        let _installing = group.begin_install();
        let snapshot = received(Copy { state: header.state, bytes });
        let answer = group.raft().install_full_snapshot(header.vote, snapshot).await;
        let answer = answer.map_err(|error| refused(error.to_string()))?;
        self.metrics.snapshots_received.inc();
        Ok(encode_vote_alone(&answer.vote))
    }
}

/// Nobody speaks for another.
fn check_sender(from: NodeId, speaker: NodeId) -> Result<(), CallError> {
    if from == speaker { Ok(()) } else { Err(refused(format!("node {from:016x} speaks for node {speaker:016x}"))) }
}

async fn receive(header: &SnapshotHeader, mut pieces: Pieces) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    loop {
        let piece = tokio::time::timeout(PIECE_WAIT_MAX, pieces.next()).await;
        let Some(piece) = piece.map_err(|_| refused("the next piece of a snapshot does not come"))? else { break };
        let piece = piece?;
        if (bytes.len() + piece.len()) as u64 > header.bytes {
            return Err(refused("a snapshot is longer than it says"));
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() as u64 != header.bytes || crc32fast::hash(&bytes) != header.crc {
        return Err(refused("a snapshot is not what was sent"));
    }
    Ok(bytes)
}
