//! Opens the store that a URL names: `file:///DIR` or `s3://BUCKET/PREFIX`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::limit::LimitStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};

use super::{Bucket, LocalRoot, ObjectMetrics};
use crate::fs::FileSystem;

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
        source: std::io::Error,
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
    files.create_dir_all(&dir).map_err(|source| UrlError::Directory { dir: dir.clone(), source })?;
    let store =
        LocalFileSystem::new_with_prefix(&dir).map_err(|source| UrlError::Store { url: url.to_owned(), source })?;
    let local = Some(LocalRoot { dir, files });
    Ok(Bucket { store: Arc::new(store), prefix: Path::default(), local, metrics })
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
