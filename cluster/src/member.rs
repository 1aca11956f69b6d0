//! A running member of a cluster: the parts of this crate put together.
//!
//! ```text
//! lock the directory -> network and door -> ask who is there, decide (founding) -> Node::open -> tasks:
//!     replicas: opens what the placement gives this node      rounds: the controller, on whoever leads the metadata group
//!     announce: tells where this node is now                  rumours: asks around while no leader is heard
//!     gossip: says and hears who is alive and how busy
//! ```
//! What others ask of this node is [`front`]'s; how a decided step is carried out, and when it is refused, [`steps`]'s. A node that is to
//! stay alone without a listener needs none of this: it opens its [`Node`].

mod announce;
mod book;
mod front;
mod gather;
mod messages;
mod options;
mod replicas;
mod rounds;
mod start;
mod steps;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use pharos_model::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::controller::Limits;
use crate::fs::Fs;
use crate::gossip::{Gossip, Speaker};
use crate::group::Group;
use crate::hearing::Hearing;
use crate::meta::{MemberChange, MemberState, MetaError, Topology};
use crate::node::{DirError, Node, NodeError, OpenPartition, partition_of};
use crate::peers::{NodeId, Peers};
use crate::rpc::{Network, StartError};
use crate::status::ClusterStatus;
use book::Book;
use gather::Gatherer;

pub use options::{MemberOptions, MemberTimes, Phase};

/// All leads are handed over by then, or they are left to elections.
const HANDOVER_MAX: Duration = Duration::from_secs(10);
/// Leads that are handed over at once.
const HANDOVERS_AT_ONCE: usize = 8;

/// Why a node does not become a member.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error(transparent)]
    Network(#[from] StartError),
    /// Something is meant that cannot be; says what to do about it.
    #[error("{reason}")]
    Refused { reason: String },
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(
        "cluster {expected} took this node in, but its directory holds something of cluster {found}: give it an empty one"
    )]
    OtherCluster { expected: String, found: String },
}

