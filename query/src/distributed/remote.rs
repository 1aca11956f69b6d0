//! Channels to workers elsewhere, over any transport of bytes.
//!
//! Two kinds of streams go from a worker to who asks it, each begun by one request ([`Request`]):
//! - a *plan*'s says in one piece that the worker has the plan, and lasts until whoever asked drops it, with which the worker
//!   forgets the plan;
//! - a *task*'s are the batches of one partition of a plan, as Arrow's stream format has them, in frames.
//!
//! A transport carries the bytes in order. It may cut pieces and join them, and need not bring empty ones.
//!
//! An error ends a stream. What is lost on the way cannot be taken for the end of an answer: see [`super::report`].

mod message;
mod rows;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, ProducerHead,
    SetPlanRequest, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, future, stream};
use http::HeaderMap;
use tokio::sync::oneshot;

use self::message::{PlanRequest, Request, TaskRequest};
use super::channel::{Channels, WorkerChannel};
use super::placement::WorkerId;
use super::worker::Worker;
use crate::error::QueryError;
use crate::exec::context::fail;
use crate::wire::Wire;

/// Bytes in pieces, or the reason why no more come.
pub type Pieces = BoxStream<'static, Result<Bytes, String>>;

/// A plan was taken.
const TAKEN: &[u8] = b"1";

/// Takes bytes to a worker and brings bytes back: a node's connections to its peers. An error is the reason in words.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Brings a question to [`Worker::answer`], and back what that returns.
    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>, String>;
    /// Brings a request to [`Worker::serve`], and back its pieces, in their order. Dropped here, they are dropped there.
    async fn stream(&self, worker: &WorkerId, request: Vec<u8>) -> Result<Pieces, String>;
}

/// Workers that a transport reaches.
#[derive(Clone, Debug)]
pub struct Remote(pub Arc<dyn Transport>);

#[async_trait]
impl Channels for Remote {
    async fn channel(&self, worker: &WorkerId) -> Result<Box<dyn WorkerChannel>> {
        Ok(Box::new(RemoteChannel { worker: worker.clone(), transport: Arc::clone(&self.0) }))
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>> {
        self.0.ask(worker, question).await.map_err(in_words)
    }
}

struct RemoteChannel {
    worker: WorkerId,
    transport: Arc<dyn Transport>,
}

#[async_trait]
impl WorkerChannel for RemoteChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        _metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        if !request.work_unit_feed_declarations.is_empty() {
            return exec_err!("a part of a query that is fed by its coordinator");
        }
        let request = Request::Plan(PlanRequest::new(&headers, request, task)?);
        let mut pieces = self.transport.stream(&self.worker, request.to_bytes()).await.map_err(in_words)?;
        pieces.try_next().await.map_err(in_words)?.ok_or_else(|| exec_datafusion_err!("it did not take the plan"))?;
        // Ends with the query, dropped or not, because the sender of these messages does.
        tokio::spawn(async move {
            messages.for_each(|_| future::ready(())).await;
            drop(pieces);
        });
        Ok(stream::once(future::ready(Ok(WorkerToCoordinatorMsg::LoadInfoEos))).boxed())
    }

    async fn execute_task(
        &mut self,
        _headers: HeaderMap,
        request: ExecuteTaskRequest,
        _metrics: ExecutionPlanMetricsSet,
        _task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        if !matches!(request.producer_head, ProducerHead::None) {
            return exec_err!("a part of a query that is dealt out again");
        }
        let partitions = request.target_partition_start..request.target_partition_end;
        let tasks = partitions.map(|partition| Request::Task(TaskRequest::new(&request, partition)).to_bytes());
        // Each partition is read at its own pace.
        let stream = |request| self.transport.stream(&self.worker, request);
        let streams = future::try_join_all(tasks.map(stream)).await.map_err(in_words)?;
        Ok(streams.into_iter().map(|pieces| rows::read(pieces).boxed()).collect())
    }

    async fn get_worker_info(&mut self, _request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        exec_err!("its version is not asked for")
    }
}

fn in_words(reason: String) -> DataFusionError {
    fail(QueryError::Internal(reason))
}

impl Worker {
    /// Does what a [`Transport`] has brought. Dropping the pieces gives up.
    pub async fn serve(&self, request: &[u8]) -> Result<Pieces, String> {
        let served = match Request::from_bytes(request).map_err(|error| error.to_string())? {
            Request::Plan(request) => self.take_plan(request).await,
            Request::Task(request) => self.run_task(request).await,
        };
        served.map_err(|error| error.to_string())
    }

    async fn take_plan(&self, request: PlanRequest) -> Result<Pieces> {
        let (held, ended) = oneshot::channel::<()>();
        let messages = ended.into_stream().filter_map(|_| future::ready(None)).boxed();
        let (headers, request) = request.into_parts()?;
        let mut answers = self.inner.coordinator_channel(headers, request, messages).await?;
        let taken = stream::once(future::ready(Ok(Bytes::from_static(TAKEN))));
        let lasts = stream::once(async move {
            let _held = held;
            while answers.next().await.is_some() {}
            future::pending().await
        });
        Ok(taken.chain(lasts).boxed())
    }

    async fn run_task(&self, request: TaskRequest) -> Result<Pieces> {
        let (streams, _) = self.inner.execute_task(request.into()).await?;
        let Some(batches) = streams.into_iter().next() else { return exec_err!("a task without a partition") };
        Ok(rows::write(batches).boxed())
    }
}
