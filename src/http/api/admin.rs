//! `admin/tsdb/*`: deleting series and taking snapshots. What is below `admin` needs `--web.enable-admin-api`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use pharos_storage::deletion::DeleteError;
use serde_json::json;

use super::super::error::{ApiError, Kind};
use super::super::params::Params;
use super::{success, tenant_of};
use crate::app::App;

/// Worded as in Prometheus.
fn enabled(app: &App) -> Result<(), ApiError> {
    if app.flags.web_admin_api { Ok(()) } else { Err(ApiError::new(Kind::Unavailable, "admin APIs disabled")) }
}

/// The same for what Prometheus does not have; says what to do.
pub(super) fn allowed(app: &App) -> Result<(), ApiError> {
    enabled(app).map_err(|error| {
        let message = format!("{}: a node that is started with --web.enable-admin-api can be asked", error.message);
        ApiError { message, ..error }
    })
}

pub async fn delete_series(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    enabled(&app)?;
    let matcher_sets =
        params.matcher_sets(&app.parser_options).map_err(|error| ApiError::invalid_parameter("match[]", error))?;
    if matcher_sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = params.range()?;
    let tenant = tenant_of(&headers)?;
    for matchers in &matcher_sets {
        app.node.delete_series(&tenant, matchers, range).await.map_err(delete_error)?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn delete_error(error: DeleteError) -> ApiError {
    match error {
        DeleteError::Matchers(refused) => ApiError::bad_data(refused.to_string()),
        DeleteError::Head(_) | DeleteError::Files(_) => ApiError::new(Kind::Internal, error.to_string()),
    }
}

pub async fn snapshot(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    enabled(&app)?;
    let skip_head = params.flag("skip_head")?;
    let name = app.node.snapshot(skip_head).await.map_err(|error| ApiError::new(Kind::Internal, error.to_string()))?;
    Ok(success(&json!({"name": name})))
}
