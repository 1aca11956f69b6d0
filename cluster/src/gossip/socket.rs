//! The way of chitchat's messages: sealed datagrams over UDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use parking_lot::Mutex;
use pharos_model::Clock;
use ring::aead::LessSafeKey;
use tokio::net::UdpSocket;

use super::datagram::{self, DATAGRAM_BYTES_MAX, Header};
use super::door::{Door, Refusal};
use super::keys::{KeyId, Keys};
use super::metrics::GossipMetrics;
use crate::peers::NodeId;

/// What is read within [`SLICE`] at most; then reading pauses, and the system throws away what comes too fast.
const SLICE_DATAGRAMS_MAX: u32 = 1000;
const SLICE_BYTES_MAX: usize = 2 << 20;
const SLICE: Duration = Duration::from_millis(100);

/// The socket of one node, and everything that stays when chitchat begins anew.
pub(super) struct Way {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) door: Arc<Mutex<Door>>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: GossipMetrics,
}

/// Seals what this process says.
pub struct Sealer {
    node: NodeId,
    process: u64,
    /// Of the next datagram. Never set back: with the key it makes the nonce.
    counter: AtomicU64,
    key: Mutex<(KeyId, Arc<LessSafeKey>)>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("node", &self.node).field("process", &self.process).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Of one process, which has one of them: by another it would use nonces twice.
    pub fn new(node: NodeId, process: u64, keys: &Keys) -> Self {
        let key = Mutex::new(Self::key(node, process, keys));
        Self { node, process, counter: AtomicU64::new(0), key }
    }

    fn key(node: NodeId, process: u64, keys: &Keys) -> (KeyId, Arc<LessSafeKey>) {
        let sealing = keys.sealing();
        (sealing.id, Arc::new(sealing.of_process(node, process)))
    }

    pub(super) fn replace_keys(&self, keys: &Keys) {
        *self.key.lock() = Self::key(self.node, self.process, keys);
    }

    /// `None` when the message is larger than any datagram may be.
    pub fn seal(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (id, key) = self.key.lock().clone();
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let header = Header { key: id, node: self.node, process: self.process, counter };
        datagram::seal(&key, &header, message)
    }
}

#[async_trait]
impl Transport for Way {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(Sealed {
            socket: Arc::clone(&self.socket),
            door: Arc::clone(&self.door),
            sealer: Arc::clone(&self.sealer),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            buffer: vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice(),
            slice: Slice::default(),
        }))
    }
}

struct Sealed {
    socket: Arc<UdpSocket>,
    door: Arc<Mutex<Door>>,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    metrics: GossipMetrics,
    buffer: Box<[u8]>,
    slice: Slice,
}

/// What was read since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    began: Duration,
    datagrams: u32,
    bytes: usize,
}

impl Slice {
    /// How long to wait before the next is read.
    pub(super) fn pause(&mut self, now: Duration) -> Option<Duration> {
        let age = now.saturating_sub(self.began);
        if age >= SLICE {
            *self = Self { began: now, ..Self::default() };
        }
        let full = self.datagrams >= SLICE_DATAGRAMS_MAX || self.bytes >= SLICE_BYTES_MAX;
        full.then(|| SLICE.saturating_sub(age))
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes;
    }
}

#[async_trait]
impl Socket for Sealed {
    /// What cannot be sent now is counted and forgotten: the next round says it again.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let Some(datagram) = self.sealer.seal(&message.serialize_to_vec()) else {
            self.metrics.not_sent.with_label_values(&["too_large"]).inc();
            return Ok(());
        };
        match self.socket.send_to(&datagram, reachable(to, &self.socket)).await {
            Ok(_) => {
                self.metrics.sent_datagrams.inc();
                self.metrics.sent_bytes.inc_by(datagram.len() as u64);
            }
            Err(_) => self.metrics.not_sent.with_label_values(&["network"]).inc(),
        }
        Ok(())
    }

    /// May be dropped at any await: what it counts is kept.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            if let Some(pause) = self.slice.pause(self.clock.monotonic()) {
                self.metrics.pauses.inc();
                tokio::time::sleep(pause).await;
                continue;
            }
            let (bytes, from) = match self.socket.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                Err(error) if is_passing(&error) => {
                    self.slice.read(0);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.slice.read(bytes);
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let now = self.clock.monotonic();
            let mut door = self.door.lock();
            if let Some(opened) = door.take(&mut self.buffer[..bytes], from, now) {
                let node = opened.node;
                match ChitchatMessage::deserialize(&mut &*opened.message) {
                    Ok(message) => return Ok((from, message)),
                    Err(_) => door.refuse(Refusal::Unreadable(node), from, now),
                }
            }
        }
    }
}

/// What an answer to a datagram of this socket brings, and nothing about the socket itself.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, OutOfMemory,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted | OutOfMemory
    )
}

/// An address as a socket of IPv6 sends to it.
fn reachable(to: SocketAddr, socket: &UdpSocket) -> SocketAddr {
    match (to.ip(), socket.local_addr()) {
        (IpAddr::V4(ip), Ok(SocketAddr::V6(_))) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}
