//! The object store: where data files, indexes and manifests live. A directory, or a bucket of an S3 service.
//!
//! A [`Bucket`] adds to the `object_store` crate what this crate relies on: keys under a prefix, bounded retries and
//! concurrency, counters, and for a directory that an object is on disk when its write has returned, which the crate
//! itself does not promise. Without that a power loss after the head was dropped would lose samples.

mod claim;
mod upload;
mod url;

pub use claim::ClaimError;
pub use upload::{UPLOAD_PART_BYTES, Upload};
pub use url::UrlError;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use prometheus::{IntCounterVec, Opts, Registry};

use crate::fs::FileSystem;
use crate::select::ReadError;

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("object {key} does not exist")]
    NotFound { key: String },
    #[error("object {key}")]
    Store {
        key: String,
        #[source]
        source: object_store::Error,
    },
    #[error("object {key} cannot be made durable")]
    Sync {
        key: String,
        #[source]
        source: std::io::Error,
    },
}

impl From<ObjectError> for ReadError {
    fn from(error: ObjectError) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            text.push_str(&format!(": {source}"));
            cause = source.source();
        }
        Self::ObjectStore(text)
    }
}

/// Whether a conditional write was the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    New,
    Existed,
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where the objects of a local store are files.
    local: Option<LocalRoot>,
    metrics: ObjectMetrics,
}

#[derive(Clone, Debug)]
struct LocalRoot {
    dir: PathBuf,
    files: Arc<dyn FileSystem>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} at `{}`)", self.store, self.prefix)
    }
}

impl Bucket {
    /// Any store, for instance one in memory, under a prefix of keys.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, metrics: ObjectMetrics) -> Self {
        Self { store, prefix: Path::from(prefix), local: None, metrics }
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    /// The whole object.
    pub async fn get(&self, key: &str) -> Result<Bytes, ObjectError> {
        let read = async { self.store.get(&self.path(key)).await?.bytes().await };
        let bytes = self.seen("get", key, read.await)?;
        self.metrics.read(bytes.len());
        Ok(bytes)
    }

    /// Several byte ranges of one object; ranges that lie close are fetched as one.
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ObjectError> {
        let parts = self.seen("get_ranges", key, self.store.get_ranges(&self.path(key), ranges).await)?;
        self.metrics.read(parts.iter().map(Bytes::len).sum());
        Ok(parts)
    }

    /// One byte range of an object.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let bytes = self.seen("get_range", key, self.store.get_range(&self.path(key), range).await)?;
        self.metrics.read(bytes.len());
        Ok(bytes)
    }

    /// Size of an object in bytes.
    pub async fn size(&self, key: &str) -> Result<u64, ObjectError> {
        Ok(self.seen("head", key, self.store.head(&self.path(key)).await)?.size)
    }

    /// Writes an object, replacing one of the same key. Durable when it returns.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let len = bytes.len();
        let put = self.store.put(&self.path(key), PutPayload::from_bytes(bytes)).await;
        self.seen("put", key, put)?;
        self.metrics.written(len);
        self.sync(key).await
    }

    /// Writes an object unless there is one of that key. Durable when it returns [`Created::New`].
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, ObjectError> {
        let len = bytes.len();
        let put = self.store.put_opts(&self.path(key), PutPayload::from_bytes(bytes), PutMode::Create.into()).await;
        if let Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) = put {
            return Ok(Created::Existed);
        }
        self.seen("create", key, put)?;
        self.metrics.written(len);
        self.sync(key).await?;
        Ok(Created::New)
    }

    /// Starts writing an object of unknown size.
    pub fn upload(&self, key: &str) -> Upload {
        Upload::new(self.clone(), key.to_owned())
    }

    /// Removes an object; one that is not there is as good as removed.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        match self.store.delete(&self.path(key)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => self.seen("delete", key, other),
        }
    }

    /// Keys below a folder, sorted. Only for recovery: normal operation lists nothing.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let own = self.prefix.parts().count();
        let listed: Result<Vec<_>, _> = self.store.list(Some(&self.path(folder))).try_collect().await;
        let key = |path: Path| path.parts().skip(own).collect::<Path>().to_string();
        let mut keys: Vec<_> = self.seen("list", folder, listed)?.into_iter().map(|meta| key(meta.location)).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Makes a file and the folders it may have been the first in durable.
    async fn sync(&self, key: &str) -> Result<(), ObjectError> {
        let Some(LocalRoot { dir, files }) = self.local.clone() else { return Ok(()) };
        let relative = self.path(key);
        let work = move || {
            let path = dir.join(relative.as_ref());
            files.open(&path)?.sync()?;
            path.ancestors()
                .skip(1)
                .take_while(|folder| folder.starts_with(&dir))
                .try_for_each(|folder| files.sync_dir(folder))
        };
        let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        done.map_err(|source| ObjectError::Sync { key: key.to_owned(), source })
    }

    fn seen<T>(&self, operation: &str, key: &str, result: object_store::Result<T>) -> Result<T, ObjectError> {
        let outcome = match &result {
            Ok(_) => "ok",
            Err(object_store::Error::NotFound { .. }) => "not_found",
            Err(_) => "error",
        };
        self.metrics.operations.with_label_values(&[operation, outcome]).inc();
        result.map_err(|source| match source {
            object_store::Error::NotFound { .. } => ObjectError::NotFound { key: key.to_owned() },
            source => ObjectError::Store { key: key.to_owned(), source },
        })
    }
}

/// Counters of the object store.
#[derive(Clone, Debug)]
pub struct ObjectMetrics {
    operations: IntCounterVec,
    bytes: IntCounterVec,
}

impl ObjectMetrics {
    /// Registers the counters. Fails only when they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        Ok(Self {
            operations: counters(
                "pharos_object_store_operations_total",
                "Operations on the object store by kind and outcome.",
                &["operation", "outcome"],
            )?,
            bytes: counters(
                "pharos_object_store_bytes_total",
                "Bytes read from and written to the object store.",
                &["direction"],
            )?,
        })
    }

    fn read(&self, bytes: usize) {
        self.bytes.with_label_values(&["read"]).inc_by(bytes as u64);
    }

    fn written(&self, bytes: usize) {
        self.bytes.with_label_values(&["written"]).inc_by(bytes as u64);
    }
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;
