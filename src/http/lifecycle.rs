//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::app::App;

const LIFECYCLE_OFF: &str = "Lifecycle API is not enabled.";

pub async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

/// Before the store is open, [`super::startup`] answers instead.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response();
    }
    "Prometheus Server is Ready.\n".into_response()
}

pub async fn reload(State(app): State<Arc<App>>) -> Response {
    if !app.flags.web_lifecycle {
        return (StatusCode::FORBIDDEN, LIFECYCLE_OFF).into_response();
    }
    match app.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n")).into_response()
        }
    }
}

pub async fn quit(State(app): State<Arc<App>>) -> Response {
    if !app.flags.web_lifecycle {
        return (StatusCode::FORBIDDEN, LIFECYCLE_OFF).into_response();
    }
    app.stop.cancel();
    "Requesting termination... Goodbye!".into_response()
}
