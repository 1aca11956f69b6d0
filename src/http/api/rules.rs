//! `rules`, `alerts`, `alertmanagers`: a node without rules answers as Prometheus does without any.

use axum::response::Response;
use serde_json::json;

use super::success;

pub async fn rules() -> Response {
    success(&json!({"groups": []}))
}

pub async fn alerts() -> Response {
    success(&json!({"alerts": []}))
}

pub async fn alertmanagers() -> Response {
    success(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}
