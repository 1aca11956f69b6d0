//! Which data files a tenant has in a partition: an immutable object for each version.
//!
//! The metadata group holds the [`ManifestPointer`] to the current version; swapping it is what makes a change happen.
//! Nothing is found by listing. Everything here is a pure function of a manifest; reading is [`Catalog`]'s, committing [`Change`]'s.
//! Layout and object names: `docs/format/manifest.md`.
//!
//! Invariants: versions count up by one; no two files of one level cover the same time; an object that was ever named is
//! either named now, or retired with the time since when, or deleted.

mod catalog;
mod change;
mod pointer;
mod sweep;

pub use catalog::{Catalog, CommitError};
pub use change::{COMMIT_ATTEMPTS_MAX, Change};
pub use pointer::{ManifestPointer, MemoryPointers, PointerError, PointerStore, Swap};

use pharos_model::regex::RegexError;
use pharos_model::{BlockSpan, MatchOp, Matcher, PartitionId, TenantId, TimeRange, TimestampMs};
use serde::{Deserialize, Serialize};

/// The format that this code writes, and the only one it reads so far.
const FORMAT: u32 = 1;
/// Folder of all objects, with the version of the layout of keys.
pub(crate) const ROOT: &str = "v1";

/// One version of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    pub tenant: String,
    pub partition: u16,
    /// 0 before the first change; that version has no object.
    pub version: u64,
    /// Who changed it last: another node that led in an older term changes nothing any more.
    #[serde(default)]
    pub leader: Option<Owner>,
    /// Sorted by start.
    pub files: Vec<FileEntry>,
    pub tombstones: Vec<Tombstone>,
    /// Objects that no version names any more, oldest first.
    pub retired: Vec<Retired>,
}

/// One data file and its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Key of the data file in the object store. The index has the same with `.idx` for `.parquet`.
    pub key: String,
    /// The slice: start in, end out.
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    /// First and last sample.
    pub min_ts: TimestampMs,
    pub max_ts: TimestampMs,
    /// 0 for a file sealed from the head.
    pub level: u8,
    pub rows: u64,
    pub samples: u64,
    pub bytes: u64,
    pub index_bytes: u64,
    /// CRC-32 of the data file.
    pub crc: u32,
    pub owner: Owner,
    /// The version of the manifest when the file's samples began to be read: younger tombstones apply to it.
    pub read_at_version: u64,
}

/// Who wrote a file. Two leaders never share one, so they never write the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    pub node: u64,
    pub term: u64,
}

/// Deleted series: samples of matching series in the range are not read from files that were there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    pub matchers: Vec<MatcherText>,
    /// Both ends in.
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    /// The version that brought it.
    pub version: u64,
}

/// A matcher as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatcherText {
    pub name: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub op: String,
    pub value: String,
}

/// An object that may be deleted once readers of older versions are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    pub key: String,
    pub since_ms: TimestampMs,
}

/// A change.
#[derive(Clone, Debug)]
pub enum Edit {
    AddFile(FileEntry),
    /// By key; keys that are not there are done already.
    RemoveFiles(Vec<String>),
    Delete {
        matchers: Vec<Matcher>,
        range: TimeRange,
    },
    /// Nothing but the leader: what those before had under way can no longer become current.
    Lead,
}

