//! Where the configuration comes from: the document that all nodes have, or this node's file. The one place that decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_cluster::meta::Documents;
use pharos_ingest::config::{ConfigError, Defaults, Loaded, Text, load_text, load_with};
use pharos_ingest::fs::Disk;
use pharos_ingest::http_client::{check_clients, check_clients_and_credentials};
use pharos_model::Clock;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::super::scraping::surroundings;
use crate::flags::ServerFlags;

/// The document that holds the whole configuration, for all nodes.
pub const CONFIG_DOCUMENT: &str = "prometheus.yml";

/// Where a configuration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Origin {
    /// `--config.file`.
    File,
    /// [`CONFIG_DOCUMENT`].
    Document { version: u64 },
}

/// What is to be in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) origin: Origin,
    /// Empty where it is a file's.
    text: &'a str,
}

impl<'a> Source<'a> {
    /// A document without content is none: it was taken back.
    pub(super) fn of(documents: &'a Documents) -> Self {
        let current = documents.get(CONFIG_DOCUMENT).map(|document| document.current());
        match current.filter(|current| !is_blank(&current.content)) {
            Some(current) => Self { origin: Origin::Document { version: current.version }, text: &current.content },
            None => Self { origin: Origin::File, text: "" },
        }
    }

    /// What the log and errors call it.
    pub(super) fn name(&self, flags: &ServerFlags) -> PathBuf {
        match self.origin {
            Origin::File => flags.config_file.clone(),
            Origin::Document { version } => PathBuf::from(format!("document {CONFIG_DOCUMENT} version {version}")),
        }
    }

    /// Reads it and the files that it names, and logs what it accepts without using.
    pub(super) fn load(&self, flags: &ServerFlags) -> Result<Loaded, ConfigError> {
        let name = self.name(flags);
        let loaded = match self.origin {
            Origin::File => load_with(&name, &Disk, &environment, defaults(flags)),
            Origin::Document { .. } => load_document(&name, self.text.to_owned(), flags),
        }?;
        for warning in &loaded.warnings {
            warn!(file = %name.display(), "{warning}");
        }
        Ok(loaded)
    }

    /// Also whether targets can be asked as it says, which is all that is left to go wrong at a start.
    pub(super) fn load_and_check(&self, flags: &ServerFlags, clock: &Arc<dyn Clock>) -> Result<Loaded, String> {
        let loaded = self.load(flags).map_err(|error| error.to_string())?;
        let checked = check_clients(&loaded.scrape_configs, &surroundings(Arc::clone(clock)));
        checked.map(|()| loaded).map_err(|error| error.to_string())
    }
}

/// What `pharos check config` finds wrong with a text that is to become the document; else what should be said about it.
pub(super) fn check(text: &str, flags: &ServerFlags, clock: &Arc<dyn Clock>) -> Result<Vec<String>, String> {
    if is_blank(text) {
        return Ok(vec!["the document is empty: each node goes by its own --config.file again".to_owned()]);
    }
    let name = PathBuf::from(format!("document {CONFIG_DOCUMENT}"));
    let loaded = load_document(&name, text.to_owned(), flags).map_err(|error| error.to_string())?;
    check_clients_and_credentials(&loaded.scrape_configs, &surroundings(Arc::clone(clock)))
        .map_err(|error| error.to_string())?;
    Ok(loaded.warnings)
}

fn load_document(name: &Path, text: String, flags: &ServerFlags) -> Result<Loaded, ConfigError> {
    let dir = flags.config_file.parent().unwrap_or(Path::new(""));
    load_text(Text { name, dir, text }, &Disk, &environment, defaults(flags))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn defaults(flags: &ServerFlags) -> Defaults {
    Defaults { extra_scrape_metrics: flags.feature("extra-scrape-metrics"), protobuf_first: flags.reads_starts() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documents(name: &str, content: &str) -> Documents {
        let versions = [json!({"version": 3, "at_ms": 0, "content": content})];
        serde_json::from_value(json!({name: {"versions": versions}})).unwrap()
    }

    #[test]
    fn the_document_comes_before_the_file_unless_it_is_empty() {
        assert_eq!(Source::of(&Documents::default()).origin, Origin::File);
        assert_eq!(Source::of(&documents("other.yml", "global: {}")).origin, Origin::File);
        assert_eq!(Source::of(&documents(CONFIG_DOCUMENT, " \n")).origin, Origin::File);
        let documents = documents(CONFIG_DOCUMENT, "global: {}");
        let source = Source::of(&documents);
        assert_eq!((source.origin, source.text), (Origin::Document { version: 3 }, "global: {}"));
    }
}
