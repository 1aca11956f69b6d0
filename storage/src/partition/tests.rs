//! The partition against a naive model, and what happens to its files when disks fail.

mod disk;
mod model;
mod reading;
mod starts;

use std::path::Path;
use std::sync::Arc;

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{LabelSet, Matcher, TenantId, TimeRange};
use prometheus::Registry;

use super::*;
use crate::fs::OsFileSystem;
use crate::record::{AppendAnswer, AppendLimits, AppendRecordBuilder, Refusal, SeriesRef};
use crate::select::SampleSlices;
use crate::test_histograms::{counter, packed};

const HOUR_MS: i64 = 3_600_000;

fn limits(out_of_order_window_ms: i64) -> AppendLimits {
    AppendLimits { out_of_order_window_ms, newest_allowed_ms: 1_000 * HOUR_MS, series_max: 1_000 }
}

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

fn tenant() -> TenantId {
    TenantId::anonymous()
}

fn labels(i: usize) -> LabelSet {
    LabelSet::from_pairs([("__name__", format!("m{}", i % 3)), ("job", "test".to_owned()), ("i", i.to_string())])
}

/// Small segments, so that a few hundred samples fill several.
fn small() -> PartitionOptions {
    PartitionOptions { segment_bytes_max: 2_000, unwritten_bytes_max: 4_000, ..PartitionOptions::default() }
}

fn open_with(dir: &Path, files: Arc<dyn FileSystem>) -> Opened {
    Partition::open(dir, files, small(), &metrics()).unwrap()
}

fn open(dir: &Path) -> Opened {
    open_with(dir, Arc::new(OsFileSystem))
}

/// Appends with labels; the answer must be about these samples alone.
fn append(partition: &Partition, window_ms: i64, samples: &[(usize, i64, f64)]) -> AppendAnswer {
    let mut builder = AppendRecordBuilder::new(tenant(), limits(window_ms));
    for &(series, ts, value) in samples {
        builder.push_fresh(&labels(series), ts, value);
    }
    AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap()
}

/// `count` samples of one series, 15 s apart.
fn append_run(partition: &Partition, series: usize, from_ts: i64, count: i64) {
    let samples: Vec<_> = (0..count).map(|i| (series, from_ts + i * 15_000, i as f64 * 1.1)).collect();
    let answer = append(partition, HOUR_MS, &samples);
    assert!(answer.refused.is_empty(), "{answer:?}");
}

fn request(matchers: Vec<Matcher>, range: TimeRange) -> SelectRequest {
    SelectRequest { tenant: tenant(), matchers, range, newest_only: false, totals_only: false, starts: true }
}

/// Stands for a histogram among the bits of floats.
const HISTOGRAM_TAG: u64 = 0x7ff7_4849 << 32;

/// The bits that stand for a histogram with so many observations in a bucket.
fn histogram_bits(in_bucket: u32) -> u64 {
    HISTOGRAM_TAG | u64::from(in_bucket)
}

fn histogram_of(bits: u64) -> Option<PackedHistogram> {
    (bits >> 32 == HISTOGRAM_TAG >> 32).then(|| packed(&counter(bits as u32)))
}

/// Floats and histograms of one series, as bits.
fn bits_of(samples: &SampleColumns) -> Vec<(i64, u64)> {
    let floats = samples.ts.iter().copied().zip(samples.values.iter().map(|value| value.to_bits()));
    let histograms = samples.histogram_ts.iter().zip(&samples.histograms).map(|(ts, histogram)| {
        let in_bucket = histogram.positive_buckets[0] as u32;
        assert!(histogram.has_same_data(&counter(in_bucket)), "{histogram}");
        (*ts, histogram_bits(in_bucket))
    });
    let mut bits: Vec<_> = floats.chain(histograms).collect();
    bits.sort_unstable();
    bits
}

/// All samples of every series, by labels, as bits.
fn dump(partition: &Partition) -> Vec<(LabelSet, Vec<(i64, u64)>)> {
    let mut selection = partition.select(&request(Vec::new(), TimeRange::ALL));
    selection.sort_by_labels();
    let mut samples = SampleColumns::default();
    (0..selection.len())
        .map(|i| {
            selection.read(i, TimeRange::ALL, &mut samples).unwrap();
            (selection.labels(i), bits_of(&samples))
        })
        .collect()
}

/// The start of every sample of every series, 0 where it is not known.
fn dump_starts(partition: &Partition) -> Vec<(LabelSet, Vec<(i64, i64)>)> {
    let mut selection = partition.select(&request(Vec::new(), TimeRange::ALL));
    selection.sort_by_labels();
    let mut samples = SampleColumns::default();
    (0..selection.len())
        .map(|i| {
            selection.read(i, TimeRange::ALL, &mut samples).unwrap();
            (selection.labels(i), starts_of(samples.slices()))
        })
        .collect()
}

fn starts_of(samples: SampleSlices<'_>) -> Vec<(i64, i64)> {
    let of = |ts: &[i64], starts: &[i64]| -> Vec<_> {
        assert!(starts.is_empty() || starts.len() == ts.len(), "a start for each sample or for none");
        ts.iter().enumerate().map(|(i, ts)| (*ts, starts.get(i).copied().unwrap_or(0))).collect()
    };
    let histograms = of(samples.histogram_ts, samples.histogram_start_ts);
    let mut all: Vec<_> = of(samples.ts, samples.start_ts).into_iter().chain(histograms).collect();
    all.sort_unstable();
    all
}
