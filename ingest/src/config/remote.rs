//! `remote_write` and `remote_read`: other stores. Read, checked and kept.

use std::collections::BTreeMap;
use std::path::Path;

use super::block::{Check, block};
use super::error::Invalid;
use super::http::{HttpClientConfig, is_reserved_header};
use super::opaque::Opaque;
use super::scalar::{PromDuration, RedactedUrl, names};
use super::scrape::NameValidation;
use crate::relabel::RelabelConfig;

block! {
    /// A store that gets every sample.
    pub struct RemoteWriteConfig {
        keys {
            url [always]: Option<RedactedUrl>,
            /// Default 30 s.
            remote_timeout: PromDuration,
            headers: BTreeMap<String, String>,
            write_relabel_configs: Vec<RelabelConfig>,
            name: String,
            send_exemplars: bool,
            send_native_histograms: bool,
            round_robin_dns: bool,
            /// Default 1.0.
            protobuf_message: Option<WriteMessage>,
        }
        inline { http: HttpClientConfig, }
        keys {
            queue_config: QueueConfig,
            metadata_config: MetadataConfig,
            sigv4: Option<Opaque>,
            azuread: Option<Opaque>,
            google_iam: Option<Opaque>,
        }
    }
}

names! {
    /// Protobuf messages of remote write 1.0 and 2.0.
    pub enum WriteMessage { V1 = "prometheus.WriteRequest", V2 = "io.prometheus.write.v2.Request", }
    bad = |text: &str| format!(
        "invalid protobuf_message value: unknown type for remote write protobuf message {text}, \
         supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
    );
}

block! {
    /// The queue in front of a store.
    pub struct QueueConfig {
        keys {
            capacity: i64,
            max_shards: i64,
            min_shards: i64,
            max_samples_per_send: i64,
            batch_send_deadline: PromDuration,
            min_backoff: PromDuration,
            max_backoff: PromDuration,
            retry_on_http_429: bool,
            sample_age_limit: PromDuration,
        }
    }
}

block! {
    /// Whether and how often metadata is sent.
    pub struct MetadataConfig {
        keys {
            send [always]: bool,
            send_interval [always]: PromDuration,
            max_samples_per_send: i64,
        }
    }
}

block! {
    /// A store that queries may read.
    pub struct RemoteReadConfig {
        keys {
            url [always]: Option<RedactedUrl>,
            /// Default 1 min.
            remote_timeout: PromDuration,
            /// Default 50 MB.
            chunked_read_limit: u64,
            headers: BTreeMap<String, String>,
            read_recent: bool,
            name: String,
        }
        inline { http: HttpClientConfig, }
        keys {
            required_matchers: BTreeMap<String, String>,
            /// Default true.
            filter_external_labels: bool,
        }
    }
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        Self {
            url: None,
            remote_timeout: PromDuration::from_secs(30),
            headers: BTreeMap::new(),
            write_relabel_configs: Vec::new(),
            name: String::new(),
            send_exemplars: false,
            send_native_histograms: false,
            round_robin_dns: false,
            protobuf_message: Some(WriteMessage::V1),
            http: HttpClientConfig { enable_http2: false, ..HttpClientConfig::default() },
            queue_config: QueueConfig::default(),
            metadata_config: MetadataConfig::default(),
            sigv4: None,
            azuread: None,
            google_iam: None,
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            batch_send_deadline: PromDuration::from_secs(5),
            min_backoff: PromDuration(30),
            max_backoff: PromDuration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: PromDuration::default(),
        }
    }
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { send: true, send_interval: PromDuration::from_secs(60), max_samples_per_send: 2000 }
    }
}

impl Default for RemoteReadConfig {
    fn default() -> Self {
        Self {
            url: None,
            remote_timeout: PromDuration::from_secs(60),
            chunked_read_limit: 50_000_000,
            headers: BTreeMap::new(),
            read_recent: false,
            name: String::new(),
            http: HttpClientConfig::default(),
            required_matchers: BTreeMap::new(),
            filter_external_labels: true,
        }
    }
}

impl Check for QueueConfig {}
impl Check for MetadataConfig {}

impl Check for RemoteWriteConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.url.is_none() {
            return Err(Invalid::new("url for remote_write is empty"));
        }
        check_headers(&self.headers)?;
        self.http.check()?;
        let configured: Vec<_> = [
            ("basic_auth", self.http.basic_auth.is_some()),
            ("authorization", self.http.authorization.is_some()),
            ("oauth2", self.http.oauth2.is_some()),
            ("sigv4", self.sigv4.is_some()),
            ("azuread", self.azuread.is_some()),
            ("google_iam", self.google_iam.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect();
        if configured.len() > 1 {
            return Err(Invalid::new(format!(
                "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. \
                 Currently configured: [{}]",
                configured.join(" ")
            )));
        }
        Ok(())
    }
}

impl Check for RemoteReadConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.url.is_none() {
            return Err(Invalid::new("url for remote_read is empty"));
        }
        check_headers(&self.headers)?;
        self.http.check()
    }
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    for name in headers.keys() {
        let lower = name.to_ascii_lowercase();
        if lower == "authorization" {
            return Err(Invalid::new(
                "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread \
                 or google_iam parameter",
            ));
        }
        if is_reserved_header(&lower) {
            return Err(Invalid::new(format!("{name} is a reserved header. It must not be changed")));
        }
    }
    Ok(())
}

impl RemoteWriteConfig {
    /// Checks what depends on the names that are valid.
    pub fn validate(&self, validation: NameValidation) -> Result<(), Invalid> {
        self.write_relabel_configs.iter().try_for_each(|rule| rule.validate(validation))
    }

    pub fn set_directory(&mut self, dir: &Path) {
        self.http.set_directory(dir);
    }
}
