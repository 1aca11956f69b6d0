use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    WorkerToCoordinatorMsg,
};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::HeaderMap;
use pharos_model::clock::ManualClock;
use pharos_model::{Clock, LabelSet, Sample, TenantId};
use pharos_promql::script::{CommandKind, EvalTime, Script};
use pharos_promql::{Expr, ParserOptions, parse_expr};

use super::codec::PlanCodec;
use super::*;
use crate::engine::{Engine, EngineOptions, QueryOptions, QueryRange};
use crate::error::QueryError;
use crate::exec::node::OperatorExec;
use crate::exec::session::Session;
use crate::exec::{Limits, QueryContext, logical};
use crate::functions::Grid;
use crate::lower::{Settings, lower};
use crate::plan::{Op, Plan, Query, passes};
use crate::source::{Estimate, ReadError, Reliance, Relying, Revision, SelectRequest, Selection, SeriesSource};
use crate::testing::gated::gated;
use crate::testing::{Cluster, MemorySource};
use crate::value::{Point, QueryOutcome, Value};

const MINUTE_MS: i64 = 60_000;

fn settings(time: EvalTime) -> (Settings, Grid) {
    let (start_ms, end_ms, step_ms, grid) = match time {
        EvalTime::Instant { at_ms } => (at_ms, at_ms, None, Grid::instant(at_ms)),
        EvalTime::Range { start_ms, end_ms, step_ms } => {
            let n = ((end_ms - start_ms) / step_ms.max(1) + 1) as usize;
            (start_ms, end_ms, Some(step_ms), Grid { start_ms, step_ms, n })
        }
    };
    let settings = Settings {
        start_ms,
        end_ms,
        step_ms,
        lookback_ms: 5 * MINUTE_MS,
        subquery_step_ms: MINUTE_MS,
        delayed_names: true,
        type_and_unit_labels: false,
        use_start_timestamps: true,
    };
    (settings, grid)
}

/// The plans of an expression, with the grids they are bound to.
pub(super) fn plans(expr: &Expr, time: EvalTime) -> Option<(Plan, Grid)> {
    let (settings, grid) = settings(time);
    let plan = match lower(expr, &settings).ok()?.query {
        Query::Rows(plan) => plan,
        Query::Raw { selector, range, span } => Plan::vector(Op::Raw { selector, range }, Vec::new(), span),
        Query::Subquery { window, inner } => return window.grid(&grid).map(|grid| (passes::rewrite(inner), grid)),
        Query::Text(_) => return None,
    };
    Some((passes::rewrite(plan), grid))
}

fn context(snapshot: Option<Snapshot>) -> Arc<QueryContext> {
    let limits = Limits { samples_max: 1 << 20, memory_bytes_max: 1 << 30, deadline: Duration::from_secs(60) };
    let source = Arc::new(MemorySource::new(6));
    let mut query = QueryContext::new(source, TenantId::anonymous(), limits, Arc::new(ManualClock::default()));
    query.snapshot = snapshot;
    Arc::new(query)
}

/// The physical plan of a plan in one process.
pub(super) fn physical(plan: &Plan, grid: Grid) -> Arc<dyn ExecutionPlan> {
    let bound = logical::bind(plan, grid, 1 << 20).unwrap();
    let session = Session::new(2, 2).unwrap();
    block_on(session.physical(&bound, &context(None))).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap().block_on(future)
}

/// All operators of a plan.
fn operators(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let own = plan.downcast_ref::<OperatorExec>().map(|operator| format!("{:?}", operator.operator()));
    own.into_iter().chain(plan.children().into_iter().flat_map(operators)).collect()
}

fn scripts() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let upstream = std::env::var_os("PHAROS_PROMQLTEST").map(PathBuf::from);
    let files = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = std::iter::once(own).chain(upstream).flat_map(files);
    all.filter(|path| path.extension().is_some_and(|end| end == "test")).collect()
}

