//! Pharos alone against clusters of itself: CPU a sample over all nodes, bytes between them, what idle nodes cost, and how a node's
//! share falls as nodes come. All on one machine, so that CPU-seconds count, not time.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::data::Fleet;
use super::process::{Kind, Server};
use super::remote_write::{INTERVAL_MS, median};
use super::report::Figure;

/// Rounds before those that count, beside one for each node: the first one creates the series, and each node learns all of them.
const WARM_ROUNDS: usize = 1;
/// Copies of a sample where there are as many nodes.
const COPIES: usize = 3;
const REST_TIMEOUT: Duration = Duration::from_secs(300);
const REST_POLL: Duration = Duration::from_millis(500);
/// How long idle nodes are looked at.
const IDLE: Duration = Duration::from_secs(30);
/// Small writes, one after the other, whose times are taken.
const SMALL_WRITES: usize = 300;
const SMALL_WRITE_SERIES: usize = 100;

/// What is run.
#[derive(Debug)]
pub struct Plan {
    pub sizes: Vec<usize>,
    pub series: usize,
    /// Rounds for each number of writers.
    pub rounds: usize,
    /// Requests under way at a time: of few senders, or of a fleet whose commands share entries.
    pub writers: Vec<usize>,
    /// Another build of Pharos to compare with.
    pub before: Option<PathBuf>,
}

/// One cluster, and what it was seen to cost.
struct Cluster {
    name: String,
    servers: Vec<Server>,
    /// Of one core, each node.
    idle: f64,
    costs: Vec<Costs>,
}

/// Of one number of writers, by round.
#[derive(Default)]
struct Costs {
    /// CPU-us a sample of each node.
    of_nodes: Vec<Vec<f64>>,
    /// Between nodes, for each sample.
    bytes: Vec<f64>,
    entries: Vec<f64>,
}

