//! To the leader of a group, wherever it is: proposals, and what else only a leader can answer.
//!
//! Nobody tells who leads for certain. What the local replica says, what another node said last and where replicas should be are
//! tried in this order, until one of them leads or the caller's patience ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::groups::Groups;
use crate::log::entry::GroupId;
use crate::messages::{self, Propose};
use crate::metrics::RaftMetrics;
use crate::peers::{CallError, Method, NodeId, Peers, method};
use crate::proposer::ProposeError;

/// Where a group's replicas should be, the preferred leader first. Asked where the local replica does not know better.
pub type Replicas = Arc<dyn Fn(GroupId) -> Vec<NodeId> + Send + Sync>;

/// Pauses before everybody is asked again, when nobody was the leader. They grow up to this.
const PAUSE_MAX: Duration = Duration::from_millis(200);
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Most bytes of commands on their way to other nodes.
const FORWARD_BYTES_MAX: usize = 64 << 20;
/// Beyond the other side's patience: for the way there and back.
const CALL_MARGIN: Duration = Duration::from_millis(500);

/// Whether doing a command twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is sent again after an unknown outcome.
    Harmless,
    /// An unknown outcome is the caller's to know.
    Never,
}

/// How a command is to be proposed.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// It may wait so long at the leader for others to share its entry.
    pub linger: Duration,
    /// Everything is given up after so long.
    pub patience: Duration,
    pub repeat: Repeat,
}

/// How other nodes are found and reached.
pub(crate) struct Ways {
    pub peers: Arc<dyn Peers>,
    pub replicas: Replicas,
    /// A node that was not heard from for so long is not asked, and no longer waited for.
    pub silence_max: Duration,
}

pub(crate) struct Router {
    pub own: NodeId,
    pub groups: Arc<Groups>,
    pub metrics: RaftMetrics,
    ways: Ways,
    /// Who led when another node was asked last.
    hints: Mutex<BTreeMap<GroupId, NodeId>>,
    forwarding: Semaphore,
}

/// A search for a group's leader: gives nodes to ask, one after another.
pub(crate) struct Search<'a> {
    router: &'a Router,
    group: GroupId,
    deadline: Instant,
    candidates: VecDeque<NodeId>,
    /// Who was said to lead, by one who does not.
    told: Option<NodeId>,
    /// Before all are asked again; none before the first round.
    pause: Duration,
}

