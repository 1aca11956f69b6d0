//! `targets`, `targets/metadata`, `scrape_pools`, `metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use http::HeaderMap;
use pharos_ingest::scrape::snapshot::{Choice, Family, PoolSnapshots, TargetMetadata, TargetSnapshot};
use pharos_ingest::scrape::target::ExternalAddress;
use pharos_model::{Metadata, duration};
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::params::Params;
use super::query::label_map;
use super::{success, tenant_of, warned};
use crate::app::App;
use crate::flags::ServerFlags;

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
    let choice = Choice { pool: params.get("scrapePool").map(str::to_owned), active, dropped };
    let told = app.node.targets(&choice).await;
    Ok(warned(&targets_data(&told.of_all, &choice), &told.warnings))
}

/// The data of `targets`, from what was chosen of the pools.
fn targets_data(pools: &PoolSnapshots, choice: &Choice) -> Value {
    let active: Vec<Value> =
        pools.iter().flat_map(|(name, pool)| pool.active.iter().map(move |target| shown(name, target))).collect();
    let dropped: Vec<Value> = pools
        .iter()
        .flat_map(|(name, pool)| pool.dropped.iter().map(move |target| (name, target)))
        .map(|(name, target)| json!({"discoveredLabels": label_map(&target.discovered), "scrapePool": name}))
        .collect();
    let dropped_counts: Map<String, Value> =
        pools.iter().filter(|_| choice.dropped).map(|(name, pool)| (name.clone(), pool.dropped_count.into())).collect();
    json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": dropped_counts,
    })
}

