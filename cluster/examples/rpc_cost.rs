//! What a call between two nodes costs: CPU time of both sides together, latency and bytes on the wire, over loopback.
//!
//!     cargo run --release -p pharos-cluster --example rpc_cost
//!
//! The service answers with what it was asked, at once or after a task switch, so the figures are those of the network.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use pharos_cluster::peers::{CallError, Method, NodeId, Peers, Pieces, Service};
use pharos_cluster::rpc::identity::{Members, Standing};
use pharos_cluster::rpc::introduction::{Door, Introduction};
use pharos_cluster::rpc::metrics::RpcMetrics;
use pharos_cluster::rpc::options::RpcOptions;
use pharos_cluster::rpc::tls::Security;
use pharos_cluster::rpc::transport::Tcp;
use pharos_cluster::rpc::{Network, Setup};
use pharos_model::clock::SystemClock;
use prometheus::Registry;

const BODY_BYTES: usize = 200;
const CALLS: usize = 100_000;
const AT_ONCE: Method = Method(1);
const LATER: Method = Method(2);
const TRANSFER_BYTES: usize = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

struct Echo;

#[async_trait]
impl Service for Echo {
    async fn call(&self, _: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError> {
        if method == LATER {
            tokio::task::yield_now().await;
        }
        Ok(body)
    }

    async fn upload(&self, _: NodeId, _: Method, _: Bytes, mut pieces: Pieces) -> Result<Bytes, CallError> {
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(Bytes::new())
    }

    async fn download(&self, _: NodeId, _: Method, _: Bytes) -> Result<Pieces, CallError> {
        Ok(pieces())
    }
}

#[async_trait]
impl Door for Echo {
    fn introduction(&self) -> Introduction {
        unreachable!("nobody asks")
    }

    async fn admit(&self, _: Introduction, _: Bytes) -> Result<Bytes, CallError> {
        unreachable!("nobody asks")
    }
}

fn pieces() -> Pieces {
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    stream::iter((0..TRANSFER_BYTES / PIECE_BYTES).map(move |_| Ok(piece.clone()))).boxed()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let nobody: Members = Arc::new(|_| Standing::Unknown);
    let two = network(2, nobody, &Registry::new())?;
    let address = two.serve("127.0.0.1:0", Arc::new(Echo), Arc::new(Echo)).await?;
    let registry = Registry::new();
    let members: Members = Arc::new(move |_| Standing::Member { address: address.clone() });
    let one = Arc::new(network(1, members, &registry)?);
    one.call(2, AT_ONCE, Bytes::new(), PATIENCE).await?;

    for callers in [1, 8, 64, 512] {
        for (method, how) in [(AT_ONCE, "at once"), (LATER, "later")] {
            measure_calls(&one, &registry, callers, (method, how)).await?;
        }
    }
    measure_transfers(&one).await?;
    let before = cpu_time()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("idle: {:.3} % of a core", (cpu_time()? - before).as_secs_f64() * 10.0);
    one.close().await;
    two.close().await;
    Ok(())
}

fn network(node: NodeId, members: Members, registry: &Registry) -> Result<Network, Box<dyn Error>> {
    let network = Network::new(Setup {
        cluster: "cost".to_owned(),
        node,
        address: format!("127.0.0.1:{node}"),
        members,
        security: Security::PlainOnLoopback,
        transport: Arc::new(Tcp),
        clock: Arc::new(SystemClock::default()),
        seed: node,
        options: RpcOptions::default(),
        metrics: RpcMetrics::register(registry)?,
    })?;
    network.enter("1");
    Ok(network)
}

/// Callers that each make one call after the other.
async fn measure_calls(
    network: &Arc<Network>,
    registry: &Registry,
    callers: usize,
    (method, how): (Method, &str),
) -> Result<(), Box<dyn Error>> {
    let (cpu, bytes, started) = (cpu_time()?, wire_bytes(registry), Instant::now());
    let tasks: Vec<_> =
        (0..callers).map(|_| tokio::spawn(call(Arc::clone(network), method, CALLS / callers))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let (took, count) = (started.elapsed(), latencies.len() as f64);
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies[latencies.len() * percent / 100];
    println!(
        "{callers} callers of {BODY_BYTES} bytes, answered {how}: {:.0}/s, {:.1} us of CPU each, p50 {:?}, p99 {:?}, \
         {:.0} bytes on the wire",
        count / took.as_secs_f64(),
        (cpu_time()? - cpu).as_secs_f64() * 1e6 / count,
        percentile(50),
        percentile(99),
        (wire_bytes(registry) - bytes) / count,
    );
    Ok(())
}

async fn call(network: Arc<Network>, method: Method, count: usize) -> Result<Vec<Duration>, CallError> {
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        let asked = Instant::now();
        network.call(2, method, body.clone(), PATIENCE).await?;
        latencies.push(asked.elapsed());
    }
    Ok(latencies)
}

async fn measure_transfers(network: &Network) -> Result<(), Box<dyn Error>> {
    let (cpu, started) = (cpu_time()?, Instant::now());
    network.upload(2, AT_ONCE, Bytes::new(), pieces()).await?;
    print_transfer("upload", cpu, started)?;
    let (cpu, started) = (cpu_time()?, Instant::now());
    let mut download = network.download(2, AT_ONCE, Bytes::new()).await?;
    while let Some(piece) = download.next().await {
        piece?;
    }
    print_transfer("download", cpu, started)
}

fn print_transfer(what: &str, cpu: Duration, started: Instant) -> Result<(), Box<dyn Error>> {
    let mib = (TRANSFER_BYTES >> 20) as f64;
    let (took, cpu) = (started.elapsed(), cpu_time()? - cpu);
    println!("{what}: {:.0} MiB/s, {:.0} us of CPU a MiB", mib / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / mib);
    Ok(())
}

/// Bytes that node 1 sent and received.
fn wire_bytes(registry: &Registry) -> f64 {
    let families = registry.gather();
    let bytes = families.iter().filter(|family| family.name().ends_with("_bytes_total"));
    bytes.flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value()).sum()
}

/// CPU time of this process so far, to 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
