//! Sends a batch of samples to the partitions they belong to, and joins the answers to one outcome.

mod admission;
mod limits;
mod split;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use pharos_cluster::node as cluster;
use pharos_cluster::proposer::ProposeError;
use pharos_cluster::router::{Repeat, Sending};
use pharos_ingest::sink::{AppendError, AppendOutcome, Place, Refusal, SampleBatch, SeriesHandle, Sink};
use pharos_model::{Clock, PartitionId};
use pharos_storage::record::{self, AppendAnswer, AppendLimits, SeriesRef, StartRule};

use super::stores::Stores;
use admission::Admission;
pub use limits::SeriesLimits;
use split::{Part, PartitionParts, Places, Terms, split};

/// Samples may be this far ahead of the node's clock, as in Prometheus.
const FUTURE_TOLERANCE: Duration = Duration::from_secs(600);
/// How long a sender should wait after the node had to turn it away.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest time that a batch is tried, a change of leader included. Senders of remote write give up after 30 s.
const WRITE_MAX: Duration = Duration::from_secs(25);
/// Larger batches are split away from the async threads: these take less than half a millisecond.
const SPLIT_INLINE_MAX: usize = 2_000;
const SPLIT_INLINE_LABEL_BYTES_MAX: usize = 256 << 10;
/// Tenants that a node takes samples of: each has a head in some partitions for as long as the node has its data.
const TENANTS_MAX: usize = 10_000;
/// Parts of one batch that wait for one partition at a time: one is written while the next waits.
const PARTS_OUTSTANDING_MAX: usize = 2;

/// Sends samples to the partitions they belong to.
#[derive(Debug)]
pub struct Router {
    cluster: Arc<cluster::Node>,
    stores: Arc<Stores>,
    clock: Arc<dyn Clock>,
    out_of_order_window_ms: AtomicI64,
    starts: StartRule,
    limits: ArcSwap<SeriesLimits>,
    tenants: Admission,
}

/// What a node is told of the samples that it takes.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    /// Series that tenants may have in a partition.
    pub limits: SeriesLimits,
    /// What becomes of start timestamps.
    pub starts: StartRule,
}

impl Router {
    pub fn new(cluster: Arc<cluster::Node>, stores: Arc<Stores>, clock: Arc<dyn Clock>, intake: Intake) -> Self {
        let known = stores.all().into_iter().flat_map(|(_, store)| store.tenants());
        Self {
            tenants: Admission::new(known, TENANTS_MAX),
            cluster,
            stores,
            clock,
            out_of_order_window_ms: AtomicI64::new(0),
            starts: intake.starts,
            limits: ArcSwap::from_pointee(intake.limits),
        }
    }

    /// How late a sample may be, from now on.
    pub fn set_out_of_order_window(&self, window: Duration) {
        self.out_of_order_window_ms.store(window.as_millis() as i64, Ordering::Relaxed);
    }

    /// How many series tenants may have, from now on.
    pub fn set_series_limits(&self, limits: SeriesLimits) {
        self.limits.store(Arc::new(limits));
    }

    pub fn out_of_order_window_ms(&self) -> i64 {
        self.out_of_order_window_ms.load(Ordering::Relaxed)
    }

    /// What the samples of a batch are judged by.
    fn terms_of(&self, batch: &SampleBatch) -> Terms {
        let limits = AppendLimits {
            out_of_order_window_ms: if batch.refuse_late { 0 } else { self.out_of_order_window_ms() },
            newest_allowed_ms: self.clock.now_ms() + FUTURE_TOLERANCE.as_millis() as i64,
            series_max: self.limits.load().of(&batch.tenant),
        };
        Terms { limits, starts: self.starts }
    }

    async fn split(&self, batch: &Arc<SampleBatch>) -> Result<Vec<PartitionParts>, AppendError> {
        let (terms, partitions) = (self.terms_of(batch), self.cluster.cluster().partitions);
        if is_small(batch) {
            return Ok(split(batch, terms, partitions));
        }
        let batch = Arc::clone(batch);
        let parts = tokio::task::spawn_blocking(move || split(&batch, terms, partitions)).await;
        parts.map_err(|panicked| unavailable(panicked.to_string()))
    }

