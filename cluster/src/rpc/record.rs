//! What is kept of each node that was heard of: when something last came from it, its counters, what it keeps this node busy with.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::metrics::{PeerMetrics, RpcMetrics};
use super::transport::Io;
use crate::peers::NodeId;

/// All nodes that were heard of and are not forgotten.
#[derive(Debug)]
pub(super) struct Records {
    records: Mutex<BTreeMap<NodeId, Arc<Record>>>,
    metrics: RpcMetrics,
}

impl Records {
    pub(super) fn new(metrics: RpcMetrics) -> Self {
        Self { records: Mutex::default(), metrics }
    }

    pub(super) fn get(&self, node: NodeId) -> Option<Arc<Record>> {
        self.records.lock().get(&node).cloned()
    }

    pub(super) fn get_or_new(&self, node: NodeId) -> Arc<Record> {
        let mut records = self.records.lock();
        Arc::clone(records.entry(node).or_insert_with(|| Arc::new(Record::new(self.metrics.peer(node)))))
    }

    pub(super) fn forget(&self, node: NodeId) {
        if self.records.lock().remove(&node).is_some() {
            self.metrics.forget(node);
        }
    }
}

/// One node. Shared by all connections with it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) metrics: PeerMetrics,
    /// In nanoseconds of the clock, plus one; 0 for never.
    heard_at: AtomicU64,
    serving_calls: AtomicUsize,
    serving_bytes: AtomicUsize,
    serving_transfers: AtomicUsize,
}

impl Record {
    fn new(metrics: PeerMetrics) -> Self {
        Self {
            metrics,
            heard_at: AtomicU64::new(0),
            serving_calls: AtomicUsize::new(0),
            serving_bytes: AtomicUsize::new(0),
            serving_transfers: AtomicUsize::new(0),
        }
    }

    pub(super) fn silence(&self, now: Duration) -> Option<Duration> {
        let heard_at = self.heard_at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_nanos(heard_at)))
    }

    /// A place among at most `calls_max` calls of `bytes_max` bytes; `None` when there is none.
    pub(super) fn begin_call(self: &Arc<Self>, bytes: usize, calls_max: usize, bytes_max: usize) -> Option<Serving> {
        let mut serving = Serving { record: Arc::clone(self), bytes: 0 };
        let calls = self.serving_calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.serving_calls.inc();
        serving.hold(bytes);
        // The place is given back by dropping it.
        (calls <= calls_max && self.serving_bytes.load(Ordering::Relaxed) <= bytes_max).then_some(serving)
    }

    /// A place among at most `max` uploads and downloads.
    pub(super) fn begin_transfer(self: &Arc<Self>, max: usize) -> Option<ServingTransfer> {
        let transfers = self.serving_transfers.fetch_add(1, Ordering::Relaxed) + 1;
        let place = ServingTransfer(Arc::clone(self));
        (transfers <= max).then_some(place)
    }
}

/// A call that is worked on, until its answer is on its way. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    record: Arc<Record>,
    bytes: usize,
}

impl Serving {
    /// What the call holds in memory from now on.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.record.serving_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.record.serving_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.record.metrics.serving_bytes.add(bytes as i64 - self.bytes as i64);
        self.bytes = bytes;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.hold(0);
        self.record.serving_calls.fetch_sub(1, Ordering::Relaxed);
        self.record.metrics.serving_calls.dec();
    }
}

/// An upload or download that is served. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct ServingTransfer(Arc<Record>);

impl Drop for ServingTransfer {
    fn drop(&mut self) {
        self.0.serving_transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection tells about itself: whose it is, once that is known, and when something last came on it.
#[derive(Debug)]
pub(super) struct Wire {
    clock: Arc<dyn Clock>,
    record: OnceLock<Arc<Record>>,
    read_at: AtomicU64,
    cut: AtomicBool,
    reader: AtomicWaker,
}

/// Cuts a connection when it is dropped.
#[derive(Debug)]
pub(super) struct CutOnDrop(pub(super) Arc<Wire>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.reader.wake();
    }
}

impl Wire {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let read_at = AtomicU64::new(nanos(clock.monotonic()));
        Arc::new(Self {
            clock,
            record: OnceLock::new(),
            read_at,
            cut: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        })
    }

    /// From now on what comes is the node's. Once.
    pub(super) fn belongs_to(&self, record: Arc<Record>) {
        if self.record.set(record).is_ok() {
            self.read(0);
        }
    }

    pub(super) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.read_at.load(Ordering::Relaxed)))
    }

    fn read(&self, bytes: usize) {
        let now = nanos(self.clock.monotonic());
        self.read_at.store(now, Ordering::Relaxed);
        if let Some(record) = self.record.get() {
            record.heard_at.store(now + 1, Ordering::Relaxed);
            record.metrics.received_bytes.inc_by(bytes as u64);
        }
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn wrote(&self, bytes: usize) {
        if let Some(record) = self.record.get() {
            record.metrics.sent_bytes.inc_by(bytes as u64);
        }
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// Bytes that are counted on their way.
pub(super) struct Metered {
    io: Box<dyn Io>,
    wire: Arc<Wire>,
}

impl Metered {
    pub(super) fn new(io: Box<dyn Io>, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire.reader.register(cx.waker());
        self.wire.check_cut()?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.wire.read(bytes);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.check_cut()?;
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.wire.wrote(bytes);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.check_cut()?;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.wire.wrote(bytes);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check_cut()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check_cut()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
