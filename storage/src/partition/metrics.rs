//! What the partitions of a node count. Names are Prometheus' where the meaning is the same.

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::state::State;
use crate::head::AppendCounts;
use crate::record::{AppendAnswer, Refusal};

/// Value of the `type` label of Prometheus' sample counters; native histograms will be another.
const FLOAT: &str = "float";

/// The metrics of all partitions of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug)]
pub(super) struct Counters {
    samples: IntCounter,
    late_samples: IntCounter,
    out_of_order: IntCounter,
    too_old: IntCounter,
    out_of_bounds: IntCounter,
    duplicates: IntCounter,
    conflicts: IntCounter,
    over_series_limit: IntCounter,
    stale_references: IntCounter,
    series_created: IntCounter,
    exemplars: IntCounter,
    exemplars_refused: IntCounter,
    damaged_chunks: IntCounter,
    pub(super) series_removed: IntCounter,
    pub(super) chunks_removed: IntCounter,
    pub(super) truncations: IntCounter,
    pub(super) malformed_commands: IntCounter,
    pub(super) failed_chunk_writes: IntCounter,
    pub(super) checkpoints: IntCounter,
    pub(super) failed_checkpoints: IntCounter,
    pub(super) quarantined_checkpoints: IntCounter,
    heads: Arc<Mutex<Vec<Weak<RwLock<State>>>>>,
}

impl Metrics {
    /// Makes the metrics and registers them. Once for each registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let float_counter = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["type"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters.with_label_values(&[FLOAT]))
        };
        let heads = Arc::default();
        registry.register(Box::new(HeadGauges::new(Arc::clone(&heads))?))?;
        Ok(Self(Arc::new(Counters {
            samples: float_counter("prometheus_tsdb_head_samples_appended_total", "Samples appended to the heads.")?,
            late_samples: float_counter(
                "prometheus_tsdb_head_out_of_order_samples_appended_total",
                "Late samples appended to the heads.",
            )?,
            out_of_order: float_counter(
                "prometheus_tsdb_out_of_order_samples_total",
                "Samples refused because late samples are not taken.",
            )?,
            too_old: float_counter(
                "prometheus_tsdb_too_old_samples_total",
                "Samples refused because they are older than the out-of-order window or their slice is sealed.",
            )?,
            out_of_bounds: float_counter(
                "prometheus_tsdb_out_of_bound_samples_total",
                "Samples refused because they are too far in the future or the past.",
            )?,
            duplicates: counter(
                "pharos_storage_duplicate_samples_total",
                "Samples that the head had already with the same value.",
            )?,
            conflicts: counter(
                "pharos_storage_conflicting_samples_total",
                "Samples refused because the head has another value at their time.",
            )?,
            over_series_limit: counter(
                "pharos_storage_series_limit_refusals_total",
                "Samples refused because their tenant is at its limit of active series.",
            )?,
            stale_references: counter(
                "prometheus_tsdb_head_series_not_found_total",
                "Samples whose series reference was stale.",
            )?,
            series_created: counter("prometheus_tsdb_head_series_created_total", "Series created in the heads.")?,
            series_removed: counter("prometheus_tsdb_head_series_removed_total", "Series removed from the heads.")?,
            chunks_removed: counter("prometheus_tsdb_head_chunks_removed_total", "Full chunks removed.")?,
            truncations: counter("prometheus_tsdb_head_truncations_total", "Slices dropped from the heads.")?,
            exemplars: counter("prometheus_tsdb_exemplar_exemplars_appended_total", "Exemplars appended.")?,
            exemplars_refused: counter(
                "pharos_storage_refused_exemplars_total",
                "Exemplars refused: too long, out of order, or of an unknown series.",
            )?,
            damaged_chunks: counter(
                "pharos_storage_damaged_chunks_total",
                "Chunks that could not be read while looking for a late sample.",
            )?,
            malformed_commands: counter(
                "pharos_storage_malformed_commands_total",
                "Committed commands that could not be decoded.",
            )?,
            failed_chunk_writes: counter(
                "prometheus_tsdb_head_chunks_storage_write_failures_total",
                "Failed writes of full chunks to their files.",
            )?,
            checkpoints: counter("pharos_storage_checkpoints_total", "Checkpoints written.")?,
            failed_checkpoints: counter("pharos_storage_checkpoints_failed_total", "Checkpoints that failed.")?,
            quarantined_checkpoints: counter(
                "pharos_storage_checkpoints_quarantined_total",
                "Damaged checkpoints found when a partition was opened.",
            )?,
            heads,
        })))
    }

    /// Includes a partition in the gauges as long as it lives.
    pub(super) fn watch(&self, state: &Arc<RwLock<State>>) {
        let mut heads = self.0.heads.lock();
        heads.retain(|head| head.strong_count() > 0);
        heads.push(Arc::downgrade(state));
    }

    /// Samples that the heads took in since the process started, late ones too.
    pub fn samples_appended(&self) -> u64 {
        self.0.samples.get()
    }

    /// Series in the heads now.
    pub fn series(&self) -> u64 {
        let heads: Vec<_> = self.0.heads.lock().iter().filter_map(Weak::upgrade).collect();
        let series = |state: &Arc<RwLock<State>>| {
            let state = state.read();
            state.heads.iter().map(|head| head.extent(&state.files).series as u64).sum::<u64>()
        };
        heads.iter().map(series).sum()
    }

    pub(super) fn count_append(&self, answer: &AppendAnswer, counts: &AppendCounts) {
        let own = &self.0;
        own.samples.inc_by(counts.samples);
        own.late_samples.inc_by(counts.late_samples);
        own.series_created.inc_by(counts.series_created);
        own.exemplars.inc_by(counts.exemplars);
        own.exemplars_refused.inc_by(counts.exemplars_refused);
        own.damaged_chunks.inc_by(counts.damaged_chunks);
        own.duplicates.inc_by(u64::from(answer.duplicates));
        own.stale_references.inc_by(answer.stale.len() as u64);
        for refused in &answer.refused {
            match refused.refusal {
                Refusal::OutOfOrder => own.out_of_order.inc(),
                Refusal::TooOld => own.too_old.inc(),
                Refusal::OutOfBounds => own.out_of_bounds.inc(),
                Refusal::DuplicateTimestamp => own.conflicts.inc(),
                Refusal::SeriesLimit => own.over_series_limit.inc(),
            }
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.0
    }
}