fn shown(pool: &str, target: &TargetSnapshot) -> Value {
    let last = &target.last;
    let at = last.at.and_then(DateTime::from_timestamp_millis);
    json!({
        "discoveredLabels": label_map(&target.discovered),
        "labels": label_map(&target.labels),
        "scrapePool": pool,
        "scrapeUrl": target.url,
        "globalUrl": target.global_url,
        "lastError": last.error,
        "lastScrape": at.map_or_else(|| NEVER.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "lastScrapeDuration": last.took.as_secs_f64(),
        "health": last.health.to_string(),
        "scrapeInterval": duration::format_ms(target.interval_ms as i64),
        "scrapeTimeout": duration::format_ms(target.timeout_ms as i64),
    })
}

/// Where users reach this node: the external URL, else its name and first port.
pub fn external_address(flags: &ServerFlags) -> ExternalAddress {
    let first = flags.listen_addresses.first().map_or("", String::as_str);
    let listen_port = first.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    match flags.web_external_url.split_once("://") {
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
    let config = app.config();
    let names: BTreeSet<&str> = config.loaded.scrape_configs.iter().map(|job| job.job_name.as_str()).collect();
    success(&json!({"scrapePools": names}))
}

pub async fn target_metadata(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let matchers = match params.get("match_target") {
        Some(selector) => pharos_promql::parse_metric_selector(selector, &app.parser_options)
            .map_err(|error| ApiError::invalid_parameter("match_target", error))?,
        None => Vec::new(),
    };
    let metric = params.get("metric");
    let told = app.node.target_metadata(&matchers, metric, limit).await;
    Ok(warned(&target_metadata_data(&told.of_all, metric.is_none()), &told.warnings))
}

/// The data of `targets/metadata`; a question about one metric is not answered with its name.
fn target_metadata_data(told: &[TargetMetadata], with_names: bool) -> Vec<Value> {
    let families = told.iter().flat_map(|target| target.families.iter().map(move |family| (target, family)));
    let entry = |(target, family): (&TargetMetadata, &Family)| {
        let mut entry = json!({"target": label_map(&target.labels)});
        if with_names {
            entry["metric"] = family.name.as_str().into();
        }
        fill(&mut entry, &family.metadata);
        entry
    };
    families.map(entry).collect()
}

pub async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let per_metric = params.count("limit_per_metric")?.filter(|limit| *limit > 0);
    let metric = params.get("metric");
    let mut families: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
    let told = app.node.families(&tenant_of(&headers)?, metric).await;
    for Family { name, metadata } in told.of_all {
        families.entry(name).or_default().insert(metadata);
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
    Ok(warned(&data, &told.warnings))
}

fn fill(entry: &mut Value, metadata: &Metadata) {
    entry["type"] = metadata.metric_type.as_str().into();
    entry["help"] = metadata.help.as_str().into();
    entry["unit"] = metadata.unit.as_str().into();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pharos_ingest::scrape::Health;
    use pharos_ingest::scrape::snapshot::{DroppedSnapshot, PoolSnapshot};
    use pharos_ingest::scrape::status::LastScrape;
    use pharos_model::{LabelSet, MetricType};

    use super::*;

    fn pools() -> PoolSnapshots {
        let labels = LabelSet::from_pairs([("instance", "localhost:9100"), ("job", "j")]);
        let discovered = LabelSet::from_pairs([("__address__", "localhost:9100"), ("job", "j")]);
        let never = TargetSnapshot {
            discovered: discovered.clone(),
            labels,
            url: "http://localhost:9100/metrics".into(),
            global_url: "http://node:9100/metrics".into(),
            interval_ms: 90_000,
            timeout_ms: 10_000,
            last: LastScrape::default(),
        };
        let (error, took) = ("refused".to_owned(), Duration::from_millis(1500));
        let last = LastScrape { health: Health::Down, error, at: Some(1_700_000_000_120), took };
        let active = vec![never.clone(), TargetSnapshot { last, ..never }];
        let pool =
            PoolSnapshot { active, elsewhere: 1, dropped: vec![DroppedSnapshot { discovered }], dropped_count: 2 };
        PoolSnapshots::from([("j".to_owned(), pool)])
    }

    #[test]
    fn targets_are_shown_as_prometheus_does() {
        let choice = Choice { pool: None, active: true, dropped: true };
        let mut down = json!({
            "discoveredLabels": {"__address__": "localhost:9100", "job": "j"},
            "labels": {"instance": "localhost:9100", "job": "j"},
            "scrapePool": "j",
            "scrapeUrl": "http://localhost:9100/metrics",
            "globalUrl": "http://node:9100/metrics",
            "lastError": "refused",
            "lastScrape": "2023-11-14T22:13:20.120Z",
            "lastScrapeDuration": 1.5,
            "health": "down",
            "scrapeInterval": "1m30s",
            "scrapeTimeout": "10s",
        });
        let data = targets_data(&pools(), &choice);
        assert_eq!(data["activeTargets"][1], down);
        for (key, value) in [("lastError", ""), ("lastScrape", NEVER), ("health", "unknown")] {
            down[key] = value.into();
        }
        down["lastScrapeDuration"] = 0.0.into();
        assert_eq!(data["activeTargets"][0], down);
        let dropped = json!([{"discoveredLabels": {"__address__": "localhost:9100", "job": "j"}, "scrapePool": "j"}]);
        assert_eq!((&data["droppedTargets"], &data["droppedTargetCounts"]), (&dropped, &json!({"j": 2})));
    }

    #[test]
    fn counts_of_dropped_targets_come_with_them_alone() {
        let choice = Choice { pool: None, active: true, dropped: false };
        assert_eq!(targets_data(&pools(), &choice)["droppedTargetCounts"], json!({}));
    }

    #[test]
    fn a_question_about_one_metric_is_answered_without_its_name() {
        let metadata = Metadata { metric_type: MetricType::Counter, help: "Help.".into(), unit: "s".into() };
        let told = TargetMetadata {
            pool: "j".into(),
            labels: LabelSet::from_pairs([("job", "j")]),
            url: "http://h/metrics".into(),
            scraped_at: None,
            families: vec![Family { name: "a_total".into(), metadata }],
        };
        let mut entry = json!({"target": {"job": "j"}, "type": "counter", "help": "Help.", "unit": "s"});
        assert_eq!(target_metadata_data(std::slice::from_ref(&told), false), [entry.clone()]);
        entry["metric"] = "a_total".into();
        assert_eq!(target_metadata_data(&[told], true), [entry]);
    }
}
