//! HTTP GET with everything that Prometheus' HTTP client block can ask for.
//!
//! Follows redirects itself, because credentials and configured headers may only go to the origin that they were
//! configured for. Sets no timeouts: the caller bounds a request by dropping it. Bodies are not decompressed here.
//! Secrets and certificates in files are read again for each request; no error text contains a secret.

pub mod proxy;

mod auth;
mod check;
mod error;
mod oauth2;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use pharos_model::Clock;
use reqwest::{Client, Response, Url};

pub use check::{JobClientError, check_clients, check_clients_and_credentials};
pub use error::{ClientError, RequestError, body_problem};
pub use proxy::EnvironmentProxies;

use crate::config::http::ProxyConfig;
use crate::config::{HttpClientConfig, RedactedUrl, Secret};
use crate::fs::{FileSystem, read_text};
use auth::Credentials;
use oauth2::TokenSource;
use tls::TlsMaterial;

/// Redirects that one request follows.
pub const REDIRECTS_MAX: usize = 10;
/// How long an unused connection is kept; longer than any sane scrape interval.
const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(300);
/// Connections to one host that are kept while unused.
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 1000;

/// What a client takes from its surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where secrets and certificates are read.
    pub fs: Arc<dyn FileSystem>,
    /// Tells when OAuth 2.0 tokens expire.
    pub clock: Arc<dyn Clock>,
    /// Proxies that the process' environment names; used by clients with `proxy_from_environment`.
    pub proxies: EnvironmentProxies,
    /// The `User-Agent` of every request.
    pub user_agent: HeaderValue,
}

/// A client for one HTTP client block. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: HttpClientConfig,
    surroundings: Surroundings,
    credentials: Credentials,
    tokens: Option<TokenSource>,
    transport: Transport,
}

impl HttpClient {
    /// Builds a client. Fails for certificates that cannot be read and proxies that cannot be used.
    pub fn new(config: HttpClientConfig, surroundings: Surroundings) -> Result<Self, ClientError> {
        let transport = Transport::new(&config, &surroundings)?;
        let credentials = Credentials::of(&config);
        let tokens = config.oauth2.clone().map(|oauth2| TokenSource::new(oauth2, &surroundings)).transpose()?;
        Ok(Self(Arc::new(Inner { config, surroundings, credentials, tokens, transport })))
    }

    /// Reads the files of credentials and headers once, to see that they are there.
    fn read_credentials(&self) -> Result<(), ClientError> {
        let Inner { config, surroundings, credentials, .. } = &*self.0;
        credentials.header(&*surroundings.fs)?;
        if let Some(oauth2) = config.oauth2.as_ref().filter(|oauth2| !oauth2.client_secret_file.is_empty()) {
            secret_file(&*surroundings.fs, &oauth2.client_secret_file)?;
        }
        self.configured_headers(&mut HeaderMap::new())
    }

    /// Sends a GET and follows redirects. Returns as soon as the headers of the answer are there, whatever its status.
    pub async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Response, RequestError> {
        let client = self.0.transport.client().map_err(|e| RequestError::client(url, e))?;
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let headers = self.headers(url, &at, headers).await?;
            let sent = client.get(at.clone()).headers(headers).send().await;
            let response = sent.map_err(|e| RequestError::transport(url, &e))?;
            match self.redirect(&at, &response) {
                Some(next) => at = next,
                None => return Ok(response),
            }
        }
        Err(RequestError::redirects(url))
    }

    /// The headers of a request to `at` on behalf of `asked`.
    async fn headers(&self, asked: &Url, at: &Url, own: &HeaderMap) -> Result<HeaderMap, RequestError> {
        let mut headers = own.clone();
        headers.insert(USER_AGENT, self.0.surroundings.user_agent.clone());
        if at.origin() != asked.origin() {
            return Ok(headers);
        }
        let fs = &*self.0.surroundings.fs;
        let authorization = match &self.0.tokens {
            Some(tokens) => Some(tokens.header().await),
            None => self.0.credentials.header(fs).transpose(),
        };
        if let Some(value) = authorization.transpose().map_err(|e| RequestError::client(asked, e))? {
            headers.insert(AUTHORIZATION, value);
        }
        self.configured_headers(&mut headers).map_err(|e| RequestError::client(asked, e))?;
        Ok(headers)
    }

    fn configured_headers(&self, headers: &mut HeaderMap) -> Result<(), ClientError> {
        for (name, header) in &self.0.config.http_headers {
            let header_name = HeaderName::try_from(name).map_err(|_| ClientError::Header(name.clone()))?;
            let mut append = |value: &str| {
                let mut value = HeaderValue::from_str(value).map_err(|_| ClientError::Header(name.clone()))?;
                value.set_sensitive(true);
                headers.append(header_name.clone(), value);
                Ok(())
            };
            header.values.iter().try_for_each(|value| append(value))?;
            header.secrets.iter().try_for_each(|secret| append(secret.expose()))?;
            for file in &header.files {
                append(secret_file(&*self.0.surroundings.fs, file)?.expose())?;
            }
        }
        Ok(())
    }

    /// Where the answer sends the client next, if it is to follow.
    fn redirect(&self, at: &Url, response: &Response) -> Option<Url> {
        let followed = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        if !followed || !self.0.config.follow_redirects {
            return None;
        }
        let next = at.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
        matches!(next.scheme(), "http" | "https").then_some(next)
    }
}

/// A secret in a file, without the white space around it.
fn secret_file(fs: &dyn FileSystem, path: &str) -> Result<Secret, ClientError> {
    let text = read_text(fs, Path::new(path));
    let text = text.map_err(|source| ClientError::SecretFile { path: path.to_owned(), source })?;
    Ok(Secret::new(text.trim()))
}

/// Connections and what they are made with. Certificates in files are noticed when they change.
#[derive(Debug)]
struct Transport {
    tls: TlsMaterial,
    proxy: ProxyConfig,
    proxies: EnvironmentProxies,
    enable_http2: bool,
    current: Mutex<(u128, Client)>,
}

impl Transport {
    fn new(config: &HttpClientConfig, surroundings: &Surroundings) -> Result<Self, ClientError> {
        let tls = TlsMaterial::new(config.tls_config.clone(), surroundings.fs.clone());
        let (proxy, proxies) = (config.proxy.clone(), surroundings.proxies.clone());
        let loaded = tls.load()?;
        let client = build(&loaded, &proxy, &proxies, config.enable_http2)?;
        let current = Mutex::new((loaded.fingerprint, client));
        Ok(Self { tls, proxy, proxies, enable_http2: config.enable_http2, current })
    }

    /// The client for certificates as they are now.
    fn client(&self) -> Result<Client, ClientError> {
        let mut current = self.current.lock();
        if self.tls.has_files() {
            let loaded = self.tls.load()?;
            if loaded.fingerprint != current.0 {
                *current = (loaded.fingerprint, build(&loaded, &self.proxy, &self.proxies, self.enable_http2)?);
            }
        }
        Ok(current.1.clone())
    }
}

fn build(
    tls: &tls::Loaded,
    proxy: &ProxyConfig,
    environment: &EnvironmentProxies,
    enable_http2: bool,
) -> Result<Client, ClientError> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .use_preconfigured_tls(tls.client_config(enable_http2)?)
        .pool_idle_timeout(IDLE_CONNECTION_KEPT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX);
    if !enable_http2 {
        builder = builder.http1_only();
    }
    for proxy in proxy::proxies(proxy, environment)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|_| ClientError::Build)
}

/// A URL without its password, for error texts.
fn shown(url: &Url) -> String {
    RedactedUrl::from(url.clone()).to_string()
}
