//! Handing a group's lead to another voter.
//!
//! The library has no such thing, and an election at a voter that lacks an entry, or while its leader works, leaves the group without a
//! leader for seconds. So the leader stops proposing, waits until the other has everything, and asks it to stand for election.
//! Commands that come meanwhile wait, and then learn who leads. When it fails they go on here.

use std::time::Duration;

use super::{Group, Standing};
use crate::messages;
use crate::peers::{CallError, NodeId, method};

/// What was proposed before has its answer by then, or the lead stays.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// The other has everything by then, or the lead stays.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// With more than three voters, those who heard the leader last grant nothing for as long as an election takes at most.
const ELECT_MAX: Duration = Duration::from_secs(5);
const CALL_MAX: Duration = Duration::from_millis(500);
/// Before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// Why the lead was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("this node does not lead the group, {}", leader.map_or("nobody does".to_owned(), |id| format!("node {id:016x} does")))]
    NotLeader { leader: Option<NodeId> },
    #[error("node {node:016x} is no voter of the group")]
    NotVoter { node: NodeId },
    #[error("another change of the group's members or leader is under way")]
    InProgress,
    #[error("commands in flight had no answer within {waited:?}")]
    Unsettled { waited: Duration },
    #[error("node {node:016x} did not catch up within {waited:?}")]
    Behind { node: NodeId, waited: Duration },
    #[error("node {node:016x} was not elected within {waited:?}")]
    NotElected { node: NodeId, waited: Duration },
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Group {
    /// Makes `to` the leader, as far as this node can. Bounded; a lead that it has already is a success.
    pub async fn transfer(&self, to: NodeId) -> Result<(), TransferError> {
        let Ok(_turn) = self.changing.try_lock() else { return Err(TransferError::InProgress) };
        let standing = self.standing();
        if standing.leader == Some(to) {
            return Ok(());
        }
        if !standing.leads {
            return Err(TransferError::NotLeader { leader: standing.leader });
        }
        if !standing.is_voter(to) {
            return Err(TransferError::NotVoter { node: to });
        }
        let hold = self.proposer.hold();
        let waited = SETTLE_MAX;
        let settled = tokio::time::timeout(waited, hold.settled()).await;
        settled.map_err(|_| TransferError::Unsettled { waited })?;
        self.wait_matched(to).await?;
        self.elect_at(to, standing.term).await?;
        self.metrics.transfers.inc();
        Ok(())
    }

    /// Waits until a member has every entry of the log. Nothing is proposed meanwhile.
    async fn wait_matched(&self, node: NodeId) -> Result<(), TransferError> {
        let mut changes = self.raft.data_metrics();
        let matched = async {
            while self.matched(node) != self.last() {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        let waited = CATCH_UP_MAX;
        tokio::time::timeout(waited, matched).await.map_err(|_| TransferError::Behind { node, waited })
    }

    async fn elect_at(&self, node: NodeId, term: u64) -> Result<(), TransferError> {
        let request = messages::Elect { group: self.id, term };
        let attempts = async {
            loop {
                let answer = self.peers.call(node, method::ELECT, request.encode(), CALL_MAX).await?;
                if messages::decode_bool(&answer) == Some(true) {
                    return Ok(());
                }
                // A leader whose own lease refused the vote learns of the higher term from the answer to this.
                drop(self.raft.trigger().heartbeat().await);
                tokio::time::sleep(PAUSE).await;
                let now = self.standing();
                if now.term > term && now.leader.is_some_and(|leader| leader != self.node_id) {
                    return if now.leader == Some(node) { Ok(()) } else { Err(not_leader(&now)) };
                }
            }
        };
        let waited = ELECT_MAX;
        tokio::time::timeout(waited, attempts).await.unwrap_or(Err(TransferError::NotElected { node, waited }))
    }

    /// Stands for election because the leader of `term` asks. Tells whether this node leads.
    pub(crate) async fn stand(&self, leader: NodeId, term: u64) -> bool {
        let standing = self.standing();
        let after = |standing: &Standing| standing.term > term;
        if standing.leads && after(&standing) {
            return true;
        }
        if self.is_barred() {
            return false;
        }
        // The leader that asks, or the election that it asked for before.
        if !(self.votes_for(leader, term) || self.votes_for(self.node_id, standing.term) && after(&standing)) {
            return false;
        }
        if self.raft.trigger().elect().await.is_err() {
            return false;
        }
        let mut changes = self.standings();
        let led = async {
            loop {
                let standing = changes.standing();
                if standing.leads && after(&standing) || !changes.next().await {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(CALL_MAX / 4, led).await);
        let standing = self.standing();
        standing.leads && after(&standing)
    }
}

fn not_leader(standing: &Standing) -> TransferError {
    TransferError::NotLeader { leader: standing.leader }
}
