//! What is scraped: labels and URL of one target, made from a discovered group by a job's rules.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::labels::quote;
use pharos_model::{LabelSet, TimestampMs, duration};
use reqwest::Url;

use crate::config::discovery::{ADDRESS_LABEL, check_address};
use crate::config::error::Invalid;
use crate::config::{ScrapeConfig, TargetGroup};
use crate::relabel;

pub const SCHEME_LABEL: &str = "__scheme__";
pub const METRICS_PATH_LABEL: &str = "__metrics_path__";
pub const SCRAPE_INTERVAL_LABEL: &str = "__scrape_interval__";
pub const SCRAPE_TIMEOUT_LABEL: &str = "__scrape_timeout__";
pub const PARAM_LABEL_PREFIX: &str = "__param_";
pub const JOB_LABEL: &str = "job";
pub const INSTANCE_LABEL: &str = "instance";
const META_LABEL_PREFIX: &str = "__meta_";
const RESERVED_LABEL_PREFIX: &str = "__";

/// One endpoint and the labels that its series get.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// As discovered, with the job's defaults, before relabelling.
    pub discovered: LabelSet,
    /// What the target's series are given.
    pub labels: LabelSet,
    pub url: Url,
    /// As users see the URL: with the port as it was given.
    pub url_text: String,
    /// As the labels have them, for the targets page.
    pub interval_text: String,
    pub timeout_text: String,
    pub interval: Duration,
    pub timeout: Duration,
}

/// What became of a discovered address.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    Target(Box<Target>),
    /// Relabelling dropped it; these are its labels before.
    Dropped(LabelSet),
}

/// Makes the targets of a group. An address that cannot be one is an error and harms no other.
pub fn targets_of(group: &TargetGroup, config: &ScrapeConfig) -> Vec<Result<Made, Invalid>> {
    let make = |(i, labels)| {
        let in_group = |e| Invalid::new(format!("instance {i} in group {}: {e}", group.source));
        make_target(&labels, config).map_err(in_group)
    };
    group.label_sets().enumerate().map(make).collect()
}

/// The labels of an address as relabelling sees them: its own, then the job's defaults for what it lacks.
pub fn discovered_labels(found: &LabelSet, config: &ScrapeConfig) -> LabelSet {
    let mut labels = found.to_builder();
    let mut default = |name: &str, value: &str| {
        if found.get(name).is_none() {
            labels.set(name, value);
        }
    };
    default(JOB_LABEL, &config.job_name);
    default(SCRAPE_INTERVAL_LABEL, &config.scrape_interval.to_string());
    default(SCRAPE_TIMEOUT_LABEL, &config.scrape_timeout.to_string());
    default(METRICS_PATH_LABEL, &config.metrics_path);
    default(SCHEME_LABEL, &config.scheme);
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM_LABEL_PREFIX}{name}"), first);
        }
    }
    labels.build()
}

fn make_target(found: &LabelSet, config: &ScrapeConfig) -> Result<Made, Invalid> {
    let discovered = discovered_labels(found, config);
    let mut labels = discovered.to_builder();
    if !relabel::process(&mut labels, &config.relabel_configs, config.validation()) {
        return Ok(Made::Dropped(discovered));
    }
    let address = labels.get(ADDRESS_LABEL).ok_or_else(|| Invalid::new("no address"))?.to_owned();
    check_address(&address)?;
    let (interval_text, interval) = time_label("interval", labels.get(SCRAPE_INTERVAL_LABEL))?;
    let (timeout_text, timeout) = time_label("timeout", labels.get(SCRAPE_TIMEOUT_LABEL))?;
    if timeout > interval {
        return Err(Invalid::new(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            quote(&timeout_text),
            quote(&interval_text)
        )));
    }
    labels.retain(|label| !label.name.starts_with(META_LABEL_PREFIX));
    if labels.get(INSTANCE_LABEL).is_none() {
        labels.set(INSTANCE_LABEL, &address);
    }
    let all = labels.build();
    let labels = all.filter(|name| !name.starts_with(RESERVED_LABEL_PREFIX));
    if labels.is_empty() {
        return Ok(Made::Dropped(discovered));
    }
    let (url, url_text) = target_url(&all, config)?;
    let target = Target { discovered, labels, url, url_text, interval_text, timeout_text, interval, timeout };
    Ok(Made::Target(Box::new(target)))
}

