//! Nodes that talk over real loopback sockets, or in memory where time is to stand still.

mod calls;
mod door;
mod faults;
mod link;
pub(crate) mod memory;
mod strangers;
mod tls;
mod transfers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, stream};
use pharos_model::clock::SystemClock;
use prometheus::Registry;
use tokio::sync::{Notify, Semaphore};

use super::introduction::Introduction;
use super::transport::Tcp;
use super::*;

const CLUSTER_ID: &str = "000000000000000000000000000000c1";
const PATIENCE: Duration = Duration::from_secs(60);

const ECHO: Method = Method(1);
const NUMBERED: Method = Method(2);
const WAIT: Method = Method(3);
const REFUSE: Method = Method(4);
const PANIC: Method = Method(5);
const LARGE: Method = Method(6);
const SINK: Method = Method(0x101);
const STUCK: Method = Method(0x102);
const SOURCE: Method = Method(0x103);

/// Which nodes there are, as all nodes of a test see it.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<NodeId, Standing>>>);

impl Book {
    fn put(&self, node: NodeId, standing: Standing) {
        self.0.lock().insert(node, standing);
    }

    fn member(&self, node: NodeId, address: &str) {
        self.put(node, Standing::Member { address: address.to_owned() });
    }

    fn members(&self) -> Members {
        let book = self.clone();
        Arc::new(move |node| book.0.lock().get(&node).cloned().unwrap_or(Standing::Unknown))
    }
}

/// Answers, waits, refuses, and remembers what it was asked.
#[derive(Default)]
struct Script {
    numbers: Mutex<Vec<u64>>,
    begun: AtomicUsize,
    /// How many calls and uploads that wait, or downloads, are there now.
    held: Arc<AtomicUsize>,
    go_on: Notify,
    /// Pieces that downloads gave.
    produced: Arc<AtomicUsize>,
}

/// One of [`Script::held`].
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Script {
    fn hold(&self) -> Held {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
        Held(Arc::clone(&self.held))
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

fn number(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().expect("eight bytes"))
}

/// The `n`th piece of a download: 64 KiB that say which they are.
fn piece(n: usize) -> Bytes {
    let mut piece = vec![n as u8; 64 << 10];
    piece[..8].copy_from_slice(&(n as u64).to_le_bytes());
    piece.into()
}

#[async_trait]
impl Service for Script {
    async fn call(&self, from: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError> {
        match method {
            ECHO => Ok(body),
            NUMBERED => {
                self.numbers.lock().push(number(&body));
                tokio::task::yield_now().await;
                Ok(body)
            }
            WAIT => {
                let _held = self.hold();
                self.go_on.notified().await;
                Ok(body)
            }
            REFUSE => Err(CallError::Refused { reason: format!("not for node {from}") }),
            PANIC => panic!("as asked"),
            LARGE => Ok(Bytes::from(vec![0; 9 << 20])),
            _ => Err(CallError::Refused { reason: "unknown method".to_owned() }),
        }
    }

    async fn upload(&self, _: NodeId, method: Method, header: Bytes, mut pieces: Pieces) -> Result<Bytes, CallError> {
        let _held = self.hold();
        if method == STUCK {
            self.go_on.notified().await;
        }
        let (mut bytes, mut digest) = (0u64, crc32fast::Hasher::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            bytes += piece.len() as u64;
            digest.update(&piece);
        }
        Ok(format!("{} {bytes} {:08x}", String::from_utf8_lossy(&header), digest.finalize()).into())
    }

    async fn download(&self, _: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        if method != SOURCE {
            return Err(CallError::Refused { reason: "no such source".to_owned() });
        }
        let (count, held, produced) = (number(&header) as usize, self.hold(), Arc::clone(&self.produced));
        let pieces = stream::iter(0..count).map(move |n| {
            let _held = &held;
            produced.fetch_add(1, Ordering::SeqCst);
            Ok(piece(n))
        });
        let failure = (header.len() > 8).then(|| Err(CallError::Refused { reason: "the disk is gone".to_owned() }));
        Ok(pieces.chain(stream::iter(failure)).boxed())
    }
}

#[async_trait]
impl Door for Script {
    fn introduction(&self) -> Introduction {
        Introduction {
            process: 20,
            name: "main".to_owned(),
            node: 2,
            address: "127.0.0.1:2".to_owned(),
            initial_nodes: vec!["127.0.0.1:1".to_owned()],
            cluster: Some(CLUSTER_ID.to_owned()),
            members: vec![(2, "127.0.0.1:2".to_owned())],
            removed: vec![3],
            revision: 9,
        }
    }

    async fn admit(&self, applicant: Introduction, details: Bytes) -> Result<Bytes, CallError> {
        match &details[..] {
            b"no" => Err(CallError::Refused { reason: "no room".to_owned() }),
            _ => Ok(format!("{} of {}", applicant.node, applicant.name).into()),
        }
    }
}

/// A node of a test; it ends when it is dropped.
struct TestNode {
    network: Arc<Network>,
    script: Arc<Script>,
    registry: Registry,
    address: String,
}

fn setup(node: NodeId, book: &Book, registry: &Registry) -> Setup {
    Setup {
        cluster: "main".to_owned(),
        node,
        address: format!("127.0.0.1:{node}"),
        members: book.members(),
        security: Security::PlainOnLoopback,
        transport: Arc::new(Tcp),
        clock: Arc::new(SystemClock::default()),
        seed: 7,
        options: RpcOptions::default(),
        metrics: RpcMetrics::register(registry).expect("an empty registry"),
    }
}

impl TestNode {
    /// A member of `book` that serves on a port of its own.
    async fn start(node: NodeId, book: &Book) -> Self {
        Self::start_with(node, book, "127.0.0.1:0", |_| ()).await
    }

    async fn start_with(node: NodeId, book: &Book, listen: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let registry = Registry::new();
        let mut setup = setup(node, book, &registry);
        change(&mut setup);
        let network = Arc::new(Network::new(setup).expect("a network"));
        network.enter(CLUSTER_ID);
        let script = Arc::new(Script::default());
        let address = network.serve(listen, script.clone(), script.clone()).await.expect("a free port");
        book.member(node, &address);
        Self { network, script, registry, address }
    }

    async fn call(&self, to: NodeId, method: Method, body: impl Into<Bytes>) -> Result<Bytes, CallError> {
        self.network.call(to, method, body.into(), PATIENCE).await
    }

    /// Calls until the answer comes.
    async fn reaches(&self, to: NodeId) {
        while self.call(to, ECHO, "?").await.is_err() {
            // Lets time pass where it stands still while anybody works.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn spawn_call(&self, to: NodeId, method: Method, body: Bytes) -> tokio::task::JoinHandle<Result<Bytes, CallError>> {
        let network = Arc::clone(&self.network);
        tokio::spawn(async move { network.call(to, method, body, PATIENCE).await })
    }

    /// The sum of all metrics of the name that have these labels.
    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        let has = |metric: &prometheus::proto::Metric, label: &(&str, &str)| {
            metric.get_label().iter().any(|pair| (pair.name(), pair.value()) == *label)
        };
        metrics
            .filter(|metric| labels.iter().all(|label| has(metric, label)))
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

/// Waits for what has to come true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

fn reason(error: CallError) -> String {
    match error {
        CallError::Unreachable { reason, .. } => reason,
        other => panic!("{other:?}, expected it to be unreachable"),
    }
}
