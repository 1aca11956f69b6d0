//! Clusters of several members in one process: real network code over a transport in memory, each on a simulated disk.

mod comings;
mod damage;
mod goings;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use pharos_model::PartitionId;
use prometheus::Registry;
use tokio::sync::watch;

use super::*;
use crate::controller::{Left, Limits};
use crate::founding::Flags;
use crate::fs::sim::Sim;
use crate::group::Restored;
use crate::meta::MemberState;
use crate::metrics::{ControllerMetrics, Metrics};
use crate::node::tests::journal::Journal;
use crate::node::tests::options as node_options;
use crate::peers::{CallError, Method, Pieces, Service};
use crate::raft::RaftTimes;
use crate::router::{Repeat, Sending};
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::options::RpcOptions;
use crate::rpc::tests::memory::Memory;
use crate::rpc::tls::Security;
use crate::status::PartitionState;

/// Longest wait for anything that has to come; a machine that is busy with other things takes its time.
const SOON: Duration = Duration::from_secs(120);
const PARTITIONS: u16 = 4;

type Stores = Arc<Mutex<BTreeMap<PartitionId, Arc<Journal>>>>;

/// Members by the port that they are reached at.
#[derive(Default)]
struct Village {
    memory: Memory,
    sims: BTreeMap<u16, Sim>,
    members: BTreeMap<u16, Member>,
    stores: BTreeMap<u16, Stores>,
    started: u64,
}

/// No methods of its own.
struct NoApplication;

#[async_trait::async_trait]
impl Service for NoApplication {
    async fn call(&self, _: NodeId, _: Method, _: Bytes) -> Result<Bytes, CallError> {
        Err(messages::refused("no such method"))
    }

    async fn upload(&self, _: NodeId, _: Method, _: Bytes, _: Pieces) -> Result<Bytes, CallError> {
        Err(messages::refused("no such method"))
    }

