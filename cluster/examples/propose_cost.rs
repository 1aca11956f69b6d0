//! What a proposal costs: CPU time, latency and syncs, of a node with 24 partitions on the machine's disk.
//!
//!     cargo run --release -p pharos-cluster --example propose_cost -- DIRECTORY
//!
//! The directory must not exist; it is removed at the end. State machines do nothing, so the figures are those of proposer, Raft,
//! log and disk.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pharos_cluster::checkpoint::CheckpointPolicy;
use pharos_cluster::fs::Disk;
use pharos_cluster::group::Restored;
use pharos_cluster::log::LogOptions;
use pharos_cluster::metrics::Metrics;
use pharos_cluster::node::{ClusterOptions, FreshIds, Node, NodeDir, NodeOptions, OpenPartition};
use pharos_cluster::proposer::ProposerOptions;
use pharos_cluster::{CheckpointError, FinishCheckpoint, StateMachine};
use pharos_model::PartitionId;
use pharos_model::clock::SystemClock;
use prometheus::Registry;

const PARTITIONS: u16 = 24;
const RUN: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

/// Answers every command with nothing.
struct Nothing;

impl StateMachine for Nothing {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        vec![Bytes::new(); commands.len()]
    }

    fn begin_checkpoint(&self, _: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        Ok(Box::new(|| Ok(())))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(Vec::new())
    }

    fn install(&self, _: &[u8], _: Bytes) -> Result<(), CheckpointError> {
        Ok(())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("which directory?")?);
    if dir.exists() {
        return Err(format!("{} exists", dir.display()).into());
    }
    let metrics = Metrics::register(&Registry::new())?;
    let started = Instant::now();
    let node = Arc::new(open(&dir, &metrics).await?);
    println!("first start of {} groups: {:?}", PARTITIONS + 1, started.elapsed());

    for (bytes, writers) in [(2 << 10, 1), (2 << 10, 8), (2 << 10, 64), (64 << 10, 1), (64 << 10, 8), (64 << 10, 64)] {
        measure(&node, &metrics, bytes, writers).await?;
    }
    let before = cpu_time()?;
    tokio::time::sleep(IDLE).await;
    let idle = (cpu_time()? - before).as_secs_f64() / IDLE.as_secs_f64();
    println!("idle: {:.2} % of a core", idle * 100.0);
    node.shutdown().await;
    drop(node);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

async fn open(dir: &Path, metrics: &Metrics) -> Result<Node, Box<dyn Error>> {
    let options = NodeOptions {
        partitions: PARTITIONS,
        fresh: FreshIds { node: 1, cluster: 1 },
        log: LogOptions::default(),
        proposer: ProposerOptions::default(),
        checkpoints: CheckpointPolicy::default(),
        leader_wait_max: Duration::from_secs(10),
        drain_max: Duration::from_secs(10),
        cluster: ClusterOptions::alone(),
        clock: Arc::new(SystemClock::default()),
        metrics: metrics.clone(),
    };
    let store: OpenPartition = Arc::new(|_| Ok(Restored { machine: Arc::new(Nothing), raft_state: None }));
    Ok(Node::open(NodeDir::lock(Arc::new(Disk), dir)?, options, store).await?)
}

/// Writers that each propose to the partitions in turn, one command at a time.
async fn measure(node: &Arc<Node>, metrics: &Metrics, bytes: usize, writers: usize) -> Result<(), Box<dyn Error>> {
    let (cpu, batches, written) = (cpu_time()?, metrics.log.batches.get(), metrics.raft.proposals.get());
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(write(Arc::clone(node), bytes, writer))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let (took, count) = (started.elapsed(), metrics.raft.proposals.get() - written);
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies[latencies.len() * percent / 100];
    println!(
        "{bytes} bytes, {writers} writers: {:.0}/s, {:.1} us of CPU each, p50 {:?}, p99 {:?}, {:.1} per sync",
        count as f64 / took.as_secs_f64(),
        (cpu_time()? - cpu).as_secs_f64() * 1e6 / count as f64,
        percentile(50),
        percentile(99),
        count as f64 / (metrics.log.batches.get() - batches) as f64,
    );
    Ok(())
}

async fn write(
    node: Arc<Node>,
    bytes: usize,
    writer: usize,
) -> Result<Vec<Duration>, pharos_cluster::proposer::ProposeError> {
    let command = Bytes::from(vec![writer as u8; bytes]);
    let mut latencies = Vec::new();
    let started = Instant::now();
    let mut turn = writer * 7;
    while started.elapsed() < RUN {
        let partition = PartitionId((turn % usize::from(PARTITIONS)) as u16);
        let proposed = Instant::now();
        node.proposer(partition).propose(command.clone()).await?;
        latencies.push(proposed.elapsed());
        turn += 1;
    }
    Ok(latencies)
}

/// CPU time of this process so far, to 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
