//! From a batch of samples to one append record for each partition, and back from the answers to one outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use pharos_cluster::proposer::{ProposeError, Proposer};
use pharos_ingest::sink::{AppendError, AppendOutcome, Place, Refusal, SampleBatch, SeriesHandle, Sink};
use pharos_model::{Clock, PartitionId, partition};
use pharos_storage::partition::Partition;
use pharos_storage::record::{self, AppendAnswer, AppendLimits, AppendRecordBuilder, SeriesRef};

/// Samples may be this far ahead of the node's clock, as in Prometheus.
const FUTURE_TOLERANCE: Duration = Duration::from_secs(600);
/// How long a sender should wait after the node had to turn it away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Sends samples to the partitions they belong to.
#[derive(Debug)]
pub struct Router {
    proposers: Vec<Proposer>,
    partitions: Vec<Arc<Partition>>,
    clock: Arc<dyn Clock>,
    out_of_order_window_ms: AtomicI64,
    series_max: u32,
}

/// The part of a batch that goes to one partition in one record, with the places its samples had in the batch.
struct Part {
    partition: usize,
    record: AppendRecordBuilder,
    known: Vec<usize>,
    fresh: Vec<usize>,
}

impl Router {
    /// Both lists by partition.
    pub fn new(
        proposers: Vec<Proposer>,
        partitions: Vec<Arc<Partition>>,
        clock: Arc<dyn Clock>,
        series_max: Option<u32>,
    ) -> Self {
        Self {
            proposers,
            partitions,
            clock,
            out_of_order_window_ms: AtomicI64::new(0),
            series_max: series_max.unwrap_or(u32::MAX),
        }
    }

    /// How late a sample may be, from now on.
    pub fn set_out_of_order_window(&self, window: Duration) {
        self.out_of_order_window_ms.store(window.as_millis() as i64, Ordering::Relaxed);
    }

    pub fn out_of_order_window_ms(&self) -> i64 {
        self.out_of_order_window_ms.load(Ordering::Relaxed)
    }

    fn limits(&self) -> AppendLimits {
        AppendLimits {
            out_of_order_window_ms: self.out_of_order_window_ms(),
            newest_allowed_ms: self.clock.now_ms() + FUTURE_TOLERANCE.as_millis() as i64,
            series_max: self.series_max,
        }
    }

    fn split(&self, batch: &SampleBatch) -> Vec<Part> {
        let mut parts = Parts::new(batch, self.limits(), self.proposers.len());
        for (place, sample) in batch.known.iter().enumerate() {
            let (partition, series) = open_handle(sample.series);
            let part = parts.open(partition);
            part.record.push_known(series, sample.ts, sample.value);
            part.known.push(place);
        }
        let count = self.proposers.len() as u16;
        let partition_of = |labels| usize::from(partition::of_series(&batch.tenant, labels, count).0);
        for (place, fresh) in batch.fresh.iter().enumerate() {
            let part = parts.open(partition_of(&fresh.labels));
            part.record.push_fresh(&fresh.labels, fresh.sample.ts, fresh.sample.value);
            part.fresh.push(place);
        }
        for exemplar in &batch.exemplars {
            parts.open(partition_of(&exemplar.series)).record.push_exemplar(&exemplar.series, &exemplar.exemplar);
        }
        parts.done
    }
}

#[async_trait]
impl Sink for Router {
    async fn append(&self, batch: SampleBatch) -> Result<AppendOutcome, AppendError> {
        let mut outcome = AppendOutcome { handles: vec![None; batch.fresh.len()], ..AppendOutcome::default() };
        let parts = self.split(&batch);
        // Full chunks that find no room on disk wait in memory, so no more may come before they are written.
        if parts.iter().any(|part| self.partitions[part.partition].writable().is_err()) {
            return Err(AppendError::DiskFull { retry_after: RETRY_AFTER });
        }
        let answers = join_all(parts.into_iter().map(|part| async move {
            let Part { partition, record, known, fresh } = part;
            let answer = self.proposers[partition].propose(record.finish()).await;
            (partition, known, fresh, answer)
        }))
        .await;
        for (partition, known, fresh, answer) in answers {
            let answer = answer.map_err(append_error)?;
            if !answer.is_empty() || !fresh.is_empty() {
                merge(&mut outcome, partition, &known, &fresh, &answer)?;
            }
        }
        Ok(outcome)
    }
}

