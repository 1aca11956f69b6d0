//! The router over real groups of one node.

use pharos_cluster::checkpoint::CheckpointPolicy;
use pharos_cluster::fs::Disk;
use pharos_cluster::log::LogOptions;
use pharos_cluster::metrics::Metrics;
use pharos_cluster::node::{ClusterOptions, FreshIds, Node, NodeDir, NodeOptions};
use pharos_cluster::proposer::ProposerOptions;
use pharos_ingest::sink::{BatchHistograms, BatchStarts, FreshSample, KnownSample, SeriesExemplar};
use pharos_model::clock::SystemClock;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{Exemplar, FloatHistogram, LabelSet, Sample, TenantId, TimeRange, partition};
use pharos_storage::partition as store;
use pharos_storage::select::{SampleColumns, SelectRequest};
use prometheus::Registry;

use super::*;
use crate::node::stores::StoreOptions;

const PARTITIONS: u16 = 2;
const NOW_MS: i64 = 1_700_000_000_000;

struct Bench {
    router: Router,
    cluster: Arc<Node>,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn open(proposer: ProposerOptions) -> Self {
        Self::taking(proposer, Intake::default()).await
    }

    async fn taking(proposer: ProposerOptions, intake: Intake) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores = Arc::new(Stores::new(StoreOptions {
            root: dir.path().join("head"),
            metrics: store::Metrics::register(&Registry::new()).unwrap(),
            hash_seed: 1,
        }));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let options = NodeOptions {
            partitions: PARTITIONS,
            fresh: FreshIds { node: 1, cluster: 1 },
            log: LogOptions::default(),
            proposer,
            checkpoints: CheckpointPolicy::default(),
            leader_wait_max: Duration::from_secs(20),
            drain_max: Duration::from_secs(20),
            cluster: ClusterOptions::alone(),
            clock: clock.clone(),
            metrics: Metrics::register(&Registry::new()).unwrap(),
        };
        let node_dir = NodeDir::lock(Arc::new(Disk), &dir.path().join("node")).unwrap();
        let cluster = Arc::new(Node::open(node_dir, options, stores.opener()).await.unwrap());
        let router = Router::new(cluster.clone(), stores, clock, intake);
        router.set_out_of_order_window(Duration::from_secs(3600));
        Self { router, cluster, _dir: dir }
    }

    async fn append(&self, fresh: Vec<FreshSample>) -> Result<AppendOutcome, AppendError> {
        self.router.append(Arc::new(SampleBatch { fresh, ..SampleBatch::default() })).await
    }
}

fn sample(labels: &LabelSet, ts: i64) -> FreshSample {
    FreshSample { labels: labels.clone(), sample: Sample { ts, value: 1.0 } }
}

/// Labels that do not compress, all of one target.
fn long_labels(i: u64) -> LabelSet {
    let mut state = i + 1;
    let mut letter = || {
        for shift in [13, 7, 17] {
            state ^= if shift == 7 { state >> shift } else { state << shift };
        }
        char::from(b'a' + (state % 26) as u8)
    };
    let noise: String = (0..2_000).map(|_| letter()).collect();
    LabelSet::from_pairs([("__name__", "m"), ("job", "j"), ("instance", "i"), ("noise", &noise)])
}

#[test]
fn a_handle_carries_partition_and_reference() {
    let handle = handle(PartitionId(23), SeriesRef(u32::MAX));
    assert_eq!(open_handle(handle), (23, SeriesRef(u32::MAX)));
}