#[test]
fn the_plans_of_all_scripts_come_back_as_they_were_sent() {
    let task = TaskContext::default();
    let mut count = 0;
    for path in scripts() {
        let script = Script::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for command in &script.commands {
            let CommandKind::Eval(eval) = &command.kind else { continue };
            let Some((plan, grid)) = plans(&eval.expr, eval.time) else { continue };
            let sent = physical(&plan, grid);
            let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&sent), &PlanCodec).unwrap();
            let came = physical_plan_from_bytes_with_extension_codec(&bytes, &task, &PlanCodec).unwrap();
            assert_eq!(operators(&came), operators(&sent), "{}:{} {}", path.display(), command.line, eval.text);
            assert_eq!(came.schema(), sent.schema());
            count += 1;
        }
    }
    println!("{count} plans");
    assert!(count > 200, "only {count} plans");
}

#[test]
fn damaged_plans_are_refused_or_are_other_plans() {
    let text = "topk by (a) (2, sum by (a, b) (rate({x=~\"a.*\"}[5m] offset 1m)) + 3) * on (a) group_left (b) clamp_max(y @ 7, 1)";
    let (plan, grid) = plans(&parse_expr(text, &ParserOptions::ALL).unwrap(), EvalTime::Instant { at_ms: 0 }).unwrap();
    let (task, converter) = (TaskContext::default(), DefaultPhysicalProtoConverter {});
    let decode = |bytes: &[u8], inputs: &[_]| PlanCodec.try_decode(bytes, inputs, &task, &converter);
    let mut nodes = vec![physical(&plan, grid)];
    while let Some(node) = nodes.pop() {
        let inputs: Vec<_> = node.children().into_iter().cloned().collect();
        nodes.extend(inputs.iter().cloned());
        let mut bytes = Vec::new();
        if PlanCodec.try_encode(node, &mut bytes, &converter).is_err() {
            // One of DataFusion's own.
            continue;
        }
        assert!(decode(&bytes, &inputs).is_ok());
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at], &inputs).is_err());
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let _ = decode(&damaged, &inputs);
            }
        }
        // An operator without its inputs is none.
        assert!(inputs.is_empty() || decode(&bytes, &[]).is_err());
    }
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

/// The plan of an expression over two workers, one line for each node. Nothing is run.
fn over_two_workers(text: &str) -> String {
    let (plan, grid) = plans(&parse_expr(text, &ParserOptions::ALL).unwrap(), EvalTime::Instant { at_ms: 0 }).unwrap();
    let bound = logical::bind(&unshare(plan), grid, 1 << 20).unwrap();
    let session = Session::new(2, 2).unwrap().with_workers(Arc::new(InProcess::default())).unwrap();
    let snapshot = Snapshot::new(vec![Share::new(worker("a"), vec![0, 1, 4]), Share::new(worker("b"), vec![2, 3, 5])]);
    let physical = block_on(session.physical(&bound, &context(Some(snapshot)))).unwrap();
    let text = displayable(&*physical).indent(false).to_string();
    let name = |line: &str| {
        let node = line.trim_start().trim_start_matches("PromQL: ");
        let stage = node.split(" stage=").nth(1).map_or(String::new(), |stage| format!(":{}", stage.trim()));
        let node = node.trim_start_matches("[Stage 1] => ").trim_start_matches("[Stage 2] => ");
        let indent = line.len() - line.trim_start().len();
        format!("{}{}{stage}", " ".repeat(indent / 2), node.split([' ', ':', '{']).next().unwrap())
    };
    text.lines().map(name).collect::<Vec<_>>().join("\n")
}

const BOUNDARY: [&str; 4] = ["CoalescePartitionsExec", "Receive", "NetworkCoalesceExec", "Fragment"];

/// Whether the plan is these nodes, one below the other.
fn check_chain(text: &str, above: &[&str], below: &[&str]) {
    let chain = std::iter::once(&"DistributedExec").chain(above).chain(&BOUNDARY).chain(below);
    let want: Vec<String> = chain.enumerate().map(|(depth, node)| format!("{}{node}", " ".repeat(depth))).collect();
    assert_eq!(over_two_workers(text), want.join("\n"), "{text}");
}

