//! Makes connections: bytes from the transport, TLS over them, HTTP/2 over that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::Service;

use super::Shared;
use super::record::{CutOnDrop, Metered, Wire};

/// Most bytes of an HTTP/2 frame: what one stream puts before another's.
pub(super) const FRAME_BYTES_MAX: u32 = 64 << 10;

/// Most bytes of all headers of a request or answer.
pub(super) const HEADERS_BYTES_MAX: u32 = 32 << 10;

/// A connection to another node, and the work of it: the driver has to be polled, and says why the connection ended.
pub(super) struct Opened {
    pub(super) channel: Channel,
    pub(super) driver: Pin<Box<dyn Future<Output = String> + Send>>,
    pub(super) wire: Arc<Wire>,
    /// HTTP/2 has a task of its own for a connection, which goes on until all requests on it have ended. On a network that says nothing
    /// any more they do not, so who gives a connection up cuts it.
    _cut: CutOnDrop,
}

pub(super) async fn open(shared: &Shared, address: &str) -> Result<Opened, String> {
    shared.guard.allows(address).map_err(|error| error.to_string())?;
    let io = shared.transport.connect(address).await.map_err(|error| format!("connect to {address}: {error}"))?;
    let io = shared.guard.connected(io, address).await.map_err(|error| format!("TLS with {address}: {error}"))?;
    let wire = Wire::new(Arc::clone(&shared.clock));
    let options = &shared.options;
    let (send, connection) = Builder::new(Tasks(shared.tasks.clone()))
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes())
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(options.stream_window_bytes as usize)
        // Downloads that were given up are no sign of an attack, however many there were since the connection was made.
        .max_concurrent_reset_streams(4 * options.streams_max() as usize)
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(Metered::new(io, Arc::clone(&wire))))
        .await
        .map_err(|error| format!("HTTP/2 with {address}: {error}"))?;
    let driver = async move {
        match connection.await {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => format!("the connection broke: {}", with_causes(&error)),
        }
    };
    let cut = CutOnDrop(Arc::clone(&wire));
    Ok(Opened { channel: Channel(send), driver: Box::pin(driver), wire, _cut: cut })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Sends requests on one connection.
#[derive(Clone, Debug)]
pub(super) struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // HTTP/2 asks for an authority; who is meant is in the request's `Caller`.
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(Authority::from_static("pharos")));
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => unreachable!("a method's path is a path: {error}"),
        }
        Box::pin(self.0.send_request(request))
    }
}

/// HTTP/2's tasks are the network's: it waits for them when it is closed.
#[derive(Clone, Debug)]
pub(super) struct Tasks(pub(super) TaskTracker);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
