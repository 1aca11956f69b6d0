//! Defaults for all jobs (`global`) and one job (`scrape_configs`).

use std::collections::BTreeMap;
use std::path::Path;

use pharos_model::labels::{is_legacy_label_name, is_legacy_metric_name, quote};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::block::{Check, block};
use super::discovery::DiscoveryConfigs;
use super::error::Invalid;
use super::http::HttpClientConfig;
use super::scalar::{ByteSize, PromDuration, join_dir, names};
use crate::exposition::negotiation::{DEFAULT_PROTOCOLS, EscapingScheme, ScrapeProtocol};
use crate::relabel::RelabelConfig;

/// As [`DEFAULT_PROTOCOLS`] where native histograms are wanted, which only the protobuf format carries, or start timestamps, which
/// it carries best.
pub const PROTOBUF_FIRST_PROTOCOLS: [ScrapeProtocol; 5] = [
    ScrapeProtocol::PrometheusProto,
    ScrapeProtocol::OpenMetricsText1_0_0,
    ScrapeProtocol::OpenMetricsText0_0_1,
    ScrapeProtocol::PrometheusText1_0_0,
    ScrapeProtocol::PrometheusText0_0_4,
];

impl<'de> Deserialize<'de> for ScrapeProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for ScrapeProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EscapingScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let all = [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];
        all.into_iter().find(|scheme| scheme.as_str() == text).ok_or_else(|| {
            D::Error::custom(format!(
                "unknown scrape config name escaping method specified, \
                 must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {}",
                quote(&text)
            ))
        })
    }
}

impl Serialize for EscapingScheme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

names! {
    /// Which metric and label names are valid.
    pub enum NameValidation { Utf8 = "utf8", Legacy = "legacy", }
    bad = |text: &str| format!(
        "unknown scrape config name validation method specified, must be either '', 'legacy' or 'utf8', got {text}"
    );
}

impl NameValidation {
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_label_name(name),
        }
    }

    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_metric_name(name),
        }
    }
}

block! {
    /// `global`: defaults of all jobs, and labels for what leaves this cluster.
    #[derive(Default)]
    pub struct GlobalConfig {
        keys {
            /// Default 1 min.
            scrape_interval: PromDuration,
            /// Default 10 s, or the interval when that is shorter.
            scrape_timeout: PromDuration,
            scrape_protocols: Vec<ScrapeProtocol>,
            /// Default 1 min.
            evaluation_interval: PromDuration,
            rule_query_offset: PromDuration,
            query_log_file: String,
            scrape_failure_log_file: String,
            external_labels: BTreeMap<String, String>,
            /// Uncompressed bytes of a body; 0 is no limit, here and below.
            body_size_limit: ByteSize,
            sample_limit: u64,
            target_limit: u64,
            label_limit: u64,
            label_name_length_limit: u64,
            label_value_length_limit: u64,
            keep_dropped_targets: u64,
            metric_name_validation_scheme: Option<NameValidation>,
            metric_name_escaping_scheme: Option<EscapingScheme>,
            scrape_native_histograms: Option<bool>,
            convert_classic_histograms_to_nhcb: bool,
            always_scrape_classic_histograms: bool,
            /// Default false, or what the feature flag of this name says.
            extra_scrape_metrics: Option<bool>,
        }
    }
}

const SCRAPE_INTERVAL_DEFAULT: PromDuration = PromDuration::from_secs(60);
const SCRAPE_TIMEOUT_DEFAULT: PromDuration = PromDuration::from_secs(10);
const EVALUATION_INTERVAL_DEFAULT: PromDuration = PromDuration::from_secs(60);

impl Check for GlobalConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        let validation = *self.metric_name_validation_scheme.get_or_insert(NameValidation::Utf8);
        if let Some(bad) = self.external_labels.keys().find(|name| !validation.is_label_name(name)) {
            return Err(Invalid::new(format!("{} is not a valid label name", quote(bad))));
        }
        default_duration(&mut self.scrape_interval, SCRAPE_INTERVAL_DEFAULT);
        if self.scrape_timeout > self.scrape_interval {
            return Err(Invalid::new("global scrape timeout greater than scrape interval"));
        }
        default_duration(&mut self.scrape_timeout, SCRAPE_TIMEOUT_DEFAULT.min(self.scrape_interval));
        default_duration(&mut self.evaluation_interval, EVALUATION_INTERVAL_DEFAULT);
        self.scrape_native_histograms.get_or_insert(false);
        check_protocols(&self.scrape_protocols, "global config")
    }
}