/// A running member.
pub struct Member {
    node: Arc<Node>,
    network: Arc<Network>,
    book: Arc<Book>,
    gatherer: Arc<Gatherer>,
    gossip: Option<Arc<Gossip>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Member {
    /// Returns when the node is open, which may take as long as those that it waits for; `options.phase` tells for whom. To give up, drop it.
    pub async fn start(
        fs: Arc<dyn Fs>,
        dir: &Path,
        open: OpenPartition,
        options: MemberOptions,
    ) -> Result<Self, MemberError> {
        let started = start::start(fs, dir, open, &options).await?;
        let start::Started { node, network, book, random } = started;
        let gossip = options.gossip.clone().map(|gossip| {
            let speaker = Speaker {
                node: node.node_id(),
                process: options.flags.process,
                cluster: node.cluster().id.clone(),
                address: options.flags.address.clone(),
                zone: options.zone.clone(),
                members: book.members(),
                topology: node.meta().topology(),
                clock: Arc::clone(&options.node.clock),
                seed: options.seed,
            };
            Arc::new(Gossip::new(speaker, gossip))
        });
        let peers: Arc<dyn Peers> = Arc::clone(&network) as _;
        let clock = Arc::clone(&options.node.clock);
        let gatherer =
            Arc::new(Gatherer { node: Arc::clone(&node), peers, began: clock.monotonic(), clock: Arc::clone(&clock) });
        let member = Self {
            node,
            network,
            book,
            gatherer,
            gossip,
            limits: options.limits.clone(),
            clock,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        member.begin(&options, random);
        options.phase.send_replace(Phase::Member);
        Ok(member)
    }

    fn begin(&self, options: &MemberOptions, random: fastrand::Rng) {
        let (node, network) = (&self.node, &self.network);
        let times = options.times;
        self.spawn(replicas::keep(Arc::clone(node), times.retry));
        self.spawn(announce::announce(Arc::clone(node), options.place(), Arc::clone(&self.clock), times.retry));
        let rumours = announce::Rumours {
            node: Arc::clone(node),
            network: Arc::clone(network),
            book: Arc::clone(&self.book),
            flags: options.flags.clone(),
            silence_max: options.node.cluster.times.election_max * 2,
        };
        self.spawn(rumours.run(times.retry, random));
        let rounds = rounds::Rounds {
            gatherer: Arc::clone(&self.gatherer),
            limits: self.limits.clone(),
            metrics: options.metrics.clone(),
            lead_silence: options.node.cluster.times.election_max * 2,
        };
        self.spawn(rounds.run(times.round));
        if let Some(gossip) = &self.gossip {
            let speaking = Arc::clone(node);
            let leads = move || u64::try_from(speaking.leading().len()).unwrap_or(u64::MAX);
            self.spawn(Arc::clone(gossip).run(leads));
        }
        self.tasks.close();
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns once the cluster has declared this node gone for ever, by its own metadata or by what another member says. It serves nothing
    /// then, and is refused when it starts again.
    pub async fn removed(&self) {
        let own = self.node.node_id();
        let mut topology = self.node.meta().topology();
        let by_metadata = async {
            let is_removed = |topology: &Arc<Topology>| topology.state(own) == Some(MemberState::Removed);
            if topology.wait_for(is_removed).await.is_err() {
                // The metadata has ended, and with it the node.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = by_metadata => {}
            () = self.book.removed(own) => {}
        }
    }

    /// The way to other nodes, for the embedder's own methods.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Missing where the member was started without.
    pub fn gossip(&self) -> Option<&Arc<Gossip>> {
        self.gossip.as_ref()
    }

    /// Whom this node hears.
    pub fn hearing(&self) -> Hearing {
        Hearing {
            own: self.node.node_id(),
            peers: Arc::clone(&self.network) as _,
            topology: self.node.meta().topology(),
            gossip: self.gossip.clone(),
            silence_max: self.limits.alive_silence_max,
        }
    }

    /// The cluster as this node's metadata and all nodes' reports tell, with what this node hears in gossip.
    pub async fn status(&self) -> ClusterStatus {
        let topology = Arc::clone(&self.node.meta().topology().borrow());
        let observed = self.gatherer.gather(&topology).await;
        let status = ClusterStatus::of(&topology, &observed, &self.limits);
        match &self.gossip {
            Some(gossip) => status.with_gossip(gossip, self.clock.monotonic()),
            None => status,
        }
    }

    /// Drains, takes back, removes members. What follows from it is the controller's.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), MetaError> {
        self.node.meta().change_members(change, self.clock.now_ms()).await
    }

    /// Hands all leads over, as far as there is somebody to take them, and gets none back. The node still works. Bounded.
    pub async fn leave(&self) {
        self.node.set_leaving();
        if tokio::time::timeout(HANDOVER_MAX, self.hand_over()).await.is_err() {
            info!("not all leads were handed over before the stop");
        }
    }

    /// Leaves and stops. Bounded.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.leave().await;
        self.node.shutdown().await;
        self.network.close().await;
    }

    async fn hand_over(&self) {
        let groups = self.node.groups();
        let handed = stream::iter(groups.iter().map(|group| self.hand_over_one(group)));
        handed.for_each_concurrent(HANDOVERS_AT_ONCE, |handed| handed).await;
    }

    async fn hand_over_one(&self, group: &Group) {
        if let Some(to) = self.successor(group)
            && let Err(error) = group.transfer(to).await
        {
            warn!(group = %group.id(), %error, "the lead of a group was not handed over");
        }
    }

    /// Who should lead a group that this node leads: a voter that is heard, the preferred one first.
    fn successor(&self, group: &Group) -> Option<NodeId> {
        let standing = group.standing();
        if !standing.leads {
            return None;
        }
        let topology = Arc::clone(&self.node.meta().topology().borrow());
        let placed = partition_of(group.id()).and_then(|at| topology.placement.get(usize::from(at.0)));
        let preferred = placed.into_iter().flat_map(|placed| placed.replicas.iter().copied());
        let own = self.node.node_id();
        let heard = |node| self.network.hears(node, self.limits.alive_silence_max);
        let mut candidates = preferred.chain(standing.all_voters());
        candidates.find(|&node| node != own && standing.is_voter(node) && heard(node))
    }
}
