//! Listening: accepts connections up to a limit, serves HTTP/1 and HTTP/2 on them, and ends without cutting answers short.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::startup::Gate;

/// Longest wait for running requests when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait after a failed accept (out of file descriptors, mostly) before the next try.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What bounds the connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Simultaneous connections over all listeners; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Longest time to read a request's head, and longest idle time between requests.
    pub read_timeout: Duration,
}

/// Binds every address, or none.
pub async fn bind(addresses: &[String]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for text in addresses {
        let listener = match crate::flags::listen_addr(text) {
            Ok(address) => TcpListener::bind(address).await,
            Err(error) => Err(error),
        }
        .map_err(|error| io::Error::new(error.kind(), format!("listen on {text}: {error}")))?;
        info!(address = %listener.local_addr()?, "Listening on");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until `stop` is cancelled, then lets running requests finish for up to [`DRAIN_TIMEOUT`].
pub async fn serve(listeners: Vec<TcpListener>, gate: Gate, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let acceptor = Acceptor { gate, limits, slots, graceful: &graceful, stop: &stop };
    let acceptors = listeners.iter().map(|listener| acceptor.run(listener));
    futures::future::join_all(acceptors).await;
    drop(listeners);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        warn!(timeout = ?DRAIN_TIMEOUT, "some requests did not finish in time and were cut off");
    }
}

/// What the accept loops share.
struct Acceptor<'a> {
    gate: Gate,
    limits: Limits,
    slots: Arc<Semaphore>,
    graceful: &'a GracefulShutdown,
    stop: &'a CancellationToken,
}

impl Acceptor<'_> {
    async fn run(&self, listener: &TcpListener) {
        loop {
            let slot = tokio::select! {
                () = self.stop.cancelled() => return,
                slot = self.slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.graceful.watch(connection(stream, self.gate.clone(), self.limits));
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            debug!(%peer, %error, "connection ended");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

type Service = TowerToHyperService<Gate>;

fn connection(
    stream: TcpStream,
    gate: Gate,
    limits: Limits,
) -> auto::Connection<'static, TokioIo<TcpStream>, Service, TokioExecutor> {
    // Answers are written whole, so waiting to fill packets only delays them.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.read_timeout);
    builder.http2().timer(TokioTimer::new());
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(gate)).into_owned()
}
