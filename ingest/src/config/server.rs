//! Sections about the server itself: `runtime`, `storage`, `tracing`, `otlp`. Read, checked and kept.

use std::collections::BTreeMap;
use std::path::Path;

use super::block::{Check, block};
use super::error::Invalid;
use super::http::{TlsConfig, is_reserved_header};
use super::scalar::{ByteSize, PromDuration, names};

block! {
    /// Tuning of Go's runtime, which is not here, and the log's level, which a flag sets.
    pub struct RuntimeConfig {
        keys {
            gogc: i64,
            log_level: String,
        }
    }
}

block! {
    /// What is kept and for how long.
    #[derive(Default)]
    pub struct StorageConfig {
        keys {
            tsdb: Option<TsdbConfig>,
            exemplars: Option<ExemplarsConfig>,
        }
    }
}

block! {
    /// Samples.
    #[derive(Default)]
    pub struct TsdbConfig {
        keys {
            /// Absent is not zero: the node then takes its own default.
            out_of_order_time_window: Option<PromDuration>,
            stale_series_compaction_threshold: f64,
            retention: Option<RetentionConfig>,
            chunk_encoding: Option<ChunkEncoding>,
        }
    }
}

block! {
    /// Encodings that Prometheus' own store may be told to use.
    #[derive(Default)]
    pub struct ChunkEncoding {
        keys { floats: String, }
    }
}

block! {
    /// When samples are deleted.
    #[derive(Default)]
    pub struct RetentionConfig {
        keys {
            time: PromDuration,
            size: ByteSize,
            percentage: f64,
        }
    }
}

block! {
    /// Exemplars.
    pub struct ExemplarsConfig {
        keys { max_exemplars: i64, }
    }
}

block! {
    /// Where the server's own traces go.
    pub struct TracingConfig {
        keys {
            client_type: Option<TracingClient>,
            endpoint: String,
            sampling_fraction: f64,
            insecure: bool,
            tls_config: TlsConfig,
            headers: BTreeMap<String, String>,
            compression: String,
            timeout: PromDuration,
        }
    }
}

names! {
    /// Transports of traces.
    pub enum TracingClient { Http = "http", Grpc = "grpc", }
    bad = |text: &str| format!("expected tracing client type to be to be http or grpc, but got {text}");
}

block! {
    /// How OTLP metrics become series.
    pub struct OtlpConfig {
        keys {
            promote_all_resource_attributes: bool,
            promote_resource_attributes: Vec<String>,
            ignore_resource_attributes: Vec<String>,
            translation_strategy: Option<TranslationStrategy>,
            keep_identifying_resource_attributes: bool,
            convert_histograms_to_nhcb: bool,
            promote_scope_metadata: bool,
            /// Default true.
            label_name_underscore_sanitization: bool,
            /// Default true.
            label_name_preserve_multiple_underscores: bool,
        }
    }
}

names! {
    /// How OTLP names become metric names.
    pub enum TranslationStrategy {
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        NoTranslation = "NoTranslation",
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
    }
    bad = |text: &str| format!("unsupported OTLP translation strategy {text:?}");
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { gogc: 75, log_level: String::new() }
    }
}

impl Default for ExemplarsConfig {
    fn default() -> Self {
        Self { max_exemplars: 100_000 }
    }
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            client_type: Some(TracingClient::Grpc),
            endpoint: String::new(),
            sampling_fraction: 0.0,
            insecure: false,
            tls_config: TlsConfig::default(),
            headers: BTreeMap::new(),
            compression: String::new(),
            timeout: PromDuration::default(),
        }
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            promote_all_resource_attributes: false,
            promote_resource_attributes: Vec::new(),
            ignore_resource_attributes: Vec::new(),
            translation_strategy: Some(TranslationStrategy::UnderscoreEscapingWithSuffixes),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

impl Check for RuntimeConfig {}
impl Check for StorageConfig {}
impl Check for TsdbConfig {}
impl Check for ChunkEncoding {}
impl Check for RetentionConfig {}
impl Check for ExemplarsConfig {}

impl Check for TracingConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        for name in self.headers.keys() {
            let lower = name.to_ascii_lowercase();
            if lower == "authorization" {
                return Err(Invalid::new("custom authorization header configuration is not yet supported"));
            }
            if is_reserved_header(&lower) {
                return Err(Invalid::new(format!("{name} is a reserved header. It must not be changed")));
            }
        }
        if self.endpoint.is_empty() {
            return Err(Invalid::new("tracing endpoint must be set"));
        }
        if !self.compression.is_empty() && self.compression != "gzip" {
            let text = format!("invalid compression type {} provided, valid options: gzip", self.compression);
            return Err(Invalid::new(text));
        }
        Ok(())
    }
}

impl TracingConfig {
    pub fn set_directory(&mut self, dir: &Path) {
        self.tls_config.set_directory(dir);
    }
}

impl Check for OtlpConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.promote_all_resource_attributes && !self.promote_resource_attributes.is_empty() {
            return Err(Invalid::new(
                "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
            ));
        }
        if !self.promote_all_resource_attributes && !self.ignore_resource_attributes.is_empty() {
            return Err(Invalid::new(
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
            ));
        }
        check_attributes("promote_resource_attributes", "promoted", &self.promote_resource_attributes)?;
        check_attributes("ignore_resource_attributes", "ignored", &self.ignore_resource_attributes)
    }
}

fn check_attributes(key: &str, adjective: &str, attributes: &[String]) -> Result<(), Invalid> {
    for (i, attribute) in attributes.iter().enumerate() {
        let trimmed = attribute.trim();
        if trimmed.is_empty() {
            return Err(Invalid::new(format!("invalid '{key}': empty {adjective} OTel resource attribute")));
        }
        if attributes[..i].iter().any(|other| other.trim() == trimmed) {
            let text = format!("invalid '{key}': duplicated {adjective} OTel resource attribute {trimmed:?}");
            return Err(Invalid::new(text));
        }
    }
    Ok(())
}