#[test]
fn the_boundary_lies_where_rows_of_partitions_meet() {
    check_chain("x", &[], &["DistributedLeafExec"]);
    check_chain("rate(x[5m]) * 2 > 1", &[], &["Map", "Map", "DistributedLeafExec"]);
    check_chain("max_over_time(rate(x[1m])[5m:])", &[], &["RangeOverSubquery", "DistributedLeafExec"]);
    let states = ["Aggregate:Combine", "CoalescePartitionsExec", "Aggregate:Partial", "DistributedLeafExec"];
    check_chain("sum by (a) (rate(x[5m]))", &["Aggregate:Final"], &states);
    check_chain("stddev(x)", &["Aggregate:Final"], &states);
    let picks = ["AggregateK", "CoalescePartitionsExec", "AggregateK", "DistributedLeafExec"];
    check_chain("topk(2, x)", &["AggregateK"], &picks);
    let seen = ["Absent:Combine", "CoalescePartitionsExec", "Absent:Partial", "DistributedLeafExec"];
    check_chain("absent(x)", &["Absent:Final"], &seen);
    check_chain("limit_ratio(0.5, x)", &[], &["AggregateK", "DistributedLeafExec"]);
    // Those need all rows of a group.
    for (text, above) in [
        ("quantile(0.5, x)", "Quantile"),
        ("count_values(\"v\", x)", "CountValues"),
        ("sort(x)", "Sort"),
        ("histogram_quantile(0.9, x)", "Histogram"),
    ] {
        check_chain(text, &[above], &["DistributedLeafExec"]);
    }
    // Copies are made after the way, not before.
    let range = "x @ 10";
    let (plan, _) = plans(&parse_expr(range, &ParserOptions::ALL).unwrap(), EvalTime::Instant { at_ms: 0 }).unwrap();
    assert_eq!(plan.op, Op::Repeat);
}

#[test]
fn both_sides_of_a_join_come_from_workers() {
    let plan = over_two_workers("x + on (a) sum by (a) (y)");
    assert!(plan.starts_with("DistributedExec\n Match\n  CoalescePartitionsExec\n"), "{plan}");
    assert_eq!(plan.matches("NetworkCoalesceExec").count(), 2, "{plan}");
}

#[test]
fn what_is_said_twice_is_reduced_twice_on_workers() {
    let plan = over_two_workers("sum(x) / count(x)");
    assert_eq!(plan.matches("NetworkCoalesceExec").count(), 2, "{plan}");
    assert_eq!((plan.matches("Aggregate:Combine").count(), plan.matches("Share").count()), (2, 0), "{plan}");
    let plan = over_two_workers("sum(x) / quantile(0.5, x)");
    assert_eq!((plan.matches("Aggregate:Combine").count(), plan.matches("Share").count()), (0, 2), "{plan}");
}

#[test]
fn a_leaf_that_one_worker_can_answer_asks_no_other() {
    let (leaf, one) = ("x", "x{job=\"a\", instance=\"b\"}");
    let shares = |text: &str| {
        let Query::Rows(plan) =
            lower(&parse_expr(text, &ParserOptions::ALL).unwrap(), &settings(EvalTime::Instant { at_ms: 0 }).0)
                .unwrap()
                .query
        else {
            panic!("{text} is a vector")
        };
        let snapshot =
            Snapshot::new(vec![Share::new(worker("a"), vec![0, 1, 4]), Share::new(worker("b"), vec![2, 3, 5])]);
        boundary::shares_of(&context(Some(snapshot)), &plan.op)
    };
    assert_eq!(shares(leaf).len(), 2);
    let [asked, idle] = &shares(one)[..] else { panic!("two tasks") };
    assert_eq!((asked.partitions.len(), idle.partitions.len()), (1, 0));
    // The second task only keeps the boundary.
    assert_eq!(asked.worker, idle.worker);
}

/// `m{i="0"}`, `m{i="1"}`, ... with the value of their index each 10 s over 100 s.
fn series(count: usize) -> MemorySource {
    let source = MemorySource::new(6);
    for i in 0..count {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string())]);
        source.append(&labels, (0..=10).map(|k| Sample { ts: k * 10_000, value: i as f64 }));
    }
    source
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::default())
}

fn alone(source: MemorySource, options: EngineOptions) -> Engine {
    Engine::new(Arc::new(source), options, clock()).unwrap()
}

fn spread(source: MemorySource, options: EngineOptions) -> Engine {
    Cluster::new(source, &clock(), 7).engine(options, clock()).unwrap()
}

