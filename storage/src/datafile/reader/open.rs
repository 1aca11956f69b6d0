//! Opens a data file by its index, and makes the index anew when it is missing or damaged.

use tracing::warn;

use super::super::index::{CommonTables, Index};
use super::super::rebuild::rebuild_index;
use super::super::schema::SampleColumn;
use crate::manifest::FileEntry;
use crate::object::{Bucket, ObjectError};
use crate::select::{ReadError, off_thread};

/// An open data file: its index is in memory, its pages are fetched as they are wanted.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub(super) key: String,
    pub(super) index: Index,
    /// First row of each page of each sample column.
    pub(super) page_firsts: [Vec<u32>; SampleColumn::ALL.len()],
}

/// What the manifest says that a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    pub key: String,
    pub index_key: String,
    pub bytes: u64,
    pub crc: u32,
    pub rows: u64,
}

impl From<&FileEntry> for FileIdentity {
    fn from(entry: &FileEntry) -> Self {
        let FileEntry { key, bytes, crc, rows, .. } = entry;
        Self { key: key.clone(), index_key: entry.index_key(), bytes: *bytes, crc: *crc, rows: *rows }
    }
}

/// Whether the index came from its object or had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexOrigin {
    Object,
    Rebuilt,
}

impl DataFile {
    /// Opens a file. The index must be of exactly this file; else it is rebuilt, which reads the file once.
    pub(crate) async fn open(bucket: &Bucket, identity: &FileIdentity) -> Result<(Self, IndexOrigin), ReadError> {
        let reason = match bucket.get(&identity.index_key).await {
            Ok(bytes) => match off_thread(move || Ok(Index::open(&bytes))).await? {
                Ok(index) if index.is_of(identity) => return Ok((Self::new(identity, index), IndexOrigin::Object)),
                Ok(_) => "it belongs to another data file".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(ObjectError::NotFound { .. }) => "it does not exist".to_owned(),
            Err(error) => return Err(error.into()),
        };
        warn!(index = %identity.index_key, reason, "rebuilding index from its data file");
        let index = rebuild_index(bucket, identity).await?;
        Ok((Self::new(identity, index), IndexOrigin::Rebuilt))
    }

    fn new(identity: &FileIdentity, index: Index) -> Self {
        let page_firsts = SampleColumn::ALL.map(|column| {
            let mut first = 0;
            let firsts = index.pages(column).iter().map(|page| {
                let this = first;
                first += page.rows;
                this
            });
            firsts.collect()
        });
        Self { key: identity.key.clone(), index, page_firsts }
    }

    /// Bytes held in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.page_firsts.iter().map(|firsts| firsts.len() * 4).sum::<usize>()
    }

    /// Has `common` hold the tables of the index. Returns the bytes of the file itself, and those that its tables
    /// take more than before.
    pub(crate) fn hold_tables(&mut self, common: &mut CommonTables) -> (usize, usize) {
        let own = self.index.own_bytes() + self.page_firsts.iter().map(|firsts| firsts.len() * 4).sum::<usize>();
        (own, common.hold(&mut self.index))
    }
}

impl Index {
    fn is_of(&self, identity: &FileIdentity) -> bool {
        self.file.bytes == identity.bytes && self.file.crc == identity.crc && self.len() as u64 == identity.rows
    }
}
