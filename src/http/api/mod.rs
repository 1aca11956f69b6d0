//! `/api/v1`: one file for each family of endpoints.

pub mod admin;
pub mod cluster;
pub mod documents;
pub mod explain;
pub mod query;
pub mod rules;
pub mod series;
pub mod status;
pub mod targets;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, header};
use pharos_model::{TenantId, tenant};

use super::error::ApiError;
use super::json;
use crate::app::App;

/// The header that names the tenant.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// Routes below `/api/v1`.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/explain", get(explain::explain).post(explain::explain))
        .route("/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/labels", get(series::labels).post(series::labels))
        .route("/label/{name}/values", get(series::label_values))
        .route("/series", get(series::series).post(series::series))
        .route("/metadata", get(targets::metadata))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(targets::target_metadata))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/rules", get(rules::rules))
        .route("/alerts", get(rules::alerts))
        .route("/alertmanagers", get(rules::alertmanagers))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtime_info))
        .route("/status/buildinfo", get(status::build_info))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/walreplay", get(status::wal_replay))
        .route("/config/documents", get(documents::list))
        .route("/config/documents/{name}", get(documents::get).put(documents::put))
        .route("/config/documents/{name}/diff", get(documents::difference))
        .route("/config/documents/{name}/rollback", post(documents::roll_back))
        .route("/status/cluster", get(cluster::status))
        .route("/admin/cluster/drain", post(cluster::drain).put(cluster::drain))
        .route("/admin/cluster/undrain", post(cluster::undrain).put(cluster::undrain))
        .route("/admin/cluster/remove", post(cluster::remove).put(cluster::remove))
        .route("/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
}

/// A successful answer around any data.
pub fn success(data: &impl serde::Serialize) -> Response {
    json_response(json::data_body(data, &[], &[]))
}

/// [`success`] with something that its user should know.
pub fn warned(data: &impl serde::Serialize, warnings: &[String]) -> Response {
    json_response(json::data_body(data, warnings, &[]))
}

pub fn json_response(body: impl Into<Body>) -> Response {
    let mut response = body.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The tenant that a request names.
pub fn tenant_of(headers: &HeaderMap) -> Result<TenantId, ApiError> {
    match headers.get(TENANT_HEADER) {
        None => Ok(TenantId::anonymous()),
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            TenantId::new(if text.is_empty() { tenant::ANONYMOUS } else { text })
                .map_err(|error| ApiError::bad_data(format!("X-Scope-OrgID: {error}")))
        }
    }
}

/// Cuts a list of `len` entries to `limit`, and says so.
pub fn truncate(len: usize, limit: Option<usize>, cut: impl FnOnce(usize)) -> Vec<String> {
    match limit {
        Some(limit) if len > limit => {
            cut(limit);
            vec!["results truncated due to limit".into()]
        }
        _ => Vec::new(),
    }
}