#[test]
fn what_does_not_fit_an_entry_never_will() {
    let error = append_error(ProposeError::TooLarge { bytes: 2, max: 1 });
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_batch_does_not_overflow_the_queue_by_itself() {
    let options = ProposerOptions { queue_bytes_max: 2 << 20, ..ProposerOptions::default() };
    let bench = Bench::open(options).await;
    let samples: Vec<_> = (0..4_000).map(|i| sample(&long_labels(i), NOW_MS)).collect();
    let parts = split(&SampleBatch { fresh: samples.clone(), ..SampleBatch::default() }, TERMS, PARTITIONS);
    let bytes: usize = parts.iter().flat_map(|of| &of.parts).map(|part| part.command.len()).sum();
    assert!(parts.len() == 1 && bytes > 2 * options.queue_bytes_max, "{bytes} bytes");
    let outcome = bench.append(samples).await.unwrap();
    assert_eq!(outcome.handles.iter().flatten().count(), 4_000);
    bench.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_samples_are_refused_where_the_batch_says_so() {
    let bench = Bench::open(ProposerOptions::default()).await;
    let series = LabelSet::from_pairs([("__name__", "m")]);
    let handle = bench.append(vec![sample(&series, NOW_MS)]).await.unwrap().handles[0].unwrap();
    let late = |refuse_late| {
        let known = vec![KnownSample { series: handle, ts: NOW_MS - 1_000, value: 2.0 }];
        bench.router.append(Arc::new(SampleBatch { known, refuse_late, ..SampleBatch::default() }))
    };
    assert_eq!(late(true).await.unwrap().refused, [(Place::Known(0), Refusal::OutOfOrder)]);
    assert_eq!(late(false).await.unwrap().refused, []);
    bench.cluster.shutdown().await;
}

const TERMS: Terms = Terms {
    limits: AppendLimits { out_of_order_window_ms: 0, newest_allowed_ms: i64::MAX, series_max: u32::MAX },
    starts: StartRule { stored: false, zero_samples: false },
};

#[test]
fn places_lead_back_to_the_batch() {
    let tenant = TenantId::anonymous();
    let series: Vec<_> = (0..6).map(|i| LabelSet::from_pairs([("i", i.to_string())])).collect();
    let of = |series: &LabelSet| usize::from(partition::of_series(&tenant, series, PARTITIONS).0);
    let batch = SampleBatch {
        known: (0..6)
            .map(|i| KnownSample { series: handle(PartitionId(i % 2), SeriesRef(1)), ts: 1, value: 1.0 })
            .collect(),
        fresh: series.iter().map(|series| sample(series, 1)).collect(),
        exemplars: series
            .iter()
            .map(|series| SeriesExemplar {
                series: series.clone(),
                exemplar: Exemplar { labels: LabelSet::empty(), value: 1.0, ts: 1 },
            })
            .collect(),
        ..SampleBatch::default()
    };
    for PartitionParts { partition, parts } in split(&batch, TERMS, PARTITIONS) {
        let [Part { places, .. }] = &parts[..] else { panic!("{} parts of a small batch", parts.len()) };
        assert_eq!(places.known, (0..6).filter(|i| i % 2 == partition).collect::<Vec<_>>());
        assert_eq!(places.fresh, (0..6).filter(|&i| of(&series[i]) == partition).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_go_where_their_places_say() {
    let bench = Bench::open(ProposerOptions::default()).await;
    let series = |i: i32| LabelSet::from_pairs([("__name__", format!("m{i}"))]);
    let histogram = |count: f64| {
        let histogram = FloatHistogram { count, zero_count: count, ..FloatHistogram::default() };
        PackedHistogram::try_from(&histogram).unwrap()
    };
    // Of eight series over two partitions each second one is a histogram: first with labels, then by handle.
    let places = || (0..8).filter(|place| place % 2 == 1);
    let histograms =
        BatchHistograms { fresh: places().map(|at| (at, histogram(at as f64))).collect(), ..Default::default() };
    let fresh: Vec<_> = (0..8).map(|i| sample(&series(i), NOW_MS)).collect();
    let outcome =
        bench.router.append(Arc::new(SampleBatch { fresh, histograms, ..SampleBatch::default() })).await.unwrap();
    assert_eq!(outcome.refused, []);
    let handles = outcome.handles.iter().map(|handle| handle.unwrap());
    let known = handles.map(|series| KnownSample { series, ts: NOW_MS + 1, value: 2.0 }).collect();
    let histograms =
        BatchHistograms { known: places().map(|at| (at, histogram(10.0 + at as f64))).collect(), ..Default::default() };
    let outcome =
        bench.router.append(Arc::new(SampleBatch { known, histograms, ..SampleBatch::default() })).await.unwrap();
    assert_eq!((outcome.refused, outcome.stale), (vec![], vec![]));
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        matchers: Vec::new(),
        range: TimeRange::ALL,
        newest_only: false,
        totals_only: false,
        starts: true,
    };
    let mut found = Vec::new();
    for (_, partition) in bench.router.stores.all() {
        let selection = partition.select(&request);
        let mut samples = SampleColumns::default();
        for i in 0..selection.len() {
            selection.read(i, TimeRange::ALL, &mut samples).unwrap();
            let counts: Vec<_> = samples.histograms.iter().map(|histogram| histogram.count).collect();
            found.push((selection.labels(i), samples.values.clone(), counts));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = (0..8).map(|i| match i % 2 {
        1 => (series(i), vec![], vec![f64::from(i), 10.0 + f64::from(i)]),
        _ => (series(i), vec![1.0, 2.0], vec![]),
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    bench.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_timestamps_go_where_their_places_say() {
    let starts = StartRule { stored: true, zero_samples: false };
    let bench = Bench::taking(ProposerOptions::default(), Intake { starts, ..Intake::default() }).await;
    let series = |i: i64| LabelSet::from_pairs([("__name__", format!("m{i}"))]);
    // Of eight series over two partitions each third one says when it began: first with labels, then by handle.
    let starts = |ts: i64| -> Vec<_> { (0..8).filter(|at| at % 3 == 1).map(|at| (at, ts - at as i64)).collect() };
    let fresh: Vec<_> = (0..8).map(|i| sample(&series(i), NOW_MS)).collect();
    let batch = SampleBatch {
        fresh,
        starts: BatchStarts { fresh: starts(NOW_MS), ..Default::default() },
        ..SampleBatch::default()
    };
    let outcome = bench.router.append(Arc::new(batch)).await.unwrap();
    let handles = outcome.handles.iter().map(|handle| handle.unwrap());
    let known = handles.map(|series| KnownSample { series, ts: NOW_MS + 1, value: 2.0 }).collect();
    let batch = SampleBatch {
        known,
        starts: BatchStarts { known: starts(NOW_MS + 1), ..Default::default() },
        ..SampleBatch::default()
    };
    bench.router.append(Arc::new(batch)).await.unwrap();
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        matchers: Vec::new(),
        range: TimeRange::ALL,
        newest_only: false,
        totals_only: false,
        starts: true,
    };
    let mut found = Vec::new();
    for (_, partition) in bench.router.stores.all() {
        let selection = partition.select(&request);
        let mut samples = SampleColumns::default();
        for i in 0..selection.len() {
            selection.read(i, TimeRange::ALL, &mut samples).unwrap();
            found.push((selection.labels(i), samples.start_ts.clone()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = (0..8).map(|i| match i % 3 {
        1 => (series(i), vec![NOW_MS - i, NOW_MS + 1 - i]),
        _ => (series(i), vec![]),
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    bench.cluster.shutdown().await;
}
