//! What a query asks of one partition: samples, series, label names and values.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use pharos_model::{LabelSet, Matcher, TenantId, Texts, TimeRange, TimestampMs};

use super::off_thread::{Caller, off_thread_for};
use super::selection::{ROWS_PER_CHECK, SelectedFile};
use super::{ReadError, SelectRequest, Selection};
use crate::amendments::Revision;
use crate::datafile::{FileCache, FileIdentity};
use crate::head::HeadSelection;
use crate::manifest::{Catalog, FileEntry, Manifest, ManifestError};
use crate::partition::Partition;

/// Files whose indexes are opened at one time.
const OPENS_AT_ONCE: usize = 16;

/// Bytes of indexes, in memory, that selections which are made together need: they are held until the last of them is read.
const INDEX_BYTES_TOGETHER_MAX: u64 = 24 << 20;
/// What a row of an index is reckoned to take, and its place in a selection. An index object is compressed to a fraction of that.
const ROW_BYTES: u64 = 48;

/// Bytes of heads' selections that are made together, the last of them left out.
const HEAD_BYTES_TOGETHER_MAX: usize = 16 << 20;

/// Reads one partition's head and data files as one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PartitionReader {
    partition: Arc<Partition>,
    catalog: Arc<Catalog>,
    cache: Arc<FileCache>,
}

/// The state of a partition that a reader relies on. Means something to the process that said it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relied {
    pub head: Revision,
    pub files: Revision,
}

/// Totals of a tenant's data files in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStats {
    pub files: usize,
    /// Of each file; a series in two files counts twice.
    pub rows: u64,
    pub samples: u64,
    /// Data files and indexes.
    pub bytes: u64,
    /// First and last sample.
    pub times: Option<(TimestampMs, TimestampMs)>,
}

