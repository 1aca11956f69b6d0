//! Gossip: what nodes say of themselves and hear of each other, also where they share no group.
//!
//! chitchat's digests and deltas, in datagrams that are sealed by the cluster's secret (see [`keys`], [`datagram`], [`door`]). It tells who is
//! alive and how busy, for people and for the choice whom to ask; it decides nothing, and the cluster works without it. Members are found by
//! the metadata, so there is nothing to configure but the secret.
//!
//! Chitchat has its own timers (tokio's) and its own random numbers; therefore simulated members have no gossip.

mod datagram;
mod door;
mod keys;
pub mod metrics;
mod said;
mod socket;
#[cfg(test)]
mod tests;
mod voices;
mod window;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use pharos_model::Clock;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, error, info};

use crate::meta::Topology;
use crate::peers::NodeId;
use crate::rpc::identity::Members;
use metrics::GossipMetrics;
use socket::Way;
use voices::{Process, Voices};

pub use door::{Door, Opened};
pub use keys::{Keys, SECRET_BYTES_MIN, SECRETS_MAX, SecretError, Secrets};
pub use said::{Load, Meter, Said, Who};
pub use socket::Sealer;
pub use voices::Voice;

/// What chitchat's messages name; whose they are is in the seal.
const CLUSTER: &str = "pharos";
/// How often a node that is well is heard at least, before it was heard often enough to know.
const HEARD_EVERY: Duration = Duration::from_secs(2);
/// Silences in a row of the usual length after which a node counts as gone.
const PHI_MAX: f64 = 8.0;
/// Intervals that tell the usual length.
const INTERVALS: usize = 200;
/// A longer one is no interval, but an absence.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// A process that is gone leaves the digests after half of this. Short, for every restart is a process more in each of them, and all have to
/// fit into one datagram.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// Keys are never deleted; those of chitchat's that would be are kept for so long.
const DELETED_KEPT: Duration = Duration::from_secs(3600);
/// Before an address is looked up again that has none, or a gossip begins anew that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait for one name.
const LOOKUP_MAX: Duration = Duration::from_secs(1);
/// Silent members that are called at a time.
const CALLED_MAX: usize = 3;
/// A refusal is shown for so long.
const REFUSAL_SHOWN: Duration = Duration::from_secs(60);

/// Tells a node's counters whenever it is asked.
pub type TellMeter = Arc<dyn Fn() -> Meter + Send + Sync>;

/// How a member gossips.
#[derive(Clone)]
pub struct GossipOptions {
    /// Where it listens: the port of the address that others call it at.
    pub socket: Arc<UdpSocket>,
    pub secrets: Secrets,
    pub times: GossipTimes,
    /// Of the program.
    pub version: String,
    pub meter: TellMeter,
    pub metrics: GossipMetrics,
}

impl std::fmt::Debug for GossipOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GossipOptions").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub struct GossipTimes {
    /// Three nodes that are heard are gossiped with. Default 1 s.
    pub round: Duration,
    /// It is looked what was heard. Default 500 ms.
    pub look: Duration,
    /// The load is said anew, and silent members are called. Default 5 s.
    pub say: Duration,
}

impl Default for GossipTimes {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { round: ms(1000), look: ms(500), say: ms(5000) }
    }
}

/// Who gossips.
#[derive(Clone)]
pub(crate) struct Speaker {
    pub(crate) node: NodeId,
    pub(crate) process: u64,
    /// The cluster's id.
    pub(crate) cluster: String,
    /// Where others reach it, `host:port`.
    pub(crate) address: String,
    pub(crate) zone: String,
    pub(crate) members: Members,
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of the choice whom to call.
    pub(crate) seed: u64,
}

