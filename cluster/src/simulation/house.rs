//! One host: its disk, and the member that lives on it while the host runs.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join;
use parking_lot::Mutex;
use pharos_model::time::TimestampMs;
use pharos_model::{Clock, PartitionId};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::sleep;

use super::clients::Client;
use super::history::History;
use super::network::Wire;
use super::store::ElementList;
use crate::checkpoint::CheckpointPolicy;
use crate::controller::Limits;
use crate::founding::Flags;
use crate::fs::sim::Sim;
use crate::group::Restored;
use crate::log::LogOptions;
use crate::member::{Member, MemberError, MemberOptions, MemberTimes};
use crate::meta::MemberChange;
use crate::metrics::{ControllerMetrics, Metrics};
use crate::node::{ClusterOptions, FreshIds, NodeOptions, OpenPartition};
use crate::peers::{CallError, Method, NodeId, Pieces, Service};
use crate::proposer::ProposerOptions;
use crate::raft::RaftTimes;
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::options::RpcOptions;
use crate::rpc::tls::Security;

pub(super) type Stores = Arc<Mutex<BTreeMap<PartitionId, Arc<ElementList>>>>;

/// The simulated time, and what a host makes of it.
#[derive(Debug, Default)]
pub(super) struct HouseClock {
    /// Of the whole simulation, in milliseconds.
    pub now_ms: Arc<AtomicU64>,
    /// How far this host's wall clock is off, in milliseconds.
    pub off_ms: AtomicI64,
}

impl Clock for HouseClock {
    fn now_ms(&self) -> TimestampMs {
        self.now_ms.load(Ordering::SeqCst) as TimestampMs + self.off_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }
}

/// What all houses of a run share.
#[derive(Clone)]
pub(super) struct Shared {
    pub seed: u64,
    pub partitions: u16,
    pub history: Arc<Mutex<History>>,
    /// Whether clients work.
    pub works: watch::Receiver<bool>,
}

/// A host; clones share it.
#[derive(Clone)]
pub(super) struct House(pub Arc<Inner>);

pub(super) struct Inner {
    pub name: String,
    pub clock: Arc<HouseClock>,
    pub state: Mutex<State>,
    shared: Shared,
}

#[derive(Default)]
pub(super) struct State {
    pub disk: Option<Sim>,
    pub flags: Flags,
    /// How often a process was started here.
    pub started: u64,
    /// Of the running process, once it is open.
    pub member: Option<Arc<Member>>,
    pub stores: Stores,
    /// What its operator is to do.
    pub orders: VecDeque<MemberChange>,
    /// Why the process has ended by itself.
    pub ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is not to be started again.
    Refused(String),
    /// It has learnt, while it ran, that it was removed.
    Removed,
    /// It is to be started again.
    Failed(String),
}

impl House {
    pub(super) fn new(name: String, flags: Flags, clock: Arc<HouseClock>, shared: Shared) -> Self {
        let state = Mutex::new(State { disk: Some(Sim::new()), flags, ..State::default() });
        Self(Arc::new(Inner { name, clock, state, shared }))
    }

    pub(super) fn disk(&self) -> Sim {
        self.0.state.lock().disk.clone().expect("a house has a disk")
    }

    pub(super) fn member(&self) -> Option<Arc<Member>> {
        self.0.state.lock().member.clone()
    }

    pub(super) fn id(&self) -> Option<NodeId> {
        self.member().map(|member| member.node().node_id())
    }

    /// A process, from its start to its end.
    pub(super) async fn live(self) {
        let (disk, flags, stores, process) = {
            let mut state = self.0.state.lock();
            state.started += 1;
            state.stores = Stores::default();
            (state.disk.clone().expect("a house has a disk"), state.flags.clone(), state.stores.clone(), state.started)
        };
        let random = fastrand::Rng::with_seed(self.0.shared.seed ^ hash(&self.0.name) ^ (process << 40));
        let mut seeds = random.clone();
        disk.set_latency(Duration::from_micros(100), Duration::from_millis(4), seeds.u64(..));
        let options = self.options(flags, &disk, &mut seeds);
        let open = opener(&disk, &stores);
        let member = match Member::start(Arc::new(disk), Path::new("/node"), open, options).await {
            Ok(member) => Arc::new(member),
            Err(error @ (MemberError::Refused { .. } | MemberError::OtherCluster { .. })) => {
                return self.end(Ended::Refused(error.to_string()));
            }
            Err(error) => return self.end(Ended::Failed(words(&error))),
        };
        self.0.state.lock().member = Some(Arc::clone(&member));
        let client = |seed| Client {
            member: Arc::clone(&member),
            stores: Arc::clone(&stores),
            history: Arc::clone(&self.0.shared.history),
            partitions: self.0.shared.partitions,
            clock: Arc::clone(&self.0.clock) as Arc<dyn Clock>,
            random: fastrand::Rng::with_seed(seed),
        };
        let (first, second) = (client(seeds.u64(..)), client(seeds.u64(..)));
        let (third, fourth) = (client(seeds.u64(..)), client(seeds.u64(..)));
        let clients = async {
            let adding = join(first.add_elements(), second.add_elements());
            join(adding, join(third.read_elements(), fourth.write_documents())).await
        };
        let mut works = self.0.shared.works.clone();
        let working = async {
            tokio::select! {
                biased;
                _ = works.wait_for(|works| !works) => std::future::pending().await,
                _ = clients => {}
            }
        };
        tokio::select! {
            biased;
            reason = member.node().failed() => self.end(Ended::Failed(reason)),
            () = member.removed() => self.end(Ended::Removed),
            ((), ()) = join(working, self.carry_out_orders(&member)) => {}
        }
    }