fn range(engine: &Engine, text: &str) -> Result<QueryOutcome, QueryError> {
    let range = QueryRange { start_ms: 0, end_ms: 100_000, step: Duration::from_secs(10) };
    let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    block_on(engine.range(&TenantId::anonymous(), text, range, options))
}

#[test]
fn remarks_and_counts_come_over_the_boundary() {
    for text in [
        "sum(rate(m[30s]))",
        "m + m",
        "sum(m) / count(m)",
        "sum(m) / count(m) + sum(m) / count(m)",
        "topk(scalar(count(m)), count_over_time(m[25s]))",
        "m[30s:10s]",
    ] {
        let text = if text.ends_with(']') { format!("sum_over_time({text})") } else { text.to_owned() };
        let own = range(&alone(series(20), EngineOptions::default()), &text).unwrap();
        let theirs = range(&spread(series(20), EngineOptions::default()), &text).unwrap();
        assert_eq!(theirs.value, own.value, "{text}");
        assert_eq!((&theirs.warnings, &theirs.infos), (&own.warnings, &own.infos), "{text}");
        assert_eq!(theirs.stats.total_queryable_samples, own.stats.total_queryable_samples, "{text}");
        assert_eq!(theirs.stats.samples_per_step, own.stats.samples_per_step, "{text}");
        assert!(theirs.stats.peak_samples > 0, "{text}");
    }
    let remarked = range(&spread(series(3), EngineOptions::default()), "rate(m[30s])").unwrap();
    assert_eq!(remarked.infos.len(), 1, "{:?}", remarked.infos);
}

#[test]
fn limits_hold_on_both_sides_of_the_boundary() {
    let samples = EngineOptions { max_samples: 100, ..EngineOptions::default() };
    // Three series fit on a worker, a hundred do not fit where the query was asked.
    for text in ["quantile(0.5, m)", "sum(m)", "m"] {
        let (own, theirs) = (alone(series(100), samples.clone()), spread(series(100), samples.clone()));
        let [own, theirs] =
            [own, theirs].map(|engine| range(&engine, text).map_err(|error| error.to_string()).is_err());
        assert_eq!(theirs, own, "{text}");
    }
    let error = range(&spread(series(100), samples), "quantile(0.5, m)").unwrap_err();
    assert_eq!(error.to_string(), "query processing would load too many samples into memory in query execution");
    let memory = EngineOptions { memory_limit: 20_000, ..EngineOptions::default() };
    let error = range(&spread(series(2_000), memory), "sum by (i) (m)").unwrap_err();
    assert_eq!(error.to_string(), "the query needs more than its memory limit of 20000 bytes");
}

#[test]
fn what_reads_no_series_needs_no_worker() {
    let nobody = FixedPlacement { replicas: vec![vec![worker("nobody")]; 6], here: None };
    let engine = alone(series(1), EngineOptions::default());
    let engine = engine.over_workers(Arc::new(nobody), Arc::new(InProcess::default())).unwrap();
    let sum = block_on(engine.instant(&TenantId::anonymous(), "1 + time()", 1_000, QueryOptions::default())).unwrap();
    assert_eq!(sum.value, Value::Scalar(Sample { ts: 1_000, value: 2.0 }));
    let error = range(&engine, "m").unwrap_err();
    assert_eq!(error.to_string(), "worker nobody: it is not a worker of this process");
    // Nor does a node that has all of them itself.
    let own = FixedPlacement { replicas: vec![vec![worker("own")]; 6], here: Some(worker("own")) };
    let engine = alone(series(2), EngineOptions::default());
    let engine = engine.over_workers(Arc::new(own), Arc::new(InProcess::default())).unwrap();
    assert_eq!(
        range(&engine, "m").unwrap().value,
        range(&alone(series(2), EngineOptions::default()), "m").unwrap().value
    );
}