/// Every cluster gets the same rounds, dealt out over its nodes in turn. All clusters are up for all of the time and take a round each
/// in turn, so that whatever else the machine does falls on all of them alike.
pub async fn run(root: &Path, plan: &Plan, now_ms: i64) -> Result<Vec<Figure>> {
    let warm = |size: usize| WARM_ROUNDS + size;
    let least = plan.sizes.iter().copied().max().map_or(0, warm) + 1;
    ensure!(plan.rounds >= least, "at least {least} rounds are needed");
    let fleet = Fleet::new(plan.series);
    let mut clusters = Vec::new();
    for &size in &plan.sizes {
        let before = plan.before.as_deref().map(|program| (Some(program), "before: "));
        for (program, prefix) in before.into_iter().chain([(None, "")]) {
            let name = format!("{prefix}{size} nodes");
            let servers = start(&root.join(&name), size, program).await?;
            clusters.push(Cluster { name, servers, idle: 0.0, costs: Vec::new() });
        }
    }
    look_at_idle(&mut clusters).await?;
    let all_rounds = plan.rounds * plan.writers.len();
    let time_of = |round: usize| now_ms - (all_rounds - round) as i64 * INTERVAL_MS;
    for (turn, &writers) in plan.writers.iter().enumerate() {
        for cluster in &mut clusters {
            cluster.costs.push(Costs { of_nodes: vec![Vec::new(); cluster.servers.len()], ..Costs::default() });
        }
        for round in turn * plan.rounds..(turn + 1) * plan.rounds {
            for cluster in &mut clusters {
                cluster.round(&fleet, round, time_of(round), writers).await?;
            }
        }
    }
    let mut figures = Vec::new();
    for cluster in &clusters {
        cluster.check(&fleet, time_of(all_rounds - 1)).await?;
        figures.extend(cluster.figures(&plan.writers, warm(cluster.servers.len())));
    }
    let few = Fleet::new(SMALL_WRITE_SERIES);
    let mut times = vec![Vec::new(); clusters.len()];
    for at in 0..SMALL_WRITES {
        for (cluster, times) in clusters.iter().zip(&mut times) {
            let body = few.round(all_rounds, now_ms + at as i64).next().context("a small fleet fills a request")?;
            let begun = Instant::now();
            cluster.servers[at % cluster.servers.len()].write(body).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (cluster, mut times) in clusters.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        for (what, part) in [("median", 0.5), ("one in 20 takes", 0.95)] {
            let name = format!("{}: a small write alone, {what}", cluster.name);
            figures.push(Figure::of_pharos(&name, "ms", times[(times.len() as f64 * part) as usize]));
        }
    }
    Ok(figures)
}

async fn look_at_idle(clusters: &mut [Cluster]) -> Result<()> {
    let cpu = |clusters: &[Cluster]| clusters.iter().map(Cluster::cpu_seconds).collect::<Result<Vec<_>>>();
    let from = cpu(clusters)?;
    tokio::time::sleep(IDLE).await;
    let to = cpu(clusters)?;
    for (cluster, (from, to)) in clusters.iter_mut().zip(from.iter().zip(&to)) {
        let used = to.iter().sum::<f64>() - from.iter().sum::<f64>();
        cluster.idle = used / IDLE.as_secs_f64() / cluster.servers.len() as f64;
    }
    Ok(())
}

impl Cluster {
    async fn round(&mut self, fleet: &Fleet, round: usize, ts: i64, writers: usize) -> Result<()> {
        let servers = &self.servers;
        let (before, sent) = (self.cpu_seconds()?, self.sum_of("pharos_rpc_sent_bytes_total").await?);
        let entries = self.sum_of("pharos_raft_entries_total").await?;
        let bodies = fleet.round(round, ts).enumerate();
        let writes = bodies.map(|(at, body)| servers[(round + at) % servers.len()].write_patiently(body));
        stream::iter(writes).buffer_unordered(writers).try_collect::<()>().await?;
        let after = self.cpu_seconds()?;
        let sent = self.sum_of("pharos_rpc_sent_bytes_total").await? - sent;
        let entries = self.sum_of("pharos_raft_entries_total").await? - entries;
        let Some(costs) = self.costs.last_mut() else { return Ok(()) };
        for (costs, (after, before)) in costs.of_nodes.iter_mut().zip(after.iter().zip(before)) {
            costs.push((after - before) * 1e6 / fleet.len() as f64);
        }
        costs.bytes.push(sent / fleet.len() as f64);
        costs.entries.push(fleet.len() as f64 / entries);
        Ok(())
    }

    async fn check(&self, fleet: &Fleet, ts: i64) -> Result<()> {
        let query = [("query", "count({job=\"node\"})".into()), ("time", format!("{}", ts as f64 / 1e3))];
        for server in &self.servers {
            let count = server.query("/api/v1/query", &query).await?;
            let counted = count[0]["value"][1].as_str().and_then(|text| text.parse().ok());
            ensure!(counted == Some(fleet.len()), "a node of {} answers {count}", self.name);
        }
        Ok(())
    }

    fn figures(&self, writers: &[usize], warm: usize) -> Vec<Figure> {
        let size = self.servers.len();
        let mut figures = Vec::new();
        for (turn, (costs, writers)) in self.costs.iter().zip(writers).enumerate() {
            let warm = if turn == 0 { warm } else { 0 };
            let figure = |what: &str, unit, value| {
                Figure::of_pharos(&format!("{}, {writers} writers: {what}", self.name), unit, value)
            };
            // Of all rounds: time is counted in steps of 10 ms, which a single round of few series would feel.
            let mean = |of_node: &Vec<f64>| of_node[warm..].iter().sum::<f64>() / of_node[warm..].len() as f64;
            let means: Vec<f64> = costs.of_nodes.iter().map(mean).collect();
            let all: f64 = means.iter().sum();
            let (least, most) = means
                .iter()
                .fold((f64::MAX, 0.0), |(least, most), &mean| (f64::min(least, mean), f64::max(most, mean)));
            figures.extend([
                figure("a sample, all nodes", "CPU-us", all),
                figure("a sample, a node", "CPU-us", all / size as f64),
                figure("the busiest node / the idlest", "times", most / least),
                figure("samples an entry", "", median(&costs.entries[warm..])),
            ]);
            if size > 1 {
                let followers = size.min(COPIES) - 1;
                let bytes = median(&costs.bytes[warm..]) / followers as f64;
                figures.push(figure("between nodes, a sample and follower", "bytes", bytes));
            }
        }
        figures.push(Figure::of_pharos(&format!("{}: idle, a node", self.name), "% of a core", self.idle * 100.0));
        figures
    }

    fn cpu_seconds(&self) -> Result<Vec<f64>> {
        self.servers.iter().map(Server::cpu_seconds).collect()
    }

    /// Over all nodes.
    async fn sum_of(&self, counter: &str) -> Result<f64> {
        Ok(try_join_all(self.servers.iter().map(|server| server.counter(counter))).await?.iter().sum())
    }
}

/// One node is alone; more are founded together.
async fn start(root: &Path, size: usize, program: Option<&Path>) -> Result<Vec<Server>> {
    let ports = (0..size).map(|_| Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()));
    let addresses: Vec<String> =
        ports.map(|port: Result<u16>| Ok(format!("127.0.0.1:{}", port?))).collect::<Result<_>>()?;
    let list = format!("--cluster.initial-nodes={}", addresses.join(","));
    let objects = format!("--object-store=file://{}", root.join("objects").display());
    let starts = addresses.iter().enumerate().map(|(at, address)| {
        let listen = format!("--cluster.listen-address={address}");
        let flags = [objects.clone(), "--cluster.name=versus".into(), listen, list.clone()];
        let folder = root.join(at.to_string());
        async move {
            let flags: Vec<&str> = if size == 1 { Vec::new() } else { flags.iter().map(String::as_str).collect() };
            Server::start_program(Kind::Pharos, program, &folder, "global: {}\n", &flags).await
        }
    });
    let servers = try_join_all(starts).await?;
    wait_at_rest(&servers[0], size).await?;
    Ok(servers)
}

/// Until every node leads and holds its part.
async fn wait_at_rest(server: &Server, size: usize) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < REST_TIMEOUT {
        let status = server.get("/api/v1/status/cluster").await?;
        let partitions = status["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let rests = |partition: &Value| {
            partition["state"] == "ok"
                && partition["move"].is_null()
                && partition["leader"] == partition["replicas"][0]["node"]
                && partition["replicas"].as_array().is_some_and(|replicas| replicas.len() == size.min(COPIES))
        };
        let share = partitions.len() * size.min(COPIES) / size;
        let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let has_share = |node: &Value| node["replicas"].as_u64().is_some_and(|replicas| replicas as usize >= share);
        if nodes.len() == size && nodes.iter().all(has_share) && partitions.iter().all(rests) {
            return Ok(());
        }
        tokio::time::sleep(REST_POLL).await;
    }
    bail!("{size} nodes were not at rest within {REST_TIMEOUT:?}")
}
