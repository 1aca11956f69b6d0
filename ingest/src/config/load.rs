//! Loading: reads the file and those it names, expands, checks, and makes every path absolute to its file's folder.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_model::labels::quote;
use twox_hash::XxHash3_64;

use super::block::{Check, block};
use super::environment::{self, Lookup};
use super::error::{ConfigError, ParseError, in_file};
use super::scrape::{PROTOBUF_FIRST_PROTOCOLS, ScrapeConfig};
use super::{Config, error::Invalid};
use crate::fs::{FileSystem, read_text};

/// A configuration that holds, and what the node shows of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// All jobs: those of the file, then those of `scrape_config_files`, complete and checked.
    pub scrape_configs: Vec<Arc<ScrapeConfig>>,
    /// The files that `rule_files` matches now, sorted within each pattern.
    pub rule_files: Vec<PathBuf>,
    /// The file as written.
    pub text: String,
    /// Of the text and those of `scrape_config_files`: alike where the same jobs are scraped in the same way.
    pub hash: u64,
    /// The file as Prometheus prints it at `/api/v1/status/config`: defaults filled in, secrets masked.
    pub yaml: String,
    /// What is accepted but does nothing here, and variables that are not set. One sentence each.
    pub warnings: Vec<String>,
}

/// Defaults that feature flags change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    pub extra_scrape_metrics: bool,
    /// Targets are asked for protobuf first, where the file does not say otherwise.
    pub protobuf_first: bool,
}

/// Loads `path`. A failure names the file and, where it lies in its text, the line; nothing has been changed then.
pub fn load(path: &Path, fs: &dyn FileSystem, environment: &Lookup<'_>) -> Result<Loaded, ConfigError> {
    load_with(path, fs, environment, Defaults::default())
}

/// As [`load`], where feature flags changed defaults.
pub fn load_with(
    path: &Path,
    fs: &dyn FileSystem,
    environment: &Lookup<'_>,
    defaults: Defaults,
) -> Result<Loaded, ConfigError> {
    let text = read_text(fs, path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let dir = path.parent().unwrap_or(Path::new(""));
    load_text(Text { name: path, dir, text }, fs, environment, defaults)
}

/// A configuration that was read already.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// What errors call it.
    pub name: &'a Path,
    /// The folder of the relative paths in it.
    pub dir: &'a Path,
    pub text: String,
}

/// As [`load_with`], for a text that is in no file.
pub fn load_text(
    Text { name, dir, text }: Text<'_>,
    fs: &dyn FileSystem,
    environment: &Lookup<'_>,
    defaults: Defaults,
) -> Result<Loaded, ConfigError> {
    let invalid = |invalid| ConfigError::Invalid { path: name.to_owned(), invalid };
    let mut config: Config =
        parse(&text).map_err(|at| ConfigError::Parse { path: name.to_owned(), at })?.unwrap_or_default();
    if defaults.extra_scrape_metrics {
        config.global.extra_scrape_metrics.get_or_insert(true);
    }
    if defaults.protobuf_first && config.global.scrape_protocols.is_empty() {
        config.global.scrape_protocols = PROTOBUF_FIRST_PROTOCOLS.to_vec();
    }
    let mut warnings = Vec::new();
    expand_external_labels(&mut config, environment, &mut warnings);
    config.complete().map_err(invalid)?;
    config.set_directory(dir);
    let mut texts = XxHash3_64::with_seed(0);
    texts.write(text.as_bytes());
    let scrape_configs = all_scrape_configs(&config, fs, &mut texts)?;
    let rule_files = all_matches("rule files", &config.rule_files, fs)?;
    unused(&config, &mut warnings);
    other_server_names(&scrape_configs, &mut warnings);
    let yaml = print(&config).map_err(invalid)?;
    Ok(Loaded { config, scrape_configs, rule_files, text, hash: texts.finish(), yaml, warnings })
}

/// Nodes and parser events of one file: discovery writes files of tens of thousands of groups.
const YAML_NODES_MAX: usize = 10_000_000;

/// Reads one YAML document; `None` when it is empty. The library's limits on size, depth and what aliases unfold to hold.
pub fn parse<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<Option<T>, ParseError> {
    let options = serde_saphyr::options! {
        // A hundred jobs may share one list of rules by its anchor, so that there are many aliases says nothing.
        budget: serde_saphyr::budget! {
            max_events: YAML_NODES_MAX,
            max_nodes: YAML_NODES_MAX,
            enforce_alias_anchor_ratio: false,
        },
    };
    serde_saphyr::from_str_with_options::<Option<T>>(text, options).map_err(|error| ParseError::of(&error, text))
}

