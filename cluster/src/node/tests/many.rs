//! Several nodes in one process, each on a simulated disk of its own, with links that can be cut.

mod crashes;
mod elections;
mod members;
mod proposals;
mod reads;
mod snapshots;
mod transfers;

use super::*;
use crate::group::Leaving;
use crate::peers::memory::Web;
use crate::peers::{NodeId, Service};
use crate::router::Repeat;

/// Longest wait for anything that has to come; a machine that is busy with other things takes its time.
const SOON: Duration = Duration::from_secs(60);

const TIMES: RaftTimes = RaftTimes {
    heartbeat: Duration::from_millis(150),
    election_min: Duration::from_millis(600),
    election_max: Duration::from_millis(1200),
};

/// A node of the town.
struct House {
    running: Running,
    _service: Arc<dyn Service>,
}

#[derive(Default)]
struct Town {
    web: Web,
    sims: BTreeMap<NodeId, Sim>,
    houses: BTreeMap<NodeId, House>,
    partitions: u16,
}

impl Town {
    /// A cluster of these nodes, which are voters of all groups; the first leads.
    async fn of(nodes: &[NodeId], partitions: u16) -> Self {
        let mut town = Self { partitions, ..Self::default() };
        town.start(nodes[0], Start::Found).await;
        for &node in &nodes[1..] {
            town.join(node).await;
            for partition in 0..partitions {
                town.take_in(node, partition).await;
            }
        }
        let voters: BTreeSet<NodeId> = nodes.iter().copied().collect();
        town.node(nodes[0]).meta_group().change_voters(voters.clone(), Leaving::Entirely).await.unwrap();
        for partition in 0..partitions {
            town.group(nodes[0], partition).change_voters(voters.clone(), Leaving::Entirely).await.unwrap();
        }
        town
    }

    /// Starts a node that the first one takes in.
    async fn join(&mut self, node: NodeId) {
        let meta = self.houses.values().next().unwrap().running.node.meta_group();
        let taken_in = async { eventually(async || meta.add_learner(node).await.is_ok()).await };
        tokio::join!(self.start(node, Start::Join), taken_in);
    }

    /// Gives a node a replica of a partition.
    async fn take_in(&self, node: NodeId, partition: u16) {
        self.node(node).open_replica(PartitionId(partition)).await.unwrap();
        let leader = self.group(self.leader(partition).await, partition);
        leader.add_learner(node).await.unwrap();
        eventually(async || leader.caught_up(node, 0).unwrap()).await;
    }

    async fn start(&mut self, node: NodeId, start: Start) {
        let sim = self.sims.entry(node).or_insert_with(Sim::new).clone();
        let running = start_in(&self.web, &sim, node, start, self.partitions).await.unwrap();
        self.houses.insert(node, running);
    }

    /// Starts nodes again at the same time: none waits for the others to be open.
    async fn start_all(&mut self, nodes: &[NodeId]) {
        let start = async |node: NodeId| {
            let started = start_in(&self.web, &self.sims[&node], node, Start::Join, self.partitions).await;
            (node, started.unwrap())
        };
        let starting: Vec<_> = nodes.iter().map(|&node| start(node)).collect();
        let houses = futures::future::join_all(starting).await;
        self.houses.extend(houses);
    }

    /// Ends a node without its help. Its disk is as the process left it, or the power.
    async fn kill(&mut self, node: NodeId, power_seed: Option<u64>) {
        let house = self.houses.remove(&node).unwrap();
        self.web.leave(node);
        let sim = &self.sims[&node];
        let left = power_seed.map_or_else(|| sim.kill(), |seed| sim.reboot(seed));
        self.sims.insert(node, left);
        house.running.node.shutdown().await;
    }

    async fn stop(self) {
        for house in self.houses.values() {
            house.running.node.shutdown().await;
        }
    }

    fn running(&self, node: NodeId) -> &Running {
        &self.houses[&node].running
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.running(node).node
    }

    fn group(&self, node: NodeId, partition: u16) -> Arc<Group> {
        self.node(node).partition(PartitionId(partition))
    }

    fn commands(&self, node: NodeId, partition: u16) -> Vec<Bytes> {
        self.running(node).commands(partition)
    }

