mod seaweed;

use std::sync::Arc;

use prometheus::Registry;

use super::*;
use crate::fs::OsFileSystem;

fn metrics() -> ObjectMetrics {
    ObjectMetrics::register(&Registry::new()).unwrap()
}

fn open(url: &str, environment: &[(&str, &str)]) -> Result<Bucket, UrlError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Bucket::open(url, environment, Arc::new(OsFileSystem), metrics())
}

/// What every store must do; run on each kind.
async fn conforms(bucket: &Bucket) {
    bucket.put("a/b.x", Bytes::from_static(b"one")).await.unwrap();
    bucket.put("a/b.x", Bytes::from_static(b"three")).await.unwrap();
    assert_eq!(bucket.get("a/b.x").await.unwrap(), "three");
    assert_eq!(bucket.size("a/b.x").await.unwrap(), 5);
    assert_eq!(bucket.get_ranges("a/b.x", &[0..2, 3..5]).await.unwrap(), ["th", "ee"]);
    assert_eq!(bucket.create("a/c.x", Bytes::from_static(b"first")).await.unwrap(), Created::New);
    assert_eq!(bucket.create("a/c.x", Bytes::from_static(b"second")).await.unwrap(), Created::Existed);
    assert_eq!(bucket.get("a/c.x").await.unwrap(), "first");
    let mut upload = bucket.upload("a/d.x");
    let piece = vec![7_u8; UPLOAD_PART_BYTES / 3];
    for _ in 0..7 {
        upload.write(&piece).await.unwrap();
    }
    upload.finish().await.unwrap();
    assert_eq!(bucket.size("a/d.x").await.unwrap(), piece.len() as u64 * 7);
    assert_eq!(bucket.get_range("a/d.x", 8_388_600..8_388_620).await.unwrap(), vec![7; 20]);
    assert_eq!(bucket.list("a").await.unwrap(), ["a/b.x", "a/c.x", "a/d.x"]);
    bucket.delete("a/b.x").await.unwrap();
    bucket.delete("a/b.x").await.unwrap();
    assert!(matches!(bucket.get("a/b.x").await, Err(ObjectError::NotFound { .. })));
}

#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = open(&format!("file://{}/made/on/demand", dir.path().display()), &[]).unwrap();
    conforms(&bucket).await;
}

#[tokio::test]
async fn uploads_that_a_crash_cut_off_are_removed_from_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    open(&url, &[]).unwrap().put("v1/t/data/x.parquet", Bytes::from_static(b"whole")).await.unwrap();
    let folder = dir.path().join("v1/t/data");
    for name in ["y.parquet#1", "x.parquet#12"] {
        std::fs::write(folder.join(name), b"part").unwrap();
    }
    std::fs::write(dir.path().join("another's#1"), b"").unwrap();
    open(&url, &[]).unwrap();
    assert_eq!(OsFileSystem.list(&folder).unwrap(), ["x.parquet"]);
    assert_eq!(OsFileSystem.list(dir.path()).unwrap(), ["another's#1", "v1"]);
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&Bucket::new(Arc::new(object_store::memory::InMemory::new()), "some/prefix", metrics())).await;
}

#[test]
fn urls_that_name_no_store_are_refused() {
    for url in ["", "data", "file:relative", "file://relative", "s3://", "gs://bucket/x", "http://host/x"] {
        assert!(matches!(open(url, &[]), Err(UrlError::Unknown(_))), "{url}");
    }
}

#[test]
fn an_endpoint_with_http_is_taken_from_the_environment() {
    for name in ["AWS_ENDPOINT", "AWS_ENDPOINT_URL"] {
        let environment = [
            (name, "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_PAGER", ""),
        ];
        let bucket = open("s3://bucket/some/prefix", &environment).unwrap();
        assert_eq!(bucket.path("a/b").as_ref(), "some/prefix/a/b");
    }
}

#[test]
fn the_text_of_an_error_names_object_and_cause() {
    let error = ObjectError::Sync { key: "a/b".to_owned(), source: std::io::Error::other("disk is gone") };
    assert_eq!(ReadError::from(error).to_string(), "object store: object a/b cannot be made durable: disk is gone");
}