/// The open record of each partition, and those that are complete.
struct Parts<'a> {
    batch: &'a SampleBatch,
    limits: AppendLimits,
    /// By partition, the place of its newest part in `done`.
    open: Vec<Option<usize>>,
    done: Vec<Part>,
}

impl<'a> Parts<'a> {
    fn new(batch: &'a SampleBatch, limits: AppendLimits, partitions: usize) -> Self {
        Self { batch, limits, open: vec![None; partitions], done: Vec::new() }
    }

    fn open(&mut self, partition: usize) -> &mut Part {
        let at = match self.open[partition] {
            Some(at) if !self.done[at].record.is_full() => at,
            _ => {
                let record = AppendRecordBuilder::new(self.batch.tenant.clone(), self.limits);
                self.done.push(Part { partition, record, known: Vec::new(), fresh: Vec::new() });
                self.done.len() - 1
            }
        };
        self.open[partition] = Some(at);
        &mut self.done[at]
    }
}

fn merge(
    outcome: &mut AppendOutcome,
    partition: usize,
    known: &[usize],
    fresh: &[usize],
    answer: &Bytes,
) -> Result<(), AppendError> {
    let answer = AppendAnswer::decode(answer).map_err(|error| AppendError::Unavailable {
        reason: format!("partition {partition} answered an append with: {error}"),
        retry_after: RETRY_AFTER,
    })?;
    for (&place, series) in fresh.iter().zip(&answer.fresh) {
        outcome.handles[place] = series.map(|series| handle(PartitionId(partition as u16), series));
    }
    outcome.stale.extend(answer.stale.iter().map(|&position| known[position as usize]));
    outcome.refused.extend(answer.refused.iter().map(|refused| {
        let place = match refused.place {
            record::Place::Known(position) => Place::Known(known[position as usize]),
            record::Place::Fresh(position) => Place::Fresh(fresh[position as usize]),
        };
        (place, refusal(refused.refusal))
    }));
    outcome.duplicates += answer.duplicates as usize;
    Ok(())
}

/// The partition in the upper half, its series reference in the lower.
fn handle(partition: PartitionId, series: SeriesRef) -> SeriesHandle {
    SeriesHandle(u64::from(partition.0) << 32 | u64::from(series.0))
}

fn open_handle(handle: SeriesHandle) -> (usize, SeriesRef) {
    ((handle.0 >> 32) as usize, SeriesRef(handle.0 as u32))
}

fn refusal(refusal: record::Refusal) -> Refusal {
    match refusal {
        record::Refusal::OutOfOrder => Refusal::OutOfOrder,
        record::Refusal::TooOld => Refusal::TooOld,
        record::Refusal::OutOfBounds => Refusal::OutOfBounds,
        record::Refusal::DuplicateTimestamp => Refusal::DuplicateTimestamp,
        record::Refusal::SeriesLimit => Refusal::SeriesLimit,
    }
}

fn append_error(error: ProposeError) -> AppendError {
    match error {
        ProposeError::Overloaded { .. } => {
            AppendError::Overloaded { limit: "proposer queue", retry_after: RETRY_AFTER }
        }
        ProposeError::DiskFull { .. } => AppendError::DiskFull { retry_after: RETRY_AFTER },
        ProposeError::TimedOut { waited } => AppendError::Timeout(waited),
        other => AppendError::Unavailable { reason: other.to_string(), retry_after: RETRY_AFTER },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_carries_partition_and_reference() {
        let handle = handle(PartitionId(23), SeriesRef(u32::MAX));
        assert_eq!(open_handle(handle), (23, SeriesRef(u32::MAX)));
    }
}
