//! The HTTP client block: the same keys wherever Prometheus talks HTTP.
//! Only describes a client; [`crate::http_client`] builds it.

use std::collections::BTreeMap;
use std::path::Path;

use super::block::{Check, block};
use super::error::Invalid;
use super::scalar::{RedactedUrl, Secret, join_dir, names};

block! {
    /// `basic_auth`, `authorization`, `tls_config`, proxies and headers, laid inside the section that uses them.
    pub struct HttpClientConfig {
        keys {
            basic_auth: Option<BasicAuth>,
            authorization: Option<Authorization>,
            oauth2: Option<OAuth2>,
            /// Older form of `authorization.credentials`; empty after the check.
            bearer_token: Secret,
            /// Older form of `authorization.credentials_file`; empty after the check.
            bearer_token_file: String,
            tls_config: TlsConfig,
            /// Default true.
            follow_redirects [always]: bool,
            /// Default true.
            enable_http2 [always]: bool,
        }
        inline { proxy: ProxyConfig, }
        keys {
            http_headers: BTreeMap<String, HeaderValues>,
        }
    }
}

block! {
    /// Credentials of HTTP basic authentication.
    #[derive(Default)]
    pub struct BasicAuth {
        keys {
            username [always]: String,
            username_file: String,
            password: Secret,
            /// Read again for each request.
            password_file: String,
        }
    }
}

block! {
    /// The `Authorization` header: `<type> <credentials>`.
    #[derive(Default)]
    pub struct Authorization {
        keys {
            /// Default `Bearer`.
            auth_type [key "type"]: String,
            credentials: Secret,
            /// Read again for each request.
            credentials_file: String,
        }
    }
}

block! {
    /// The OAuth 2.0 client credentials grant.
    #[derive(Default)]
    pub struct OAuth2 {
        keys {
            client_id [always]: String,
            client_secret [always]: Secret,
            client_secret_file [always]: String,
            scopes: Vec<String>,
            token_url [always]: Option<RedactedUrl>,
            endpoint_params: BTreeMap<String, String>,
            tls_config: TlsConfig,
        }
        inline { proxy: ProxyConfig, }
    }
}

block! {
    /// How a TLS server is verified and what the client shows it.
    #[derive(Default)]
    pub struct TlsConfig {
        keys {
            ca: String,
            cert: String,
            key: Secret,
            ca_file: String,
            cert_file: String,
            key_file: String,
            /// The name the server's certificate has to carry, instead of the host of the URL.
            server_name: String,
            insecure_skip_verify [always]: bool,
            min_version: Option<TlsVersion>,
            max_version: Option<TlsVersion>,
        }
    }
}

names! {
    /// TLS versions as Prometheus names them. Versions before 1.2 are known but never spoken.
    pub enum TlsVersion { Tls10 = "TLS10", Tls11 = "TLS11", Tls12 = "TLS12", Tls13 = "TLS13", }
    bad = |text: &str| format!("unknown TLS version: {text}");
}

block! {
    /// Which proxy a request takes.
    #[derive(Default)]
    pub struct ProxyConfig {
        keys {
            proxy_url: Option<RedactedUrl>,
            /// Hosts, domains and networks that are reached without the proxy, with commas between.
            no_proxy: String,
            /// Take proxies from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
            proxy_from_environment: bool,
            /// Headers of the `CONNECT` request.
            proxy_connect_header: BTreeMap<String, Vec<Secret>>,
        }
    }
}

block! {
    /// Values of one request header, shown, secret, or each read from a file.
    #[derive(Default)]
    pub struct HeaderValues {
        keys {
            values: Vec<String>,
            secrets: Vec<Secret>,
            files: Vec<String>,
        }
    }
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            http_headers: BTreeMap::new(),
        }
    }
}

impl Check for BasicAuth {}
impl Check for Authorization {}
impl Check for ProxyConfig {}
impl Check for HeaderValues {}

/// Headers that the client sets itself.
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Whether users may not set this header (in lower case).
pub fn is_reserved_header(name: &str) -> bool {
    RESERVED_HEADERS.contains(&name)
}

fn refuse(when: bool, text: &str) -> Result<(), Invalid> {
    if when { Err(Invalid::new(text)) } else { Ok(()) }
}

impl Check for HttpClientConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        self.check_bearer_token()?;
        if let Some(basic) = &self.basic_auth {
            let text = "at most one of basic_auth username, username_file & username_ref must be configured";
            refuse(!basic.username.is_empty() && !basic.username_file.is_empty(), text)?;
            let text = "at most one of basic_auth password, password_file & password_ref must be configured";
            refuse(!basic.password.is_empty() && !basic.password_file.is_empty(), text)?;
        }
        self.check_authorization()?;
        if let Some(oauth2) = &self.oauth2 {
            let text = "at most one of basic_auth, oauth2 & authorization must be configured";
            refuse(self.basic_auth.is_some(), text)?;
            oauth2.clone().check()?;
        }
        self.proxy.check_keys()?;
        for (name, header) in &self.http_headers {
            header.check_name(name)?;
        }
        Ok(())
    }
}

