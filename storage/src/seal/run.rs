//! Takes the steps that [`next_step`] decides.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pharos_model::{BlockSpan, PartitionId, TenantId, TimeRange, TimestampMs};
use tracing::info;

use super::{SealStep, SliceFile, next_step};
use crate::datafile::{FileCache, FileSummary, WriteError};
use crate::head::sealing::{HeadExtent, SealRule};
use crate::manifest::{Catalog, CommitError, Edit, FileEntry, Manifest, Owner, data_key};
use crate::metrics::StorageMetrics;
use crate::object::ObjectError;
use crate::partition::Partition;
use crate::record;
use crate::retention::{RetentionRule, expired};
use crate::select::{ReadError, off_thread};

/// Most steps of one run. What remains is left to the next.
const STEPS_MAX: usize = 256;

/// Why sealing stopped. It can be repeated from where it is.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("reading the slice")]
    Read(#[from] ReadError),
    #[error("writing the data file")]
    Write(#[from] WriteError),
    #[error("writing the data file")]
    Sink(#[from] std::io::Error),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("data file encoder stopped: {0}")]
    Encoder(String),
    #[error("the head of tenant `{tenant}` has samples in more than {max} slices")]
    TooManySlices { tenant: TenantId, max: usize },
}

/// A command did not get through the partition's log, or is not known to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition log: {0}")]
pub struct LogError(pub String);

/// How the sealer changes the head: through the partition's log, on every replica. Implementations: the node's, over
/// the partition's proposer; a head applied to directly, in tests and tools.
#[async_trait]
pub trait HeadLog: std::fmt::Debug + Send + Sync {
    /// Proposes one command of [`crate::record`]; returns when this replica has applied it.
    async fn propose(&self, partition: PartitionId, command: Bytes) -> Result<(), LogError>;
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    pub files: usize,
    pub samples: u64,
    /// Data files that fell out of retention.
    pub expired: usize,
}

/// Seals the slices of one partition. Only the partition's leader runs one, one run at a time.
#[derive(Debug)]
pub struct Sealer {
    pub partition: Arc<Partition>,
    pub catalog: Arc<Catalog>,
    pub cache: Arc<FileCache>,
    pub log: Arc<dyn HeadLog>,
    pub metrics: StorageMetrics,
    pub rule: SealRule,
    pub retention: RetentionRule,
}

/// What one run is for.
#[derive(Debug)]
struct Run<'a> {
    tenant: &'a TenantId,
    owner: Owner,
    now_ms: TimestampMs,
}

impl Sealer {
    /// Applies retention, then seals every slice of the tenant that is ready. In this order, because a disk without room for a new
    /// file gets some by the old ones. After an error or a crash, in any term of any node, running it again completes what
    /// was begun.
    #[tracing::instrument(
        level = "debug",
        name = "seal",
        skip_all,
        fields(%tenant, partition = %self.catalog.partition())
    )]
    pub async fn run(&self, tenant: &TenantId, owner: Owner, now_ms: TimestampMs) -> Result<SealReport, SealError> {
        let run = Run { tenant, owner, now_ms };
        let change = self.catalog.change().await;
        change.delete_retired(tenant, now_ms).await?;
        change.lead(tenant, owner, now_ms).await?;
        drop(change);
        self.catalog.publish(tenant).await?;
        let mut report = SealReport { expired: self.expire(&run).await?, ..SealReport::default() };
        let mut empty = Vec::new();
        for _ in 0..STEPS_MAX {
            let manifest = self.reload(tenant).await?;
            let Some(extent) = self.extent(tenant).await? else { break };
            let Some(step) = next_step(&extent, &manifest, &self.rule, &empty, now_ms) else { break };
            match step {
                SealStep::Close { until_ms } => self.propose(record::seal_floor(tenant, until_ms)).await?,
                SealStep::Drop { until_ms } => self.propose(record::drop_covered(tenant, until_ms)).await?,
                SealStep::Write { span } => {
                    let written = self.write(&run, span).await;
                    match written.inspect_err(|_| self.metrics.compactions_failed.inc())? {
                        Some(samples) => {
                            report.files += 1;
                            report.samples += samples;
                        }
                        None => empty.push(span),
                    }
                }
            }
        }
        let manifest = self.catalog.current(tenant).await?;
        self.metrics.observe(tenant, self.catalog.partition(), &manifest);
        Ok(report)
    }

    /// The current manifest; counted as Prometheus counts its looks for new blocks.
    async fn reload(&self, tenant: &TenantId) -> Result<Arc<Manifest>, CommitError> {
        self.metrics.reloads.inc();
        self.catalog.current(tenant).await.inspect_err(|_| self.metrics.reloads_failed.inc())
    }

    async fn extent(&self, tenant: &TenantId) -> Result<Option<HeadExtent>, SealError> {
        let (partition, tenant) = (Arc::clone(&self.partition), tenant.clone());
        Ok(off_thread(move || Ok(partition.extent(&tenant))).await?)
    }

    async fn propose(&self, command: Bytes) -> Result<(), LogError> {
        self.log.propose(self.catalog.partition(), command).await
    }

    /// Writes and commits one slice; says how many samples it had, `None` for none.
    async fn write(&self, run: &Run<'_>, span: BlockSpan) -> Result<Option<u64>, SealError> {
        let change = self.catalog.change().await;
        let read_at_version = self.catalog.current(run.tenant).await?.version;
        let (partition, of) = (Arc::clone(&self.partition), run.tenant.clone());
        let series = off_thread(move || Ok(partition.slice(&of, span))).await?;
        let key = data_key(run.tenant, self.catalog.partition(), span, 0, run.owner);
        let range = TimeRange::new(span.start_ms, span.end_ms - 1);
        let slice = SliceFile { key: key.clone(), series, range };
        let Some(summary) = slice.write(self.catalog.bucket()).await? else { return Ok(None) };
        let samples = summary.samples;
        let entry = file_entry(key, span, run.owner, read_at_version, &summary);
        change.commit(run.tenant, &Edit::AddFile(entry), run.owner, run.now_ms).await?;
        self.metrics.compactions.inc();
        self.metrics.samples_sealed.inc_by(samples);
        info!(tenant = %run.tenant, partition = %self.catalog.partition(), start_ms = span.start_ms, samples, "sealed slice");
        Ok(Some(samples))
    }

    /// Drops data files that are out of retention; says how many.
    async fn expire(&self, run: &Run<'_>) -> Result<usize, SealError> {
        let change = self.catalog.change().await;
        let manifest = self.catalog.current(run.tenant).await?;
        let newest_ms = self.extent(run.tenant).await?.and_then(|extent| extent.max_ts).unwrap_or(TimestampMs::MIN);
        let keys = expired(&manifest, &self.retention, newest_ms, 0);
        if keys.is_empty() {
            return Ok(0);
        }
        self.cache.forget(&keys);
        let files = keys.len();
        change.commit(run.tenant, &Edit::RemoveFiles(keys), run.owner, run.now_ms).await?;
        self.metrics.files_expired.inc_by(files as u64);
        info!(tenant = %run.tenant, partition = %self.catalog.partition(), files, "dropped data files out of retention");
        Ok(files)
    }
}

/// The manifest's entry of a file that has rows.
pub(crate) fn file_entry(
    key: String,
    span: BlockSpan,
    owner: Owner,
    read_at_version: u64,
    summary: &FileSummary,
) -> FileEntry {
    let (min_ts, max_ts) = summary.times.unwrap_or((span.start_ms, span.start_ms));
    FileEntry {
        key,
        start_ms: span.start_ms,
        end_ms: span.end_ms,
        min_ts,
        max_ts,
        level: 0,
        rows: summary.rows,
        samples: summary.samples,
        bytes: summary.bytes,
        index_bytes: summary.index.len() as u64,
        crc: summary.crc,
        owner,
        read_at_version,
    }
}
