//! Opens the store that a URL names: `file:///DIR` or `s3://BUCKET/PREFIX`.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::limit::LimitStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};

use super::{Bucket, LocalRoot, ObjectMetrics};
use crate::fs::FileSystem;
use crate::manifest::ROOT;

/// Requests under way at one time.
const CONCURRENCY_MAX: usize = 64;
/// A request is tried again this often, and not after this long.
const RETRIES_MAX: usize = 10;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a URL does not open.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("object store url `{0}` is neither file:///DIR nor s3://BUCKET/PREFIX")]
    Unknown(String),
    #[error("object store directory {}", .dir.display())]
    Directory {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("object store url `{url}`")]
    Store {
        url: String,
        #[source]
        source: object_store::Error,
    },
}

impl Bucket {
    /// Opens a store. `environment` gives the `AWS_*` variables as the usual tools name them, an endpoint override
    /// (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT`) included; an endpoint with `http:` is allowed. A directory is created.
    pub fn open(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        files: Arc<dyn FileSystem>,
        metrics: ObjectMetrics,
    ) -> Result<Self, UrlError> {
        match url.split_once("://") {
            Some(("file", dir)) if dir.starts_with('/') => open_directory(url, PathBuf::from(dir), files, metrics),
            Some(("s3", rest)) if !rest.is_empty() => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                open_s3(url, bucket, prefix, environment, metrics)
            }
            _ => Err(UrlError::Unknown(url.to_owned())),
        }
    }
}

fn open_directory(
    url: &str,
    dir: PathBuf,
    files: Arc<dyn FileSystem>,
    metrics: ObjectMetrics,
) -> Result<Bucket, UrlError> {
    let opened = files.create_dir_all(&dir).and_then(|()| remove_staged(&*files, &dir.join(ROOT)));
    opened.map_err(|source| UrlError::Directory { dir: dir.clone(), source })?;
    let store =
        LocalFileSystem::new_with_prefix(&dir).map_err(|source| UrlError::Store { url: url.to_owned(), source })?;
    let local = Some(LocalRoot { dir, files });
    Ok(Bucket { store: Arc::new(store), prefix: Path::default(), local, metrics })
}

/// Removes what uploads left that a crash cut off: `NAME#NUMBER`, which the store puts in place when it is whole, and never lists.
fn remove_staged(files: &dyn FileSystem, dir: &FilePath) -> io::Result<()> {
    let names = match files.list(dir) {
        // A new store, or an object.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        listed => listed?,
    };
    for name in names {
        let path = dir.join(&name);
        let number = name.rsplit_once('#').map(|(_, number)| number);
        if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
            files.remove_file(&path)?;
        } else {
            remove_staged(files, &path)?;
        }
    }
    Ok(())
}

fn open_s3(
    url: &str,
    bucket: &str,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    metrics: ObjectMetrics,
) -> Result<Bucket, UrlError> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_retry(RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    });
    for (name, value) in environment.into_iter().filter(|(name, _)| name.starts_with("AWS_")) {
        // Variables that are not the store's (AWS_PAGER) are no keys.
        let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        if key == AmazonS3ConfigKey::Endpoint && value.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        builder = builder.with_config(key, value);
    }
    let store = builder.build().map_err(|source| UrlError::Store { url: url.to_owned(), source })?;
    Ok(Bucket::new(Arc::new(LimitStore::new(store, CONCURRENCY_MAX)), prefix, metrics))
}
