//! Answers that are kept of what workers have read.

use async_trait::async_trait;

use super::*;
use crate::QueryError;
use crate::distributed::{
    Channels, FixedPlacement, InProcess, Placement, Snapshot, Unplaced, Worker, WorkerChannel, WorkerId,
};
use crate::source::{ReadError, Reliance, Relying, Revision, SelectRequest, Selection, SeriesSource};
use crate::testing::Cluster;

/// Workers over the same series, any of which can read every partition.
#[derive(Debug)]
struct Movable {
    source: MemorySource,
    clock: Arc<ManualClock>,
    /// The worker of each partition.
    places: Mutex<Vec<WorkerId>>,
    workers: Mutex<InProcess>,
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

impl Movable {
    fn place(&self, places: [&str; 2]) {
        *self.places.lock() = places.map(worker).to_vec();
    }

    /// Starts the processes of workers `a`, `b` and so on anew.
    fn start(&self, incarnations: &[u64]) {
        let start = |(name, incarnation): (&str, &u64)| {
            let (source, clock) = (Arc::new(self.source.clone()), Arc::clone(&self.clock) as _);
            (worker(name), Worker::new(source, clock, *incarnation))
        };
        *self.workers.lock() = InProcess::new(["a", "b"].into_iter().zip(incarnations).map(start));
    }
}

impl Placement for Movable {
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced> {
        // Each worker stands in for the other.
        let stand_ins = [worker("a"), worker("b")];
        let in_order = |first: &WorkerId| {
            let others = stand_ins.iter().filter(|other| *other != first);
            std::iter::once(first).chain(others).cloned().collect()
        };
        let replicas = self.places.lock().iter().map(in_order).collect();
        FixedPlacement { replicas, here: None }.snapshot(lost)
    }