impl HttpClientConfig {
    fn check_bearer_token(&self) -> Result<(), Invalid> {
        let (token, file) = (!self.bearer_token.is_empty(), !self.bearer_token_file.is_empty());
        refuse(token && file, "at most one of bearer_token & bearer_token_file must be configured")?;
        let text = "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured";
        refuse((self.basic_auth.is_some() || self.oauth2.is_some()) && (token || file), text)?;
        let text = "authorization is not compatible with bearer_token & bearer_token_file";
        refuse(self.authorization.is_some() && (token || file), text)
    }

    /// Checks `authorization` and turns the older keys into it.
    fn check_authorization(&mut self) -> Result<(), Invalid> {
        if let Some(authorization) = &mut self.authorization {
            let both = !authorization.credentials.is_empty() && !authorization.credentials_file.is_empty();
            refuse(both, "at most one of authorization credentials & credentials_file must be configured")?;
            authorization.auth_type = authorization.auth_type.trim().to_owned();
            if authorization.auth_type.is_empty() {
                authorization.auth_type = "Bearer".into();
            }
            let text = "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
            refuse(authorization.auth_type.eq_ignore_ascii_case("basic"), text)?;
            let text = "at most one of basic_auth, oauth2 & authorization must be configured";
            return refuse(self.basic_auth.is_some() || self.oauth2.is_some(), text);
        }
        let credentials = std::mem::take(&mut self.bearer_token);
        let credentials_file = std::mem::take(&mut self.bearer_token_file);
        if !credentials.is_empty() || !credentials_file.is_empty() {
            self.authorization = Some(Authorization { auth_type: "Bearer".into(), credentials, credentials_file });
        }
        Ok(())
    }

    /// Makes the paths of secrets and certificates relative to `dir`.
    pub fn set_directory(&mut self, dir: &Path) {
        if let Some(basic) = &mut self.basic_auth {
            join_dir(dir, &mut basic.username_file);
            join_dir(dir, &mut basic.password_file);
        }
        if let Some(authorization) = &mut self.authorization {
            join_dir(dir, &mut authorization.credentials_file);
        }
        if let Some(oauth2) = &mut self.oauth2 {
            join_dir(dir, &mut oauth2.client_secret_file);
            oauth2.tls_config.set_directory(dir);
        }
        self.tls_config.set_directory(dir);
        self.http_headers.values_mut().flat_map(|header| &mut header.files).for_each(|file| join_dir(dir, file));
    }
}

impl Check for OAuth2 {
    fn check(&mut self) -> Result<(), Invalid> {
        refuse(self.client_id.is_empty(), "oauth2 client_id must be configured")?;
        refuse(self.token_url.is_none(), "oauth2 token_url must be configured")?;
        let both = !self.client_secret.is_empty() && !self.client_secret_file.is_empty();
        refuse(both, "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured")?;
        self.proxy.check_keys()
    }
}

impl Check for TlsConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        let (cert, key) = (!self.cert.is_empty(), !self.key.is_empty());
        let (cert_file, key_file) = (!self.cert_file.is_empty(), !self.key_file.is_empty());
        let ca = !self.ca.is_empty() && !self.ca_file.is_empty();
        refuse(ca, "at most one of ca, ca_file & ca_ref must be configured")?;
        refuse(cert && cert_file, "at most one of cert, cert_file & cert_ref must be configured")?;
        refuse(key && key_file, "at most one of key and key_file must be configured")?;
        let text = "exactly one of key or key_file must be configured when a client certificate is configured";
        refuse((cert || cert_file) && !(key || key_file), text)?;
        let text = "exactly one of cert or cert_file must be configured when a client key is configured";
        refuse((key || key_file) && !(cert || cert_file), text)?;
        let old = self.max_version.is_some_and(|max| max < TlsVersion::Tls12);
        refuse(old, "tls_config max_version must be TLS12 or TLS13: older versions are not supported")?;
        let swapped = matches!((self.min_version, self.max_version), (Some(min), Some(max)) if min > max);
        refuse(
            swapped,
            "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified",
        )
    }
}

impl TlsConfig {
    pub fn set_directory(&mut self, dir: &Path) {
        join_dir(dir, &mut self.ca_file);
        join_dir(dir, &mut self.cert_file);
        join_dir(dir, &mut self.key_file);
    }
}

impl ProxyConfig {
    /// The rules between the proxy keys; called by the sections that hold them.
    fn check_keys(&self) -> Result<(), Invalid> {
        let (url, from_environment) = (self.proxy_url.is_some(), self.proxy_from_environment);
        let text = "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
        refuse(!self.proxy_connect_header.is_empty() && !url && !from_environment, text)?;
        let text = "if proxy_from_environment is configured, proxy_url must not be configured";
        refuse(from_environment && url, text)?;
        let text = "if proxy_from_environment is configured, no_proxy must not be configured";
        refuse(from_environment && !self.no_proxy.is_empty(), text)?;
        let text = "if no_proxy is configured, proxy_url must also be configured";
        refuse(!url && !self.no_proxy.is_empty(), text)
    }
}

impl HeaderValues {
    fn check_name(&self, name: &str) -> Result<(), Invalid> {
        let parsed = http::HeaderName::try_from(name)
            .map_err(|_| Invalid::new(format!("http_headers: {name:?} is not a valid header name")))?;
        if is_reserved_header(parsed.as_str()) {
            return Err(Invalid::new(format!("setting header {:?} is not allowed", canonical_header(name))));
        }
        Ok(())
    }
}

/// A header name as Go writes it: `X-Amz-Date`.
fn canonical_header(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|c| c.to_ascii_lowercase())).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