#[test]
fn an_expression_deeper_than_a_plan_may_be_is_cut_in_two() {
    let deep = format!("{}m{}", "abs(".repeat(90), ")".repeat(90));
    let scalars = format!("m + ({})", vec!["time()"; 90].join(" + "));
    for text in [deep, scalars] {
        let (own, theirs) = (alone(series(3), EngineOptions::default()), spread(series(3), EngineOptions::default()));
        let ask = |engine: Engine, text: String| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_stack_size(crate::THREAD_STACK_BYTES)
                .enable_time()
                .build()
                .unwrap();
            let query =
                async move { engine.instant(&TenantId::anonymous(), &text, 100_000, QueryOptions::default()).await };
            runtime.block_on(runtime.spawn(query)).unwrap().unwrap().value
        };
        assert_eq!(ask(theirs, text.clone()), ask(own, text));
    }
}

/// A source that hands out its first partition for ever, and knows how many selections are alive.
#[derive(Debug)]
struct Endless {
    inner: MemorySource,
    alive: Arc<AtomicUsize>,
    handed_out: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct EndlessSelection {
    inner: MemorySource,
    request: SelectRequest,
    alive: Arc<AtomicUsize>,
    handed_out: Arc<AtomicUsize>,
}

impl Drop for EndlessSelection {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl SeriesSource for Endless {
    fn partitions(&self) -> usize {
        self.inner.partitions()
    }

    fn partition_of(&self, request: &SelectRequest) -> Option<usize> {
        self.inner.partition_of(request)
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let selection = |_: &usize| {
            self.alive.fetch_add(1, Ordering::SeqCst);
            let (alive, handed_out) = (Arc::clone(&self.alive), Arc::clone(&self.handed_out));
            let (inner, request) = (self.inner.clone(), request.clone());
            Box::new(EndlessSelection { inner, request, alive, handed_out }) as Box<dyn Selection>
        };
        Ok(partitions.iter().map(selection).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        MemorySource::new(1).rely(relying, since).await
    }
}

#[async_trait]
impl Selection for EndlessSelection {
    fn series_count(&self) -> usize {
        1
    }

    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn crate::source::SeriesBatch>>, ReadError> {
        self.handed_out.fetch_add(1, Ordering::SeqCst);
        self.inner.select(&[0], &self.request).await?[0].next_batch().await
    }
}

#[test]
fn dropping_a_query_stops_its_workers() {
    let source = MemorySource::new(1);
    source.append(&LabelSet::from_pairs([("__name__", "m")]), [Sample { ts: 0, value: 1.0 }]);
    let endless = Endless { inner: source, alive: Arc::default(), handed_out: Arc::default() };
    let (alive, handed_out) = (Arc::clone(&endless.alive), Arc::clone(&endless.handed_out));
    let endless = Arc::new(endless);
    let workers = ["a", "b"].map(|name| (worker(name), Worker::new(Arc::clone(&endless) as _, clock(), 0)));
    let placement = FixedPlacement { replicas: vec![vec![worker("a")]], here: None };
    let engine = Engine::new(Arc::new(MemorySource::new(1)), EngineOptions::default(), clock()).unwrap();
    let engine = engine.over_workers(Arc::new(placement), Arc::new(InProcess::new(workers))).unwrap();
    block_on(async {
        let tenant = TenantId::anonymous();
        let mut query = Box::pin(engine.instant(&tenant, "sum(m)", 0, QueryOptions::default()));
        while handed_out.load(Ordering::SeqCst) < 3 {
            assert!(futures::poll!(&mut query).is_pending());
            tokio::task::yield_now().await;
        }
        drop(query);
        let stopped = async {
            while alive.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), stopped).await.expect("selections are given up");
    });
}

/// Says when a stream of batches from a worker is given up.
#[derive(Debug)]
struct Watched {
    inner: InProcess,
    given_up: mpsc::Sender<()>,
}

struct WatchedChannel {
    inner: Box<dyn WorkerChannel>,
    given_up: mpsc::Sender<()>,
}

struct GivenUp(mpsc::Sender<()>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[async_trait]
impl Channels for Watched {
    async fn channel(&self, worker: &WorkerId) -> datafusion::common::Result<Box<dyn WorkerChannel>> {
        let inner = self.inner.channel(worker).await?;
        Ok(Box::new(WatchedChannel { inner, given_up: self.given_up.clone() }))
    }

    async fn ask(&self, worker: &WorkerId, question: Vec<u8>) -> datafusion::common::Result<Vec<u8>> {
        self.inner.ask(worker, question).await
    }
}

#[async_trait]
impl WorkerChannel for WatchedChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> datafusion::common::Result<BoxStream<'static, datafusion::common::Result<WorkerToCoordinatorMsg>>> {
        self.inner.coordinator_channel(headers, request, messages, metrics, task).await
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> datafusion::common::Result<Vec<BoxStream<'static, datafusion::common::Result<RecordBatch>>>> {
        let streams = self.inner.execute_task(headers, request, metrics, task).await?;
        let watched = |stream: BoxStream<'static, _>| {
            let both = (stream, GivenUp(self.given_up.clone()));
            let next = |mut both: (BoxStream<'static, _>, GivenUp)| async move { Some((both.0.next().await?, both)) };
            futures::stream::unfold(both, next).boxed()
        };
        Ok(streams.into_iter().map(watched).collect())
    }