fn time_label(what: &str, value: Option<&str>) -> Result<(String, Duration), Invalid> {
    let text = value.unwrap_or_default();
    let ms = duration::parse_ms(text).map_err(|e| Invalid::new(format!("error parsing scrape {what}: {e}")))?;
    if ms <= 0 {
        return Err(Invalid::new(format!("scrape {what} cannot be 0")));
    }
    Ok((text.to_owned(), Duration::from_millis(ms as u64)))
}

/// The URL from the labels `__scheme__`, `__address__`, `__metrics_path__` and `__param_*`, and as it is shown.
fn target_url(labels: &LabelSet, config: &ScrapeConfig) -> Result<(Url, String), Invalid> {
    let scheme = labels.get_or_empty(SCHEME_LABEL);
    if scheme != "http" && scheme != "https" {
        return Err(Invalid::new(format!("invalid scheme: {}", quote(scheme))));
    }
    let address = labels.get_or_empty(ADDRESS_LABEL);
    let base = format!("{scheme}://{address}");
    let mut url = Url::parse(&base).map_err(|e| Invalid::new(format!("invalid address {}: {e}", quote(address))))?;
    url.set_path(labels.get_or_empty(METRICS_PATH_LABEL));
    let mut params = config.params.clone();
    for label in labels {
        if let Some(name) = label.name.strip_prefix(PARAM_LABEL_PREFIX) {
            let values = params.entry(name.to_owned()).or_default();
            values.drain(..values.len().min(1));
            values.insert(0, label.value.to_owned());
        }
    }
    if params.values().any(|values| !values.is_empty()) {
        let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    let path = if labels.get(METRICS_PATH_LABEL).is_none() { "" } else { url.path() };
    let text = format!("{base}{path}{query}");
    Ok((url, text))
}

/// Where users reach this node, for targets that call themselves `localhost`.
#[derive(Clone, Debug)]
pub struct ExternalAddress {
    pub scheme: String,
    /// Host, with the port where it is not the scheme's own.
    pub host: String,
    /// The port that the node listens on.
    pub listen_port: u16,
}

impl Target {
    /// Tells targets apart: the same labels and the same URL are the same target.
    pub fn identity(&self) -> u64 {
        let mut bytes = self.labels.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(self.url_text.as_bytes());
        twox_hash::XxHash64::oneshot(0, &bytes)
    }

    /// Time until the next scrape. The phase within the interval depends on the target and the seed alone, so it
    /// survives restarts.
    pub fn offset(&self, now: TimestampMs, seed: u64) -> Duration {
        let interval = self.interval.as_millis() as i64;
        let phase = ((self.identity() ^ seed) % self.interval.as_millis() as u64) as i64;
        Duration::from_millis((phase - now).rem_euclid(interval) as u64)
    }

    /// The URL for users who are not on this machine: `localhost` and its addresses become the node's own name, and
    /// the node itself its external address.
    pub fn global_url(&self, external: &ExternalAddress) -> String {
        let Some((scheme, rest)) = self.url_text.split_once("://") else { return self.url_text.clone() };
        let (address, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let Some((host, port)) = address.rsplit_once(':') else { return self.url_text.clone() };
        if !matches!(host.trim_matches(['[', ']']), "127.0.0.1" | "localhost" | "::1") {
            return self.url_text.clone();
        }
        if port.parse() == Ok(external.listen_port) {
            return format!("{}://{}{path}", external.scheme, external.host);
        }
        let own = external.host.rsplit_once(':').map_or(external.host.as_str(), |(host, _)| host);
        format!("{scheme}://{own}:{port}{path}")
    }
}

/// An address that relabelling dropped.
#[derive(Clone, Debug)]
pub struct DroppedTarget {
    pub discovered: LabelSet,
    pub job: Arc<str>,
}