/// Prints as Prometheus does: lists at the column of their key.
fn print(config: &Config) -> Result<String, Invalid> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true, folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(config, options).map_err(|e| Invalid::new(format!("print configuration: {e}")))
}

fn expand_external_labels(config: &mut Config, environment: &Lookup<'_>, warnings: &mut Vec<String>) {
    for value in config.global.external_labels.values_mut() {
        *value = environment::expand(value, environment, |name| {
            warnings.push(format!("environment variable {} in external_labels is empty", quote(name)));
        });
    }
    config.global.external_labels.retain(|_, value| !value.is_empty());
}

block! {
    /// A file of `scrape_config_files`.
    #[derive(Default)]
    pub struct ScrapeConfigFile {
        keys { scrape_configs: Vec<ScrapeConfig>, }
    }
}

impl Check for ScrapeConfigFile {}

fn all_scrape_configs(
    config: &Config,
    fs: &dyn FileSystem,
    texts: &mut XxHash3_64,
) -> Result<Vec<Arc<ScrapeConfig>>, ConfigError> {
    let mut jobs: Vec<Arc<ScrapeConfig>> = config.scrape_configs.iter().cloned().map(Arc::new).collect();
    let mut origins = vec!["main config file".to_owned(); jobs.len()];
    for path in all_matches("scrape config files", &config.scrape_config_files, fs)? {
        let text = read_text(fs, &path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        // With its length, so that the same lines in other files are another configuration.
        texts.write(&(text.len() as u64).to_le_bytes());
        texts.write(text.as_bytes());
        let file: Option<ScrapeConfigFile> =
            parse(&text).map_err(|at| ConfigError::Parse { path: path.clone(), at })?;
        for mut job in file.unwrap_or_default().scrape_configs {
            let invalid = |e: Invalid| ConfigError::Invalid { path: path.clone(), invalid: in_file(&path, e) };
            job.complete(&config.global).map_err(invalid)?;
            if let Some(first) = jobs.iter().position(|other| other.job_name == job.job_name) {
                let name = quote(&job.job_name);
                let text =
                    format!("found multiple scrape configs with job name {name}, first found in {}", origins[first]);
                return Err(invalid(Invalid::new(text)));
            }
            job.set_directory(path.parent().unwrap_or(Path::new("")));
            jobs.push(Arc::new(job));
            origins.push(quote(&path.to_string_lossy()));
        }
    }
    Ok(jobs)
}

fn all_matches(what: &'static str, patterns: &[String], fs: &dyn FileSystem) -> Result<Vec<PathBuf>, ConfigError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let found = fs.glob(pattern).map_err(|source| ConfigError::Glob { what, pattern: pattern.clone(), source })?;
        paths.extend(found);
    }
    Ok(paths)
}

/// Says which sections are accepted but have no effect.
fn unused(config: &Config, warnings: &mut Vec<String>) {
    let default = Config::default();
    for (section, used) in [
        ("rule_files", !config.rule_files.is_empty()),
        ("alerting", config.alerting != default.alerting),
        ("remote_write", !config.remote_write.is_empty()),
        ("remote_read", !config.remote_read.is_empty()),
        ("tracing", config.tracing.is_some()),
        ("otlp", config.otlp != default.otlp),
        ("runtime", config.runtime != default.runtime),
    ] {
        if used {
            warnings.push(format!("section {section} is accepted but has no effect yet"));
        }
    }
    let percentage = config.storage.tsdb.as_ref().and_then(|tsdb| tsdb.retention.as_ref()).map(|kept| kept.percentage);
    for (key, used) in [
        ("global.query_log_file", !config.global.query_log_file.is_empty()),
        ("storage.exemplars.max_exemplars", config.storage.exemplars.is_some()),
        ("storage.tsdb.retention.percentage", percentage.is_some_and(|percentage| percentage > 0.0)),
    ] {
        if used {
            warnings.push(format!("{key} is accepted but has no effect yet"));
        }
    }
}

/// Says where a server that chooses its certificate by the name it is asked for will see another name than in Prometheus.
fn other_server_names(jobs: &[Arc<ScrapeConfig>], warnings: &mut Vec<String>) {
    for job in jobs.iter().filter(|job| !job.http.tls_config.server_name.is_empty()) {
        let (name, job) = (quote(&job.http.tls_config.server_name), quote(&job.job_name));
        warnings.push(format!(
            "server_name {name} of job {job} is what certificates are checked for; the name sent to the server (SNI) stays that of the URL"
        ));
    }
}