impl GlobalConfig {
    pub fn set_directory(&mut self, dir: &Path) {
        join_dir(dir, &mut self.query_log_file);
        join_dir(dir, &mut self.scrape_failure_log_file);
    }

    fn escaping(&self) -> EscapingScheme {
        self.metric_name_escaping_scheme.unwrap_or(match self.metric_name_validation_scheme {
            Some(NameValidation::Legacy) => EscapingScheme::Underscores,
            _ => EscapingScheme::AllowUtf8,
        })
    }
}

fn default_duration(slot: &mut PromDuration, default: PromDuration) {
    if slot.0 == 0 {
        *slot = default;
    }
}

fn check_protocols(protocols: &[ScrapeProtocol], whose: &str) -> Result<(), Invalid> {
    for (i, protocol) in protocols.iter().enumerate() {
        if protocols[..i].contains(protocol) {
            let names: Vec<_> = protocols.iter().map(|p| p.as_str()).collect();
            let text = format!("duplicated protocol in scrape_protocols, got [{}] for {whose}", names.join(" "));
            return Err(Invalid::new(text));
        }
    }
    Ok(())
}

block! {
    /// One job. After [`ScrapeConfig::complete`] every `Option` is set and the limits are those in force.
    pub struct ScrapeConfig {
        keys {
            job_name [always]: String,
            honor_labels: bool,
            /// Default true.
            honor_timestamps [always]: bool,
            track_timestamps_staleness [always]: bool,
            params: BTreeMap<String, Vec<String>>,
            scrape_interval: PromDuration,
            scrape_timeout: PromDuration,
            scrape_protocols: Vec<ScrapeProtocol>,
            fallback_scrape_protocol: Option<ScrapeProtocol>,
            scrape_native_histograms: Option<bool>,
            always_scrape_classic_histograms: Option<bool>,
            convert_classic_histograms_to_nhcb: Option<bool>,
            scrape_failure_log_file: String,
            /// Default `/metrics`.
            metrics_path: String,
            /// Default `http`.
            scheme: String,
            /// Default true.
            enable_compression [always]: bool,
            body_size_limit: ByteSize,
            sample_limit: u64,
            target_limit: u64,
            label_limit: u64,
            label_name_length_limit: u64,
            label_value_length_limit: u64,
            native_histogram_bucket_limit: u64,
            native_histogram_min_bucket_factor: f64,
            keep_dropped_targets: u64,
            metric_name_validation_scheme: Option<NameValidation>,
            metric_name_escaping_scheme: Option<EscapingScheme>,
            extra_scrape_metrics: Option<bool>,
        }
        inline { http: HttpClientConfig, }
        keys {
            relabel_configs: Vec<RelabelConfig>,
            metric_relabel_configs: Vec<RelabelConfig>,
        }
        inline { discovery: DiscoveryConfigs, }
    }
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            params: BTreeMap::new(),
            scrape_interval: PromDuration::default(),
            scrape_timeout: PromDuration::default(),
            scrape_protocols: Vec::new(),
            fallback_scrape_protocol: None,
            scrape_native_histograms: None,
            always_scrape_classic_histograms: None,
            convert_classic_histograms_to_nhcb: None,
            scrape_failure_log_file: String::new(),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            enable_compression: true,
            body_size_limit: ByteSize::default(),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            native_histogram_bucket_limit: 0,
            native_histogram_min_bucket_factor: 0.0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            extra_scrape_metrics: None,
            http: HttpClientConfig::default(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
            discovery: DiscoveryConfigs::default(),
        }
    }
}

impl Check for ScrapeConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.job_name.is_empty() {
            return Err(Invalid::new("job_name is empty"));
        }
        self.http.check()?;
        if let Some(name) = self.discovery.first_unsupported() {
            let job = quote(&self.job_name);
            return Err(Invalid::new(format!("{name} service discovery is not supported yet (job {job})")));
        }
        if self.relabel_configs.is_empty() {
            self.discovery.check_static_addresses()?;
        }
        Ok(())
    }
}