/// Gauges that are read off the heads when asked for, so that they cannot drift.
#[derive(Debug)]
struct HeadGauges {
    heads: Arc<Mutex<Vec<Weak<RwLock<State>>>>>,
    series: IntGauge,
    chunks: IntGauge,
    min_time: IntGauge,
    max_time: IntGauge,
    min_time_seconds: Gauge,
    max_time_seconds: Gauge,
    exemplars: IntGauge,
    unwritten_bytes: IntGauge,
}

impl HeadGauges {
    fn new(heads: Arc<Mutex<Vec<Weak<RwLock<State>>>>>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            heads,
            series: IntGauge::new("prometheus_tsdb_head_series", "Series in the heads.")?,
            chunks: IntGauge::new("prometheus_tsdb_head_chunks", "Chunks in the heads, open ones included.")?,
            min_time: IntGauge::new("prometheus_tsdb_head_min_time", "Oldest time in the heads, in milliseconds.")?,
            max_time: IntGauge::new("prometheus_tsdb_head_max_time", "Newest time in the heads, in milliseconds.")?,
            min_time_seconds: Gauge::new("prometheus_tsdb_head_min_time_seconds", "Oldest time in the heads.")?,
            max_time_seconds: Gauge::new("prometheus_tsdb_head_max_time_seconds", "Newest time in the heads.")?,
            exemplars: IntGauge::new("prometheus_tsdb_exemplar_exemplars_in_storage", "Exemplars kept.")?,
            unwritten_bytes: IntGauge::new(
                "pharos_storage_unwritten_chunk_bytes",
                "Full chunks in memory that wait to be written.",
            )?,
        })
    }

    fn each(&self) -> [&dyn Collector; 8] {
        [
            &self.series,
            &self.chunks,
            &self.min_time,
            &self.max_time,
            &self.min_time_seconds,
            &self.max_time_seconds,
            &self.exemplars,
            &self.unwritten_bytes,
        ]
    }

    fn refresh(&self) {
        let (mut series, mut chunks, mut exemplars, mut unwritten) = (0, 0, 0, 0);
        let (mut min_ts, mut max_ts) = (None::<i64>, None::<i64>);
        let heads: Vec<_> = self.heads.lock().iter().filter_map(Weak::upgrade).collect();
        for state in heads {
            let state = state.read();
            unwritten += state.files.tail_bytes();
            for head in &state.heads {
                let extent = head.extent(&state.files);
                series += extent.series;
                chunks += extent.chunks;
                exemplars += head.exemplars().len();
                min_ts = min_ts.into_iter().chain(extent.min_ts).min();
                max_ts = max_ts.max(extent.max_ts);
            }
        }
        self.series.set(series as i64);
        self.chunks.set(chunks as i64);
        self.exemplars.set(exemplars as i64);
        self.unwritten_bytes.set(unwritten as i64);
        let (min_ts, max_ts) = (min_ts.unwrap_or(0), max_ts.unwrap_or(0));
        self.min_time.set(min_ts);
        self.max_time.set(max_ts);
        self.min_time_seconds.set(min_ts as f64 / 1e3);
        self.max_time_seconds.set(max_ts as f64 / 1e3);
    }
}

impl Collector for HeadGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.each().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.each().into_iter().flat_map(Collector::collect).collect()
    }
}