impl PartitionReader {
    pub fn new(partition: Arc<Partition>, catalog: Arc<Catalog>, cache: Arc<FileCache>) -> Self {
        Self { partition, catalog, cache }
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Has changes to samples at or before a time noted from now on: what is selected after this has all that are not noted. `since`
    /// is what an earlier call returned; the ranges are where samples have changed since.
    pub async fn rely(
        &self,
        tenant: &TenantId,
        until_ms: TimestampMs,
        since: Option<Relied>,
    ) -> Result<(Relied, Vec<TimeRange>), ReadError> {
        let mut files = self.catalog.rely(tenant, until_ms, since.map(|since| since.files)).await?;
        let head = self.partition.rely(tenant, until_ms, since.map(|since| since.head));
        files.amended.extend(head.amended);
        Ok((Relied { head: head.revision, files: files.revision }, files.amended))
    }

    /// The matching series that may have samples in the range. Reads indexes, no samples.
    pub async fn select(&self, request: &SelectRequest) -> Result<Selection, ReadError> {
        let mut selections = Self::select_some(vec![self.clone()], request).await?;
        Ok(selections.pop().expect("there is a selection for each reader"))
    }

    /// [`Self::select`] of several partitions, in their order: of the first ones, as many as may be held together. Goes to a blocking thread once for all heads that may have
    /// something and once for all files, not once for each partition.
    pub async fn select_some(mut readers: Vec<Self>, request: &SelectRequest) -> Result<Vec<Selection>, ReadError> {
        readers.truncate(count_within(readers.iter().map(|reader| reader.known_index_bytes(request))));
        // Before the manifests: see the module.
        let heads = Self::select_heads(&readers, request).await?;
        readers.truncate(heads.len());
        let files = Self::open_many(&readers, &request.tenant, request.range).await?;
        let buckets: Vec<_> = readers.iter().map(|reader| reader.catalog.bucket().clone()).collect();
        let are_heads_alone = files.iter().all(Vec::is_empty);
        let request = request.clone();
        let join = move |caller: &Caller| {
            let parts = buckets.into_iter().zip(heads).zip(files);
            parts.map(|((bucket, head), files)| Selection::new(bucket, Some(head), files, &request, caller)).collect()
        };
        if are_heads_alone { join(&Caller::default()) } else { off_thread_for(join).await }
    }

    /// Bytes of the indexes that a selection needs, as far as this node knows the files by now.
    fn known_index_bytes(&self, request: &SelectRequest) -> u64 {
        let manifest = self.catalog.known(&request.tenant);
        let in_memory = |file: &FileEntry| file.index_bytes.max(file.rows * ROW_BYTES);
        manifest.map_or(0, |manifest| manifest.files_in(request.range).map(in_memory).sum())
    }

    /// Selections of the heads of the first readers: as many as may be held together.
    async fn select_heads(readers: &[Self], request: &SelectRequest) -> Result<Vec<HeadSelection>, ReadError> {
        let mut heads: Vec<_> = readers.iter().map(|reader| reader.partition.select_none(request)).collect();
        let left: Vec<_> = readers.iter().zip(&heads).filter(|(_, head)| head.is_none()).collect();
        let left: Vec<_> = left.into_iter().map(|(reader, _)| Arc::clone(&reader.partition)).collect();
        if !left.is_empty() {
            let request = request.clone();
            let selected = off_thread_for(move |caller| {
                let (mut selected, mut bytes) = (Vec::with_capacity(left.len()), 0);
                for partition in left {
                    if bytes > HEAD_BYTES_TOGETHER_MAX {
                        break;
                    }
                    caller.check()?;
                    let head = partition.select(&request);
                    bytes += head.memory_bytes();
                    selected.push(head);
                }
                Ok(selected)
            });
            let places = heads.iter_mut().filter(|head| head.is_none());
            places.zip(selected.await?).for_each(|(place, head)| *place = Some(head));
        }
        Ok(heads.into_iter().map_while(|head| head).collect())
    }

    /// Names of the labels that matching series of some partitions have, in sorted lists.
    pub async fn label_names(readers: Vec<Self>, request: &SelectRequest) -> Result<Vec<Texts>, ReadError> {
        let of_head = |partition: &Partition, request: &SelectRequest, _: &Caller| Ok(partition.label_names(request));
        let of_file = |selected: &SelectedFile, rows: &[u32], names: &mut BTreeSet<String>| {
            selected.file.index().names_of(rows, names);
        };
        let (heads, files) = Self::look_up(readers, request, of_head, of_file).await?;
        Ok(with_files(heads, &files))
    }

    /// Values of one label among matching series of some partitions, in sorted lists.
    pub async fn label_values(
        readers: Vec<Self>,
        name: &str,
        request: &SelectRequest,
    ) -> Result<Vec<Texts>, ReadError> {
        let label: Arc<str> = name.into();
        let of_head = {
            let label = Arc::clone(&label);
            move |partition: &Partition, request: &SelectRequest, _: &Caller| Ok(partition.label_values(&label, request))
        };
        let of_file = move |selected: &SelectedFile, rows: &[u32], values: &mut BTreeSet<String>| {
            selected.file.index().values_of(&label, rows, values);
        };
        let (heads, files) = Self::look_up(readers, request, of_head, of_file).await?;
        Ok(with_files(heads, &files))
    }

    /// Sorted label sets of matching series of some partitions, at most `limit`.
    pub async fn series(
        readers: Vec<Self>,
        request: &SelectRequest,
        limit: usize,
    ) -> Result<BTreeSet<LabelSet>, ReadError> {
        let of_head = move |partition: &Partition, request: &SelectRequest, caller: &Caller| {
            partition.series(request, limit, caller)
        };
        let of_file = move |selected: &SelectedFile, rows: &[u32], series: &mut BTreeSet<LabelSet>| {
            let mut bytes = Vec::new();
            for &row in rows {
                if series.len() >= limit {
                    break;
                }
                selected.file.index().label_bytes(row, &mut bytes);
                series.insert(LabelSet::from_canonical_trusted(&bytes));
            }
        };
        let (heads, mut series) = Self::look_up(readers, request, of_head, of_file).await?;
        series.extend(heads.into_iter().flatten());
        while series.len() > limit {
            series.pop_last();
        }
        Ok(series)
    }

    /// Asks all heads, then lets `of_file` see the matching rows of every file that has any, some at a time. Goes to a blocking thread once for the
    /// heads and once for the files.
    async fn look_up<H: Send + 'static, F: Default + Send + 'static>(
        readers: Vec<Self>,
        request: &SelectRequest,
        of_head: impl Fn(&Partition, &SelectRequest, &Caller) -> Result<H, ReadError> + Send + 'static,
        of_file: impl Fn(&SelectedFile, &[u32], &mut F) + Send + 'static,
    ) -> Result<(Vec<H>, F), ReadError> {
        let partitions: Vec<_> = readers.iter().map(|reader| Arc::clone(&reader.partition)).collect();
        let of_heads = request.clone();
        let ask = move |caller: &Caller| {
            let one = |partition: &Arc<Partition>| caller.check().and_then(|()| of_head(partition, &of_heads, caller));
            partitions.iter().map(one).collect()
        };
        // Before the manifests: see the module.
        let heads = off_thread_for(ask).await?;
        let files = Self::open_many(&readers, &request.tenant, request.range).await?;
        if files.iter().all(Vec::is_empty) {
            return Ok((heads, F::default()));
        }
        let request = request.clone();
        let found = off_thread_for(move |caller| {
            let mut found = F::default();
            for selected in files.iter().flatten() {
                let mut rows = selected.file.index().select(&request.matchers, request.range);
                selected.drop_deleted(&mut rows, request.range);
                for rows in rows.chunks(ROWS_PER_CHECK) {
                    caller.check()?;
                    of_file(selected, rows, &mut found);
                }
            }
            Ok(found)
        });
        Ok((heads, found.await?))
    }

    /// Totals of the tenant's data files.
    pub async fn file_stats(&self, tenant: &TenantId) -> Result<FileStats, ReadError> {
        let manifest = self.catalog.current(tenant).await?;
        Ok(manifest.files.iter().fold(FileStats::default(), |stats, file| FileStats {
            files: stats.files + 1,
            rows: stats.rows + file.rows,
            samples: stats.samples + file.samples,
            bytes: stats.bytes + file.bytes + file.index_bytes,
            times: Some(
                stats.times.map_or((file.min_ts, file.max_ts), |(first, last)| {
                    (first.min(file.min_ts), last.max(file.max_ts))
                }),
            ),
        }))
    }

    /// Opens the files of some partitions that may have samples in the range, oldest first.
    async fn open_many(
        readers: &[Self],
        tenant: &TenantId,
        range: TimeRange,
    ) -> Result<Vec<Vec<SelectedFile>>, ReadError> {
        let catalogs: Vec<_> = readers.iter().map(|reader| &reader.catalog).collect();
        let manifests = Catalog::current_of(&catalogs, tenant).await?;
        let opens = readers.iter().cloned().zip(manifests).map(|(reader, manifest)| async move {
            if manifest.files.is_empty() { Ok(Vec::new()) } else { reader.open(&manifest, range).await }
        });
        try_join_all(opens).await
    }

    async fn open(&self, manifest: &Arc<Manifest>, range: TimeRange) -> Result<Vec<SelectedFile>, ReadError> {
        // Owned entries: a closure over borrowed ones makes a future that cannot be boxed as `Send`.
        let entries: Vec<FileEntry> = manifest.files_in(range).cloned().collect();
        let opens = entries.into_iter().map(|entry| {
            let manifest = Arc::clone(manifest);
            async move {
                let file = self.cache.open(self.catalog.bucket(), &FileIdentity::from(&entry)).await?;
                Ok(SelectedFile { file, hidden: hidden_in(&manifest, &entry)? })
            }
        });
        stream::iter(opens).buffered(OPENS_AT_ONCE).try_collect().await
    }
}

/// How many of the first needs fit together, at least one.
pub(super) fn count_within(needs: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0u64;
    let fit = needs.take_while(|bytes| {
        sum = sum.saturating_add(*bytes);
        sum <= INDEX_BYTES_TOGETHER_MAX
    });
    fit.count().max(1)
}

/// What heads and files answered.
fn with_files(mut heads: Vec<Texts>, files: &BTreeSet<String>) -> Vec<Texts> {
    if !files.is_empty() {
        heads.push(files.iter().map(String::as_str).collect());
    }
    heads
}

/// What tombstones hide of a file.
fn hidden_in(manifest: &Manifest, entry: &FileEntry) -> Result<Vec<(Vec<Matcher>, TimeRange)>, ReadError> {
    let of_file = manifest.tombstones.iter().filter(|tombstone| tombstone.concerns(entry));
    let hidden = of_file.map(|tombstone| Ok((tombstone.matchers()?, tombstone.range())));
    hidden.collect::<Result<_, ManifestError>>().map_err(|error| ReadError::DataFile {
        file: entry.key.clone(),
        reason: format!("a tombstone of the manifest cannot be read: {error}"),
    })
}