    async fn download(&self, _: NodeId, _: Method, _: Bytes) -> Result<Pieces, CallError> {
        Err(messages::refused("no such method"))
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn addresses(ports: &[u16]) -> Vec<String> {
    ports.iter().copied().map(address).collect()
}

/// The flags of a node that begins a cluster with others.
fn listed(port: u16, list: &[u16]) -> Flags {
    Flags { name: "main".to_owned(), address: address(port), initial_nodes: addresses(list), ..Flags::default() }
}

/// The flags of a node that comes later.
fn coming(port: u16, through: u16) -> Flags {
    Flags { name: "main".to_owned(), address: address(port), join: addresses(&[through]), ..Flags::default() }
}

impl Village {
    fn options(&mut self, flags: Flags) -> MemberOptions {
        self.started += 1;
        let ms = Duration::from_millis;
        let mut node = node_options(PARTITIONS);
        node.fresh = crate::node::FreshIds { node: 100 + self.started, cluster: u128::from(self.started) << 64 | 7 };
        node.leader_wait_max = SOON;
        node.drain_max = ms(50);
        node.metrics = Metrics::register(&Registry::new()).unwrap();
        node.cluster.times = RaftTimes { heartbeat: ms(150), election_min: ms(600), election_max: ms(1200) };
        MemberOptions {
            listen: flags.address.clone(),
            flags: Flags { process: self.started, ..flags },
            http: String::new(),
            zone: String::new(),
            node,
            limits: Limits::default(),
            times: MemberTimes { probe: ms(20), round: ms(50), retry: ms(50), admission: SOON },
            security: Security::PlainOnLoopback,
            transport: Arc::new(self.memory.clone()),
            rpc: RpcOptions::default(),
            rpc_metrics: RpcMetrics::register(&Registry::new()).unwrap(),
            metrics: ControllerMetrics::register(&Registry::new()).unwrap(),
            gossip: None,
            application: Arc::new(NoApplication),
            seed: self.started,
            phase: watch::Sender::default(),
        }
    }

    /// Starts nodes at the same time: none waits for the others to be open.
    async fn try_start(&mut self, all: Vec<Flags>) -> Vec<Result<u16, MemberError>> {
        let mut starting = Vec::new();
        for flags in all {
            let port: u16 = flags.address.rsplit_once(':').unwrap().1.parse().unwrap();
            let sim = self.sims.entry(port).or_insert_with(Sim::new).clone();
            let mut options = self.options(flags);
            let removing = sim.clone();
            options.node.cluster.remove = Arc::new(move |partition| {
                removing.delete(&Journal::path(partition));
                Ok(())
            });
            let stores = Stores::default();
            let (opened, opening) = (Arc::clone(&stores), sim.clone());
            let open: OpenPartition = Arc::new(move |partition| {
                let (machine, raft_state) = Journal::open(&opening, partition);
                opened.lock().insert(partition, Arc::clone(&machine));
                Ok(Restored { machine, raft_state })
            });
            starting.push(async move {
                (port, stores, Member::start(Arc::new(sim), Path::new("/node"), open, options).await)
            });
        }
        let started = tokio::time::timeout(SOON, join_all(starting)).await.expect("all start or fail");
        let mut outcomes = Vec::new();
        for (port, stores, started) in started {
            outcomes.push(started.map(|member| {
                self.members.insert(port, member);
                self.stores.insert(port, stores);
                port
            }));
        }
        outcomes
    }

    async fn start(&mut self, all: Vec<Flags>) {
        for started in self.try_start(all).await {
            started.unwrap();
        }
    }

    /// A cluster of these nodes, which has come to rest.
    async fn of(ports: &[u16]) -> Self {
        let mut village = Self::default();
        village.start(ports.iter().map(|&port| listed(port, ports)).collect()).await;
        village.rests(ports).await;
        village
    }

    /// Ends a node without its help.
    async fn kill(&mut self, port: u16) {
        let member = self.members.remove(&port).unwrap();
        let left = self.sims[&port].kill();
        self.sims.insert(port, left);
        member.stop.cancel();
        member.network.close().await;
        member.tasks.wait().await;
        member.node.shutdown().await;
    }

    async fn stop(self) {
        for member in self.members.values() {
            member.stop.cancel();
        }
        join_all(self.members.values().map(async |member| {
            member.tasks.wait().await;
            member.network.close().await;
            member.node.shutdown().await;
        }))
        .await;
    }

    fn id(&self, port: u16) -> NodeId {
        self.members[&port].node().node_id()
    }

    /// Waits until every partition is on three of exactly these nodes, or on as many as there are, evenly, and all works.
    async fn rests(&self, ports: &[u16]) {
        let nodes: BTreeSet<NodeId> = ports.iter().map(|port| self.id(*port)).collect();
        let factor = nodes.len().min(3);
        let resting = async || {
            let status = self.members[&ports[0]].status().await;
            let holders = |at: &crate::status::PartitionStatus| {
                at.replicas.iter().filter_map(|replica| replica.node.id()).collect::<BTreeSet<_>>()
            };
            let placed = status.partitions.len() == usize::from(PARTITIONS)
                && status.partitions.iter().all(|at| {
                    let held = holders(at);
                    at.state == PartitionState::Ok
                        && at.moving.is_none()
                        && held.len() == factor
                        && held.is_subset(&nodes)
                });
            let mut held: Vec<usize> = nodes.iter().map(|node| self.held(&status, *node)).collect();
            held.sort_unstable();
            let voters = status.metadata.voters.iter().filter_map(|node| node.id());
            placed
                && held[held.len() - 1] <= held[0] + 1
                && voters.clone().count() == factor
                && voters.clone().all(|node| nodes.contains(&node))
        };
        eventually("the cluster comes to rest", resting).await;
    }

    fn held(&self, status: &ClusterStatus, node: NodeId) -> usize {
        let of = status.nodes.iter().find(|known| known.id.id() == Some(node));
        of.map_or(0, |known| known.replicas)
    }

    /// Writes a command to every partition, through one node.
    async fn write(&self, port: u16, command: &str) {
        let sending = Sending { linger: Duration::ZERO, patience: SOON, repeat: Repeat::Never };
        for partition in 0..PARTITIONS {
            let written =
                self.members[&port].node().propose(PartitionId(partition), Bytes::from(command.to_owned()), sending);
            written.await.unwrap();
        }
    }

    /// Waits until each of these nodes has these commands in every partition that the placement gives it.
    async fn has(&self, ports: &[u16], commands: &[&str]) {
        for port in ports {
            let topology = self.members[port].node().meta().topology();
            let own = self.id(*port);
            let all = async || {
                let placement = topology.borrow().placement.clone();
                let own = (0..).map(PartitionId).zip(placement).filter(|(_, placed)| placed.replicas.contains(&own));
                let stores = self.stores[port].lock().clone();
                own.into_iter()
                    .all(|(partition, _)| stores.get(&partition).is_some_and(|store| store.commands() == commands))
            };
            eventually("all commands are there", all).await;
        }
    }
}

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let polled = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, polled).await.unwrap_or_else(|_| panic!("it never came to be so: {what}"));
}