/// One node's gossip.
pub struct Gossip {
    speaker: Speaker,
    options: GossipOptions,
    door: Arc<Mutex<Door>>,
    sealer: Arc<Sealer>,
    voices: RwLock<Voices>,
    said: Mutex<Said>,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What changes while one chitchat runs.
struct Round {
    random: fastrand::Rng,
    metered: Option<(Meter, Duration)>,
    said_at: Option<Duration>,
}

impl Gossip {
    /// Says nothing yet: see [`Gossip::run`].
    pub(crate) fn new(speaker: Speaker, options: GossipOptions) -> Self {
        let keys = Keys::new(&options.secrets, &speaker.cluster);
        let sealer = Arc::new(Sealer::new(speaker.node, speaker.process, &keys));
        let door = Door::new(speaker.node, keys, Arc::clone(&speaker.members), options.metrics.clone());
        let who = Who {
            address: speaker.address.clone(),
            zone: speaker.zone.clone(),
            version: options.version.clone(),
            process: format!("{:016x}", speaker.process),
        };
        let said = Said { who: Some(who), ..Said::default() };
        Self {
            speaker,
            options,
            door: Arc::new(Mutex::new(door)),
            sealer,
            voices: RwLock::default(),
            said: Mutex::new(said),
        }
    }

    /// Whether a member is alive by what is heard.
    pub fn hears(&self, node: NodeId) -> bool {
        self.voices.read().get(node).is_some_and(|voice| voice.alive)
    }

    /// What is heard of a member; of this node, what it says.
    pub fn voice(&self, node: NodeId) -> Option<Voice> {
        if node == self.speaker.node {
            let heard_at = self.speaker.clock.monotonic();
            return Some(Voice { alive: true, heard_at, said: self.said.lock().clone() });
        }
        self.voices.read().get(node).cloned()
    }

    /// Why what comes in the name of a member is not taken, if anything came in the last minute. Says what to do.
    pub fn refused(&self, node: NodeId) -> Option<String> {
        let now = self.speaker.clock.monotonic();
        self.door.lock().refused(node, now, REFUSAL_SHOWN).map(|refusal| refusal.to_string())
    }

    /// From now on others are told this of the configuration that the node goes by.
    pub fn say_config(&self, config: String) {
        self.said.lock().config = Some(config);
    }

    /// From now on the first of these seals, and all of them open.
    pub fn replace_secrets(&self, secrets: &Secrets) {
        let keys = Keys::new(secrets, &self.speaker.cluster);
        self.sealer.replace_keys(&keys);
        self.door.lock().replace_keys(keys);
    }

    /// Gossips until it is dropped. `leads` tells how many partitions the node leads.
    pub(crate) async fn run(self: Arc<Self>, leads: impl Fn() -> u64 + Send + Sync) {
        let mut random = fastrand::Rng::with_seed(self.speaker.seed);
        loop {
            let own = self.own_address().await;
            let seed = random.u64(..);
            if let Err(error) = self.gossip(own, &leads, fastrand::Rng::with_seed(seed)).await {
                // Nothing depends on it, and it finds its way back by itself.
                error!(error = format!("{error:#}"), "gossip failed, it begins anew");
                self.options.metrics.restarts.inc();
            }
            sleep(RETRY).await;
        }
    }

    /// Where others reach this node.
    async fn own_address(&self) -> SocketAddr {
        let mut told = false;
        loop {
            let address = &self.speaker.address;
            match self.look_up(address).await {
                Some(found) => return found,
                None if told => {}
                None => {
                    info!(address, "this node's own address has no number yet, gossip waits for it");
                    told = true;
                }
            }
            sleep(RETRY).await;
        }
    }

    /// The number of an address, of the family that the socket has where there is a choice.
    async fn look_up(&self, address: &str) -> Option<SocketAddr> {
        let found: Vec<SocketAddr> = timeout(LOOKUP_MAX, lookup_host(address)).await.ok()?.ok()?.collect();
        let same = self.options.socket.local_addr().ok()?.is_ipv4();
        found.iter().find(|found| found.is_ipv4() == same).or(found.first()).copied()
    }

