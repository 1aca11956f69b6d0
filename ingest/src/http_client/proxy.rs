//! Which proxy a request takes: the configured one, or those that the environment names.

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{NoProxy, Proxy};

use super::ClientError;
use crate::config::RedactedUrl;
use crate::config::http::ProxyConfig;

/// Hosts that Go never asks a proxy for once a list of exceptions is in play.
const ALWAYS_DIRECT: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the process' environment names.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentProxies {
    pub http: Option<RedactedUrl>,
    pub https: Option<RedactedUrl>,
    /// Hosts, domains and networks without a proxy, with commas between.
    pub no_proxy: String,
}

impl EnvironmentProxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, and the same in lower case. A URL that cannot be parsed is left out.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_lowercase()))
        };
        let url = |name: &str| {
            let text = either(name)?;
            RedactedUrl::parse(&text).or_else(|_| RedactedUrl::parse(&format!("http://{text}"))).ok()
        };
        // A CGI server puts the request's `Proxy` header into HTTP_PROXY.
        let http = if lookup("REQUEST_METHOD").is_some() { None } else { url("HTTP_PROXY") };
        Self { http, https: url("HTTPS_PROXY"), no_proxy: either("NO_PROXY").unwrap_or_default() }
    }
}

/// The proxies of a client, none when requests go straight.
pub(super) fn proxies(config: &ProxyConfig, environment: &EnvironmentProxies) -> Result<Vec<Proxy>, ClientError> {
    let headers = connect_headers(config)?;
    let finish = |proxy: reqwest::Result<Proxy>, direct: Option<NoProxy>| {
        let proxy = proxy.map_err(|_| ClientError::Proxy("the URL cannot be used"))?;
        Ok(proxy.no_proxy(direct).headers(headers.clone()))
    };
    let direct = |list: &str| NoProxy::from_string(&format!("{ALWAYS_DIRECT},{list}"));
    if let Some(url) = &config.proxy_url {
        let direct = if config.no_proxy.is_empty() { None } else { direct(&config.no_proxy) };
        return Ok(vec![finish(Proxy::all(url.expose().clone()), direct)?]);
    }
    if !config.proxy_from_environment {
        return Ok(Vec::new());
    }
    let http = environment.http.iter().map(|url| Proxy::http(url.expose().clone()));
    let https = environment.https.iter().map(|url| Proxy::https(url.expose().clone()));
    http.chain(https).map(|proxy| finish(proxy, direct(&environment.no_proxy))).collect()
}

fn connect_headers(config: &ProxyConfig) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    for (name, values) in &config.proxy_connect_header {
        let header_name = HeaderName::try_from(name).map_err(|_| ClientError::Header(name.clone()))?;
        for value in values {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| ClientError::Header(name.clone()))?;
            value.set_sensitive(true);
            headers.append(header_name.clone(), value);
        }
    }
    Ok(headers)
}
