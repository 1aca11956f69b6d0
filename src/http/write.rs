//! Remote write: `/api/v1/write` and `/api/v1/push`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use pharos_ingest::remote_write::{RequestHeaders, WriteError};

use super::api::tenant_of;
use crate::app::App;

/// Largest compressed body that is read at all; the decoder has its own, smaller limits.
const BODY_BYTES_MAX: usize = 32 << 20;

pub async fn remote_write(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    if !app.flags.web_remote_write {
        return (
            StatusCode::NOT_FOUND,
            "remote write receiver needs to be enabled with --web.enable-remote-write-receiver",
        )
            .into_response();
    }
    let tenant = match tenant_of(&headers) {
        Ok(tenant) => tenant,
        Err(error) => return error.into_response(),
    };
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("the request is larger than {BODY_BYTES_MAX} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        Err(error) => return (StatusCode::BAD_REQUEST, format!("reading the request: {error}\n")).into_response(),
    };
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let about =
        RequestHeaders { content_type: text(header::CONTENT_TYPE), content_encoding: text(header::CONTENT_ENCODING) };
    match app.receiver.write(&tenant, about, body).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &WriteError) -> Response {
    let mut response = (error.status(), format!("{error}\n")).into_response();
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}
