//! Prometheus' configuration file: its sections as types, read strictly, checked with Prometheus' own texts, and printed
//! back with defaults filled in and secrets masked.
//!
//! Reads and describes only: scraping, discovery and HTTP clients are built from these types elsewhere. Sections that
//! nothing uses yet are checked and kept all the same, and [`Loaded::warnings`] names them.

pub mod load;

pub mod alerting;
pub mod discovery;
pub mod http;
pub mod remote;
pub mod scrape;
pub mod server;

pub mod error;
pub mod opaque;
pub mod scalar;

pub mod block;
pub mod environment;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::exposition::negotiation::EscapingScheme;
use alerting::AlertingConfig;
use block::{Check, block};
use error::Invalid;
use pharos_model::labels::quote;
use remote::{RemoteReadConfig, RemoteWriteConfig};
use server::{OtlpConfig, RuntimeConfig, StorageConfig, TracingConfig};

pub use block::Zero;
pub use discovery::{DiscoveryConfigs, TargetGroup};
pub use error::{ConfigError, ParseError};
pub use http::HttpClientConfig;
pub use load::{Defaults, Loaded, Text, load, load_text, load_with};
pub use scalar::{ByteSize, PromDuration, RedactedUrl, Secret};
pub use scrape::{GlobalConfig, NameValidation, ScrapeConfig};

block! {
    /// The whole file.
    pub struct Config {
        keys {
            global [always]: GlobalConfig,
            runtime: RuntimeConfig,
            alerting: AlertingConfig,
            rule_files: Vec<String>,
            scrape_config_files: Vec<String>,
            scrape_configs: Vec<ScrapeConfig>,
            storage: StorageConfig,
            tracing: Option<TracingConfig>,
            remote_write: Vec<RemoteWriteConfig>,
            remote_read: Vec<RemoteReadConfig>,
            otlp: OtlpConfig,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        // A file without `global` has one more default filled in than a file with an empty one, as in Prometheus.
        let mut global =
            GlobalConfig { metric_name_escaping_scheme: Some(EscapingScheme::AllowUtf8), ..GlobalConfig::default() };
        global.check().expect("the defaults hold");
        Self {
            global,
            runtime: RuntimeConfig::default(),
            alerting: AlertingConfig::default(),
            rule_files: Vec::new(),
            scrape_config_files: Vec::new(),
            scrape_configs: Vec::new(),
            storage: StorageConfig::default(),
            tracing: None,
            remote_write: Vec::new(),
            remote_read: Vec::new(),
            otlp: OtlpConfig::default(),
        }
    }
}

/// Rules across sections are checked by [`Config::complete`]: their violations belong to no single place.
impl Check for Config {}

impl Config {
    /// Fills jobs from `global` and checks the rules between sections.
    fn complete(&mut self) -> Result<(), Invalid> {
        for (what, patterns) in [("rule", &self.rule_files), ("scrape config", &self.scrape_config_files)] {
            if let Some(bad) = patterns.iter().find(|pattern| !discovery::is_path_pattern(pattern)) {
                return Err(Invalid::new(format!("invalid {what} file path {}", quote(bad))));
            }
        }
        let mut names: Vec<&str> = Vec::new();
        for job in &mut self.scrape_configs {
            job.complete(&self.global)?;
            if names.contains(&job.job_name.as_str()) {
                let name = quote(&job.job_name);
                return Err(Invalid::new(format!("found multiple scrape configs with job name {name}")));
            }
            names.push(&job.job_name);
        }
        let validation = self.global.metric_name_validation_scheme.unwrap_or(NameValidation::Utf8);
        self.alerting.validate(validation)?;
        self.remote_write.iter().try_for_each(|write| write.validate(validation))?;
        unique_names("write", self.remote_write.iter().map(|write| write.name.as_str()))?;
        unique_names("read", self.remote_read.iter().map(|read| read.name.as_str()))?;
        self.check_otlp_names(validation)
    }

    fn check_otlp_names(&self, validation: NameValidation) -> Result<(), Invalid> {
        use server::TranslationStrategy as S;
        match self.otlp.translation_strategy {
            Some(strategy @ (S::NoTranslation | S::NoUtf8EscapingWithSuffixes))
                if validation == NameValidation::Legacy =>
            {
                let strategy = strategy.as_str();
                Err(Invalid::new(format!(
                    "OTLP translation strategy {strategy:?} is not allowed when UTF8 is disabled"
                )))
            }
            _ => Ok(()),
        }
    }

    fn set_directory(&mut self, dir: &Path) {
        self.global.set_directory(dir);
        self.alerting.set_directory(dir);
        self.rule_files.iter_mut().chain(&mut self.scrape_config_files).for_each(|file| scalar::join_dir(dir, file));
        self.scrape_configs.iter_mut().for_each(|job| job.set_directory(dir));
        self.remote_write.iter_mut().for_each(|write| write.set_directory(dir));
        self.remote_read.iter_mut().for_each(|read| read.http.set_directory(dir));
        if let Some(tracing) = &mut self.tracing {
            tracing.set_directory(dir);
        }
    }
}

fn unique_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        if seen.contains(&name) {
            return Err(Invalid::new(format!("found multiple remote {what} configs with job name {}", quote(name))));
        }
        seen.push(name);
    }
    Ok(())
}
