//! Configuration as documents: text with a name, versions, and compare-and-set. What the text means is for others to know.
//!
//! Invariants: versions of a document count from 1 without a gap and never change; the newest is current. Older ones are kept
//! as far as [`DOCUMENT_VERSIONS_MAX`] and [`DOCUMENTS_BYTES_MAX`] let them. A document is taken back by making it empty.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::topology::CHANGES_MAX;

/// Most documents.
pub const DOCUMENTS_MAX: usize = 64;
/// Longest name of a document in bytes.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 64;
/// Longest content of one version in bytes: as JSON it fits an entry.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Versions that are kept, the current one too.
pub const DOCUMENT_VERSIONS_MAX: usize = 10;
/// Most bytes of all versions of all documents together.
pub const DOCUMENTS_BYTES_MAX: usize = 8 << 20;

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: u64,
    /// When it was asked for, in milliseconds since 1970 by the clock of the node that was asked.
    pub at_ms: i64,
    /// The version whose content was taken again, if this is a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    pub content: String,
}

/// A document with the versions that are kept, oldest first, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    versions: VecDeque<Version>,
}

/// All documents by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Documents {
    by_name: BTreeMap<String, Document>,
}

/// Why no version was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unchanged {
    /// The document is at this version; 0 when there is none.
    Conflict(u64),
    /// It is at this version, and the one after the expected is not kept: this change may have made it, when it was asked for before.
    Overtaken(u64),
    Refused(String),
}

impl Document {
    pub fn current(&self) -> &Version {
        self.versions.back().expect("a document has a version")
    }

    /// The versions that are kept, oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions.iter()
    }

    pub fn version(&self, version: u64) -> Option<&Version> {
        self.versions.iter().find(|kept| kept.version == version)
    }

    /// What to say to somebody who expects another version.
    fn conflict(&self, expected: u64) -> Unchanged {
        let current = self.current().version;
        let oldest = self.versions.front().map_or(current, |oldest| oldest.version);
        if oldest > expected.saturating_add(1) { Unchanged::Overtaken(current) } else { Unchanged::Conflict(current) }
    }

    fn bytes(&self) -> usize {
        self.versions.iter().map(|version| version.content.len()).sum()
    }
}

impl Documents {
    pub fn get(&self, name: &str) -> Option<&Document> {
        self.by_name.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.by_name.iter().map(|(name, document)| (name.as_str(), document))
    }

    /// Bytes of all contents.
    pub fn bytes(&self) -> usize {
        self.by_name.values().map(Document::bytes).sum()
    }

    /// Makes `content` current if the document is at version `expected`, 0 when there is none.
    pub(super) fn put(&mut self, name: &str, expected: u64, content: String, at_ms: i64) -> Result<Version, Unchanged> {
        check_name(name)?;
        let document = self.by_name.get(name);
        // The same change again, by somebody who did not learn how the first one ended. Others may have changed the document since: then
        // it is told by its time, too.
        let written = document.and_then(|document| document.version(expected.saturating_add(1)));
        let newest = document.map_or(0, |document| document.current().version);
        let repeated = written.filter(|written| {
            let same = written.content == content && written.rolled_back_to.is_none();
            same && (written.version == newest || written.at_ms == at_ms)
        });
        match repeated {
            Some(written) => Ok(written.clone()),
            None => self.add(name, expected, Version { version: 0, at_ms, rolled_back_to: None, content }),
        }
    }

    /// Makes the content of version `to` current again, as a new version, if the document is at version `expected`.
    pub(super) fn roll_back(&mut self, name: &str, expected: u64, to: u64, at_ms: i64) -> Result<Version, Unchanged> {
        let Some(document) = self.by_name.get(name) else { return Err(Unchanged::Conflict(0)) };
        let current = document.current();
        let written = document.version(expected.saturating_add(1));
        let repeated = written.filter(|written| {
            written.rolled_back_to == Some(to) && (written.version == current.version || written.at_ms == at_ms)
        });
        if let Some(written) = repeated {
            return Ok(written.clone());
        }
        if current.version != expected {
            return Err(document.conflict(expected));
        }
        let Some(old) = document.version(to) else {
            let kept = document.versions.front().map_or(0, |oldest| oldest.version);
            return Err(Unchanged::Refused(format!(
                "version {to} of document {name} is not kept, {kept} to {} are",
                current.version
            )));
        };
        let content = old.content.clone();
        self.add(name, expected, Version { version: 0, at_ms, rolled_back_to: Some(to), content })
    }

    fn add(&mut self, name: &str, expected: u64, mut version: Version) -> Result<Version, Unchanged> {
        let current = self.by_name.get(name).map_or(0, |document| document.current().version);
        if current != expected {
            let conflict = |document: &Document| document.conflict(expected);
            return Err(self.by_name.get(name).map_or(Unchanged::Conflict(0), conflict));
        }
        if version.content.len() > DOCUMENT_BYTES_MAX {
            let bytes = version.content.len();
            return Err(Unchanged::Refused(format!("document of {bytes} bytes, allowed are {DOCUMENT_BYTES_MAX}")));
        }
        if current == 0 && self.by_name.len() >= DOCUMENTS_MAX {
            return Err(Unchanged::Refused(format!("there are {DOCUMENTS_MAX} documents, no more are kept")));
        }
        let own = self.by_name.get(name);
        let others = self.bytes() - own.map_or(0, Document::bytes);
        let needed = own.map_or(0, |document| document.current().content.len()) + version.content.len();
        if others + needed > DOCUMENTS_BYTES_MAX {
            return Err(Unchanged::Refused(format!(
                "all documents would take more than {DOCUMENTS_BYTES_MAX} bytes, old versions included: the others take {others}"
            )));
        }
        version.version = current + 1;
        let document = self.by_name.entry(name.to_owned()).or_insert_with(|| Document { versions: VecDeque::new() });
        document.versions.push_back(version.clone());
        // The one before stays whatever it takes, for the way back.
        while document.versions.len() > DOCUMENT_VERSIONS_MAX || others + document.bytes() > DOCUMENTS_BYTES_MAX {
            document.versions.pop_front();
        }
        Ok(version)
    }

    /// The reason why documents that were read are none that commands lead to.
    pub(super) fn invalid(&self) -> Option<String> {
        let broken = |document: &Document| {
            let follows = |(old, new): (&Version, &Version)| old.version.checked_add(1) == Some(new.version);
            let mut pairs = document.versions.iter().zip(document.versions.iter().skip(1));
            let current = document.versions.back().map_or(0, |current| current.version);
            current == 0 || current > CHANGES_MAX || !pairs.all(follows)
        };
        let broken = self.by_name.iter().find(|(_, document)| broken(document));
        broken.map(|(name, _)| format!("versions of document {name} do not follow each other"))
    }
}

fn check_name(name: &str) -> Result<(), Unchanged> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if name.is_empty() || name.len() > DOCUMENT_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(Unchanged::Refused(format!(
            "document names have 1 to {DOCUMENT_NAME_BYTES_MAX} of the characters a-z A-Z 0-9 - _ . /"
        )));
    }
    Ok(())
}
