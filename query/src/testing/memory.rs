//! Series in memory, spread over partitions as a cluster would spread them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::RwLock;
use pharos_model::matcher::all_match;
use pharos_model::{FloatHistogram, LabelSet, Matcher, Sample, TenantId, TimeRange, TimestampMs, partition};
use pharos_storage::amendments::{self, Amendments};

use super::hint::as_stored;
use crate::source::{
    Estimate, ReadError, Reliance, Relying, Revision, SampleColumns, SelectRequest, Selection, SeriesBatch,
    SeriesSamples, SeriesSource,
};
use crate::value::Point;

/// Series that [`Selection::next_batch`] returns at a time.
const SERIES_PER_BATCH: usize = 64;

type Partition = HashMap<LabelSet, Arc<SampleColumns>>;

/// A [`SeriesSource`] over vectors. Knows one tenant: that of a request is not looked at. Cheap to clone; clones share their series.
#[derive(Clone)]
pub struct MemorySource {
    partitions: Arc<Vec<RwLock<Partition>>>,
    amendments: Arc<Amendments>,
}

/// A sample to append.
#[derive(Clone, Debug)]
pub struct MemorySample {
    pub ts: TimestampMs,
    /// When its counter began, 0 if that is not known.
    pub start_ts: TimestampMs,
    /// A histogram gets the counter reset hint that it would come back with from storage.
    pub point: Point,
}

impl MemorySource {
    /// # Panics
    /// Without a partition.
    pub fn new(partitions: usize) -> Self {
        assert!(partitions > 0, "a source has at least one partition");
        let partitions = (0..partitions).map(|_| RwLock::default()).collect();
        Self { partitions: Arc::new(partitions), amendments: Arc::default() }
    }

    /// Adds floats to a series. A sample replaces one of the same time.
    pub fn append(&self, labels: &LabelSet, samples: impl IntoIterator<Item = Sample>) {
        let points =
            samples.into_iter().map(|Sample { ts, value }| MemorySample { ts, start_ts: 0, point: value.into() });
        self.append_points(labels, points);
    }

    /// Adds samples of both kinds to a series. A sample replaces one of its time and kind.
    pub fn append_points(&self, labels: &LabelSet, samples: impl IntoIterator<Item = MemorySample>) {
        let count = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
        let at = partition::of_series(&TenantId::anonymous(), labels, count);
        let mut series = self.partitions[usize::from(at.0)].write();
        let columns = Arc::make_mut(series.entry(labels.clone()).or_default());
        for sample in samples {
            self.amendments.note_samples(&TenantId::anonymous(), std::iter::once(sample.ts));
            insert(columns, sample);
        }
    }

    /// Removes the samples of all series that satisfy the matchers in a range.
    pub fn delete(&self, matchers: &[Matcher], range: TimeRange) {
        for partition in self.partitions.iter() {
            let mut series = partition.write();
            let matching = series.iter_mut().filter(|(labels, _)| all_match(matchers, labels));
            matching.for_each(|(_, columns)| remove(Arc::make_mut(columns), range));
        }
        self.amendments.note(&TenantId::anonymous(), range);
    }

    /// Removes all series.
    pub fn clear(&self) {
        self.partitions.iter().for_each(|partition| partition.write().clear());
        self.amendments.note_everything();
    }
}

fn insert(columns: &mut SampleColumns, sample: MemorySample) {
    let MemorySample { ts, start_ts, point } = sample;
    match point {
        Point::Float(value) => {
            let at = columns.ts.binary_search(&ts);
            insert_at(&mut columns.values, at, value);
            insert_start(&mut columns.start_ts, columns.ts.len(), at, start_ts);
            insert_at(&mut columns.ts, at, ts);
        }
        Point::Histogram(histogram) => {
            let at = columns.histogram_ts.binary_search(&ts);
            let (Ok(place) | Err(place)) = at;
            let float_before = columns.ts.iter().rev().find(|float| **float < ts);
            let previous = place.checked_sub(1).filter(|at| float_before < Some(&columns.histogram_ts[*at]));
            let hint = as_stored(&histogram, previous.map(|at| &*columns.histograms[at]));
            let stored = FloatHistogram { counter_reset_hint: hint, ..(*histogram).clone() };
            insert_at(&mut columns.histograms, at, Arc::new(stored));
            insert_start(&mut columns.histogram_start_ts, columns.histogram_ts.len(), at, start_ts);
            insert_at(&mut columns.histogram_ts, at, ts);
        }
    }
}

