//! A partition with an object store and pointers in memory, for tests of what spans head and data files.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{FloatHistogram, LabelSet, Matcher, PartitionId, TenantId, TimeRange, TimestampMs};
use prometheus::Registry;

use crate::datafile::{FILE_CACHE_BYTES_MAX, FileCache};
use crate::fs::OsFileSystem;
use crate::head::sealing::SealRule;
use crate::manifest::{Catalog, Manifest, MemoryPointers, Owner, PointerStore};
use crate::metrics::StorageMetrics;
use crate::object::faults::{Faults, FaultyLog, FaultyPointers, FaultyStore};
use crate::object::{Bucket, ObjectMetrics};
use crate::partition::{Partition, PartitionOptions};
use crate::record::{AppendAnswer, AppendLimits, AppendRecordBuilder, StartRule};
use crate::retention::RetentionRule;
use crate::seal::{HeadLog, LogError, Sealer};
use crate::select::{PartitionReader, ReadError, SampleColumns, SampleSlices, SelectRequest};
use crate::test_histograms::packed;

/// Series with their samples as bits.
pub(crate) type Dump = BTreeMap<LabelSet, Vec<(i64, u64)>>;

pub(crate) const PARTITION: PartitionId = PartitionId(7);
/// Slices are this wide in tests.
pub(crate) const SLICE_MS: i64 = 100_000;
pub(crate) const GRACE_MS: i64 = 1_000_000;

/// What survives a crash, and the process on top of it.
#[derive(Debug)]
pub(crate) struct TestNode {
    _dir: tempfile::TempDir,
    pub partition: Arc<Partition>,
    pub pointers: Arc<MemoryPointers>,
    pub faults: Faults,
    pub metrics: StorageMetrics,
    pub bucket: Bucket,
    pub catalog: Arc<Catalog>,
    pub cache: Arc<FileCache>,
    pub retention: RetentionRule,
}

/// A sample, a histogram if there is one, and when its counter began.
#[derive(Debug)]
pub(crate) struct Started {
    pub ts: TimestampMs,
    pub value: f64,
    pub histogram: Option<PackedHistogram>,
    pub start: TimestampMs,
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

pub(crate) fn tenant() -> TenantId {
    TenantId::anonymous()
}

pub(crate) fn owner(term: u64) -> Owner {
    Owner { node: 1, term }
}

pub(crate) fn rule() -> SealRule {
    SealRule {
        slice_ms: SLICE_MS,
        out_of_order_window_ms: 10_000,
        in_order_slack_ms: 0,
        grace_ms: 1_000,
        idle_grace_ms: 0,
        idle: true,
    }
}

pub(crate) fn memory_bucket(store: Arc<dyn ObjectStore>) -> Bucket {
    Bucket::new(store, "some/prefix", ObjectMetrics::register(&Registry::new()).unwrap())
}

impl TestNode {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = crate::partition::Metrics::register(&Registry::new()).unwrap();
        let opened =
            Partition::open(dir.path(), Arc::new(OsFileSystem), PartitionOptions::default(), &metrics).unwrap();
        let (pointers, faults) = (Arc::new(MemoryPointers::default()), Faults::default());
        let metrics = StorageMetrics::register(&Registry::new()).unwrap();
        let faulty = FaultyStore { inner: Arc::new(InMemory::new()), faults: faults.clone() };
        let bucket = memory_bucket(Arc::new(faulty));
        let mut node = Self {
            _dir: dir,
            partition: Arc::new(opened.partition),
            catalog: Arc::new(Catalog::new(PARTITION, bucket.clone(), pointers.clone(), GRACE_MS)),
            cache: Arc::new(FileCache::new(FILE_CACHE_BYTES_MAX, metrics.clone())),
            pointers,
            faults,
            metrics,
            bucket,
            retention: RetentionRule::default(),
        };
        node.restart();
        node
    }

