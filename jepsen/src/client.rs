//! A node's HTTP API as a client uses it, every call with a bounded time.

pub mod cluster;
mod encode;
mod reading;

pub use encode::encode;
pub use reading::Reading;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections kept to one node.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Acked,
    /// Nobody was there to take it.
    NotSent(String),
    /// It may be written, in part or later too.
    Unknown(String),
}

impl Client {
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            // Whether a request was sent twice must be the caller's own doing.
            .retry_canceled_requests(false)
            .build(connector);
        Self { http, timeout }
    }

    /// Remote write 1.0.
    pub async fn write(&self, api: &str, body: Bytes) -> WriteOutcome {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{api}/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(Full::new(body))
            .expect("a well-formed request");
        match self.send(request).await {
            Ok((status, _)) if status.is_success() => WriteOutcome::Acked,
            Ok((status, text)) => WriteOutcome::Unknown(format!("{status}: {}", String::from_utf8_lossy(&text).trim())),
            Err(error) if error.is_not_sent() => WriteOutcome::NotSent(error.to_string()),
            Err(error) => WriteOutcome::Unknown(error.to_string()),
        }
    }

    /// An instant query.
    pub async fn query(&self, api: &str, query: &str, at_ms: i64) -> Result<Reading, String> {
        let at = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
        let form = format!("query={}&time={at}", escape(query));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{api}/api/v1/query"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(form.into()))
            .expect("a well-formed request");
        let (status, text) = self.send(request).await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&text)));
        }
        Reading::parse(&text)
    }

    /// Whether the node says that it is ready.
    pub async fn ready(&self, api: &str) -> bool {
        self.readiness(api).await == Some(true)
    }

    /// The same, if it says anything.
    pub async fn readiness(&self, api: &str) -> Option<bool> {
        self.get(api, "/-/ready").await.ok().map(|(status, _)| status.is_success())
    }

    /// The node's telemetry, if it answers.
    pub async fn metrics(&self, api: &str) -> Option<String> {
        let (status, text) = self.get(api, "/metrics").await.ok()?;
        status.is_success().then(|| String::from_utf8_lossy(&text).into_owned())
    }

    async fn get(&self, api: &str, path: &str) -> Result<(StatusCode, Bytes), SendError> {
        self.send(Request::get(format!("http://{api}{path}")).body(Full::default()).expect("a well-formed request"))
            .await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), SendError> {
        let exchange = async {
            let response = self.http.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| SendError::Body(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        timeout(self.timeout, exchange).await.map_err(|_| SendError::TimedOut(self.timeout))?
    }
}

impl SendError {
    /// Whether nobody took the request.
    fn is_not_sent(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_connect())
    }
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("no answer: {0}")]
    Http(#[from] HttpError),
    #[error("answer broke off: {0}")]
    Body(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Percent-encodes all but letters and digits.
fn escape(text: &str) -> String {
    let escape =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}