    async fn get_worker_info(
        &mut self,
        request: GetWorkerInfoRequest,
    ) -> datafusion::common::Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

#[test]
fn a_workers_work_that_does_not_wait_ends_where_it_is() {
    for text in ["m", "rate(m[1m])", "sum(m)", "topk(2, m)"] {
        let (source, gate) = gated();
        let workers = InProcess::new([(worker("a"), Worker::new(Arc::new(source), clock(), 0))]);
        let (given_up, gives_up) = mpsc::channel();
        let placement = FixedPlacement { replicas: vec![vec![worker("a")]], here: None };
        let engine = Engine::new(Arc::new(MemorySource::new(1)), EngineOptions::default(), clock()).unwrap();
        let engine = engine.over_workers(Arc::new(placement), Arc::new(Watched { inner: workers, given_up })).unwrap();
        block_on(async {
            let tenant = TenantId::anonymous();
            let mut query = Box::pin(engine.instant(&tenant, text, 0, QueryOptions::default()));
            assert!(futures::poll!(&mut query).is_pending());
            tokio::task::block_in_place(|| gate.wait());
            drop(query);
            // The part with the series, and the one that is there for the boundary.
            tokio::task::block_in_place(|| (0..2).for_each(|_| gives_up.recv().unwrap()));
            assert_eq!(gate.open(), 1, "{text}");
        });
    }
}

/// A source that cannot read.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl SeriesSource for Broken {
    fn partitions(&self) -> usize {
        1
    }

    fn partition_of(&self, _request: &SelectRequest) -> Option<usize> {
        None
    }

    async fn select(&self, _: &[usize], _: &SelectRequest) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        Err(ReadError::DataFile { file: "f".into(), reason: "checksum".into() })
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        MemorySource::new(1).rely(relying, since).await
    }
}

/// An engine over one partition: worker `a` cannot read it, and `b`, if it holds it too, can.
fn over_broken(replicas: &[&str]) -> Engine {
    let whole = MemorySource::new(1);
    whole.append(&LabelSet::from_pairs([("__name__", "m")]), [Sample { ts: 0, value: 3.0 }]);
    let sources: [(&str, Arc<dyn SeriesSource>); 2] = [("a", Arc::new(Broken)), ("b", Arc::new(whole))];
    let workers = sources.map(|(name, source)| (worker(name), Worker::new(source, clock(), 0)));
    let replicas = vec![replicas.iter().map(|name| worker(name)).collect()];
    let placement = FixedPlacement { replicas, here: None };
    let engine = Engine::new(Arc::new(MemorySource::new(1)), EngineOptions::default(), clock()).unwrap();
    engine.over_workers(Arc::new(placement), Arc::new(InProcess::new(workers))).unwrap()
}

#[test]
fn a_worker_that_cannot_read_is_named_or_stood_in_for() {
    let ask = |engine: Engine| block_on(engine.instant(&TenantId::anonymous(), "sum(m)", 0, QueryOptions::default()));
    let error = ask(over_broken(&["a"])).unwrap_err();
    assert_eq!(error.to_string(), "worker a: data file f: checksum");
    let Value::Vector(found) = ask(over_broken(&["a", "b"])).unwrap().value else { panic!("a vector") };
    assert_eq!(found[0].point, Point::Float(3.0));
}
