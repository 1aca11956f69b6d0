//! How the coordinator of a query reaches its workers, and what becomes of an error on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
pub use datafusion_distributed::WorkerChannel;
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    MaybeEncoded, SetPlanRequest, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::HeaderMap;
use url::Url;

use super::placement::WorkerId;
use super::worker::Worker;
use crate::error::QueryError;
use crate::exec::context::fail;

/// Where channels to workers come from: [`InProcess`] for those here, a transport for those elsewhere.
#[async_trait]
pub trait Channels: fmt::Debug + Send + Sync {
    /// A channel to a worker. Asked for once for each request: connections are kept by whoever makes them.
    async fn channel(&self, worker: &WorkerId) -> Result<Box<dyn WorkerChannel>>;
    /// Asks a worker something beside the parts of plans: brings the bytes to its [`Worker::answer`], and back what that returns.
    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>>;
}

/// Workers of this process: the node's own, and those of tests.
#[derive(Clone, Debug, Default)]
pub struct InProcess {
    workers: BTreeMap<WorkerId, Worker>,
}

impl InProcess {
    pub fn new(workers: impl IntoIterator<Item = (WorkerId, Worker)>) -> Self {
        Self { workers: workers.into_iter().collect() }
    }
}

impl InProcess {
    fn worker(&self, worker: &WorkerId) -> Result<Worker> {
        let unknown = || fail(QueryError::Internal("it is not a worker of this process".into()));
        self.workers.get(worker).cloned().ok_or_else(unknown)
    }
}

#[async_trait]
impl Channels for InProcess {
    async fn channel(&self, worker: &WorkerId) -> Result<Box<dyn WorkerChannel>> {
        Ok(Box::new(InProcessChannel { worker: self.worker(worker)? }))
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.worker(worker)?.answer(&question).await)
    }
}

/// Workers of this process, and all others by another way.
#[derive(Clone, Debug)]
pub struct NearAndFar {
    pub near: InProcess,
    pub far: Arc<dyn Channels>,
}

impl NearAndFar {
    fn to(&self, worker: &WorkerId) -> &dyn Channels {
        if self.near.workers.contains_key(worker) { &self.near } else { &*self.far }
    }
}

#[async_trait]
impl Channels for NearAndFar {
    async fn channel(&self, worker: &WorkerId) -> Result<Box<dyn WorkerChannel>> {
        self.to(worker).channel(worker).await
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>> {
        self.to(worker).ask(worker, question).await
    }
}

/// The plan goes through its bytes as if it were sent, so that it means the same here as elsewhere; rows are handed over.
struct InProcessChannel {
    worker: Worker,
}

#[async_trait]
impl WorkerChannel for InProcessChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        _metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let plan = MaybeEncoded::Encoded(request.plan.encode(task)?);
        let request = SetPlanRequest { plan, ..request };
        self.worker.inner.coordinator_channel(headers, request, messages.map(Ok).boxed()).await
    }

    async fn execute_task(
        &mut self,
        _headers: HeaderMap,
        request: ExecuteTaskRequest,
        _metrics: ExecutionPlanMetricsSet,
        _task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let (streams, _) = self.worker.inner.execute_task(request).await?;
        Ok(streams.into_iter().map(StreamExt::boxed).collect())
    }

    async fn get_worker_info(&mut self, _request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        Ok(GetWorkerInfoResponse { version: self.worker.inner.version().to_owned() })
    }
}

/// Puts the worker's name on whatever goes wrong between here and there: a query's own errors come as last words of its
/// streams ([`super::report`]), so that all others are the worker's, or the way's.
#[derive(Debug)]
pub(super) struct Named(pub(super) Arc<dyn Channels>);

#[async_trait]
impl ChannelResolver for Named {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let worker = WorkerId::of_url(url).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let inner = self.0.channel(&worker).await.map_err(lost(&worker))?;
        Ok(Box::new(NamedChannel { worker, inner }))
    }
}

fn lost(worker: &WorkerId) -> impl Fn(DataFusionError) -> DataFusionError + Send + 'static {
    let worker = worker.clone();
    move |error| fail(trouble_of(&worker, &error))
}

/// An error on the way to a worker and back, as the worker's.
pub(super) fn trouble_of(worker: &WorkerId, error: &DataFusionError) -> QueryError {
    let reason = match QueryError::from_datafusion(error, 0) {
        QueryError::Internal(text) => text,
        own => own.to_string(),
    };
    QueryError::Worker { worker: worker.clone(), reason }
}

struct NamedChannel {
    worker: WorkerId,
    inner: Box<dyn WorkerChannel>,
}

#[async_trait]
impl WorkerChannel for NamedChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, task).await;
        Ok(answers.map_err(lost(&self.worker))?.map_err(lost(&self.worker)).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let streams = self.inner.execute_task(headers, request, metrics, task).await.map_err(lost(&self.worker))?;
        Ok(streams.into_iter().map(|stream| stream.map_err(lost(&self.worker)).boxed()).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await.map_err(lost(&self.worker))
    }
}
