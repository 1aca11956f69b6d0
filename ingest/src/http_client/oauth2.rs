//! OAuth 2.0 client credentials: fetches a token, keeps it until shortly before it expires.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use reqwest::Client;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::auth::{SecretSource, basic, typed};
use super::{ClientError, Surroundings, Transport};
use crate::config::http::{HttpClientConfig, OAuth2};
use crate::config::{RedactedUrl, Secret};

/// A token is fetched anew this long before it expires.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// Longest answer of a token server.
const TOKEN_ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct TokenSource {
    config: OAuth2,
    url: RedactedUrl,
    secret: SecretSource,
    surroundings: Surroundings,
    transport: Transport,
    /// Held over the fetch, so that many requests without a token wait for one fetch instead of making many.
    cached: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    /// The client secret that it was fetched with: another secret in the file makes it invalid.
    fetched_with: Secret,
    /// On the monotonic clock; `None` when it does not expire.
    expires_at: Option<Duration>,
}

/// The answer of a token server, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl TokenSource {
    pub(super) fn new(config: OAuth2, surroundings: &Surroundings) -> Result<Self, ClientError> {
        let url = config.token_url.clone().ok_or_else(|| ClientError::Token("token_url is missing".into()))?;
        let secret = SecretSource::new(config.client_secret.clone(), config.client_secret_file.clone());
        let transport_config = HttpClientConfig {
            tls_config: config.tls_config.clone(),
            proxy: config.proxy.clone(),
            ..HttpClientConfig::default()
        };
        let transport = Transport::new(&transport_config, surroundings)?;
        let surroundings = surroundings.clone();
        Ok(Self { config, url, secret, surroundings, transport, cached: Mutex::new(None) })
    }

    /// The header of a token that is valid now.
    pub(super) async fn header(&self) -> Result<HeaderValue, ClientError> {
        let secret = self.secret.fetch(&*self.surroundings.fs)?;
        let mut cached = self.cached.lock().await;
        let now = self.surroundings.clock.monotonic();
        if let Some(token) = &*cached
            && token.fetched_with == secret
            && token.expires_at.is_none_or(|at| now + EXPIRY_MARGIN < at)
        {
            return Ok(token.header.clone());
        }
        let token = self.fetch(secret, now).await?;
        let header = token.header.clone();
        *cached = Some(token);
        Ok(header)
    }

    /// Asks with the client's name and secret in the header, and in the form if the server refuses that.
    async fn fetch(&self, secret: Secret, now: Duration) -> Result<Token, ClientError> {
        let client = self.transport.client()?;
        let in_header =
            basic(&Secret::new(form_escape(&self.config.client_id)), &Secret::new(form_escape(secret.expose())))?;
        let mut body = match self.ask(&client, Some(in_header), &[]).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, _) => Err(status),
        };
        if body.is_err() {
            let in_form = [("client_id", self.config.client_id.as_str()), ("client_secret", secret.expose())];
            body = match self.ask(&client, None, &in_form).await? {
                (status, body) if status.is_success() => Ok(body),
                (status, _) => Err(status),
            };
        }
        let body = body.map_err(|status| ClientError::Token(status.to_string()))?;
        let malformed = || ClientError::Token("the answer holds no access_token".into());
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| malformed())?;
        if answer.access_token.is_empty() {
            return Err(malformed());
        }
        let token_type = answer.token_type.filter(|t| !t.is_empty() && !t.eq_ignore_ascii_case("bearer"));
        let header = typed(token_type.as_deref().unwrap_or("Bearer"), &Secret::new(answer.access_token))?;
        let seconds = answer.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let expires_at = seconds.filter(|s| *s > 0).map(|s| now.saturating_add(Duration::from_secs(s)));
        Ok(Token { header, fetched_with: secret, expires_at })
    }

    async fn ask(
        &self,
        client: &Client,
        authorization: Option<HeaderValue>,
        credentials: &[(&str, &str)],
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let scopes = self.config.scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        form.extend(self.config.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        form.extend(credentials);
        let mut request = client.post(self.url.expose().clone()).form(&form);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let unreachable = |e: reqwest::Error| ClientError::Token(super::error::body_problem(&e));
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > TOKEN_ANSWER_BYTES_MAX {
                let text = format!("the answer is longer than {TOKEN_ANSWER_BYTES_MAX} bytes");
                return Err(ClientError::Token(text));
            }
        }
        Ok((response.status(), body))
    }
}

/// `application/x-www-form-urlencoded`, which RFC 6749 asks of names and secrets in the header.
fn form_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
