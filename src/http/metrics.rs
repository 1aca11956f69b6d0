//! `/metrics`, and the counters of HTTP requests themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder, exponential_buckets,
};

use crate::app::App;

/// Request counters with the names that Prometheus has for its own.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    size: HistogramVec,
}

impl HttpMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("prometheus_http_requests_total", "Counter of HTTP requests."),
            &["handler", "code"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new("prometheus_http_request_duration_seconds", "Histogram of latencies for HTTP requests.")
                .buckets(vec![0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0]),
            &["handler"],
        )?;
        let size = HistogramVec::new(
            HistogramOpts::new("prometheus_http_response_size_bytes", "Histogram of response size for HTTP requests.")
                .buckets(exponential_buckets(100.0, 10.0, 8)?),
            &["handler"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(size.clone()))?;
        Ok(Self { requests, duration, size })
    }
}

/// Counts every request under its route, so that the label stays bounded.
pub async fn count(State(app): State<Arc<App>>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let handler = path.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let started = app.clock.monotonic();
    let response = next.run(request).await;
    let elapsed = app.clock.monotonic().saturating_sub(started);
    app.http_metrics.duration.with_label_values(&[&handler]).observe(elapsed.as_secs_f64());
    app.http_metrics.requests.with_label_values(&[handler.as_str(), response.status().as_str()]).inc();
    let sent = Sent { size: app.http_metrics.size.with_label_values(&[&handler]), bytes: 0 };
    response.map(|body| Body::new(Measured { body, sent }))
}

/// A body whose size is counted as it is sent, before compression.
struct Measured {
    body: Body,
    sent: Sent,
}

/// Observed when the body is dropped: sent whole, or given up.
struct Sent {
    size: Histogram,
    bytes: usize,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.size.observe(self.bytes as f64);
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.sent.bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The node's own metrics in the text format 0.0.4.
pub async fn exposition(State(app): State<Arc<App>>) -> Response {
    match TextEncoder::new().encode_to_string(&app.registry.gather()) {
        Ok(text) => {
            let mut response = text.into_response();
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, format);
            response
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
