//! Asks a server's API.

use std::time::Duration;

use http::{StatusCode, header};
use serde_json::Value;

use crate::http::api::TENANT_HEADER;

/// A server that is asked.
#[derive(Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    tenant: Option<String>,
    timeout: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("ask {url}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("{url} did not answer JSON: {status} {text}")]
    Foreign { url: String, status: StatusCode, text: String },
    #[error("{kind}: {text}")]
    Refused { status: StatusCode, kind: String, text: String },
}

impl AskError {
    /// Whether it may be otherwise when it is asked again: a server that starts, or a group without a leader.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Foreign { status, .. } | Self::Refused { status, .. } => status.is_server_error(),
        }
    }
}

impl Client {
    /// A server by its URL, such as `http://localhost:9090`.
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        super::server::install_crypto();
        let base = format!("{}/api/v1", url.trim_end_matches('/'));
        Ok(Self { base, http: reqwest::Client::builder().build()?, tenant: None, timeout: None })
    }

    pub fn with_tenant(self, tenant: Option<String>) -> Self {
        Self { tenant, ..self }
    }

    /// Gives up each request after so long.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The whole answer of a path below `/api/v1`.
    pub async fn get(&self, path: &str) -> Result<Value, AskError> {
        self.send(self.http.get(self.url(path))).await
    }

    pub async fn post(&self, path: &str, form: &[(&str, String)]) -> Result<Value, AskError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(self.url(path));
        self.send(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)).await
    }

    pub async fn put(&self, path: &str, body: String) -> Result<Value, AskError> {
        self.send(self.http.put(self.url(path)).body(body)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Value, AskError> {
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT_HEADER, tenant);
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        let unreachable = |source: reqwest::Error| AskError::Unreachable {
            url: source.url().map_or_else(|| self.base.clone(), ToString::to_string),
            source,
        };
        let answer = request.send().await.map_err(unreachable)?;
        let (url, status) = (answer.url().to_string(), answer.status());
        let text = answer.text().await.map_err(unreachable)?;
        let Ok(answer) = serde_json::from_str::<Value>(&text) else {
            return Err(AskError::Foreign { url, status, text });
        };
        if answer["status"] != "success" {
            let word = |name: &str, default: &str| answer[name].as_str().unwrap_or(default).to_owned();
            return Err(AskError::Refused { status, kind: word("errorType", "error"), text: word("error", &text) });
        }
        Ok(answer)
    }
}
