//! What a query asks of one partition: samples, series, label names and values.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use pharos_model::{LabelSet, Matcher, TenantId, TimeRange, TimestampMs};

use super::off_thread::{off_thread, off_thread_for};
use super::selection::{ROWS_PER_CHECK, SelectedFile};
use super::{ReadError, SelectRequest, Selection};
use crate::amendments::Revision;
use crate::datafile::{FileCache, FileIdentity};
use crate::manifest::{Catalog, FileEntry, Manifest, ManifestError};
use crate::partition::Partition;

/// Files whose indexes are opened at one time.
const OPENS_AT_ONCE: usize = 16;

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
        let mut selections = Self::select_many(vec![self.clone()], request).await?;
        Ok(selections.pop().expect("there is a selection for each reader"))
    }

    /// [`Self::select`] of several partitions, in their order: goes to a blocking thread twice, however many they are.
    pub async fn select_many(readers: Vec<Self>, request: &SelectRequest) -> Result<Vec<Selection>, ReadError> {
        let partitions: Vec<_> = readers.iter().map(|reader| Arc::clone(&reader.partition)).collect();
        let of_heads = request.clone();
        // Before the manifests: see the module.
        let heads: Vec<_> = off_thread_for(move |caller| {
            let select = |partition: Arc<Partition>| caller.check().map(|()| partition.select(&of_heads));
            partitions.into_iter().map(select).collect()
        })
        .await?;
        let buckets: Vec<_> = readers.iter().map(|reader| reader.catalog.bucket().clone()).collect();
        let opens = readers.into_iter().map(|reader| {
            let (tenant, range) = (request.tenant.clone(), request.range);
            async move { reader.open_files(&tenant, range).await }
        });
        let files = try_join_all(opens).await?;
        let request = request.clone();
        off_thread_for(move |caller| {
            let parts = buckets.into_iter().zip(heads).zip(files);
            parts.map(|((bucket, head), files)| Selection::new(bucket, Some(head), files, &request, caller)).collect()
        })
        .await
    }

    /// Sorted names of the labels that matching series have.
    pub async fn label_names(&self, request: &SelectRequest) -> Result<Vec<String>, ReadError> {
        let (partition, of_head) = (Arc::clone(&self.partition), request.clone());
        let names = off_thread(move || Ok(BTreeSet::from_iter(partition.label_names(&of_head)))).await?;
        let add = |selected: &SelectedFile, rows: &[u32], names: &mut BTreeSet<String>| {
            selected.file.index().names_of(rows, names);
        };
        Ok(self.with_files(request, names, add).await?.into_iter().collect())
    }

    /// Sorted values of one label among matching series.
    pub async fn label_values(&self, name: &str, request: &SelectRequest) -> Result<Vec<String>, ReadError> {
        let (partition, of_head, label) = (Arc::clone(&self.partition), request.clone(), name.to_owned());
        let mut values = off_thread(move || Ok(partition.label_values(&label, &of_head))).await?;
        let label = name.to_owned();
        let add = move |selected: &SelectedFile, rows: &[u32], values: &mut BTreeSet<String>| {
            selected.file.index().values_of(&label, rows, values);
        };
        let of_files = self.with_files(request, BTreeSet::new(), add).await?;
        if !of_files.is_empty() {
            values.extend(of_files);
            values.sort();
            values.dedup();
        }
        Ok(values)
    }

    /// Sorted label sets of matching series, at most `limit`.
    pub async fn series(&self, request: &SelectRequest, limit: usize) -> Result<Vec<LabelSet>, ReadError> {
        let (partition, of_head) = (Arc::clone(&self.partition), request.clone());
        let series =
            off_thread_for(move |caller| Ok(BTreeSet::from_iter(partition.series(&of_head, limit, caller)?))).await?;
        let add = move |selected: &SelectedFile, rows: &[u32], series: &mut BTreeSet<LabelSet>| {
            let mut bytes = Vec::new();
            for &row in rows {
                if series.len() >= limit {
                    break;
                }
                selected.file.index().label_bytes(row, &mut bytes);
                series.insert(LabelSet::from_canonical_trusted(&bytes));
            }
        };
        Ok(self.with_files(request, series, add).await?.into_iter().collect())
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

    /// Lets `add` see the matching rows of every file that has any, some at a time, starting from what the head gave.
    async fn with_files<T: Send + 'static>(
        &self,
        request: &SelectRequest,
        mut found: T,
        add: impl Fn(&SelectedFile, &[u32], &mut T) + Send + 'static,
    ) -> Result<T, ReadError> {
        let files = self.open_files(&request.tenant, request.range).await?;
        let request = request.clone();
        off_thread_for(move |caller| {
            for selected in &files {
                let mut rows = selected.file.index().select(&request.matchers, request.range);
                selected.drop_deleted(&mut rows, request.range);
                for rows in rows.chunks(ROWS_PER_CHECK) {
                    caller.check()?;
                    add(selected, rows, &mut found);
                }
            }
            Ok(found)
        })
        .await
    }

    /// Opens the files that may have samples in the range, oldest first.
    async fn open_files(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<SelectedFile>, ReadError> {
        let manifest = self.catalog.current(tenant).await?;
        // Owned entries: a closure over borrowed ones makes a future that cannot be boxed as `Send`.
        let entries: Vec<FileEntry> = manifest.files_in(range).cloned().collect();
        let opens = entries.into_iter().map(|entry| {
            let manifest = Arc::clone(&manifest);
            async move {
                let file = self.cache.open(self.catalog.bucket(), &FileIdentity::from(&entry)).await?;
                Ok(SelectedFile { file, hidden: hidden_in(&manifest, &entry)? })
            }
        });
        stream::iter(opens).buffered(OPENS_AT_ONCE).try_collect().await
    }
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
