//! Open data files, kept while there is room.
//!
//! What is kept of a file is its index, all that is needed to find and check its pages. Queries hold the files they use
//! by `Arc`, so the limit bounds what is kept for the next query, and eviction is by least recent use. Tables that indexes have in
//! common are held once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::index::CommonTables;
use super::reader::{DataFile, FileIdentity, IndexOrigin};
use crate::metrics::StorageMetrics;
use crate::object::Bucket;
use crate::select::ReadError;

/// Default limit of memory for kept files, in bytes.
pub const FILE_CACHE_BYTES_MAX: usize = 256 << 20;

/// Open files of all partitions of a node.
#[derive(Debug)]
pub struct FileCache {
    bytes_max: usize,
    metrics: StorageMetrics,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<String, Entry>,
    tables: CommonTables,
    /// Of all files, with each table once.
    bytes: usize,
    /// Counts uses; the entry with the smallest is the least recently used.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<DataFile>,
    /// Besides tables that other files may have too.
    own_bytes: usize,
    used: u64,
}

impl FileCache {
    pub fn new(bytes_max: usize, metrics: StorageMetrics) -> Self {
        Self { bytes_max, metrics, kept: Mutex::default() }
    }

    /// The open file, from memory if it is there.
    pub(crate) async fn open(&self, bucket: &Bucket, identity: &FileIdentity) -> Result<Arc<DataFile>, ReadError> {
        if let Some(file) = self.kept.lock().touch(&identity.key) {
            self.metrics.index_cache_hits.inc();
            return Ok(file);
        }
        self.metrics.index_cache_misses.inc();
        let (file, origin) = DataFile::open(bucket, identity).await?;
        if origin == IndexOrigin::Rebuilt {
            self.metrics.index_rebuilds.inc();
        }
        let mut kept = self.kept.lock();
        let file = kept.insert(identity.key.clone(), file, self.bytes_max);
        self.metrics.index_cache_bytes.set(kept.bytes as i64);
        Ok(file)
    }

    /// Forgets files that are no longer in any manifest.
    pub fn forget(&self, keys: &[String]) {
        let mut kept = self.kept.lock();
        keys.iter().for_each(|key| kept.remove(key));
        self.metrics.index_cache_bytes.set(kept.bytes as i64);
    }
}

impl Kept {
    fn touch(&mut self, key: &str) -> Option<Arc<DataFile>> {
        self.uses += 1;
        let entry = self.files.get_mut(key)?;
        entry.used = self.uses;
        Some(Arc::clone(&entry.file))
    }

    fn insert(&mut self, key: String, mut file: DataFile, bytes_max: usize) -> Arc<DataFile> {
        self.remove(&key);
        if file.memory_bytes() + key.len() > bytes_max {
            return Arc::new(file);
        }
        let (own_bytes, of_tables) = file.hold_tables(&mut self.tables);
        let own_bytes = own_bytes + key.len();
        while self.bytes + own_bytes + of_tables > bytes_max {
            let oldest = self.files.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            match oldest {
                Some(oldest) => self.remove(&oldest),
                None => break,
            }
        }
        self.uses += 1;
        self.bytes += own_bytes + of_tables;
        let file = Arc::new(file);
        self.files.insert(key, Entry { file: Arc::clone(&file), own_bytes, used: self.uses });
        file
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.files.remove(key) {
            self.bytes -= entry.own_bytes + self.tables.release(entry.file.index());
        }
    }
}