impl Search<'_> {
    /// The next to ask; `None` when time is up.
    pub(crate) async fn next(&mut self) -> Option<NodeId> {
        if self.told.is_some() {
            self.candidates.clear();
        }
        while self.candidates.is_empty() {
            if self.pause > Duration::ZERO {
                self.router.learn(self.group, self.told.take());
                if Instant::now() + self.pause >= self.deadline {
                    return None;
                }
                sleep(self.pause).await;
            }
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.candidates = self.router.candidates(self.group).into();
        }
        self.candidates.pop_front()
    }

    /// The node does not lead; it says that `leader` does.
    pub(crate) fn elsewhere(&mut self, node: NodeId, leader: Option<NodeId>) {
        self.told = leader.filter(|&leader| leader != node);
    }

    /// The node leads.
    pub(crate) fn found(&self, node: NodeId) {
        self.router.learn(self.group, Some(node));
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Router {
    pub(crate) fn new(own: NodeId, groups: Arc<Groups>, ways: Ways, metrics: RaftMetrics) -> Self {
        let forwarding = Semaphore::new(FORWARD_BYTES_MAX);
        Self { own, groups, metrics, ways, hints: Mutex::default(), forwarding }
    }

    /// Whom to ask, the likeliest leader first.
    fn candidates(&self, group: GroupId) -> Vec<NodeId> {
        let local = self.groups.get(group).map(|group| group.standing());
        let hint = self.hints.lock().get(&group).copied();
        let leads = local.as_ref().filter(|standing| standing.leads).map(|_| self.own);
        let known = local.as_ref().and_then(|standing| standing.leader);
        let voters = local.iter().flat_map(|standing| standing.all_voters());
        let all = leads.into_iter().chain(known).chain(hint).chain((self.ways.replicas)(group)).chain(voters);
        let mut candidates = Vec::new();
        for node in all {
            if !candidates.contains(&node) {
                candidates.push(node);
            }
        }
        candidates
    }

    fn learn(&self, group: GroupId, leader: Option<NodeId>) {
        let mut hints = self.hints.lock();
        match leader {
            Some(leader) => hints.insert(group, leader),
            None => hints.remove(&group),
        };
    }

    /// Calls a node, and gives up when it falls silent: what it was asked others can answer, and the caller has better use for its time.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        method: Method,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let silent = || self.ways.peers.silence(to).is_some_and(|silence| silence > self.ways.silence_max);
        let reason = || format!("nothing came from it for {:?}", self.ways.silence_max);
        if silent() {
            return Err(CallError::Unreachable { node: to, reason: reason() });
        }
        let falls_silent = async {
            while !silent() {
                sleep(self.ways.silence_max / 4).await;
            }
        };
        tokio::select! {
            answer = self.ways.peers.call(to, method, body, timeout) => answer,
            () = falls_silent => Err(CallError::Lost { node: to, reason: reason() }),
        }
    }

    pub(crate) fn search(&self, group: GroupId, patience: Duration) -> Search<'_> {
        let deadline = Instant::now() + patience;
        Search { router: self, group, deadline, candidates: VecDeque::new(), told: None, pause: Duration::ZERO }
    }

    /// Asks one node after another, the likeliest leader first, until one answers; `None` when none does in time. `ask` gives
    /// `None` where a node certainly did nothing because it does not lead, or cannot be reached.
    pub(crate) async fn at_leader<T, F: Future<Output = Option<T>>>(
        &self,
        group: GroupId,
        patience: Duration,
        ask: impl Fn(NodeId) -> F,
    ) -> Option<T> {
        let mut search = self.search(group, patience);
        while let Some(node) = search.next().await {
            if let Some(answer) = ask(node).await {
                search.found(node);
                return Some(answer);
            }
        }
        None
    }

    /// Proposes a command at its group's leader, and returns the answer.
    pub(crate) async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        sending: Sending,
    ) -> Result<Bytes, ProposeError> {
        let mut search = self.search(group, sending.patience);
        let mut last = ProposeError::NotLeader { leader: None };
        // Once an outcome was unknown, a later refusal does not tell that nothing was written.
        let mut unknown = None;
        while let Some(node) = search.next().await {
            let sending = Sending { patience: search.left(), ..sending };
            match self.propose_at(node, group, &command, sending).await {
                Ok(answer) => {
                    search.found(node);
                    return Ok(answer);
                }
                Err(error @ ProposeError::NotLeader { leader }) => {
                    search.elsewhere(node, leader);
                    last = error;
                }
                Err(error @ ProposeError::Stopped { .. }) if node != self.own => last = error,
                Err(error @ ProposeError::OutcomeUnknown { .. }) if sending.repeat == Repeat::Harmless => {
                    unknown = Some(error);
                }
                Err(error) => return Err(unknown.unwrap_or(error)),
            }
        }
        Err(unknown.unwrap_or(last))
    }

    async fn propose_at(
        &self,
        node: NodeId,
        group: GroupId,
        command: &Bytes,
        sending: Sending,
    ) -> Result<Bytes, ProposeError> {
        let Sending { linger, patience, .. } = sending;
        if node == self.own {
            let Some(group) = self.groups.get(group) else { return Err(ProposeError::NotLeader { leader: None }) };
            return group.propose_led(command.clone(), linger, patience).await;
        }
        let bytes = command.len();
        let permit = self.forwarding.try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX));
        let _permit = permit.map_err(|_| {
            self.metrics.proposals_refused.inc();
            ProposeError::Forwarding { max: FORWARD_BYTES_MAX }
        })?;
        self.metrics.proposals_forwarded.inc();
        let request = Propose { group, linger, patience, command: command.clone() };
        match self.call(node, method::PROPOSE, request.encode(), patience + CALL_MARGIN).await {
            Ok(answer) => messages::decode_proposed(&answer).unwrap_or_else(|| {
                Err(ProposeError::OutcomeUnknown {
                    reason: format!("node {node:016x} gave an answer that cannot be read"),
                })
            }),
            Err(error @ CallError::Lost { .. }) => Err(ProposeError::OutcomeUnknown { reason: error.to_string() }),
            // Certainly not done: asked is the next.
            Err(CallError::Unreachable { .. } | CallError::Refused { .. }) => {
                Err(ProposeError::NotLeader { leader: None })
            }
        }
    }
}