impl ScrapeConfig {
    /// Fills what is unset from `global`, and checks what depends on it.
    pub fn complete(&mut self, global: &GlobalConfig) -> Result<(), Invalid> {
        self.complete_times(global)?;
        self.complete_limits(global);
        self.complete_protocols(global)?;
        self.complete_names(global)?;
        let validation = self.validation();
        for rule in self.relabel_configs.iter().chain(&self.metric_relabel_configs) {
            rule.validate(validation)?;
        }
        Ok(())
    }

    fn complete_times(&mut self, global: &GlobalConfig) -> Result<(), Invalid> {
        default_duration(&mut self.scrape_interval, global.scrape_interval);
        if self.scrape_timeout > self.scrape_interval {
            return Err(Invalid::new(format!(
                "scrape timeout greater than scrape interval for scrape config with job name {}",
                quote(&self.job_name)
            )));
        }
        default_duration(&mut self.scrape_timeout, global.scrape_timeout.min(self.scrape_interval));
        Ok(())
    }

    fn complete_limits(&mut self, global: &GlobalConfig) {
        if self.body_size_limit.0 == 0 {
            self.body_size_limit = global.body_size_limit;
        }
        for (own, default) in [
            (&mut self.sample_limit, global.sample_limit),
            (&mut self.target_limit, global.target_limit),
            (&mut self.label_limit, global.label_limit),
            (&mut self.label_name_length_limit, global.label_name_length_limit),
            (&mut self.label_value_length_limit, global.label_value_length_limit),
            (&mut self.keep_dropped_targets, global.keep_dropped_targets),
        ] {
            if *own == 0 {
                *own = default;
            }
        }
        if self.scrape_failure_log_file.is_empty() {
            self.scrape_failure_log_file.clone_from(&global.scrape_failure_log_file);
        }
        self.extra_scrape_metrics.get_or_insert(global.extra_scrape_metrics.unwrap_or_default());
        self.convert_classic_histograms_to_nhcb.get_or_insert(global.convert_classic_histograms_to_nhcb);
        self.always_scrape_classic_histograms.get_or_insert(global.always_scrape_classic_histograms);
    }

    fn complete_protocols(&mut self, global: &GlobalConfig) -> Result<(), Invalid> {
        let native = *self.scrape_native_histograms.get_or_insert(global.scrape_native_histograms.unwrap_or_default());
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols = match (global.scrape_protocols.is_empty(), native) {
                (false, _) => global.scrape_protocols.clone(),
                (true, true) => PROTOBUF_FIRST_PROTOCOLS.to_vec(),
                (true, false) => DEFAULT_PROTOCOLS.to_vec(),
            };
        }
        check_protocols(&self.scrape_protocols, &format!("scrape config with job name {}", quote(&self.job_name)))
    }

    fn complete_names(&mut self, global: &GlobalConfig) -> Result<(), Invalid> {
        let escaping = match self.metric_name_validation_scheme {
            None => global.escaping(),
            Some(NameValidation::Legacy) => EscapingScheme::Underscores,
            Some(NameValidation::Utf8) => EscapingScheme::AllowUtf8,
        };
        let global_validation = global.metric_name_validation_scheme.unwrap_or(NameValidation::Utf8);
        let validation = *self.metric_name_validation_scheme.get_or_insert(global_validation);
        let escaping = *self.metric_name_escaping_scheme.get_or_insert(escaping);
        if escaping == EscapingScheme::AllowUtf8 && validation != NameValidation::Utf8 {
            return Err(Invalid::new("utf8 metric names requested but validation scheme is not set to UTF8"));
        }
        Ok(())
    }

    /// Which names are valid in this job.
    pub fn validation(&self) -> NameValidation {
        self.metric_name_validation_scheme.unwrap_or(NameValidation::Utf8)
    }

    /// How targets of this job are asked to escape names.
    pub fn escaping(&self) -> EscapingScheme {
        self.metric_name_escaping_scheme.unwrap_or(EscapingScheme::AllowUtf8)
    }

    pub fn set_directory(&mut self, dir: &Path) {
        self.http.set_directory(dir);
        self.discovery.set_directory(dir);
        join_dir(dir, &mut self.scrape_failure_log_file);
    }
}
