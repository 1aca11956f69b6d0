//! A consistent copy of one tenant's data in one partition, as the admin API's `snapshot` gives it.
//!
//! The copy is an object store in a directory, laid out as the real one: data files, indexes, a manifest and its pointer.
//! What is still in the head is written as data files too. A node pointed at it with an empty log serves the same samples.
//! Objects are copied, not linked: the source may be on another device or in another service.

use std::sync::Arc;

use pharos_model::{BlockSpan, TenantId, TimeRange};

use crate::manifest::{Catalog, FileEntry, Manifest, MemoryPointers, Owner, data_key};
use crate::object::{Bucket, ObjectError};
use crate::partition::Partition;
use crate::seal::{SealError, SliceFile, file_entry};
use crate::select::off_thread;

/// Bytes of an object that are copied at one time.
const COPY_BYTES: u64 = 8 << 20;
/// Slices that a head is cut into at most. A head holds hours, or a few days of history.
const HEAD_SLICES_MAX: usize = 1_024;

/// What to copy, and where from.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub partition: &'a Arc<Partition>,
    pub catalog: &'a Catalog,
    /// Width of the slices that the head's samples are written in.
    pub slice_ms: i64,
    /// Who writes the copy; part of the names of new files.
    pub owner: Owner,
    /// Whether what is still in the head is copied too.
    pub with_head: bool,
}

impl Snapshot<'_> {
    /// Copies to `target`, an empty directory opened as a bucket. Returns the manifest of the copy. An interrupted copy is of no
    /// use and can be removed; its pointer is written last.
    pub async fn write(&self, tenant: &TenantId, target: &Bucket) -> Result<Arc<Manifest>, SealError> {
        // The head first: a slice that moves to a file in between is in the manifest then, and covered once. Nothing is deleted
        // in between: the manifest would have a tombstone that the head's files are not concerned by.
        let change = self.catalog.change().await;
        let mut head_files = Vec::new();
        for span in self.head_slices(tenant).await? {
            head_files.extend(self.write_slice(tenant, target, span).await?);
        }
        let manifest = self.catalog.current(tenant).await?;
        drop(change);
        let (copied, left_over) = manifest.copied_with(head_files);
        for file in left_over {
            target.delete(&file.key).await?;
            target.delete(&file.index_key()).await?;
        }
        for file in &manifest.files {
            copy(self.catalog.bucket(), target, &file.key, file.bytes).await?;
            copy(self.catalog.bucket(), target, &file.index_key(), file.index_bytes).await?;
        }
        let pointers = Arc::new(MemoryPointers::default());
        let made = Catalog::new(self.catalog.partition(), target.clone(), pointers, i64::MAX);
        Ok(made.change().await.install(tenant, copied, self.owner).await?)
    }

    async fn head_slices(&self, tenant: &TenantId) -> Result<Vec<BlockSpan>, SealError> {
        if !self.with_head {
            return Ok(Vec::new());
        }
        let (partition, of, slice_ms) = (Arc::clone(self.partition), tenant.clone(), self.slice_ms);
        let slices = off_thread(move || Ok(partition.occupied_slices(&of, slice_ms, HEAD_SLICES_MAX + 1))).await?;
        if slices.len() > HEAD_SLICES_MAX {
            return Err(SealError::TooManySlices { tenant: tenant.clone(), max: HEAD_SLICES_MAX });
        }
        Ok(slices)
    }

    async fn write_slice(
        &self,
        tenant: &TenantId,
        target: &Bucket,
        span: BlockSpan,
    ) -> Result<Option<FileEntry>, SealError> {
        let (partition, of) = (Arc::clone(self.partition), tenant.clone());
        let series = off_thread(move || Ok(partition.slice(&of, span))).await?;
        let key = data_key(tenant, self.catalog.partition(), span, 0, self.owner);
        let range = TimeRange::new(span.start_ms, span.end_ms - 1);
        let written = SliceFile { key: key.clone(), series, range }.write(target).await?;
        Ok(written.map(|summary| file_entry(key, span, self.owner, 0, &summary)))
    }
}

async fn copy(source: &Bucket, target: &Bucket, key: &str, bytes: u64) -> Result<(), ObjectError> {
    let mut upload = target.upload(key);
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + COPY_BYTES);
        upload.write(&source.get_range(key, at..end).await?).await?;
        at = end;
    }
    upload.finish().await
}

#[cfg(test)]
mod tests;
