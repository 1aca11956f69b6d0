//! A network in memory, whose links can be made to stall, and a clock that follows tokio's: time passes only while all wait.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pharos_model::time::TimestampMs;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::transport::{Io, Listener};
use super::*;

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Wires>>);

#[derive(Debug, Default)]
struct Wires {
    listeners: HashMap<String, mpsc::UnboundedSender<DuplexStream>>,
    /// Addresses to and from which nothing moves.
    stalled: HashSet<String>,
    waiting: Vec<Waker>,
}

impl Memory {
    pub(super) async fn node(&self, node: NodeId, book: &Book, change: impl FnOnce(&mut Setup)) -> TestNode {
        let memory = self.clone();
        TestNode::start_with(node, book, &format!("127.0.0.1:{node}"), move |setup| {
            setup.transport = Arc::new(memory);
            setup.clock = Arc::new(TokioClock(Instant::now()));
            change(setup);
        })
        .await
    }

    /// What was sent to the address stays on the way, and so does what comes from it.
    pub(super) fn stall(&self, address: &str) {
        self.0.lock().stalled.insert(address.to_owned());
    }

    pub(super) fn release(&self, address: &str) {
        let mut wires = self.0.lock();
        wires.stalled.remove(address);
        wires.waiting.drain(..).for_each(Waker::wake);
    }
}

#[async_trait]
impl Transport for Memory {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let (here, there) = duplex(64 << 10);
        let listener = self.0.lock().listeners.get(address).cloned();
        let sent = listener.is_some_and(|listener| listener.send(there).is_ok());
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        sent.then_some(()).ok_or_else(refused)?;
        Ok(Box::new(Wire { stream: here, memory: self.clone(), address: address.to_owned() }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().listeners.insert(address.to_owned(), sender);
        Ok(Box::new(Incoming { address: address.to_owned(), receiver }))
    }
}

struct Incoming {
    address: String,
    receiver: mpsc::UnboundedReceiver<DuplexStream>,
}

#[async_trait]
impl Listener for Incoming {
    fn address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Io>> {
        let stream = self.receiver.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Box::new(stream))
    }
}

/// The calling side of a connection: where it can stall.
struct Wire {
    stream: DuplexStream,
    memory: Memory,
    address: String,
}

impl Wire {
    fn stalls(&self, cx: &Context<'_>) -> bool {
        let mut wires = self.memory.0.lock();
        let stalls = wires.stalled.contains(&self.address);
        if stalls {
            wires.waiting.push(cx.waker().clone());
        }
        stalls
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stalls(cx) { Poll::Pending } else { Pin::new(&mut self.stream).poll_read(cx, buf) }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.stalls(cx) { Poll::Pending } else { Pin::new(&mut self.stream).poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now_ms(&self) -> TimestampMs {
        self.monotonic().as_millis() as TimestampMs
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}
