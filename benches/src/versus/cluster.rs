//! Pharos alone against clusters of itself: CPU a sample over all nodes, bytes between them, what idle nodes cost, and how a node's
//! share falls as nodes come. All on one machine, so that CPU-seconds count, not time.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
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
/// Requests under way at a time: a fleet of senders, whose commands share entries.
const WRITERS: usize = 32;
const REST_TIMEOUT: Duration = Duration::from_secs(300);
const REST_POLL: Duration = Duration::from_millis(500);
/// How long idle nodes are looked at.
const IDLE: Duration = Duration::from_secs(30);

/// What one size costs.
struct Costs {
    /// CPU-us a sample of each node.
    of_nodes: Vec<f64>,
    /// Between nodes, for each sample and each copy beyond the first.
    bytes: f64,
    /// Of one core, each node.
    idle: f64,
}

/// Each size gets the same rounds, dealt out over its nodes in turn.
pub async fn run(root: &Path, sizes: &[usize], series: usize, rounds: usize, now_ms: i64) -> Result<Vec<Figure>> {
    let least = WARM_ROUNDS + sizes.iter().copied().max().unwrap_or_default() + 1;
    ensure!(rounds >= least, "at least {least} rounds are needed");
    let fleet = Fleet::new(series);
    let mut figures = Vec::new();
    for &size in sizes {
        let costs = one_size(&root.join(size.to_string()), size, &fleet, rounds, now_ms).await?;
        let figure = |what: &str, unit, value| Figure::of_pharos(&format!("{size} nodes: {what}"), unit, value);
        let mean = costs.of_nodes.iter().sum::<f64>() / size as f64;
        let most = costs.of_nodes.iter().copied().fold(0.0, f64::max);
        figures.extend([
            figure("a sample, all nodes", "CPU-us", mean * size as f64),
            figure("a sample, a node", "CPU-us", mean),
            figure("a sample, the busiest node", "CPU-us", most),
            figure("between nodes, a sample and follower", "bytes", costs.bytes),
            figure("idle, a node", "% of a core", costs.idle * 100.0),
        ]);
    }
    Ok(figures)
}

async fn one_size(root: &Path, size: usize, fleet: &Fleet, rounds: usize, now_ms: i64) -> Result<Costs> {
    let servers = start(root, size).await?;
    let idle_from = cpu_seconds(&servers)?;
    tokio::time::sleep(IDLE).await;
    let idle = (cpu_seconds(&servers)?.iter().sum::<f64>() - idle_from.iter().sum::<f64>()) / IDLE.as_secs_f64();
    let (mut costs, mut bytes) = (vec![Vec::new(); size], Vec::new());
    for round in 0..rounds {
        let (before, sent) = (cpu_seconds(&servers)?, sent_bytes(&servers).await?);
        let bodies = fleet.round(round, now_ms - (rounds - round) as i64 * INTERVAL_MS).enumerate();
        let writes = bodies.map(|(at, body)| servers[(round + at) % size].write_patiently(body));
        stream::iter(writes).buffer_unordered(WRITERS).try_collect::<()>().await?;
        for (costs, (after, before)) in costs.iter_mut().zip(cpu_seconds(&servers)?.into_iter().zip(before)) {
            costs.push((after - before) * 1e6 / fleet.len() as f64);
        }
        bytes.push((sent_bytes(&servers).await? - sent) / fleet.len() as f64);
    }
    for server in &servers {
        let count = server.query("/api/v1/query", &[("query", "count({job=\"node\"})".into())]).await?;
        let counted = count[0]["value"][1].as_str().and_then(|text| text.parse().ok());
        ensure!(counted == Some(fleet.len()), "a node of {size} answers {count}");
    }
    let (warm, followers) = (WARM_ROUNDS + size, size.min(COPIES) - 1);
    Ok(Costs {
        of_nodes: costs.iter().map(|of_node| median(&of_node[warm..])).collect(),
        bytes: if followers == 0 { 0.0 } else { median(&bytes[warm..]) / followers as f64 },
        idle: idle / size as f64,
    })
}

/// One node is alone; more are founded together.
async fn start(root: &Path, size: usize) -> Result<Vec<Server>> {
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
            Server::start(Kind::Pharos, &folder, "global: {}\n", &flags).await
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

fn cpu_seconds(servers: &[Server]) -> Result<Vec<f64>> {
    servers.iter().map(Server::cpu_seconds).collect()
}

/// What all nodes have sent to others.
async fn sent_bytes(servers: &[Server]) -> Result<f64> {
    Ok(try_join_all(servers.iter().map(|server| server.counter("pharos_rpc_sent_bytes_total"))).await?.iter().sum())
}
