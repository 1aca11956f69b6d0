//! How operators take in rows: as a stream, all at once, or as the values of a scalar.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::context::QueryContext;
use super::node::Call;
use crate::batch::{BatchBuilder, RowBatch, RowBuffer};
use crate::functions::ScalarArg;
use crate::plan::Param;

pub(crate) type RowStream = BoxStream<'static, Result<RowBatch>>;

/// Rows of one partition of a plan. Whoever takes a batch is done with it before the next: its samples count as
/// released.
pub(crate) fn rows(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    task: &Arc<TaskContext>,
    query: &Arc<QueryContext>,
) -> Result<RowStream> {
    let query = Arc::clone(query);
    let records = plan.execute(partition, Arc::clone(task))?;
    let batches = records.and_then(move |record| {
        let query = Arc::clone(&query);
        async move {
            query.checkpoint().await?;
            let batch = RowBatch::new(record)?;
            query.release_samples(batch.points());
            Ok(batch)
        }
    });
    Ok(batches.boxed())
}

/// All rows of an input, for operators that cannot begin before.
pub(super) struct Gathered {
    pub rows: RowBuffer,
    query: Arc<QueryContext>,
}

impl Gathered {
    pub(super) async fn from_input(call: &Call, input: usize) -> Result<Self> {
        let mut stream = call.rows(input)?;
        let mut gathered = Self::new(call);
        while let Some(batch) = stream.try_next().await? {
            gathered.push(batch)?;
        }
        Ok(gathered)
    }

    /// Without rows.
    pub(super) fn new(call: &Call) -> Self {
        Self { rows: RowBuffer::new(QueryContext::reserve(&call.task, "rows")), query: Arc::clone(&call.query) }
    }

    pub(super) fn push(&mut self, batch: RowBatch) -> Result<()> {
        let points = batch.points();
        self.rows.push(batch)?;
        self.query.hold_samples(points)
    }

    /// Has these rows instead of all others.
    pub(super) fn replace(&mut self, rows: Vec<RowBatch>) -> Result<()> {
        while let Some(batch) = self.rows.pop() {
            self.query.release_samples(batch.points());
        }
        rows.into_iter().try_for_each(|batch| self.push(batch))
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.query.release_samples(self.rows.points());
    }
}

/// Streams what a builder has made.
pub(super) fn batches(list: Vec<RowBatch>) -> RowStream {
    futures::stream::iter(list.into_iter().filter(|batch| !batch.is_empty()).map(Ok)).boxed()
}

/// A stream whose batches a future makes all at once.
pub(super) fn once(make: impl Future<Output = Result<Vec<RowBatch>>> + Send + 'static) -> RowStream {
    futures::stream::once(make).map_ok(batches).try_flatten().boxed()
}

/// Cuts rows into batches.
pub(super) struct Output {
    builder: BatchBuilder,
    done: Vec<RowBatch>,
}

impl Output {
    pub(super) fn new(steps: usize) -> Self {
        Self { builder: BatchBuilder::new(steps), done: Vec::new() }
    }

    /// The builder of the batch under way.
    pub(super) fn builder(&mut self) -> Result<&mut BatchBuilder> {
        if self.builder.is_full() {
            self.done.push(self.builder.finish()?);
        }
        Ok(&mut self.builder)
    }

    pub(super) fn finish(mut self) -> Result<Vec<RowBatch>> {
        if !self.builder.is_empty() {
            self.done.push(self.builder.finish()?);
        }
        Ok(self.done)
    }
}

/// A scalar's value at each step, or why there is none.
type ScalarRow = Result<Arc<[f64]>, Arc<DataFusionError>>;

/// Scalar inputs of a node. The first partition that needs one evaluates it for all.
#[derive(Debug)]
pub(super) struct SharedScalars {
    /// One for each input; a failure is kept too.
    cells: Vec<OnceCell<ScalarRow>>,
}

impl SharedScalars {
    pub(super) fn new(inputs: usize) -> Self {
        Self { cells: (0..inputs).map(|_| OnceCell::new()).collect() }
    }
}

/// All values that a scalar takes; one when it is constant.
pub(super) fn scalar_values(scalar: &ScalarArg) -> &[f64] {
    match scalar {
        ScalarArg::Constant(value) => std::slice::from_ref(value),
        ScalarArg::PerStep(values) => values,
    }
}

impl Call {
    pub(super) async fn params(&self, params: &[Param]) -> Result<Vec<ScalarArg>> {
        let mut values = Vec::with_capacity(params.len());
        for param in params {
            values.push(self.param(*param).await?);
        }
        Ok(values)
    }

    pub(super) async fn param(&self, param: Param) -> Result<ScalarArg> {
        match param {
            Param::Constant(value) => Ok(ScalarArg::Constant(value.0)),
            Param::Input(input) => {
                let cell = &self.scalars.cells[input];
                let values = cell.get_or_init(|| async { self.scalar_row(input).await.map_err(Arc::new) }).await;
                match values {
                    Ok(values) => Ok(ScalarArg::PerStep(Arc::clone(values))),
                    Err(error) => Err(DataFusionError::Shared(Arc::clone(error))),
                }
            }
        }
    }

    /// The single row of a scalar input.
    async fn scalar_row(&self, input: usize) -> Result<Arc<[f64]>> {
        let mut stream = rows(self.input_plan(input), 0, &self.task, &self.query)?;
        let mut values: Option<Arc<[f64]>> = None;
        while let Some(batch) = stream.try_next().await? {
            if let Some(row) = batch.rows().next() {
                values = Some(Arc::from(row.values));
            }
        }
        Ok(values.expect("a scalar has one row with a value at each step"))
    }
}