    fn here(&self) -> Option<WorkerId> {
        None
    }
}

#[async_trait]
impl Channels for Movable {
    async fn channel(&self, worker: &WorkerId) -> datafusion::common::Result<Box<dyn WorkerChannel>> {
        let workers = self.workers.lock().clone();
        workers.channel(worker).await
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> datafusion::common::Result<Vec<u8>> {
        let workers = self.workers.lock().clone();
        workers.ask(worker, question).await
    }
}

fn options() -> EngineOptions {
    EngineOptions { results_cache_bytes: 1 << 20, parallelism: 1, ..EngineOptions::default() }
}

fn movable() -> (Fixture, Arc<Movable>) {
    let (source, clock) = (filled(), Arc::new(ManualClock::at(NOW)));
    let (places, workers) = (Mutex::default(), Mutex::default());
    let movable = Arc::new(Movable { source: source.clone(), clock: Arc::clone(&clock), places, workers });
    movable.place(["a", "b"]);
    movable.start(&[1, 2]);
    let nothing = Arc::new(MemorySource::new(2));
    let engine = Engine::new(nothing, options(), Arc::clone(&clock) as _).unwrap();
    let engine = engine.over_workers(Arc::clone(&movable) as _, Arc::clone(&movable) as _).unwrap();
    (Fixture { engine, source, clock }, movable)
}

const START: i64 = NOW - 120 * MINUTE;
const END: i64 = NOW - 60 * MINUTE;

#[test]
fn what_workers_have_read_is_kept_until_they_note_a_change() {
    let (source, clock) = (filled(), Arc::new(ManualClock::at(NOW)));
    let cluster = Cluster::new(source.clone(), &(Arc::clone(&clock) as _), 3);
    let engine = cluster.engine(options(), Arc::clone(&clock) as _).unwrap();
    let fixture = Fixture { engine, source, clock };
    assert_eq!(fixture.refresh(QUERY), 241 * 4 * 2);
    for _ in 0..3 {
        fixture.pass(STEP);
        assert_eq!(fixture.refresh(QUERY), 21 * 4 * 2);
    }
    fixture.ask(QUERY, START, END);
    assert_eq!(fixture.ask(QUERY, START, END), 0);
    fixture.source.append(&labels("a"), [Sample { ts: NOW - 90 * MINUTE + 1, value: 5.0 }]);
    let after_late = fixture.ask(QUERY, START, END);
    assert!(0 < after_late && after_late <= 4 * 5 * 2, "{after_late}");
    assert_eq!(fixture.ask(QUERY, START, END), 0);
}

#[test]
fn what_another_worker_reads_now_is_read_anew() {
    let (fixture, movable) = movable();
    let whole = fixture.ask(QUERY, START, END);
    assert!(whole > 0);
    assert_eq!(fixture.ask(QUERY, START, END), 0);
    for places in [["b", "b"], ["b", "a"], ["a", "b"], ["a", "a"]] {
        movable.place(places);
        assert_eq!(fixture.ask(QUERY, START, END), whole, "{places:?}");
        assert_eq!(fixture.ask(QUERY, START, END), 0, "{places:?}");
    }
}

#[test]
fn a_worker_that_has_started_again_has_noted_nothing() {
    let (fixture, movable) = movable();
    let whole = fixture.ask(QUERY, START, END);
    assert_eq!(fixture.ask(QUERY, START, END), 0);
    movable.start(&[1, 3]);
    assert_eq!(fixture.ask(QUERY, START, END), whole);
    assert_eq!(fixture.ask(QUERY, START, END), 0);
}

#[test]
fn a_worker_that_does_not_say_what_it_has_noted_is_stood_in_for() {
    let (fixture, movable) = movable();
    let whole = fixture.ask(QUERY, START, END);
    // Without `b`.
    movable.start(&[1]);
    assert_eq!(fixture.ask(QUERY, START, END), whole);
    movable.start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let range = QueryRange { start_ms: START, end_ms: END, step: Duration::from_millis(STEP as u64) };
    let tenant = TenantId::anonymous();
    let asked = runtime.block_on(fixture.engine.range(&tenant, QUERY, range, QueryOptions::default()));
    assert!(matches!(asked, Err(QueryError::Worker { .. })));
}

#[test]
fn a_node_that_comes_to_have_all_itself_starts_anew() {
    let source = filled();
    let clock = Arc::new(ManualClock::at(NOW));
    let (places, workers) = (Mutex::default(), Mutex::default());
    let movable = Arc::new(Movable { source: source.clone(), clock: Arc::clone(&clock), places, workers });
    movable.place(["a", "b"]);
    movable.start(&[1, 2]);
    let engine = Engine::new(Arc::new(source.clone()), options(), Arc::clone(&clock) as _).unwrap();
    let here = Arc::new(AtHome { movable: Arc::clone(&movable) });
    let engine = engine.over_workers(here, movable.clone()).unwrap();
    let fixture = Fixture { engine, source, clock };
    let whole = fixture.ask(QUERY, START, END);
    assert_eq!(fixture.ask(QUERY, START, END), 0);
    for places in [["a", "a"], ["a", "b"]] {
        movable.place(places);
        assert_eq!(fixture.ask(QUERY, START, END), whole, "{places:?}");
        assert_eq!(fixture.ask(QUERY, START, END), 0, "{places:?}");
    }
}

/// As seen from `a`.
#[derive(Debug)]
struct AtHome {
    movable: Arc<Movable>,
}

impl Placement for AtHome {
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced> {
        let snapshot = self.movable.snapshot(lost)?;
        let is_here = |snapshot: &Snapshot| snapshot.shares().iter().all(|share| share.worker == worker("a"));
        Ok(snapshot.filter(|snapshot| !is_here(snapshot)))
    }

    fn here(&self) -> Option<WorkerId> {
        Some(worker("a"))
    }
}

/// A node's own partitions, before it has caught up.
#[derive(Debug)]
struct Behind(MemorySource);

#[async_trait]
impl SeriesSource for Behind {
    fn partitions(&self) -> usize {
        self.0.partitions()
    }

    fn partition_of(&self, request: &SelectRequest) -> Option<usize> {
        self.0.partition_of(request)
    }

    async fn select(&self, partitions: &[usize], _: &SelectRequest) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let partition = PartitionId(partitions[0] as u16);
        Err(ReadError::Elsewhere { partition, reason: "it catches up".into() })
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.0.rely(relying, since).await
    }
}

#[test]
fn what_this_node_cannot_tell_others_are_asked_for() {
    let source = filled();
    let clock = Arc::new(ManualClock::at(NOW));
    let (places, workers) = (Mutex::default(), Mutex::default());
    let movable = Arc::new(Movable { source: source.clone(), clock: Arc::clone(&clock), places, workers });
    movable.place(["a", "a"]);
    movable.start(&[1, 2]);
    let engine = Engine::new(Arc::new(Behind(source.clone())), options(), Arc::clone(&clock) as _).unwrap();
    let here = Arc::new(AtHome { movable: Arc::clone(&movable) });
    let engine = engine.over_workers(here, movable.clone()).unwrap();
    let whole = Fixture { engine, source, clock }.ask(QUERY, START, END);
    assert!(whole > 0);
}