/// Why bytes are no manifest of a known format.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest")]
    Json(#[from] serde_json::Error),
    #[error("manifest has format {0}, known is {FORMAT}")]
    Format(u32),
    #[error("manifest checksum is {found:08x}, not {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("tombstone has matcher operator `{0}`")]
    Operator(String),
    #[error("tombstone matcher")]
    Regex(#[from] RegexError),
}

impl Manifest {
    /// The state before the first change.
    pub fn empty(tenant: &TenantId, partition: PartitionId) -> Self {
        Self {
            format: FORMAT,
            tenant: tenant.as_str().to_owned(),
            partition: partition.0,
            version: 0,
            leader: None,
            files: Vec::new(),
            tombstones: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The next version, or `None` when the change is there already. The version becomes one more.
    pub fn apply(&self, edit: &Edit, now_ms: TimestampMs) -> Option<Self> {
        let mut next = self.clone();
        next.version += 1;
        match edit {
            Edit::AddFile(file) => {
                if self.covers(file.span(), file.level) {
                    return None;
                }
                let place =
                    next.files.partition_point(|other| (other.start_ms, other.level) < (file.start_ms, file.level));
                next.files.insert(place, file.clone());
            }
            Edit::RemoveFiles(keys) => {
                next.files.retain(|file| !keys.contains(&file.key));
                let gone = self.files.iter().filter(|file| keys.contains(&file.key));
                next.retired.extend(gone.flat_map(|file| {
                    [file.key.clone(), file.index_key()].map(|key| Retired { key, since_ms: now_ms })
                }));
                if next.files.len() == self.files.len() {
                    return None;
                }
            }
            Edit::Delete { matchers, range } => next.tombstones.push(Tombstone {
                matchers: matchers.iter().map(MatcherText::from).collect(),
                start_ms: range.start_ms,
                end_ms: range.end_ms,
                version: next.version,
            }),
            Edit::Lead => {}
        }
        next.drop_idle_tombstones();
        Some(next)
    }

    /// The manifest of a copy that holds these files, and besides them what was in the head. `head_files` that a file
    /// covers are returned as left over.
    pub(crate) fn copied_with(&self, head_files: Vec<FileEntry>) -> (Self, Vec<FileEntry>) {
        let (left_over, kept): (Vec<_>, Vec<_>) =
            head_files.into_iter().partition(|file| self.covers(file.span(), file.level));
        let mut copy = Self { version: self.version + 1, leader: None, retired: Vec::new(), ..self.clone() };
        copy.files.extend(kept.into_iter().map(|file| FileEntry { read_at_version: self.version, ..file }));
        copy.files.sort_by_key(|file| (file.start_ms, file.level));
        (copy, left_over)
    }

    /// Forgets tombstones that apply to no file any more.
    fn drop_idle_tombstones(&mut self) {
        let files = &self.files;
        self.tombstones.retain(|tombstone| files.iter().any(|file| tombstone.concerns(file)));
    }

    /// Whether a file of this level covers the span.
    pub fn covers(&self, span: BlockSpan, level: u8) -> bool {
        self.files
            .iter()
            .any(|file| file.level == level && file.start_ms <= span.start_ms && span.end_ms <= file.end_ms)
    }

    /// Whether another node has led in a later term than this owner. The same node in an earlier term is one whose group had to begin
    /// anew.
    pub(crate) fn deposes(&self, owner: Owner) -> bool {
        self.leader.is_some_and(|leader| leader.node != owner.node && leader.term > owner.term)
    }

    /// Files that may have samples in the range, oldest first.
    pub fn files_in(&self, range: TimeRange) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(move |file| TimeRange::new(file.min_ts, file.max_ts).overlaps(range))
    }

    /// Where samples read otherwise than by an earlier version. A file that comes is sealed from the head, and says what that has said.
    pub(crate) fn amends(&self, before: &Self) -> Vec<TimeRange> {
        let gone = before.files.iter().filter(|file| self.files.iter().all(|kept| kept.key != file.key));
        let gone = gone.map(|file| TimeRange::new(file.min_ts, file.max_ts));
        let deleted = self.tombstones.iter().filter(|tombstone| tombstone.version > before.version);
        gone.chain(deleted.map(Tombstone::range)).collect()
    }

    /// Bytes of all files and their indexes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes + file.index_bytes).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data")
    }

    /// Reads a manifest that the pointer says has this checksum.
    pub(crate) fn decode(bytes: &[u8], expected: u32) -> Result<Self, ManifestError> {
        let found = crc32fast::hash(bytes);
        if found != expected {
            return Err(ManifestError::Checksum { expected, found });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.format != FORMAT {
            return Err(ManifestError::Format(manifest.format));
        }
        Ok(manifest)
    }
}

impl FileEntry {
    pub fn span(&self) -> BlockSpan {
        BlockSpan { start_ms: self.start_ms, end_ms: self.end_ms }
    }

    pub fn index_key(&self) -> String {
        index_key(&self.key)
    }
}

impl Tombstone {
    /// Whether it hides anything of the file.
    pub fn concerns(&self, file: &FileEntry) -> bool {
        file.read_at_version < self.version && self.range().overlaps(TimeRange::new(file.min_ts, file.max_ts))
    }

    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.start_ms, self.end_ms)
    }

    pub fn matchers(&self) -> Result<Vec<Matcher>, ManifestError> {
        self.matchers.iter().map(MatcherText::compile).collect()
    }
}

impl MatcherText {
    pub fn compile(&self) -> Result<Matcher, ManifestError> {
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let op = ops.into_iter().find(|op| op.as_str() == self.op);
        Ok(Matcher::new(op.ok_or_else(|| ManifestError::Operator(self.op.clone()))?, &*self.name, &*self.value)?)
    }
}

impl From<&Matcher> for MatcherText {
    fn from(matcher: &Matcher) -> Self {
        Self { name: matcher.name.clone(), op: matcher.op.as_str().to_owned(), value: matcher.value.clone() }
    }
}

/// Folder of one tenant's objects in one partition.
fn folder(tenant: &TenantId, partition: PartitionId) -> String {
    format!("{ROOT}/{tenant}/{:05}", partition.0)
}

/// Key of a data file: the same for every attempt of one owner, different for every owner.
pub fn data_key(tenant: &TenantId, partition: PartitionId, span: BlockSpan, level: u8, owner: Owner) -> String {
    let Owner { node, term } = owner;
    format!("{}/data/{}-{}-l{level}-n{node}-t{term}.parquet", folder(tenant, partition), span.start_ms, span.end_ms)
}

/// Key of the index of a data file.
pub fn index_key(data_key: &str) -> String {
    format!("{}.idx", data_key.strip_suffix(".parquet").unwrap_or(data_key))
}

/// Key of a manifest. Two versions of one number never share it: whichever becomes current is still there.
fn manifest_key(tenant: &TenantId, partition: PartitionId, version: u64, checksum: u32, owner: Owner) -> String {
    let Owner { node, term } = owner;
    format!("{}/manifests/{version:020}-{checksum:08x}-n{node}-t{term}.json", folder(tenant, partition))
}

fn pointer_key(tenant: &TenantId, partition: PartitionId, version: u64) -> String {
    format!("{}/pointers/{version:020}.json", folder(tenant, partition))
}

#[cfg(test)]
mod tests;
