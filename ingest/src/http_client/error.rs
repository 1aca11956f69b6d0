//! What goes wrong with a request, in the words of Go's HTTP client, which users know from `lastError`.

use std::error::Error as _;
use std::io;

use pharos_model::labels::quote;
use reqwest::Url;

use super::shown;

/// Why a client cannot be built or a request not be made ready. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("unable to read file {path}: {source}")]
    SecretFile { path: String, source: io::Error },
    #[error("unable to load specified {what}: {problem}")]
    Certificate { what: String, problem: String },
    #[error("invalid server_name {0:?}")]
    ServerName(String),
    #[error("invalid proxy: {0}")]
    Proxy(&'static str),
    #[error("header {0:?} has a value that cannot be sent")]
    Header(String),
    #[error("credentials contain characters that cannot be sent")]
    Credentials,
    #[error("oauth2: cannot fetch token: {0}")]
    Token(String),
    #[error("error creating HTTP client")]
    Build,
}

/// Why there is no answer. Prints as `Get "http://host/path": what happened`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Get {}: {problem}", quote(url))]
pub struct RequestError {
    /// The URL that was asked for, without its password.
    pub url: String,
    pub problem: String,
}

impl RequestError {
    /// The caller's time limit passed.
    pub fn timeout(url: &Url) -> Self {
        Self { url: shown(url), problem: "context deadline exceeded".into() }
    }

    pub(super) fn client(url: &Url, error: ClientError) -> Self {
        Self { url: shown(url), problem: error.to_string() }
    }

    pub(super) fn redirects(url: &Url) -> Self {
        Self { url: shown(url), problem: format!("stopped after {} redirects", super::REDIRECTS_MAX) }
    }

    pub(super) fn transport(url: &Url, error: &reqwest::Error) -> Self {
        Self { url: shown(url), problem: transport_problem(url, error) }
    }
}

/// What the transport reports, at its root. The library's outer texts repeat the URL, password included.
fn transport_problem(url: &Url, error: &reqwest::Error) -> String {
    let mut root: &(dyn std::error::Error + 'static) = error;
    let mut io_kind = None;
    while let Some(source) = root.source() {
        root = source;
        io_kind = root.downcast_ref::<io::Error>().map(io::Error::kind).or(io_kind);
    }
    if error.source().is_none() {
        return "request failed".into();
    }
    let host = url.host_str().unwrap_or_default();
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    match (error.is_connect(), io_kind) {
        (true, Some(io::ErrorKind::ConnectionRefused)) => format!("dial tcp {address}: connect: connection refused"),
        (true, _) if root.to_string().contains("lookup") => format!("dial tcp: lookup {host}: {root}"),
        (true, Some(io::ErrorKind::NetworkUnreachable)) => {
            format!("dial tcp {address}: connect: network is unreachable")
        }
        (true, Some(io::ErrorKind::HostUnreachable)) => format!("dial tcp {address}: connect: no route to host"),
        (false, Some(io::ErrorKind::UnexpectedEof)) => "EOF".into(),
        _ => root.to_string(),
    }
}

/// What a broken body reports, at its root.
pub fn body_problem(error: &reqwest::Error) -> String {
    let mut root: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".into(),
        _ if error.source().is_none() => "body failed".into(),
        _ => root.to_string(),
    }
}