    /// Whether a replica here has no room for more. Of those elsewhere their log says so.
    fn is_full(&self, partition: usize) -> bool {
        self.stores.get(PartitionId(partition as u16)).is_some_and(|store| store.writable().is_err())
    }

    /// Proposes the parts of one partition in their order, a few at a time: all at once, a large batch would fill the queue by
    /// itself, and again with every retry.
    async fn send(
        &self,
        PartitionParts { partition, parts }: PartitionParts,
        patience: Duration,
    ) -> Result<Vec<Answered>, AppendError> {
        // What is sent again after an unknown outcome is answered as a duplicate.
        let sending = Sending { linger: patience, patience: WRITE_MAX, repeat: Repeat::Harmless };
        let propose = |Part { command, places }| async move {
            let proposed = self.cluster.propose(PartitionId(partition as u16), command, sending).await;
            let answer = proposed.map_err(append_error)?;
            Ok(Answered { partition, places, answer })
        };
        stream::iter(parts).map(propose).buffered(PARTS_OUTSTANDING_MAX).try_collect().await
    }
}

fn is_small(batch: &SampleBatch) -> bool {
    let label_bytes = || batch.fresh.iter().map(|fresh| fresh.labels.as_bytes().len()).sum::<usize>();
    batch.known.len() + batch.fresh.len() + batch.exemplars.len() <= SPLIT_INLINE_MAX
        && label_bytes() <= SPLIT_INLINE_LABEL_BYTES_MAX
}

/// What a partition said about a part.
struct Answered {
    partition: usize,
    places: Places,
    answer: Bytes,
}

#[async_trait]
impl Sink for Router {
    #[tracing::instrument(
        level = "debug",
        skip_all,
        fields(tenant = %batch.tenant, known = batch.known.len(), fresh = batch.fresh.len())
    )]
    async fn append(&self, batch: Arc<SampleBatch>) -> Result<AppendOutcome, AppendError> {
        let mut outcome = AppendOutcome { handles: vec![None; batch.fresh.len()], ..AppendOutcome::default() };
        if !self.tenants.admit(&batch.tenant) {
            return Err(AppendError::TooManyTenants { max: TENANTS_MAX });
        }
        let partitions = self.split(&batch).await?;
        // Full chunks that find no room on disk wait in memory, so no more may come before they are written.
        if partitions.iter().any(|parts| self.is_full(parts.partition)) {
            return Err(AppendError::DiskFull { retry_after: RETRY_AFTER });
        }
        // All are waited for, so that what a retry brings again is there and answered as such.
        for answered in join_all(partitions.into_iter().map(|parts| self.send(parts, batch.patience))).await {
            for Answered { partition, places, answer } in answered? {
                merge(&mut outcome, partition, &places, &answer)?;
            }
        }
        Ok(outcome)
    }
}

fn merge(outcome: &mut AppendOutcome, partition: usize, places: &Places, answer: &Bytes) -> Result<(), AppendError> {
    let Places { known, fresh } = places;
    if answer.is_empty() && fresh.is_empty() {
        return Ok(());
    }
    let answer = AppendAnswer::decode(answer)
        .map_err(|error| unavailable(format!("partition {partition} answered an append with: {error}")))?;
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
        ProposeError::Forwarding { .. } => {
            AppendError::Overloaded { limit: "commands on their way to other nodes", retry_after: RETRY_AFTER }
        }
        ProposeError::DiskFull { .. } => AppendError::DiskFull { retry_after: RETRY_AFTER },
        ProposeError::TimedOut { waited } => AppendError::Timeout(waited),
        ProposeError::TooLarge { .. } => AppendError::TooLarge { reason: error.to_string() },
        other => unavailable(other.to_string()),
    }
}

fn unavailable(reason: String) -> AppendError {
    AppendError::Unavailable { reason, retry_after: RETRY_AFTER }
}

#[cfg(test)]
mod tests;
