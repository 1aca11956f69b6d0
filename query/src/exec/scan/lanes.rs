//! The series of one selection on several threads, in lanes: where one partition has far more to evaluate than the others, or there
//! are fewer partitions than cores.
//!
//! The selection is read by one, batch by batch; runs of series that make about a batch of rows are evaluated side by side, and
//! their rows leave in the order of the series. So whatever comes after sees what it would see without lanes, to the last
//! bit of a sum.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::{Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::evaluate::Evaluator;
use crate::batch::{BATCH_BYTES, RowBatch};
use crate::exec::context::QueryContext;
use crate::exec::input::{RowStream, batches};
use crate::exec::node::Call;
use crate::exec::select::Selected;
use crate::plan::Figures;
use crate::source::SeriesBatch;

/// Samples of a selection that are worth several lanes: some milliseconds of work, against some ten microseconds of handing it out.
const SAMPLES_MIN: u64 = 1 << 18;
/// Fewer series than this are not looked at any closer, which would cost as much as to evaluate some of them.
const SERIES_MIN: usize = 256;

/// Whether a selection is worth several lanes.
pub(super) fn pays(selected: &Selected) -> bool {
    selected.series_count() >= SERIES_MIN && selected.estimate().samples >= SAMPLES_MIN
}

/// Some series of a batch, which others have more of.
struct Run {
    batch: Arc<Held>,
    series: Range<usize>,
}

/// A batch as long as any of its series is evaluated.
struct Held {
    batch: Box<dyn SeriesBatch>,
    _memory: MemoryReservation,
}

/// The rows of a run, paid for until they leave.
struct Made {
    rows: Vec<RowBatch>,
    _memory: MemoryReservation,
}

/// The rows of a selection, made by as many evaluators as there are lanes.
pub(super) fn rows(selected: Selected, evaluators: Vec<Evaluator>, call: &Call) -> RowStream {
    let lanes = evaluators.len();
    let (free, call) = (Arc::new(Mutex::new(evaluators)), call.clone());
    let runs = runs(selected, call.clone());
    let made = runs.map(move |run| {
        let (free, call) = (Arc::clone(&free), call.clone());
        async move {
            let run = run?;
            let mut evaluator = free.lock().pop().expect("no more runs are under way than there are lanes");
            // On a task of its own; it is dropped with this one.
            let (evaluator, made) = SpawnedTask::spawn(async move {
                let made = call.busy(|| make(&mut evaluator, &run, &call));
                (evaluator, made)
            })
            .join_unwind()
            .await
            .map_err(|error| datafusion::common::DataFusionError::ExecutionJoin(Box::new(error)))?;
            free.lock().push(evaluator);
            made
        }
    });
    made.buffered(lanes).map_ok(|made| batches(made.rows)).try_flatten().boxed()
}

fn make(evaluator: &mut Evaluator, run: &Run, call: &Call) -> Result<Made> {
    let memory = QueryContext::reserve(&call.task, "scan");
    let mut rows = Vec::new();
    let mut next = run.series.start;
    while next < run.series.end {
        next = evaluator.evaluate(&*run.batch.batch, next..run.series.end)?;
        if !evaluator.is_empty() {
            let batch = evaluator.finish()?;
            memory.try_grow(batch.bytes())?;
            rows.push(batch);
        }
    }
    Ok(Made { rows, _memory: memory })
}

/// Cuts a selection into runs that make about a batch of rows each.
fn runs(selected: Selected, call: Call) -> impl Stream<Item = Result<Run>> {
    let at_once = (BATCH_BYTES as u64 / Figures::full(1, call.grid.n).bytes).max(1) as usize;
    let reader = Reader { selected, call, at_once, rest: None };
    futures::stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|run| (run, reader))) })
}

struct Reader {
    selected: Selected,
    call: Call,
    /// Series of a run.
    at_once: usize,
    /// Of the batch that was read last.
    rest: Option<Run>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Run>> {
        if self.rest.is_none() {
            self.call.query.checkpoint().await?;
            let Some((batch, memory)) = self.selected.next_batch_apart(&self.call).await? else { return Ok(None) };
            let series = 0..batch.len();
            self.rest = Some(Run { batch: Arc::new(Held { batch, _memory: memory }), series });
        }
        Ok(self.rest.take().map(|Run { batch, series }| {
            let end = series.end.min(series.start + self.at_once);
            if end < series.end {
                self.rest = Some(Run { batch: Arc::clone(&batch), series: end..series.end });
            }
            Run { batch, series: series.start..end }
        }))
    }
}
