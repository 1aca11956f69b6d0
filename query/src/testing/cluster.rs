//! Workers over series in memory, one of which may die in the middle of each query. One is reached as a node's own worker is, the
//! others through bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::HeaderMap;
use parking_lot::Mutex;
use pharos_model::Clock;

use super::{MemorySource, SplitSource, random};
use crate::distributed::{
    Channels, FixedPlacement, InProcess, Pieces, Placement, Remote, Snapshot, Transport, Unplaced, Worker,
    WorkerChannel, WorkerId,
};
use crate::engine::{Engine, EngineOptions};
use crate::error::QueryError;
use crate::source::SeriesSource;

const WORKERS: usize = 3;
/// A worker dies before so many batches, or one fewer and so on.
const BATCHES_MAX: u64 = 3;
/// Most bytes of a piece on its way to a worker that is reached through bytes.
const WIRE_BYTES: usize = 1000;

/// Three workers over the partitions of a [`MemorySource`], each of which two hold. Takes one query at a time when workers die.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    memory: MemorySource,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    placement: FixedPlacement,
    own: InProcess,
    others: Remote,
    seed: u64,
    /// `None` when nobody dies.
    victims: Option<Victims>,
}

#[derive(Debug, Default)]
struct Victims {
    queries: AtomicU64,
    deaths: AtomicU64,
    current: Mutex<Option<Victim>>,
}

/// Who dies in this query, and when.
#[derive(Clone, Debug)]
struct Victim {
    worker: WorkerId,
    /// Batches that it still sends.
    batches: u64,
    is_dead: bool,
}

impl Cluster {
    /// `seed` says where the boundaries between head and data files are.
    pub fn new(memory: MemorySource, clock: &Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_victims(memory, clock, seed, None)
    }

    /// As [`Cluster::new`]; in every query one worker dies after some batches, until the next query.
    pub fn with_deaths(memory: MemorySource, clock: &Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_victims(memory, clock, seed, Some(Victims::default()))
    }

    fn with_victims(memory: MemorySource, clock: &Arc<dyn Clock>, seed: u64, victims: Option<Victims>) -> Self {
        let ids: Vec<WorkerId> = (0..WORKERS).map(worker_id).collect();
        let holders = |partition: usize| [partition % WORKERS, (partition + 1) % WORKERS];
        let partitions = 0..memory.partitions();
        let replicas = partitions.clone().map(|p| holders(p).map(|worker| ids[worker].clone()).to_vec()).collect();
        let worker = |at: usize| {
            let held = partitions.clone().filter(|partition| holders(*partition).contains(&at)).collect();
            let source = SplitSource::new(memory.clone(), held, random(seed, at as u64));
            (ids[at].clone(), Worker::new(Arc::new(source), Arc::clone(clock), at as u64))
        };
        let workers: BTreeMap<_, _> = (0..WORKERS).map(worker).collect();
        let own = InProcess::new(workers.clone().into_iter().take(1));
        let others = Remote(Arc::new(Wires(workers)));
        let state = State { placement: FixedPlacement { replicas, here: None }, own, others, seed, victims };
        Self { memory, state: Arc::new(state) }
    }

    /// An engine that has no series of its own.
    pub fn engine(&self, options: EngineOptions, clock: Arc<dyn Clock>) -> Result<Engine, QueryError> {
        let nothing = Arc::new(MemorySource::new(self.memory.partitions()));
        Engine::new(nothing, options, clock)?.over_workers(Arc::new(self.clone()), Arc::new(self.clone()))
    }

    /// How often a worker has died.
    pub fn deaths(&self) -> u64 {
        self.state.victims.as_ref().map_or(0, |victims| victims.deaths.load(Ordering::Relaxed))
    }
}

fn worker_id(at: usize) -> WorkerId {
    WorkerId::new(&format!("worker-{at}")).expect("letters, digits and a dash")
}

impl Placement for Cluster {
    /// A query that has lost nobody has just begun.
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced> {
        if let (Some(victims), []) = (&self.state.victims, lost) {
            let drawn = random(self.state.seed, victims.queries.fetch_add(1, Ordering::Relaxed));
            let worker = worker_id(drawn as usize % WORKERS);
            let batches = (drawn >> 32) % BATCHES_MAX;
            *victims.current.lock() = Some(Victim { worker, batches, is_dead: false });
        }
        self.state.placement.snapshot(lost)
    }

    fn here(&self) -> Option<WorkerId> {
        self.state.placement.here()
    }
}

#[async_trait]
impl Channels for Cluster {
    async fn channel(&self, worker: &WorkerId) -> Result<Box<dyn WorkerChannel>> {
        let inner = self.way_to(worker).channel(worker).await?;
        self.check(worker)?;
        Ok(Box::new(MortalChannel { cluster: self.clone(), worker: worker.clone(), inner }))
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>> {
        self.check(worker)?;
        self.way_to(worker).ask(worker, question).await
    }
}

/// A network without a way to go.
#[derive(Debug)]
struct Wires(BTreeMap<WorkerId, Worker>);

#[async_trait]
impl Transport for Wires {
    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(self.0[worker].answer(&question).await)
    }

    async fn stream(&self, worker: &WorkerId, request: Vec<u8>) -> Result<Pieces, String> {
        let pieces = self.0[worker].serve(&request).await?;
        // As a network may: cut, and without what is empty.
        let cut = |piece: Result<Bytes, String>| match piece {
            Ok(piece) => piece.chunks(WIRE_BYTES).map(|part| Ok(Bytes::copy_from_slice(part))).collect(),
            Err(reason) => vec![Err(reason)],
        };
        Ok(pieces.flat_map(move |piece| stream::iter(cut(piece))).boxed())
    }
}

impl Cluster {
    fn way_to(&self, worker: &WorkerId) -> &dyn Channels {
        if *worker == worker_id(0) { &self.state.own } else { &self.state.others }
    }

    /// An error from a worker that is dead.
    fn check(&self, worker: &WorkerId) -> Result<()> {
        let current = self.state.victims.as_ref().map(|victims| victims.current.lock());
        match current.as_deref() {
            Some(Some(victim)) if victim.is_dead && victim.worker == *worker => Err(dead()),
            _ => Ok(()),
        }
    }

    /// A batch that a worker is about to send; an error when it dies of it.
    fn sent(&self, worker: &WorkerId, batch: Result<RecordBatch>) -> Result<RecordBatch> {
        let Some(victims) = &self.state.victims else { return batch };
        let mut current = victims.current.lock();
        let Some(victim) = current.as_mut().filter(|victim| victim.worker == *worker) else { return batch };
        match victim.batches.checked_sub(1) {
            Some(fewer) if !victim.is_dead => victim.batches = fewer,
            _ => {
                if !std::mem::replace(&mut victim.is_dead, true) {
                    victims.deaths.fetch_add(1, Ordering::Relaxed);
                }
                return Err(dead());
            }
        }
        batch
    }
}

fn dead() -> DataFusionError {
    exec_datafusion_err!("connection reset")
}

struct MortalChannel {
    cluster: Cluster,
    worker: WorkerId,
    inner: Box<dyn WorkerChannel>,
}

#[async_trait]
impl WorkerChannel for MortalChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        self.inner.coordinator_channel(headers, request, messages, metrics, task).await
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let streams = self.inner.execute_task(headers, request, metrics, task).await?;
        let mortal = |stream: BoxStream<'static, Result<RecordBatch>>| {
            let (cluster, worker) = (self.cluster.clone(), self.worker.clone());
            stream.map(move |batch| cluster.sent(&worker, batch)).boxed()
        };
        Ok(streams.into_iter().map(mortal).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}