    /// Forgets what a process has in memory above the partition, and every fault.
    pub(crate) fn restart(&mut self) {
        self.faults.clear();
        let pointers: Arc<dyn PointerStore> =
            Arc::new(FaultyPointers { inner: self.pointers.clone(), faults: self.faults.clone() });
        self.catalog = Arc::new(Catalog::new(PARTITION, self.bucket.clone(), pointers, GRACE_MS));
        self.cache = Arc::new(FileCache::new(FILE_CACHE_BYTES_MAX, self.metrics.clone()));
    }

    pub(crate) fn log(&self) -> Arc<dyn HeadLog> {
        Arc::new(FaultyLog { inner: Arc::new(DirectLog(self.partition.clone())), faults: self.faults.clone() })
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer {
            partition: self.partition.clone(),
            catalog: self.catalog.clone(),
            cache: self.cache.clone(),
            log: self.log(),
            metrics: self.metrics.clone(),
            rule: rule(),
            retention: self.retention,
        }
    }

    pub(crate) fn reader(&self) -> PartitionReader {
        PartitionReader::new(self.partition.clone(), self.catalog.clone(), self.cache.clone())
    }

    /// Appends a sample that must be taken.
    pub(crate) fn append(&self, labels: &LabelSet, ts: TimestampMs, value: f64) {
        self.append_one(|builder| builder.push_fresh(labels, ts, value));
    }

    /// As [`Self::append`], a histogram.
    pub(crate) fn append_histogram(&self, labels: &LabelSet, ts: TimestampMs, histogram: &FloatHistogram) {
        self.append_one(|builder| builder.push_fresh_histogram(labels, ts, &packed(histogram)));
    }

    /// Appends a sample with its start, which may be refused.
    pub(crate) fn append_started(&self, labels: &LabelSet, rule: StartRule, sample: Started) {
        self.apply_one(|builder| {
            match &sample.histogram {
                Some(histogram) => builder.push_fresh_histogram(labels, sample.ts, histogram),
                None => builder.push_fresh(labels, sample.ts, sample.value),
            }
            builder.start_fresh(sample.start);
            builder.use_starts(rule);
        });
    }

    fn append_one(&self, push: impl FnOnce(&mut AppendRecordBuilder)) {
        let answer = self.apply_one(push);
        assert!(answer.refused.is_empty(), "{answer:?}");
    }

    fn apply_one(&self, push: impl FnOnce(&mut AppendRecordBuilder)) -> AppendAnswer {
        let limits = AppendLimits { out_of_order_window_ms: 10_000, newest_allowed_ms: i64::MAX, series_max: 10_000 };
        let mut builder = AppendRecordBuilder::new(tenant(), limits);
        push(&mut builder);
        AppendAnswer::decode(&self.partition.apply(&builder.finish())).unwrap()
    }

    pub(crate) async fn manifest(&self) -> Arc<Manifest> {
        self.catalog.current(&tenant()).await.unwrap()
    }

    /// Everything that a query of all time reads; fails when a series comes twice.
    pub(crate) async fn dump(&self) -> Dump {
        self.dump_matching(Vec::new(), TimeRange::ALL).await.unwrap()
    }

    pub(crate) async fn dump_matching(&self, matchers: Vec<Matcher>, range: TimeRange) -> Result<Dump, ReadError> {
        let mut selection = self.reader().select(&request(matchers, range)).await?;
        let mut dump = Dump::new();
        let mut samples = SampleColumns::default();
        while let Some(batch) = selection.next_batch().await? {
            for i in 0..batch.len() {
                let labels = LabelSet::from_canonical(batch.label_bytes(i)).unwrap();
                let SampleSlices { ts, values, .. } = batch.samples(i, &mut samples)?;
                if ts.is_empty() {
                    continue;
                }
                assert!(ts.is_sorted_by(|a, b| a < b), "{labels} is out of order");
                let bits = ts.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect();
                assert_eq!(dump.insert(labels.clone(), bits), None, "{labels} comes twice");
            }
        }
        Ok(dump)
    }
}

pub(crate) fn request(matchers: Vec<Matcher>, range: TimeRange) -> SelectRequest {
    SelectRequest { tenant: tenant(), matchers, range, newest_only: false, totals_only: false, starts: true }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied())
}
