//! Where the rows of workers come in: takes their last words out of the streams, and holds the samples for whoever reads on.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::placement::{Share, WorkerId};
use super::report::LastWord;
use crate::batch::RowBatch;
use crate::error::QueryError;
use crate::exec::OperatorFigures;
use crate::exec::context::{QueryContext, evaluations_of, fail};
use crate::wire::Wire;

/// Above a boundary, with the partitions of all workers one after the other.
#[derive(Debug)]
pub(crate) struct ReceiveExec {
    input: Arc<dyn ExecutionPlan>,
    /// What each task reads, in their order.
    shares: Arc<[Share]>,
    /// What the operators of each task gave. The same for all copies: the plan that is run is one of the plan that was made.
    figures: Arc<Mutex<Vec<Vec<OperatorFigures>>>>,
}

/// The rows of one partition of a worker.
struct Received {
    records: Option<SendableRecordBatchStream>,
    worker: WorkerId,
    task: usize,
    figures: Arc<Mutex<Vec<Vec<OperatorFigures>>>>,
    query: Arc<QueryContext>,
    /// As how many evaluations what was read counts.
    evaluations: u32,
}

impl ReceiveExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, shares: Arc<[Share]>) -> Self {
        let figures = Arc::new(Mutex::new(vec![Vec::new(); shares.len()]));
        Self { input, shares, figures }
    }

    fn task_of(&self, partition: usize) -> usize {
        partition / (self.input.output_partitioning().partition_count() / self.shares.len())
    }

    /// The tasks that have something to read, with what that is; the first one if there is none.
    pub(crate) fn working(&self) -> Vec<(usize, Share)> {
        let all = || self.shares.iter().cloned().enumerate();
        let working: Vec<_> = all().filter(|(_, share)| !share.partitions.is_empty()).collect();
        if working.is_empty() { all().take(1).collect() } else { working }
    }

    /// What the operators of a task gave, a node before its inputs; nothing before it has ended, or when nobody asked for it.
    pub(crate) fn figures(&self, task: usize) -> Vec<OperatorFigures> {
        self.figures.lock()[task].clone()
    }
}

impl Received {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(records) = &mut self.records else { return Ok(None) };
        let Some(record) = records.try_next().await? else {
            return Err(self.lost("its answer ended before its last word".into()));
        };
        let batch = RowBatch::new(record)?;
        let Some(word) = batch.as_aside() else {
            self.query.hold_samples(batch.points())?;
            return Ok(Some(batch.into_record()));
        };
        self.records = None;
        match LastWord::from_bytes(word).map_err(|error| self.lost(error.to_string()))? {
            LastWord::Done(mut report) => {
                let operators = std::mem::take(&mut report.operators);
                if !operators.is_empty() {
                    self.figures.lock()[self.task] = operators;
                }
                self.query.absorb(report.counting(self.evaluations));
            }
            LastWord::Failed(failure) => return Err(fail(failure.of(&self.worker))),
        }
        Ok(None)
    }

    fn lost(&self, reason: String) -> datafusion::common::DataFusionError {
        fail(QueryError::Worker { worker: self.worker.clone(), reason })
    }
}

impl ExecutionPlan for ReceiveExec {
    fn name(&self) -> &str {
        "ReceiveExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => {
                let (shares, figures) = (Arc::clone(&self.shares), Arc::clone(&self.figures));
                Ok(Arc::new(Self { input, shares, figures }))
            }
            _ => internal_err!("a boundary has one input"),
        }
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let query = QueryContext::of(&task)?;
        let evaluations = evaluations_of(&task);
        let records = Some(self.input.execute(partition, task)?);
        let task = self.task_of(partition);
        let (worker, figures) = (self.shares[task].worker.clone(), Arc::clone(&self.figures));
        let received = Received { records, worker, task, figures, query, evaluations };
        let records = futures::stream::try_unfold(received, |mut received| async move {
            Ok(received.next().await?.map(|record| (record, received)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), records)))
    }
}

impl DisplayAs for ReceiveExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receive")
    }
}
