//! A worker's view of series in memory: only the partitions that it holds, and each series in two halves.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pharos_model::TimestampMs;

use super::memory::MemorySource;
use super::random;
use crate::source::{
    Estimate, ReadError, Reliance, Relying, Revision, SampleColumns, SelectRequest, Selection, SeriesBatch,
    SeriesSamples, SeriesSource,
};

/// The boundary is at most so far from the epoch, in steps of half a minute.
const BOUNDARY_HALF_MINUTES: u64 = 240;

/// Some partitions of a [`MemorySource`], as storage has them: what is older than a boundary in data files, the rest in the
/// head. The boundary is another for each selection, as when a slice is sealed in between.
#[derive(Debug)]
pub struct SplitSource {
    memory: MemorySource,
    held: Vec<usize>,
    seed: u64,
    selections: AtomicU64,
}

impl SplitSource {
    pub fn new(memory: MemorySource, held: Vec<usize>, seed: u64) -> Self {
        Self { memory, held, seed, selections: AtomicU64::new(0) }
    }

    fn boundary(&self) -> TimestampMs {
        let drawn = random(self.seed, self.selections.fetch_add(1, Ordering::Relaxed));
        (drawn % BOUNDARY_HALF_MINUTES) as i64 * 30_000
    }
}

#[async_trait]
impl SeriesSource for SplitSource {
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
        if let Some(foreign) = partitions.iter().find(|partition| !self.held.contains(partition)) {
            return Err(ReadError::Stopped(format!("partition {foreign} is not held here")));
        }
        let boundary = self.boundary();
        let whole = self.memory.select(partitions, request).await?;
        Ok(whole.into_iter().map(|whole| Box::new(SplitSelection { whole, boundary }) as Box<dyn Selection>).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.memory.rely(relying, since).await
    }
}

#[derive(Debug)]
struct SplitSelection {
    whole: Box<dyn Selection>,
    boundary: TimestampMs,
}

#[async_trait]
impl Selection for SplitSelection {
    fn series_count(&self) -> usize {
        self.whole.series_count()
    }

    fn estimate(&self) -> Estimate {
        self.whole.estimate()
    }

    fn memory_bytes(&self) -> usize {
        self.whole.memory_bytes()
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        let boundary = self.boundary;
        let batch = self.whole.next_batch().await?;
        Ok(batch.map(|whole| Box::new(SplitBatch { whole, boundary }) as Box<dyn SeriesBatch>))
    }
}

#[derive(Debug)]
struct SplitBatch {
    whole: Box<dyn SeriesBatch>,
    boundary: TimestampMs,
}

impl SeriesBatch for SplitBatch {
    fn len(&self) -> usize {
        self.whole.len()
    }

    fn label_bytes(&self, i: usize) -> &[u8] {
        self.whole.label_bytes(i)
    }

    fn memory_bytes(&self) -> usize {
        self.whole.memory_bytes()
    }

    fn samples<'a>(&'a self, i: usize, scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError> {
        let mut decoded = SampleColumns::default();
        let whole = self.whole.samples(i, &mut decoded)?;
        let before = |ts: &[TimestampMs]| ts.partition_point(|ts| *ts < self.boundary);
        let (floats, histograms) = (before(whole.floats.ts), before(whole.histograms.ts));
        scratch.clear();
        append(scratch, whole.slice(0..floats, 0..histograms));
        append(scratch, whole.slice(floats..whole.floats.ts.len(), histograms..whole.histograms.ts.len()));
        Ok(SeriesSamples::from(&*scratch))
    }
}

fn append(columns: &mut SampleColumns, half: SeriesSamples<'_>) {
    columns.ts.extend_from_slice(half.floats.ts);
    columns.values.extend_from_slice(half.floats.values);
    columns.start_ts.extend_from_slice(half.float_start_ts);
    columns.histogram_ts.extend_from_slice(half.histograms.ts);
    columns.histograms.extend_from_slice(half.histograms.list);
    columns.histogram_start_ts.extend_from_slice(half.histograms.start_ts);
}
