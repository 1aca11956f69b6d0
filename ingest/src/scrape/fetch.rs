//! Reads one body over HTTP within the time and size that a target is allowed.
//! The size is that of the uncompressed body and is watched while it streams in, so a bomb or an endless body costs no
//! more memory than the limit, and all bodies together no more than their budget.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout_at};

use super::body_budget::{BodyBudget, HeldBody};
use super::{BODY_BYTES_MAX_DEFAULT, ScrapeError};
use crate::config::ScrapeConfig;
use crate::exposition::negotiation::accept_header;
use crate::http_client::{HttpClient, RequestError, body_problem};

const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// Compressed bytes that are unpacked before other tasks get their turn; they become 4 MiB at worst.
const UNPACK_STEP_BYTES: usize = 4 << 10;

/// A body gets room for a sixteenth more than the last one had.
const BODY_SPARE_PART: usize = 16;

/// A body and what the target says it is.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: HeldBody,
    pub(super) content_type: Option<String>,
}

/// How a target is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    headers: HeaderMap,
    timeout: Duration,
    body_bytes_max: usize,
    budget: BodyBudget,
}

impl Request {
    pub(super) fn new(config: &ScrapeConfig, timeout: Duration, budget: BodyBudget) -> Self {
        let mut headers = HeaderMap::new();
        let accept = accept_header(&config.scrape_protocols, config.escaping());
        let seconds = pharos_model::number::format_f(timeout.as_secs_f64());
        headers.insert(ACCEPT, HeaderValue::try_from(accept).expect("an Accept header is printable"));
        let encoding = if config.enable_compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(TIMEOUT_HEADER, HeaderValue::try_from(seconds).expect("a number is printable"));
        let limit = if config.body_size_limit.0 == 0 { BODY_BYTES_MAX_DEFAULT } else { config.body_size_limit.0 };
        Self { headers, timeout, body_bytes_max: usize::try_from(limit).unwrap_or(usize::MAX), budget }
    }

    /// Asks the target. `expected_bytes` is the size of the last body.
    pub(super) async fn send(
        &self,
        client: &HttpClient,
        url: &Url,
        expected_bytes: usize,
    ) -> Result<Fetched, ScrapeError> {
        let deadline = Instant::now() + self.timeout;
        let response = timeout_at(deadline, client.get(url, &self.headers)).await;
        let response = response.map_err(|_| RequestError::timeout(url))??;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let header =
            |name| response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let content_type = header(CONTENT_TYPE);
        let is_gzip = header(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let read = async {
            // Numbers come and go; a body that outgrows its room is copied whole.
            let room = expected_bytes + expected_bytes / BODY_SPARE_PART;
            let body = self.budget.body(room, self.body_bytes_max).await;
            match is_gzip {
                true => read_gzip(response, body).await,
                false => read_plain(response, body).await,
            }
        };
        let body = timeout_at(deadline, read).await.map_err(|_| ScrapeError::BodyTimeout)??;
        Ok(Fetched { body, content_type })
    }
}

async fn read_plain(mut response: Response, mut body: HeldBody) -> Result<HeldBody, ScrapeError> {
    while let Some(chunk) = response.chunk().await.map_err(|e| ScrapeError::Body(body_problem(&e)))? {
        body.write_all(&chunk).map_err(|_| ScrapeError::BodySizeLimit)?;
        body.settle().await;
    }
    Ok(body)
}

async fn read_gzip(mut response: Response, body: HeldBody) -> Result<HeldBody, ScrapeError> {
    let mut decoder = MultiGzDecoder::new(body);
    let problem = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => ScrapeError::BodySizeLimit,
        io::ErrorKind::UnexpectedEof => ScrapeError::Body("unexpected EOF".into()),
        _ => ScrapeError::Body(format!("gzip: {error}")),
    };
    let mut is_empty = true;
    while let Some(chunk) = response.chunk().await.map_err(|e| ScrapeError::Body(body_problem(&e)))? {
        is_empty &= chunk.is_empty();
        for step in chunk.chunks(UNPACK_STEP_BYTES) {
            decoder.write_all(step).map_err(problem)?;
            decoder.get_mut().settle().await;
            if chunk.len() > UNPACK_STEP_BYTES {
                tokio::task::yield_now().await;
            }
        }
    }
    if is_empty {
        return Err(ScrapeError::Body("EOF".into()));
    }
    let mut body = decoder.finish().map_err(problem)?;
    body.settle().await;
    Ok(body)
}
