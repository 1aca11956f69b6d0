//! Remote write: `/api/v1/write` and `/api/v1/push`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pharos_ingest::remote_write::{RequestHeaders, WriteError};

use super::api::tenant_of;
use super::body::BodyError;
use super::error::ApiError;
use crate::app::App;

pub async fn remote_write(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    if !app.flags.web_remote_write {
        return (
            StatusCode::NOT_FOUND,
            "remote write receiver needs to be enabled with --web.enable-remote-write-receiver",
        )
            .into_response();
    }
    match write(&app, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a request is not answered with 204.
enum Refusal {
    Tenant(ApiError),
    Body(BodyError),
    Write(WriteError),
}

/// Whatever can be said without the body is said before it is read.
async fn write(app: &App, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let tenant = tenant_of(headers).map_err(Refusal::Tenant)?;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let about =
        RequestHeaders { content_type: text(header::CONTENT_TYPE), content_encoding: text(header::CONTENT_ENCODING) };
    let admission = app.receiver.admit(about).map_err(Refusal::Write)?;
    let body = app.bodies.read(body, app.receiver.body_bytes_max()).await.map_err(Refusal::Body)?;
    admission.write(&tenant, body.bytes.clone()).await.map_err(Refusal::Write)?;
    Ok(())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Tenant(error) => return error.into_response(),
            Self::Body(error) => return error.into_response(),
            Self::Write(error) => error,
        };
        let mut response = (error.status(), format!("{error}\n")).into_response();
        if let Some(wait) = error.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response
    }
}
