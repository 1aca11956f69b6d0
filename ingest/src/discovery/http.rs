//! Targets from an HTTP server that answers a JSON list of groups.
//! A failed request, or an answer that is not such a list, changes nothing.

use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use pharos_model::labels::quote;
use reqwest::Url;

use super::{DiscoveryMetrics, DiscoveryOptions, RefreshError, Ticks};
use crate::config::discovery::HttpSdConfig;
use crate::config::{RedactedUrl, TargetGroup};
use crate::http_client::{ClientError, HttpClient, RequestError, body_problem};

/// Longest list that is taken.
const TARGET_LIST_BYTES_MAX: usize = 64 << 20;

const URL_LABEL: &str = "__meta_url";
const REFRESH_INTERVAL_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

pub(super) struct HttpDiscovery {
    url: Url,
    client: HttpClient,
    headers: HeaderMap,
    /// Also the time limit of a request, as in Prometheus.
    refresh_interval: Duration,
    metrics: DiscoveryMetrics,
    pub(super) ticks: Ticks,
}

impl HttpDiscovery {
    pub(super) fn new(config: HttpSdConfig, options: &DiscoveryOptions) -> Result<Self, ClientError> {
        let client = HttpClient::new(config.http, options.surroundings.clone())?;
        let refresh_interval = config.refresh_interval.as_std();
        let seconds = pharos_model::number::format_f(refresh_interval.as_secs_f64());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(REFRESH_INTERVAL_HEADER, HeaderValue::try_from(seconds).expect("a number is a header value"));
        Ok(Self {
            url: config.url.expect("a configuration without URL is refused").expose().clone(),
            client,
            headers,
            refresh_interval,
            metrics: options.metrics.clone(),
            ticks: Ticks::new(refresh_interval),
        })
    }

    pub(super) async fn refresh(&self) -> Result<Vec<TargetGroup>, RefreshError> {
        let found = tokio::time::timeout(self.refresh_interval, self.fetch()).await;
        let found = found.unwrap_or_else(|_| Err(RequestError::timeout(&self.url).to_string()));
        found.map_err(|problem| {
            self.metrics.http_failures.inc();
            RefreshError::Http(problem)
        })
    }

    async fn fetch(&self) -> Result<Vec<TargetGroup>, String> {
        let mut response = self.client.get(&self.url, &self.headers).await.map_err(|e| e.to_string())?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_json) {
            return Err(format!("unsupported content type {}", quote(content_type.unwrap_or_default())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| body_problem(&e))? {
            if body.len() + chunk.len() > TARGET_LIST_BYTES_MAX {
                return Err(format!("target list is longer than {TARGET_LIST_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        let mut groups: Vec<TargetGroup> = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        let url = RedactedUrl::from(self.url.clone()).to_string();
        for (i, group) in groups.iter_mut().enumerate() {
            group.source = format!("{url}:{i}");
            group.labels.insert(URL_LABEL.to_owned(), url.clone());
        }
        Ok(groups)
    }
}

/// `application/json`, with no other parameter than the charset UTF-8.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.trim().to_ascii_lowercase();
    match lower.split_once(';') {
        None => lower == "application/json",
        Some((media_type, parameter)) => {
            media_type == "application/json" && matches!(parameter.trim_start(), "charset=utf-8" | "charset=\"utf-8\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn content_types_are_checked() {
        for (text, json) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("Application/JSON;charset=\"utf-8\"", true),
            ("application/json; charset=iso-8859-1", false),
            ("application/json;", false),
            ("text/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(text), json, "{text}");
        }
    }
}
