//! What a script has loaded, in real partitions: what is older in data files, the rest in the head.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{LabelSet, PartitionId, TenantId, TimeRange, TimestampMs};
use pharos_storage::datafile::{FILE_CACHE_BYTES_MAX, FileCache};
use pharos_storage::fs::OsFileSystem;
use pharos_storage::head::SealRule;
use pharos_storage::manifest::{Catalog, MemoryPointers, Owner};
use pharos_storage::metrics::StorageMetrics;
use pharos_storage::object::{Bucket, ObjectMetrics};
use pharos_storage::partition::{Metrics, Partition, PartitionOptions};
use pharos_storage::record::{AppendAnswer, AppendLimits, AppendRecordBuilder, StartRule};
use pharos_storage::retention::RetentionRule;
use pharos_storage::seal::{HeadLog, LogError, Sealer};
use pharos_storage::select::PartitionReader;
use prometheus::Registry;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::source::{
    Local, ReadError, Reliance, Relying, Revision, SampleColumns, SelectRequest, Selection, SeriesSamples, SeriesSource,
};
use crate::testing::MemorySource;

/// Most scripts have a sample each minute or half a minute: a slice has a few of them, the head the newest.
const RULE: SealRule = SealRule {
    slice_ms: 240_000,
    out_of_order_window_ms: 0,
    in_order_slack_ms: 0,
    grace_ms: 90_000,
    idle_grace_ms: 0,
    idle: false,
};

/// A store with the samples of a [`MemorySource`]. It is made anew whenever those have changed.
#[derive(Debug)]
pub(super) struct Stored {
    memory: MemorySource,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    of: Revision,
    source: Local,
    _dir: TempDir,
}

#[derive(Debug)]
struct DirectLog(Arc<Partition>);

#[async_trait]
impl HeadLog for DirectLog {
    async fn propose(&self, _: PartitionId, command: Bytes) -> Result<(), LogError> {
        self.0.apply(&command);
        Ok(())
    }
}

impl Stored {
    pub(super) fn over(memory: MemorySource) -> Arc<dyn SeriesSource> {
        Arc::new(Self { memory, made: Mutex::default() })
    }

    async fn source(&self) -> Result<Local, ReadError> {
        let mut made = self.made.lock().await;
        let since = made.as_ref().map(|made| &made.of);
        let everything = Relying {
            tenant: TenantId::anonymous(),
            partitions: (0..self.memory.partitions()).collect(),
            until_ms: TimestampMs::MAX,
        };
        let Reliance { revision, amended } = self.memory.rely(&everything, since).await?;
        if let Some(made) = made.as_ref().filter(|_| amended.is_empty()) {
            return Ok(made.source.clone());
        }
        let (dir, pointers) = (folder().expect("a folder"), Arc::default());
        let mut readers = Vec::new();
        for partition in 0..self.memory.partitions() {
            readers.push(self.reader(partition, &dir, &pointers).await?);
        }
        let source = Local::new(Arc::new(readers));
        *made = Some(Made { of: revision, source: source.clone(), _dir: dir });
        Ok(source)
    }

    async fn reader(
        &self,
        place: usize,
        dir: &TempDir,
        pointers: &Arc<MemoryPointers>,
    ) -> Result<PartitionReader, ReadError> {
        let registry = Registry::new();
        let dir = dir.path().join(place.to_string());
        let (head, objects) = (dir.join("head"), format!("file://{}", dir.join("objects").display()));
        let metrics = Metrics::register(&registry).expect("a registry of its own");
        let opened = Partition::open(&head, Arc::new(OsFileSystem), PartitionOptions::default(), &metrics);
        let partition = Arc::new(opened.expect("an empty folder").partition);
        let metrics = ObjectMetrics::register(&registry).expect("a registry of its own");
        let bucket = Bucket::open(&objects, [], Arc::new(OsFileSystem), metrics).expect("an empty folder");
        let metrics = StorageMetrics::register(&registry).expect("a registry of its own");
        let id = PartitionId(place as u16);
        let catalog = Arc::new(Catalog::new(id, bucket, Arc::clone(pointers) as _, 0));
        let cache = Arc::new(FileCache::new(FILE_CACHE_BYTES_MAX, metrics.clone()));
        self.fill(place, &partition).await?;
        let sealer = Sealer {
            partition: partition.clone(),
            catalog: catalog.clone(),
            cache: cache.clone(),
            log: Arc::new(DirectLog(partition.clone())),
            metrics,
            rule: RULE,
            retention: RetentionRule::default(),
        };
        sealer.run(&TenantId::anonymous(), Owner { node: 1, term: 1 }, 0).await.expect("a disk that works");
        Ok(PartitionReader::new(partition, catalog, cache))
    }

    async fn fill(&self, place: usize, partition: &Partition) -> Result<(), ReadError> {
        let (tenant, matchers, range) = (TenantId::anonymous(), Vec::new(), TimeRange::ALL);
        let all = SelectRequest { tenant, matchers, range, newest_only: false, totals_only: false, starts: true };
        let mut selection = self.memory.select(&[place], &all).await?.remove(0);
        let limits =
            AppendLimits { out_of_order_window_ms: 0, newest_allowed_ms: TimestampMs::MAX, series_max: u32::MAX };
        let mut record = AppendRecordBuilder::new(TenantId::anonymous(), limits);
        record.use_starts(StartRule { stored: true, zero_samples: false });
        let mut scratch = SampleColumns::default();
        while let Some(batch) = selection.next_batch().await? {
            for i in 0..batch.len() {
                let labels = LabelSet::from_canonical(batch.label_bytes(i)).expect("labels of the source");
                push(&mut record, &labels, batch.samples(i, &mut scratch)?);
            }
        }
        let answer = AppendAnswer::decode(&partition.apply(&record.finish())).expect("an answer to an append");
        assert_eq!((answer.refused, answer.duplicates), (vec![], 0), "a script loads what a store takes");
        Ok(())
    }
}

/// A folder that goes with its owner, in memory where the machine has such: nothing here asks what a disk keeps.
fn folder() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }
}

/// Adds samples of both kinds in the order of their times.
fn push(record: &mut AppendRecordBuilder, labels: &LabelSet, samples: SeriesSamples<'_>) {
    let SeriesSamples { floats, float_start_ts, histograms } = samples;
    let floats = floats.ts.iter().enumerate().map(|(at, ts)| (*ts, false, at));
    let mut all: Vec<_> = floats.chain(histograms.ts.iter().enumerate().map(|(at, ts)| (*ts, true, at))).collect();
    all.sort_unstable();
    for (ts, is_histogram, at) in all {
        let start = if is_histogram {
            let packed = PackedHistogram::try_from(&*histograms.list[at]).expect("a histogram that can be stored");
            record.push_fresh_histogram(labels, ts, &packed);
            histograms.start_ts.get(at)
        } else {
            record.push_fresh(labels, ts, samples.floats.values[at]);
            float_start_ts.get(at)
        };
        start.into_iter().for_each(|start| record.start_fresh(*start));
    }
}

#[async_trait]
impl SeriesSource for Stored {
    fn partitions(&self) -> usize {
        self.memory.partitions()
    }

    fn partition_of(&self, request: &SelectRequest) -> Option<usize> {
        self.memory.partition_of(request)
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        self.source().await?.select(partitions, request).await
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.memory.rely(relying, since).await
    }
}
