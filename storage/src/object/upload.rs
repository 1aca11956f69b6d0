//! Writes an object whose size is not known before: small ones in one request, larger ones in parts.

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::{Bucket, ObjectError};

/// Size of a part; what is smaller goes in one request. Services want at least 5 MiB.
pub const UPLOAD_PART_BYTES: usize = 8 << 20;

/// An object being written. It does not exist before [`Upload::finish`]; call [`Upload::abort`] rather than drop it, so
/// that the service does not keep its parts.
pub struct Upload {
    bucket: Bucket,
    key: String,
    buffer: BytesMut,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(bucket: Bucket, key: String) -> Self {
        Self { bucket, key, buffer: BytesMut::new(), parts: None }
    }

    /// Appends bytes; sends a part when one is full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= UPLOAD_PART_BYTES {
            let part = self.buffer.split_to(UPLOAD_PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), ObjectError> {
        if self.parts.is_none() {
            let started = self.bucket.store.put_multipart(&self.bucket.path(&self.key)).await;
            self.parts = Some(self.bucket.seen("put_multipart", &self.key, started)?);
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let len = part.len();
        let sent = parts.put_part(PutPayload::from_bytes(part)).await;
        self.bucket.seen("put_part", &self.key, sent)?;
        self.bucket.metrics.written(len);
        Ok(())
    }

    /// Makes the object exist, durably.
    pub async fn finish(mut self) -> Result<(), ObjectError> {
        let rest = self.buffer.split().freeze();
        if self.parts.is_none() {
            return self.bucket.put(&self.key, rest).await;
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        if let Some(parts) = &mut self.parts {
            let completed = parts.complete().await;
            self.bucket.seen("complete_multipart", &self.key, completed)?;
        }
        self.bucket.sync(&self.key).await
    }

    /// Gives the object up.
    pub async fn abort(mut self) {
        if let Some(parts) = &mut self.parts {
            // The parts of an upload that cannot be aborted are the service's to expire.
            let _ = self.bucket.seen("abort_multipart", &self.key, parts.abort().await);
        }
    }
}
