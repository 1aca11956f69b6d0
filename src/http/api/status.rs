//! `status/*` and `/version`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use http::HeaderMap;
use pharos_model::{TimeRange, TimestampMs};
use pharos_storage::index::stats::NamedCount;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::params::Params;
use super::series::within_timeout;
use super::{success, tenant_of};
use crate::app::App;
use crate::build_info;
use crate::node::IndexRequest;

/// Entries of each list of `status/tsdb` when no limit is given, and the most that may be asked for.
const TSDB_LIMIT_DEFAULT: usize = 10;
const TSDB_LIMIT_MAX: usize = 10_000;

pub async fn config(State(app): State<Arc<App>>) -> Response {
    success(&json!({"yaml": app.config().loaded.yaml}))
}

pub async fn flags(State(app): State<Arc<App>>) -> Response {
    success(&app.flags.texts)
}

pub async fn build_info() -> Response {
    success(&build_info_fields())
}

/// The same without the envelope, at the root.
pub async fn version() -> Response {
    super::json_response(build_info_fields().to_string().into_bytes())
}

fn build_info_fields() -> Value {
    json!({
        "version": build_info::PROMETHEUS_VERSION,
        "revision": build_info::REVISION,
        "branch": build_info::BRANCH,
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

pub async fn runtime_info(State(app): State<Arc<App>>) -> Response {
    let config = app.config();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    success(&json!({
        "startTime": rfc3339(app.started_ms),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "hostname": hostname,
        "serverTime": rfc3339(app.clock.now_ms()),
        "reloadConfigSuccess": config.last_reload_successful,
        "lastConfigTime": rfc3339(config.loaded_ms),
        "corruptionCount": app.node.corruptions(),
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": app.node.retention().text(),
    }))
}

fn rfc3339(ms: TimestampMs) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub async fn tsdb(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => TSDB_LIMIT_DEFAULT,
        Some(Ok(limit)) if (1..=TSDB_LIMIT_MAX).contains(&limit) => limit,
        Some(_) => {
            return Err(ApiError::bad_data(format!("limit must be a positive number of at most {TSDB_LIMIT_MAX}")));
        }
    };
    let tenant = tenant_of(&headers)?;
    let asked = IndexRequest { tenant, matcher_sets: Vec::new(), range: TimeRange::ALL, limit };
    let stats = within_timeout(&app, app.node.head_stats(&asked)).await?;
    let entries = |list: &[NamedCount]| -> Vec<Value> {
        list.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    Ok(success(&json!({
        "headStats": {
            "numSeries": stats.index.series,
            "numLabelPairs": stats.index.label_pairs,
            "chunkCount": stats.chunks,
            // What Prometheus says of an empty head.
            "minTime": stats.min_ts.unwrap_or(TimestampMs::MAX),
            "maxTime": stats.max_ts.unwrap_or(TimestampMs::MIN),
        },
        "seriesCountByMetricName": entries(&stats.index.series_by_metric),
        "labelValueCountByLabelName": entries(&stats.index.values_by_label),
        "memoryInBytesByLabelName": entries(&stats.index.value_bytes_by_label),
        "seriesCountByLabelValuePair": entries(&stats.index.series_by_pair),
    })))
}

/// The log is read before the API opens, so a caller that gets here is told that all of it was.
pub async fn wal_replay() -> Response {
    success(&json!({"min": 0, "max": 1, "current": 1}))
}
