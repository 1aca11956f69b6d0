//! An HTTP server on loopback for tests: answers by a function and keeps what it was asked.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
type Handler = dyn Fn(&Parts, &Bytes) -> Response<Body> + Send + Sync;

/// Ends with its handle.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Parts>>>,
    _accepting: JoinSet<()>,
}

impl TestServer {
    pub(crate) async fn start(handler: impl Fn(&Parts) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self::start_with(None, Arc::new(move |parts, _: &Bytes| handler(parts))).await
    }

    /// As [`Self::start`] for a handler that wants the request's body.
    pub(crate) async fn start_reading(
        handler: impl Fn(&Parts, &Bytes) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, Arc::new(handler)).await
    }

    pub(crate) async fn start_tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&Parts) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(move |parts, _: &Bytes| handler(parts)))
            .await
    }

    async fn start_with(tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut accepting = JoinSet::new();
        let seen = requests.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, handler, seen) = (tls.clone(), handler.clone(), seen.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, handler, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, handler, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, requests, _accepting: accepting }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}://{}{path}", self.scheme, self.address)).unwrap()
    }

    /// The requests so far, oldest first.
    pub(crate) fn requests(&self) -> Vec<Parts> {
        self.requests.lock().clone()
    }

    /// The value of a header in the newest request; empty when it was not sent.
    pub(crate) fn last_header(&self, name: &str) -> String {
        let requests = self.requests.lock();
        let value = requests.last().expect("a request was made").headers.get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }
}

async fn serve<S>(stream: S, handler: Arc<Handler>, seen: Arc<Mutex<Vec<Parts>>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (handler, seen) = (handler.clone(), seen.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            seen.lock().push(parts.clone());
            Ok::<_, Infallible>(handler(&parts, &body))
        }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // The client may hang up at any time; that is not the test's business.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A complete answer.
pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, content_type)
        .body(body)
        .unwrap()
}

/// Text exposition.
pub(crate) fn metrics(body: impl Into<Bytes>) -> Response<Body> {
    answer(200, "text/plain; version=0.0.4", body)
}

/// An answer whose body comes piece by piece and may never end.
pub(crate) fn streamed(content_type: &str, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(futures::StreamExt::map(pieces, Ok::<_, io::Error>).map_ok(Frame::data)).boxed_unsync();
    Response::builder().header(header::CONTENT_TYPE, content_type).body(body).unwrap()
}

/// A redirect.
pub(crate) fn redirect(to: impl AsRef<str>) -> Response<Body> {
    let mut response = answer(302, "text/plain", "");
    response.headers_mut().insert(header::LOCATION, to.as_ref().parse().unwrap());
    response
}
