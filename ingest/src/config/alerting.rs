//! `alerting`: how alerts are relabelled and which Alertmanagers get them. Read, checked and kept.

use std::path::Path;

use super::block::{Check, block};
use super::discovery::DiscoveryConfigs;
use super::error::Invalid;
use super::http::HttpClientConfig;
use super::opaque::Opaque;
use super::scalar::{PromDuration, names};
use super::scrape::NameValidation;
use crate::relabel::RelabelConfig;

block! {
    /// The whole section.
    #[derive(Default)]
    pub struct AlertingConfig {
        keys {
            alert_relabel_configs: Vec<RelabelConfig>,
            alertmanagers: Vec<AlertmanagerConfig>,
        }
    }
}

block! {
    /// One set of Alertmanagers.
    pub struct AlertmanagerConfig {
        keys {}
        inline { http: HttpClientConfig, }
        keys {
            sigv4: Option<Opaque>,
            /// Default `http`.
            scheme: String,
            path_prefix: String,
            /// Default 10 s.
            timeout: PromDuration,
            /// Default v2, and nothing else exists.
            api_version [always]: AlertmanagerApi,
            relabel_configs: Vec<RelabelConfig>,
            alert_relabel_configs: Vec<RelabelConfig>,
        }
        inline { discovery: DiscoveryConfigs, }
    }
}

names! {
    /// Versions of the Alertmanager API.
    pub enum AlertmanagerApi { V2 = "v2", }
    bad = |text: &str| format!("expected Alertmanager api version to be one of [v2] but got {text}");
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            http: HttpClientConfig::default(),
            sigv4: None,
            scheme: "http".into(),
            path_prefix: String::new(),
            timeout: PromDuration::from_secs(10),
            api_version: AlertmanagerApi::V2,
            relabel_configs: Vec::new(),
            alert_relabel_configs: Vec::new(),
            discovery: DiscoveryConfigs::default(),
        }
    }
}

impl Check for AlertingConfig {}

impl Check for AlertmanagerConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        self.http.check()?;
        let auth = self.http.basic_auth.is_some() || self.http.authorization.is_some() || self.http.oauth2.is_some();
        if auth && self.sigv4.is_some() {
            return Err(Invalid::new("at most one of basic_auth, authorization, oauth2, & sigv4 must be configured"));
        }
        if self.relabel_configs.is_empty() {
            self.discovery.check_static_addresses()?;
        }
        Ok(())
    }
}

impl AlertingConfig {
    /// Checks what depends on the names that are valid.
    pub fn validate(&self, validation: NameValidation) -> Result<(), Invalid> {
        let of_managers =
            self.alertmanagers.iter().flat_map(|am| am.relabel_configs.iter().chain(&am.alert_relabel_configs));
        self.alert_relabel_configs.iter().chain(of_managers).try_for_each(|rule| rule.validate(validation))
    }

    pub fn set_directory(&mut self, dir: &Path) {
        for manager in &mut self.alertmanagers {
            manager.http.set_directory(dir);
            manager.discovery.set_directory(dir);
        }
    }
}
