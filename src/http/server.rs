//! Listening: accepts connections up to a limit, serves HTTP/1 and HTTP/2 on them, and ends without cutting answers short.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, info, warn};

use super::startup::Gate;

/// Longest wait for running requests when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait after a failed accept (out of file descriptors, mostly) before the next try.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Requests at one time on one HTTP/2 connection; Go's default.
const STREAMS_MAX: u32 = 250;
/// Longest wait for the answer to an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What bounds the connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Simultaneous connections over all listeners; further ones wait in the kernel's backlog.
    pub connections_max: u32,
    /// Longest time to read a request's head, and longest time without the begin of a request.
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
    let slots = Arc::new(Semaphore::new(limits.connections_max as usize));
    let acceptor = Acceptor { gate, limits, slots: slots.clone(), stop };
    let acceptors = listeners.iter().map(|listener| acceptor.run(listener));
    futures::future::join_all(acceptors).await;
    drop(listeners);
    // Every connection has a slot, so all slots are free when all connections have ended.
    if tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(limits.connections_max)).await.is_err() {
        warn!(timeout = ?DRAIN_TIMEOUT, "some requests did not finish in time and were cut off");
    }
}

/// What the accept loops share.
struct Acceptor {
    gate: Gate,
    limits: Limits,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Acceptor {
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
                    let connection = connection(stream, self.gate.clone(), self.limits, self.stop.clone());
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            debug!(%peer, error, "connection ended");
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

/// Serves one connection until the client leaves, begins no request for too long, or the node stops. In the last two cases
/// what runs is still answered.
async fn connection(
    stream: TcpStream,
    gate: Gate,
    limits: Limits,
    stop: CancellationToken,
) -> Result<(), axum::BoxError> {
    // Answers are written whole, so waiting to fill packets only delays them.
    let _ = stream.set_nodelay(true);
    let last_request = Arc::new(Mutex::new(Instant::now()));
    let service = TowerToHyperService::new(Noting { gate, last_request: last_request.clone() });
    let builder = builder(limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = idle(&last_request, limits.read_timeout) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.read_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        // Finds out that a client is gone without having said so, and that one never confirms the end.
        .keep_alive_interval(limits.read_timeout)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Returns once no request has begun for `limit`. Neither a client that says nothing, nor one that stops within its first
/// bytes, nor one that only answers pings has a slot for longer.
async fn idle(last_request: &Mutex<Instant>, limit: Duration) {
    loop {
        let until = *last_request.lock() + limit;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// Notes when the last request of a connection began.
#[derive(Clone)]
struct Noting {
    gate: Gate,
    last_request: Arc<Mutex<Instant>>,
}

impl Service<http::Request<Incoming>> for Noting {
    type Response = <Gate as Service<http::Request<Incoming>>>::Response;
    type Error = <Gate as Service<http::Request<Incoming>>>::Error;
    type Future = <Gate as Service<http::Request<Incoming>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Incoming>>::poll_ready(&mut self.gate, context)
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        *self.last_request.lock() = Instant::now();
        self.gate.call(request)
    }
}