    async fn gossip(
        &self,
        own: SocketAddr,
        leads: &(impl Fn() -> u64 + Send + Sync),
        random: fastrand::Rng,
    ) -> anyhow::Result<()> {
        let way = Way {
            socket: Arc::clone(&self.options.socket),
            door: Arc::clone(&self.door),
            sealer: Arc::clone(&self.sealer),
            clock: Arc::clone(&self.speaker.clock),
            metrics: self.options.metrics.clone(),
        };
        let handle = spawn_chitchat(self.config(own), Vec::new(), &way).await?;
        let ended = handle.termination_watcher();
        tokio::pin!(ended);
        let mut round = Round { random, metered: None, said_at: None };
        let mut looks = interval(self.options.times.look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(&handle, &mut round, leads).await?,
                ended = &mut ended => return ended,
            }
        }
    }

    fn config(&self, own: SocketAddr) -> ChitchatConfig {
        // Grows with every start, as long as the clock does not go back: what an older process said is not taken for this one's.
        let generation = u64::try_from(self.speaker.clock.now_ms()).unwrap_or_default();
        ChitchatConfig {
            chitchat_id: ChitchatId::new(voices::name_of(self.speaker.node), generation, own),
            cluster_id: CLUSTER.to_owned(),
            gossip_interval: self.options.times.round,
            listen_addr: own,
            // Called by `call_silent`: who is a member changes.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI_MAX,
                sampling_window_size: INTERVALS,
                max_interval: INTERVAL_MAX,
                initial_interval: HEARD_EVERY,
                dead_node_grace_period: FORGOTTEN_AFTER,
            },
            marked_for_deletion_grace_period: DELETED_KEPT,
            catchup_callback: None,
            extra_liveness_predicate: None,
        }
    }

    async fn look(
        &self,
        handle: &ChitchatHandle,
        round: &mut Round,
        leads: &(impl Fn() -> u64 + Send + Sync),
    ) -> anyhow::Result<()> {
        let now = self.speaker.clock.monotonic();
        let topology = Arc::clone(&self.speaker.topology.borrow());
        handle.with_chitchat(|chitchat| self.hear(chitchat, &topology, now)).await;
        if round.said_at.is_some_and(|at| now.saturating_sub(at) < self.options.times.say) {
            return Ok(());
        }
        round.said_at = Some(now);
        let meter = (self.options.meter)();
        let load = Load::between(round.metered.replace((meter, now)), (meter, now), leads());
        let keys = {
            let mut said = self.said.lock();
            said.load = Some(load);
            said.keys()
        };
        let say =
            |chitchat: &mut Chitchat| keys.iter().for_each(|(key, value)| chitchat.self_node_state().set(key, value));
        handle.with_chitchat(say).await;
        self.door.lock().keep_members();
        self.call_silent(handle, &topology, &mut round.random).await
    }

    fn hear(&self, chitchat: &Chitchat, topology: &Topology, now: Duration) {
        // Of this node there may be what an earlier process said.
        let own = self.speaker.node;
        let is_member =
            |node: NodeId| node != own && topology.members.get(&node).is_some_and(|member| !member.is_removed());
        let mut voices = self.voices.write();
        voices.look(Process::of(chitchat), is_member, now);
        self.options.metrics.nodes_heard.set(i64::try_from(voices.alive()).unwrap_or(i64::MAX));
    }

    /// Calls some of the members that are not heard: those that chitchat does not know yet, or knows at another address.
    async fn call_silent(
        &self,
        handle: &ChitchatHandle,
        topology: &Topology,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<()> {
        let others = topology.present().map(|member| &member.spec);
        let silent = others
            .filter(|spec| spec.id != self.speaker.node && !spec.peer.is_empty() && !self.hears(spec.id))
            .map(|spec| spec.peer.as_str());
        let called = random.choose_multiple(silent, CALLED_MAX);
        let found = join_all(called.iter().map(|address| self.look_up(address))).await;
        for (address, found) in called.into_iter().zip(found) {
            match found {
                Some(found) => handle.gossip(found)?,
                None => debug!(address, "a member's address has no number, it is not gossiped with"),
            }
        }
        Ok(())
    }
}