    /// The node that leads a partition, as soon as a majority of its voters says so.
    async fn leader(&self, partition: u16) -> NodeId {
        self.leader_among(&self.houses.keys().copied().collect::<Vec<_>>(), partition).await
    }

    /// As [`Town::leader`], in a part of the town.
    async fn leader_among(&self, nodes: &[NodeId], partition: u16) -> NodeId {
        let mut leader = None;
        eventually(async || {
            let standing = |node: &NodeId| self.node(*node).replica(PartitionId(partition)).map(|g| g.standing());
            let standings: Vec<_> = nodes.iter().filter_map(|node| Some((*node, standing(node)?))).collect();
            let term = standings.iter().map(|(_, standing)| standing.term).max();
            leader = standings.iter().find(|(_, s)| s.leads && Some(s.term) == term).map(|(node, _)| *node);
            leader.is_some()
        })
        .await;
        leader.unwrap()
    }

    async fn propose(&self, node: NodeId, partition: u16, command: impl Into<Bytes>) -> Result<Bytes, ProposeError> {
        self.node(node).propose(PartitionId(partition), command.into(), patient(SOON)).await
    }

    async fn wait_for_commands(&self, node: NodeId, partition: u16, expected: &[Bytes]) {
        eventually(async || self.commands(node, partition) == expected).await;
    }
}

fn patient(patience: Duration) -> Sending {
    Sending { linger: Duration::ZERO, patience, repeat: Repeat::Never }
}

async fn start_in(web: &Web, sim: &Sim, id: NodeId, start: Start, partitions: u16) -> Result<House, NodeError> {
    let service = Arc::new(GroupService::default());
    let reachable: Arc<dyn Service> = Arc::clone(&service) as _;
    let removing = sim.clone();
    let mut options = options(partitions);
    options.fresh.node = id;
    options.leader_wait_max = SOON;
    options.drain_max = Duration::from_millis(50);
    options.cluster = ClusterOptions {
        peers: web.join(id, &reachable),
        service,
        start,
        replicas: Arc::new(|_| (1..=5).collect()),
        remove: Arc::new(move |partition| {
            removing.delete(&Journal::path(partition));
            Ok(())
        }),
        times: TIMES,
        ..ClusterOptions::alone()
    };
    Ok(House { running: try_start(sim, options).await?, _service: reachable })
}

/// Waits until something is so.
async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let polled = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, polled).await.expect("it never came to be so");
}

/// Lets so many heartbeats pass at a group's leader.
async fn heartbeats(count: u32) {
    tokio::time::sleep(TIMES.heartbeat * 3 / 2 * count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_answered_when_a_majority_has_it_and_reaches_all() {
    let town = Town::of(&[1, 2, 3], 2).await;
    for (at, command) in numbered(20).into_iter().enumerate() {
        assert_eq!(town.propose(1, 1, command).await.unwrap(), (at + 1).to_string());
    }
    for node in [1, 2, 3] {
        town.wait_for_commands(node, 1, &numbered(20)).await;
        assert!(town.commands(node, 0).is_empty());
    }
    // One may be away.
    town.web.isolate(3);
    town.propose(1, 1, "with two").await.unwrap();
    // Two may not.
    town.web.isolate(2);
    let alone = town.node(1).propose(PartitionId(1), Bytes::from("alone"), patient(Duration::from_secs(1))).await;
    assert_eq!(alone.unwrap_err().retry(), Retry::IfRepeatable);
    town.web.heal();
    town.propose(1, 1, "again").await.unwrap();
    let all = town.commands(town.leader(1).await, 1);
    assert_eq!(all[..20], numbered(20));
    assert_eq!(all[20], "with two");
    assert_eq!(all.last().unwrap(), "again");
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_nodes_two_may_be_gone() {
    let mut town = Town::of(&[1, 2, 3, 4, 5], 1).await;
    town.propose(4, 0, "before").await.unwrap();
    town.kill(1, None).await;
    town.kill(2, Some(7)).await;
    town.propose(3, 0, "after").await.unwrap();
    for node in [3, 4, 5] {
        town.wait_for_commands(node, 0, &[Bytes::from("before"), Bytes::from("after")]).await;
    }
    town.start_all(&[1, 2]).await;
    for node in [1, 2] {
        town.wait_for_commands(node, 0, &[Bytes::from("before"), Bytes::from("after")]).await;
    }
    town.stop().await;
}
