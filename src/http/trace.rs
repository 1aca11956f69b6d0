//! A span around each API request, which says what Grafana says about its origin: dashboard, panel, alert rule, user.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use tracing::{Instrument, debug, debug_span};

/// Beginnings of the headers by which Grafana names where a query comes from.
const ORIGIN_HEADERS: [&str; 5] = ["x-dashboard-", "x-panel-", "x-rule-", "x-grafana-", "fromalert"];
/// Longest text of all of them together.
const ORIGIN_BYTES_MAX: usize = 512;

pub async fn request(request: Request, next: Next) -> Response {
    let span = debug_span!(
        "request",
        method = %request.method(),
        path = request.uri().path(),
        origin = origin(request.headers()),
    );
    async {
        let response = next.run(request).await;
        debug!(status = response.status().as_u16(), "request answered");
        response
    }
    .instrument(span)
    .await
}

/// `x-panel-id=2 x-dashboard-uid=abc`, cut to [`ORIGIN_BYTES_MAX`].
fn origin(headers: &HeaderMap) -> String {
    let mut out = String::new();
    for (name, value) in headers {
        if !ORIGIN_HEADERS.iter().any(|prefix| name.as_str().starts_with(prefix)) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        if out.len() + name.as_str().len() + value.len() + 2 > ORIGIN_BYTES_MAX {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(name.as_str());
        out.push('=');
        out.push_str(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn headers_of_grafana_are_named_and_others_are_not() {
        let mut headers = HeaderMap::new();
        headers.insert("x-dashboard-uid", HeaderValue::from_static("abc"));
        headers.insert("authorization", HeaderValue::from_static("secret"));
        headers.insert("fromalert", HeaderValue::from_static("true"));
        assert_eq!(origin(&headers), "x-dashboard-uid=abc fromalert=true");
        headers.insert("x-rule-name", HeaderValue::from_str(&"x".repeat(ORIGIN_BYTES_MAX)).unwrap());
        assert_eq!(origin(&headers), "x-dashboard-uid=abc fromalert=true");
    }
}