fn remove(columns: &mut SampleColumns, range: TimeRange) {
    let SampleColumns { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } = columns;
    let gone = |ts: &[i64]| ts.partition_point(|ts| *ts < range.start_ms)..ts.partition_point(|ts| *ts <= range.end_ms);
    let (floats, histogram) = (gone(ts), gone(histogram_ts));
    ts.drain(floats.clone());
    values.drain(floats.clone());
    histogram_ts.drain(histogram.clone());
    histograms.drain(histogram.clone());
    if !start_ts.is_empty() {
        start_ts.drain(floats);
    }
    if !histogram_start_ts.is_empty() {
        histogram_start_ts.drain(histogram);
    }
}

/// Inserts at, or replaces what is at, the place that a search has found.
fn insert_at<T>(column: &mut Vec<T>, place: Result<usize, usize>, value: T) {
    match place {
        Ok(at) => column[at] = value,
        Err(at) => column.insert(at, value),
    }
}

/// The column stays empty until a start timestamp is known.
fn insert_start(column: &mut Vec<i64>, samples: usize, place: Result<usize, usize>, start_ts: i64) {
    if column.is_empty() && start_ts == 0 {
        return;
    }
    column.resize(samples, 0);
    insert_at(column, place, start_ts);
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series: usize = self.partitions.iter().map(|partition| partition.read().len()).sum();
        f.debug_struct("MemorySource").field("partitions", &self.partitions.len()).field("series", &series).finish()
    }
}

#[async_trait]
impl SeriesSource for MemorySource {
    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn partition_of(&self, request: &SelectRequest) -> Option<usize> {
        let count = u16::try_from(self.partitions.len()).ok()?;
        partition::of_matchers(&TenantId::anonymous(), &request.matchers, count).map(|only| usize::from(only.0))
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let select = |partition: &usize| {
            let series = self.partitions[*partition].read();
            let matching = series.iter().filter(|(labels, _)| all_match(&request.matchers, labels));
            let found = matching.map(|(labels, columns)| (labels.clone(), Arc::clone(columns))).collect();
            Box::new(MemorySelection { found, next: 0, request: request.clone() }) as Box<dyn Selection>
        };
        Ok(partitions.iter().map(select).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        let earlier = match since {
            Some(Revision::Whole(revision)) => Some(*revision),
            _ => None,
        };
        let amendments::Reliance { revision, mut amended } =
            self.amendments.rely(&TenantId::anonymous(), relying.until_ms, earlier);
        if since.is_some() && earlier.is_none() {
            amended.push(TimeRange::ALL);
        }
        Ok(Reliance { revision: Revision::Whole(revision), amended })
    }
}

type Found = Vec<(LabelSet, Arc<SampleColumns>)>;

/// Labels and samples are the source's; only the list is a query's own.
fn shared_bytes(found: &Found) -> usize {
    size_of_val(found.as_slice())
}

#[derive(Debug)]
struct MemorySelection {
    found: Found,
    next: usize,
    request: SelectRequest,
}

#[async_trait]
impl Selection for MemorySelection {
    fn series_count(&self) -> usize {
        self.found.len()
    }

    fn estimate(&self) -> Estimate {
        let range = self.request.range;
        let inside = |ts: &[i64]| ts.iter().filter(|ts| range.contains(**ts)).count() as u64;
        let samples = self.found.iter().map(|(_, series)| inside(&series.ts) + inside(&series.histogram_ts)).sum();
        Estimate { series: self.found.len() as u64, samples, bytes: samples * size_of::<Sample>() as u64 }
    }

    fn memory_bytes(&self) -> usize {
        shared_bytes(&self.found)
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        let end = self.found.len().min(self.next + SERIES_PER_BATCH);
        let series: Found = self.found[self.next..end].to_vec();
        self.next = end;
        if series.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryBatch { series, request: self.request.clone() })))
    }
}

#[derive(Debug)]
struct MemoryBatch {
    series: Found,
    request: SelectRequest,
}

impl SeriesBatch for MemoryBatch {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn label_bytes(&self, i: usize) -> &[u8] {
        self.series[i].0.as_bytes()
    }

    fn memory_bytes(&self) -> usize {
        shared_bytes(&self.series)
    }

    fn samples<'a>(&'a self, i: usize, _scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError> {
        let columns = &*self.series[i].1;
        let in_range = |ts: &[i64]| {
            let first = ts.partition_point(|ts| *ts < self.request.range.start_ms);
            first..ts.partition_point(|ts| *ts <= self.request.range.end_ms).max(first)
        };
        let (floats, histograms) = (in_range(&columns.ts), in_range(&columns.histogram_ts));
        Ok(SeriesSamples::from(columns).slice(floats, histograms))
    }
}
