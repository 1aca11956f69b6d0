//! What a leaf reads: the partitions that are its own, selected from some at a time.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pharos_model::Clock;

use super::context::{QueryContext, fail};
use super::measure::Counters;
use super::node::Call;
use crate::error::QueryError;
use crate::source::{Estimate, SelectRequest, Selection, SeriesBatch, partitions_of};

/// A selection, and the memory that it and the batch read from it last are paid from.
pub(super) struct Selected {
    selection: Box<dyn Selection>,
    memory: MemoryReservation,
    read: Counters,
}

/// Selects from the partitions that are this leaf's to read, in this partition of the plan.
pub(super) fn selections(call: &Call, request: SelectRequest) -> Result<BoxStream<'static, Result<Selected>>> {
    let own = own_partitions(call, &request)?;
    let (source, task) = (Arc::clone(&call.query.source), Arc::clone(&call.task));
    let (counters, clock) = (call.read.clone(), Arc::clone(call.query.clock()));
    let counters = counters.expect("a leaf counts what it reads");
    let selects = futures::stream::try_unfold(own, move |mut left| {
        let (source, request, task) = (Arc::clone(&source), request.clone(), Arc::clone(&task));
        let (read, clock) = (counters.clone(), Arc::clone(&clock));
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let selections = read.waiting(&*clock, source.select(&left, &request)).await.map_err(fail)?;
            left.drain(..selections.len());
            let selected = |selection| Selected::new(selection, &task, read.clone());
            let selected: Vec<_> = selections.into_iter().map(selected).collect();
            Ok::<_, DataFusionError>(Some((futures::stream::iter(selected), left)))
        }
    });
    Ok(selects.try_flatten().boxed())
}

/// How many threads each partition of the plan that reads anything may have.
pub(super) fn threads(call: &Call, request: &SelectRequest) -> Result<usize> {
    let reading = readable(call, request)?.len().min(call.partitions);
    Ok((call.task.session_config().target_partitions() / reading.max(1)).max(1))
}

fn own_partitions(call: &Call, request: &SelectRequest) -> Result<Vec<usize>> {
    // Shares are lists with gaps, so it is the place in the list that is divided.
    Ok(readable(call, request)?.into_iter().skip(call.partition).step_by(call.partitions).collect())
}

/// The partitions that all of the leaf reads, and that can have anything.
fn readable(call: &Call, request: &SelectRequest) -> Result<Vec<usize>> {
    let may_match = partitions_of(&*call.query.source, request);
    let Some(share) = &call.share else { return Ok(may_match.collect()) };
    let count = call.query.source.partitions();
    if let Some(unknown) = share.partitions.iter().find(|partition| **partition >= count) {
        return Err(fail(unknown_partition(*unknown, count)));
    }
    Ok(share.partitions.iter().copied().filter(|partition| may_match.contains(partition)).collect())
}

/// A share names a partition that the source does not have.
pub fn unknown_partition(unknown: usize, count: usize) -> QueryError {
    QueryError::Internal(format!("partition {unknown} is not among the {count} there are"))
}

impl Selected {
    fn new(selection: Box<dyn Selection>, task: &TaskContext, read: Counters) -> Result<Self> {
        let memory = QueryContext::reserve(task, "scan");
        memory.try_grow(selection.memory_bytes())?;
        read.add_series(0, selection.memory_bytes());
        Ok(Self { selection, memory, read })
    }

    /// As the source has it.
    pub(super) fn series_count(&self) -> usize {
        self.selection.series_count()
    }

    pub(super) fn estimate(&self) -> Estimate {
        self.selection.estimate()
    }

    /// The next batch, and what pays for it as long as it is there.
    pub(super) async fn next_batch_apart(
        &mut self,
        call: &Call,
    ) -> Result<Option<(Box<dyn SeriesBatch>, MemoryReservation)>> {
        let Some(batch) = self.next_batch(&**call.query.clock()).await? else { return Ok(None) };
        let memory = self.memory.split(batch.memory_bytes());
        Ok(Some((batch, memory)))
    }

    pub(super) async fn next_batch(&mut self, clock: &dyn Clock) -> Result<Option<Box<dyn SeriesBatch>>> {
        let batch = self.read.waiting(clock, self.selection.next_batch()).await.map_err(fail)?;
        let batch_bytes = batch.as_ref().map_or(0, |batch| batch.memory_bytes());
        self.read.add_series(batch.as_ref().map_or(0, |batch| batch.len()), batch_bytes);
        self.memory.try_resize(self.selection.memory_bytes() + batch_bytes)?;
        Ok(batch)
    }
}
