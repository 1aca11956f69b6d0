//! Remote write: `/api/v1/write` and `/api/v1/push`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pharos_ingest::remote_write::{Admission, RequestHeaders, Version, WriteError, WriteSummary};
use pharos_model::TenantId;

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
    let (version, written) = write(&app, &headers, body).await;
    let stored = match &written {
        Ok(summary) | Err(Refusal::Write(WriteError::Refused { stored: summary, .. })) => *summary,
        Err(_) => WriteSummary::default(),
    };
    let mut response = match written {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    };
    if version == Some(Version::Two) {
        put_counts(response.headers_mut(), stored);
    }
    response
}

/// What version 2.0 wants to know of every request.
fn put_counts(headers: &mut HeaderMap, stored: WriteSummary) {
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", stored.samples - stored.histograms),
        ("x-prometheus-remote-write-histograms-written", stored.histograms),
        ("x-prometheus-remote-write-exemplars-written", stored.exemplars),
    ] {
        headers.insert(name, HeaderValue::from(count));
    }
}

/// Why a request is not answered with 204.
enum Refusal {
    Tenant(ApiError),
    Body(BodyError),
    Write(WriteError),
}

/// Also the version of a request that was let in.
async fn write(app: &App, headers: &HeaderMap, body: Body) -> (Option<Version>, Result<WriteSummary, Refusal>) {
    match admit(app, headers) {
        Ok((tenant, admission)) => (Some(admission.version()), take_in(app, &tenant, admission, body).await),
        Err(refusal) => (None, Err(refusal)),
    }
}

/// Whatever can be said without the body is said before it is read.
fn admit(app: &App, headers: &HeaderMap) -> Result<(TenantId, Admission), Refusal> {
    let tenant = tenant_of(headers).map_err(Refusal::Tenant)?;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let about =
        RequestHeaders { content_type: text(header::CONTENT_TYPE), content_encoding: text(header::CONTENT_ENCODING) };
    let admission = app.receiver.admit(about).map_err(Refusal::Write)?;
    Ok((tenant, admission))
}

async fn take_in(app: &App, tenant: &TenantId, admission: Admission, body: Body) -> Result<WriteSummary, Refusal> {
    let body = app.bodies.read(body, app.receiver.body_bytes_max()).await.map_err(Refusal::Body)?;
    admission.write(tenant, body.bytes.clone()).await.map_err(Refusal::Write)
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
