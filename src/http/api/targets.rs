//! `targets`, `targets/metadata`, `scrape_pools`, `metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use http::HeaderMap;
use pharos_ingest::scrape::TargetStatus;
use pharos_ingest::scrape::target::ExternalAddress;
use pharos_model::matcher::all_match;
use pharos_model::{Metadata, duration};
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::params::Params;
use super::query::label_map;
use super::{success, tenant_of};
use crate::app::App;

/// How Go prints the time of something that has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub async fn targets(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let state = params.get("state").map(str::to_lowercase).unwrap_or_default();
    let (active, dropped) = match state.as_str() {
        "" | "any" => (true, true),
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (false, false),
    };
    let only_pool = params.get("scrapePool");
    let pools = app.scrape_status.pools();
    let chosen = || pools.iter().filter(|(name, _)| only_pool.is_none_or(|only| only == &***name));
    let external = external_address(&app);
    let active_targets: Vec<Value> =
        chosen().filter(|_| active).flat_map(|(_, pool)| &pool.active).map(|target| shown(target, &external)).collect();
    let dropped_targets: Vec<Value> = chosen()
        .filter(|_| dropped)
        .flat_map(|(name, pool)| pool.dropped.iter().map(move |target| (name, target)))
        .map(|(name, target)| json!({"discoveredLabels": label_map(&target.discovered), "scrapePool": &**name}))
        .collect();
    let dropped_counts: Map<String, Value> =
        chosen().filter(|_| dropped).map(|(name, pool)| (name.to_string(), pool.dropped_count.into())).collect();
    Ok(success(&json!({
        "activeTargets": active_targets,
        "droppedTargets": dropped_targets,
        "droppedTargetCounts": dropped_counts,
    })))
}

fn shown(status: &TargetStatus, external: &ExternalAddress) -> Value {
    let (target, last) = (&status.target, status.last_scrape());
    let at = last.at.and_then(DateTime::from_timestamp_millis);
    json!({
        "discoveredLabels": label_map(&target.discovered),
        "labels": label_map(&target.labels),
        "scrapePool": &*status.pool,
        "scrapeUrl": target.url_text,
        "globalUrl": target.global_url(external),
        "lastError": last.error,
        "lastScrape": at.map_or_else(|| NEVER.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "lastScrapeDuration": last.took.as_secs_f64(),
        "health": last.health.to_string(),
        "scrapeInterval": duration::format_ms(target.interval.as_millis() as i64),
        "scrapeTimeout": duration::format_ms(target.timeout.as_millis() as i64),
    })
}

/// Where users reach this node: the external URL, else its name and first port.
fn external_address(app: &App) -> ExternalAddress {
    let first = app.flags.listen_addresses.first().map_or("", String::as_str);
    let listen_port = first.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    match app.flags.web_external_url.split_once("://") {
        Some((scheme, rest)) => ExternalAddress {
            scheme: scheme.to_owned(),
            host: rest.split('/').next().unwrap_or_default().to_owned(),
            listen_port,
        },
        None => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            ExternalAddress { scheme: "http".into(), host: format!("{name}:{listen_port}"), listen_port }
        }
    }
}

pub async fn scrape_pools(State(app): State<Arc<App>>) -> Response {
    let pools = app.scrape_status.pools();
    success(&json!({"scrapePools": pools.keys().map(|name| &**name).collect::<Vec<_>>()}))
}

pub async fn target_metadata(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let matchers = match params.get("match_target") {
        Some(selector) => pharos_promql::parse_metric_selector(selector, &app.parser_options)
            .map_err(|error| ApiError::invalid_parameter("match_target", error))?,
        None => Vec::new(),
    };
    let metric = params.get("metric");
    let pools = app.scrape_status.pools();
    let mut found = Vec::new();
    for status in pools.values().flat_map(|pool| &pool.active) {
        if !all_match(&matchers, &status.target.labels) {
            continue;
        }
        let families = match metric {
            Some(metric) => {
                status.metadata_of(metric).map(|metadata| (metric.to_owned(), metadata)).into_iter().collect()
            }
            None => status.metadata(),
        };
        for (family, metadata) in families {
            if found.len() >= limit {
                return Ok(success(&found));
            }
            let mut entry = json!({"target": label_map(&status.target.labels)});
            if metric.is_none() {
                entry["metric"] = family.into();
            }
            fill(&mut entry, &metadata);
            found.push(entry);
        }
    }
    Ok(success(&found))
}

pub async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let per_metric = params.count("limit_per_metric")?.filter(|limit| *limit > 0);
    let metric = params.get("metric");
    let mut families: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
    let pools = app.scrape_status.pools();
    for status in pools.values().flat_map(|pool| &pool.active) {
        let of_target = match metric {
            Some(metric) => {
                status.metadata_of(metric).map(|metadata| (metric.to_owned(), metadata)).into_iter().collect()
            }
            None => status.metadata(),
        };
        for (family, metadata) in of_target {
            families.entry(family).or_default().insert(metadata);
        }
    }
    for (family, metadata) in app.receiver.metadata().list(&tenant_of(&headers)?) {
        if metric.is_none_or(|metric| metric == &*family) {
            families.entry(family.to_string()).or_default().insert(Metadata::clone(&metadata));
        }
    }
    let data: Map<String, Value> = families
        .into_iter()
        .take(limit)
        .map(|(family, known)| {
            let entries = known.iter().take(per_metric.unwrap_or(usize::MAX)).map(|metadata| {
                let mut entry = json!({});
                fill(&mut entry, metadata);
                entry
            });
            (family, entries.collect())
        })
        .collect();
    Ok(success(&data))
}

fn fill(entry: &mut Value, metadata: &Metadata) {
    entry["type"] = metadata.metric_type.as_str().into();
    entry["help"] = metadata.help.as_str().into();
    entry["unit"] = metadata.unit.as_str().into();
}