    fn end(&self, ended: Ended) {
        let mut state = self.0.state.lock();
        (state.ended, state.member) = (Some(ended), None);
    }

    async fn carry_out_orders(&self, member: &Member) {
        loop {
            sleep(Duration::from_millis(100)).await;
            let order = self.0.state.lock().orders.pop_front();
            if let Some(order) = order {
                // Whether it was done shows in the metadata.
                drop(member.change_members(order).await);
            }
        }
    }

    fn options(&self, flags: Flags, disk: &Sim, random: &mut fastrand::Rng) -> MemberOptions {
        let ms = Duration::from_millis;
        let clock = Arc::clone(&self.0.clock) as Arc<dyn Clock>;
        let times = RaftTimes { heartbeat: ms(150), election_min: ms(600), election_max: ms(1200) };
        let removing = disk.clone();
        let remove = move |partition| {
            removing.delete(&ElementList::path(partition));
            Ok(())
        };
        let node = NodeOptions {
            partitions: self.0.shared.partitions,
            fresh: FreshIds { node: random.u64(1..) >> 16, cluster: u128::from(random.u64(..)) << 64 | 7 },
            log: LogOptions {
                segment_bytes: 64 << 10,
                first_segment_bytes: 64 << 10,
                record_bytes_max: 16 << 10,
                retry_interval: ms(50),
                // Most entries are read back from disk.
                cache_bytes_max: 512,
                ..LogOptions::default()
            },
            proposer: ProposerOptions { entry_bytes_max: 8 << 10, timeout: ms(5000), ..ProposerOptions::default() },
            checkpoints: CheckpointPolicy {
                group_bytes_max: 4 << 10,
                age_max: Duration::from_secs(20),
                log_bytes_max: 256 << 10,
                retry_after: Duration::from_secs(2),
                tick: ms(500),
            },
            leader_wait_max: Duration::from_secs(600),
            drain_max: ms(200),
            cluster: ClusterOptions { remove: Arc::new(remove), times, ..ClusterOptions::alone() },
            clock,
            metrics: Metrics::register(&Registry::new()).expect("a new registry has no metrics"),
        };
        MemberOptions {
            listen: flags.address.clone(),
            flags: Flags { process: random.u64(..), ..flags },
            http: String::new(),
            zone: String::new(),
            node,
            limits: Limits { lag_entries_max: 20, move_silence_max: Duration::from_secs(20), ..Limits::default() },
            times: MemberTimes { probe: ms(300), round: ms(300), retry: ms(300), admission: ms(5000) },
            security: Security::Plain,
            transport: Arc::new(Wire),
            rpc: RpcOptions { silence_max: ms(2500), ..RpcOptions::default() },
            rpc_metrics: RpcMetrics::register(&Registry::new()).expect("a new registry has no metrics"),
            metrics: ControllerMetrics::register(&Registry::new()).expect("a new registry has no metrics"),
            gossip: None,
            application: Arc::new(NoApplication),
            seed: random.u64(..),
            phase: watch::Sender::default(),
        }
    }
}

fn opener(disk: &Sim, stores: &Stores) -> OpenPartition {
    let (disk, stores) = (disk.clone(), Arc::clone(stores));
    Arc::new(move |partition| {
        let (machine, raft_state) = ElementList::open(&disk, partition)?;
        stores.lock().insert(partition, Arc::clone(&machine));
        Ok(Restored { machine, raft_state })
    })
}

/// Tells hosts apart.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

/// No methods of its own.
struct NoApplication;

fn no_method() -> CallError {
    CallError::Refused { reason: "no such method".to_owned() }
}

#[async_trait]
impl Service for NoApplication {
    async fn call(&self, _: NodeId, _: Method, _: Bytes) -> Result<Bytes, CallError> {
        Err(no_method())
    }

    async fn upload(&self, _: NodeId, _: Method, _: Bytes, _: Pieces) -> Result<Bytes, CallError> {
        Err(no_method())
    }

    async fn download(&self, _: NodeId, _: Method, _: Bytes) -> Result<Pieces, CallError> {
        Err(no_method())
    }
}
