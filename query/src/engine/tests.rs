mod lanes;
mod leaving;
mod sharing;

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use pharos_model::clock::ManualClock;
use pharos_model::{LabelSet, Sample};
use tokio::sync::Notify;

use super::*;
use crate::exec::{Limits, QueryContext};
use crate::source::{Estimate, ReadError, Reliance, Relying, Revision, SelectRequest, Selection, SeriesBatch};
use crate::testing::MemorySource;
use crate::value::{Point, Series, Value};

/// `m{i="0"}`, `m{i="1"}`, ... with the value of their index each 10 s over 100 s.
fn series(count: usize) -> MemorySource {
    let source = MemorySource::new(4);
    for i in 0..count {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string())]);
        source.append(&labels, (0..=10).map(|k| Sample { ts: k * 10_000, value: i as f64 }));
    }
    source
}

fn engine(source: impl SeriesSource + 'static, options: EngineOptions) -> Engine {
    Engine::new(Arc::new(source), options, Arc::new(ManualClock::default())).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn instant(engine: &Engine, text: &str) -> Result<QueryOutcome, QueryError> {
    block_on(engine.instant(&TenantId::anonymous(), text, 100_000, QueryOptions::default()))
}

fn range(engine: &Engine, text: &str) -> Result<QueryOutcome, QueryError> {
    let range = QueryRange { start_ms: 0, end_ms: 100_000, step: Duration::from_secs(10) };
    block_on(engine.range(&TenantId::anonymous(), text, range, QueryOptions::default()))
}

#[test]
fn an_instant_vector_comes_sorted_unless_its_order_says_something() {
    let engine = engine(series(3), EngineOptions::default());
    let order = |text: &str| match instant(&engine, text).unwrap().value {
        Value::Vector(elements) => {
            elements.iter().map(|element| element.labels.get_or_empty("i").to_owned()).collect::<String>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(order("m"), "012");
    assert_eq!(order("sort_desc(m)"), "210");
    assert_eq!(order("sort_desc(m) * 2"), "210");
    assert_eq!(order("topk(2, m)"), "21");
    assert_eq!(order("sum by (i) (sort_desc(m))"), "012");
}

#[test]
fn each_type_of_expression_has_its_value() {
    let engine = engine(series(1), EngineOptions::default());
    let ts = 100_000;
    assert_eq!(instant(&engine, "1 + 1").unwrap().value, Value::Scalar(Sample { ts, value: 2.0 }));
    assert_eq!(instant(&engine, "\"a\"").unwrap().value, Value::String { ts, text: "a".into() });
    let Value::Matrix(raw) = instant(&engine, "m[15s]").unwrap().value else { panic!("a range vector is a matrix") };
    assert_eq!(raw[0].samples.iter().map(|sample| sample.ts).collect::<Vec<_>>(), [90_000, 100_000]);
    let Value::Matrix(constant) = range(&engine, "7").unwrap().value else { panic!("a range query is a matrix") };
    assert_eq!(
        constant,
        [Series {
            labels: LabelSet::empty(),
            samples: (0..=10).map(|k| Sample { ts: k * 10_000, value: 7.0 }).collect(),
            histograms: Vec::new(),
        }]
    );
}

/// A call with an argument of each type that the function asks for.
fn call_of(function: &pharos_promql::Function) -> String {
    use pharos_promql::ValueType;
    let arguments = function.args.iter().enumerate().map(|(i, argument)| match argument {
        ValueType::Matrix => "m[1m]",
        ValueType::Scalar => "0.5",
        ValueType::String => "\"a\"",
        ValueType::Vector if function.name == "info" && i == 1 => "{a=\"b\"}",
        ValueType::Vector => "m",
    });
    format!("{}({})", function.name, arguments.collect::<Vec<_>>().join(", "))
}

#[test]
fn every_function_has_an_answer() {
    let engine = engine(series(2), EngineOptions { parser: ParserOptions::ALL, ..EngineOptions::default() });
    for function in pharos_promql::Function::all() {
        let text = call_of(function);
        for outcome in [instant(&engine, &text), range(&engine, &text)] {
            outcome.unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}

#[test]
fn start_timestamps_are_those_of_selectors_and_only_when_asked_for() {
    let found = |use_start_timestamps, text: &str| {
        let engine = engine(series(1), EngineOptions { use_start_timestamps, ..EngineOptions::default() });
        let Value::Vector(found) = instant(&engine, text).unwrap().value else { panic!("a vector") };
        found.len()
    };
    assert_eq!(found(true, "start_timestamp(m)"), 1);
    assert_eq!(found(false, "start_timestamp(m)"), 0);
    assert_eq!(found(true, "start_timestamp(m * 1)"), 0);
}

#[test]
fn the_answer_does_not_depend_on_how_many_partitions_are_read_at_once() {
    for text in ["sum(m)", "avg by (i) (rate(m[1m]))", "topk(3, m)", "m and m > 4", "quantile(0.3, m)", "m * 2"] {
        let answers: Vec<Value> = [1, 2, 4]
            .map(|parallelism| {
                range(&engine(series(20), EngineOptions { parallelism, ..EngineOptions::default() }), text)
            })
            .into_iter()
            .map(|outcome| outcome.unwrap().value)
            .collect();
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}

#[test]
fn a_query_that_holds_too_many_samples_is_refused() {
    let engine = engine(series(100), EngineOptions { max_samples: 500, ..EngineOptions::default() });
    let error = range(&engine, "m").unwrap_err();
    assert_eq!(error.to_string(), "query processing would load too many samples into memory in query execution");
    assert!(instant(&engine, "m").is_ok());
    // What an aggregation has folded is no longer held.
    assert!(range(&engine, "sum(m{i=~\"[0-9]\"})").is_ok());
    // A subquery of more steps than samples are allowed is not even begun.
    assert!(matches!(instant(&engine, "max_over_time(m[1d:1s])"), Err(QueryError::TooManySamples { .. })));
    assert!(matches!(instant(&engine, "max_over_time(m[290y:1ms])"), Err(QueryError::TooManySamples { .. })));
}

#[test]
fn a_query_beyond_its_memory_names_the_limit() {
    let engine = engine(series(1000), EngineOptions { memory_limit: 10_000, ..EngineOptions::default() });
    for text in ["sum by (i) (m)", "topk(1, m)", "m * m", "quantile(0.5, m)", "m"] {
        let error = range(&engine, text).unwrap_err();
        assert_eq!(error.to_string(), "the query needs more than its memory limit of 10000 bytes", "{text}");
    }
    assert!(range(&engine, "sum(m{i=\"1\"})").is_ok());
}

#[test]
fn an_answer_counts_with_times_and_values() {
    // One row of 100,000 values, at 16 bytes a sample.
    let steps = 100_000;
    let range = QueryRange { start_ms: 0, end_ms: steps - 1, step: Duration::from_millis(1) };
    let run = |memory_limit| {
        let engine = engine(MemorySource::new(1), EngineOptions { memory_limit, ..EngineOptions::default() });
        block_on(engine.range(&TenantId::anonymous(), "time()", range, QueryOptions::default()))
    };
    assert!(matches!(run(1_500_000), Err(QueryError::MemoryLimit { .. })));
    assert!(run(1_700_000).is_ok());
}

#[test]
fn what_a_scan_reads_counts_as_memory() {
    // An aggregation to one group holds next to nothing itself.
    let engine = engine(series(3000), EngineOptions { memory_limit: 15_000, ..EngineOptions::default() });
    assert!(matches!(instant(&engine, "count(m)"), Err(QueryError::MemoryLimit { .. })));
    assert!(instant(&engine, "count(m{i=~\"1.?\"})").is_ok());
    assert!(matches!(instant(&engine, "m[10s]"), Err(QueryError::MemoryLimit { .. })));
}

#[test]
fn the_heaps_of_a_pick_are_paid_for_and_cover_some_steps_at_a_time() {
    let limited =
        |memory_limit| engine(series(3000), EngineOptions { memory_limit, parallelism: 1, ..EngineOptions::default() });
    // Enough for all rows, not for a second copy of them in heaps.
    let small = limited(1_000_000);
    assert!(range(&small, "quantile(0.5, m)").is_ok());
    assert!(matches!(range(&small, "topk(3000, m)"), Err(QueryError::MemoryLimit { .. })));
    let large = limited(1 << 30);
    assert_eq!(range(&large, "topk(3000, m)").unwrap().value, range(&large, "m").unwrap().value);
    assert_eq!(range(&large, "topk(1500, m)").unwrap().value, range(&large, "m >= 1500").unwrap().value);
}

#[test]
fn a_pick_keeps_no_more_than_what_may_still_be_picked() {
    let ask = |memory_limit, text: &str| {
        let (parser, parallelism) = (ParserOptions::ALL, 1);
        let engine =
            engine(series(600), EngineOptions { memory_limit, parser, parallelism, ..EngineOptions::default() });
        let range = QueryRange { start_ms: 0, end_ms: 100_000, step: Duration::from_millis(10) };
        block_on(engine.range(&TenantId::anonymous(), text, range, QueryOptions::default()))
    };
    // All rows take more than that.
    let small = 40 << 20;
    assert!(matches!(ask(small, "quantile(0.5, m)"), Err(QueryError::MemoryLimit { .. })));
    for text in ["topk(2, m)", "bottomk by (i) (1, m < 2)", "limitk(3, m)", "limit_ratio(0.01, m)"] {
        assert_eq!(ask(small, text).unwrap().value, ask(1 << 30, text).unwrap().value, "{text}");
    }
}

/// Counts the batches of series that were read.
#[derive(Debug)]
struct Counting {
    inner: MemorySource,
    batches: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingSelection(Box<dyn Selection>, Arc<AtomicUsize>);

#[async_trait]
impl SeriesSource for Counting {
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
        let selections = self.inner.select(partitions, request).await?.into_iter();
        let counting =
            |selection| Box::new(CountingSelection(selection, Arc::clone(&self.batches))) as Box<dyn Selection>;
        Ok(selections.map(counting).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.inner.rely(relying, since).await
    }
}

#[async_trait]
impl Selection for CountingSelection {
    fn series_count(&self) -> usize {
        self.0.series_count()
    }

    fn estimate(&self) -> Estimate {
        self.0.estimate()
    }

    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.next_batch().await
    }
}

#[test]
fn matchers_that_fix_a_target_read_its_partition_alone() {
    let source = MemorySource::new(24);
    for i in 0..100 {
        let labels = [("__name__", "m"), ("job", "j"), ("instance", &i.to_string())];
        source.append(&LabelSet::from_pairs(labels), [Sample { ts: 100_000, value: f64::from(i) }]);
    }
    let batches = Arc::new(AtomicUsize::new(0));
    let counting = Counting { inner: source, batches: Arc::clone(&batches) };
    let engine = engine(counting, EngineOptions { parallelism: 2, ..EngineOptions::default() });
    for text in ["sum(m{job=\"j\", instance=\"7\"})", "sum(m{job=\"j\"} == 7)"] {
        batches.store(0, Ordering::SeqCst);
        let Value::Vector(found) = instant(&engine, text).unwrap().value else { panic!("{text}") };
        assert_eq!(found[0].point, Point::Float(7.0), "{text}");
        let fixed = text.contains("instance");
        // The batches of each partition, and the end of each.
        assert_eq!(batches.load(Ordering::SeqCst) == 2, fixed, "{text}");
    }
}

#[test]
fn the_left_side_of_a_set_operator_is_not_gathered() {
    let steps = 1_000;
    for text in ["m and on () one", "m unless on () none"] {
        let source = MemorySource::new(1);
        let sample = [Sample { ts: 0, value: 1.0 }];
        for i in 0..2_000 {
            source.append(&LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string())]), sample);
        }
        source.append(&LabelSet::from_pairs([("__name__", "one")]), sample);
        let batches = Arc::new(AtomicUsize::new(0));
        let counting = Counting { inner: source, batches: Arc::clone(&batches) };
        let engine = engine(counting, EngineOptions { max_samples: 400_000, ..EngineOptions::default() });
        let range = QueryRange { start_ms: 0, end_ms: steps - 1, step: Duration::from_millis(1) };
        let outcome = block_on(engine.range(&TenantId::anonymous(), text, range, QueryOptions::default()));
        assert!(matches!(outcome, Err(QueryError::TooManySamples { .. })), "{text}");
        // 64 series a batch: the limit is met after some 400 of the 2,000.
        let read = batches.load(Ordering::SeqCst);
        assert!(read < 15, "{text} read {read} batches");
    }
}

/// A source whose first selection waits until it is let go.
#[derive(Debug)]
struct Waiting {
    inner: MemorySource,
    go: Arc<Notify>,
    selecting: Arc<AtomicUsize>,
}

/// Counts a selection as long as it is under way.
struct Selecting(Arc<AtomicUsize>);

impl Drop for Selecting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl SeriesSource for Waiting {
    fn partitions(&self) -> usize {
        1
    }

    fn partition_of(&self, _request: &SelectRequest) -> Option<usize> {
        None
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        self.selecting.fetch_add(1, Ordering::SeqCst);
        let _under_way = Selecting(Arc::clone(&self.selecting));
        self.go.notified().await;
        self.inner.select(partitions, request).await
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.inner.rely(relying, since).await
    }
}

fn waiting(options: EngineOptions) -> (Engine, Arc<Notify>, Arc<AtomicUsize>) {
    let source = Waiting { inner: MemorySource::new(1), go: Arc::default(), selecting: Arc::default() };
    let (go, selecting) = (Arc::clone(&source.go), Arc::clone(&source.selecting));
    (engine(source, options), go, selecting)
}

#[test]
fn a_query_ends_by_its_timeout() {
    let (engine, ..) = waiting(EngineOptions { timeout: Duration::ZERO, ..EngineOptions::default() });
    let error = instant(&engine, "m").unwrap_err();
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
    let (engine, ..) = waiting(EngineOptions::default());
    let options = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    let error = block_on(engine.instant(&TenantId::anonymous(), "m", 0, options)).unwrap_err();
    assert!(matches!(error, QueryError::Timeout { .. }));
}

/// A source that takes so long that the deadline is over when it answers.
#[derive(Debug)]
struct Slow(MemorySource, Arc<ManualClock>);

#[async_trait]
impl SeriesSource for Slow {
    fn partitions(&self) -> usize {
        self.0.partitions()
    }

    fn partition_of(&self, _request: &SelectRequest) -> Option<usize> {
        None
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        self.1.advance(Duration::from_secs(61));
        self.0.select(partitions, request).await
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        self.0.rely(relying, since).await
    }
}

#[test]
fn busy_operators_look_at_the_clock_themselves() {
    let clock = Arc::new(ManualClock::default());
    let source = Arc::new(Slow(series(5), Arc::clone(&clock)));
    let options = EngineOptions { timeout: Duration::from_secs(60), ..EngineOptions::default() };
    let engine = Engine::new(source, options, clock).unwrap();
    assert!(matches!(instant(&engine, "sum(m)"), Err(QueryError::Timeout { .. })));
}

#[test]
fn a_query_waits_for_its_turn() {
    let (engine, go, selecting) = waiting(EngineOptions { max_concurrency: 1, ..EngineOptions::default() });
    let tenant = TenantId::anonymous();
    block_on(async {
        let mut first = Box::pin(engine.instant(&tenant, "m", 0, QueryOptions::default()));
        let mut second = Box::pin(engine.instant(&tenant, "m", 0, QueryOptions::default()));
        while selecting.load(Ordering::SeqCst) == 0 {
            assert!(futures::poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(selecting.load(Ordering::SeqCst), 1);
        go.notify_one();
        first.await.unwrap();
        go.notify_one();
        second.await.unwrap();
    });
}

#[test]
fn a_query_that_does_not_get_its_turn_says_where_it_waited() {
    let (engine, _go, selecting) = waiting(EngineOptions { max_concurrency: 1, ..EngineOptions::default() });
    let tenant = TenantId::anonymous();
    block_on(async {
        let mut first = Box::pin(engine.instant(&tenant, "m", 0, QueryOptions::default()));
        while selecting.load(Ordering::SeqCst) == 0 {
            assert!(futures::poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
        let options = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
        let error = engine.instant(&tenant, "m", 0, options).await.unwrap_err();
        assert_eq!(error.to_string(), "query timed out in query queue");
    });
}

#[test]
fn reads_are_counted_step_by_step_when_asked_for() {
    let engine = engine(series(2), EngineOptions::default());
    let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    let range = QueryRange { start_ms: 0, end_ms: 20_000, step: Duration::from_secs(10) };
    let outcome =
        block_on(engine.range(&TenantId::anonymous(), "sum(count_over_time(m[15s]))", range, options)).unwrap();
    assert_eq!(outcome.stats.samples_per_step, Some(vec![(0, 2), (10_000, 4), (20_000, 4)]));
    assert_eq!(outcome.stats.total_queryable_samples, 10);
    assert!(outcome.stats.peak_samples >= 6);
}

#[test]
fn the_lookback_of_a_query_replaces_that_of_the_engine() {
    let engine = engine(series(1), EngineOptions::default());
    let found = |lookback: Option<Duration>| {
        let options = QueryOptions { lookback, ..QueryOptions::default() };
        let outcome = block_on(engine.instant(&TenantId::anonymous(), "m", 160_000, options)).unwrap();
        matches!(outcome.value, Value::Vector(elements) if elements.len() == 1)
    };
    assert!(found(None));
    assert!(!found(Some(Duration::from_secs(60))));
}

#[test]
fn the_step_of_subqueries_can_be_changed_while_running() {
    let engine = engine(series(1), EngineOptions::default());
    let points = || match instant(&engine, "count_over_time(m[100s:])").unwrap().value {
        Value::Vector(elements) => elements[0].point.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(points(), Point::Float(1.0));
    engine.set_subquery_step(Duration::from_secs(10));
    assert_eq!(points(), Point::Float(10.0));
}

#[test]
fn what_is_not_promql_is_refused_with_its_place() {
    let engine = engine(series(1), EngineOptions::default());
    let error = instant(&engine, "sum(").unwrap_err();
    assert!(matches!(&error, QueryError::Parse(text) if text.starts_with("1:5: parse error:")), "{error}");
    // Experimental parts are off unless switched on.
    assert!(matches!(instant(&engine, "first_over_time(m[1m])"), Err(QueryError::Parse(_))));
}

#[test]
fn the_deepest_expression_fits_the_stack_of_a_query_thread() {
    let engine = engine(series(1), EngineOptions::default());
    let text = vec!["m"; pharos_promql::DEPTH_MAX].join(" + ");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(crate::THREAD_STACK_BYTES)
        .enable_time()
        .build()
        .unwrap();
    let query = async move { engine.instant(&TenantId::anonymous(), &text, 100_000, QueryOptions::default()).await };
    let outcome = runtime.block_on(runtime.spawn(query)).unwrap().unwrap();
    assert!(matches!(outcome.value, Value::Vector(elements) if elements[0].point == Point::Float(0.0)));
}

#[test]
fn windows_at_the_ends_of_time_are_empty() {
    let engine = engine(series(1), EngineOptions { parser: ParserOptions::ALL, ..EngineOptions::default() });
    let tenant = TenantId::anonymous();
    for text in
        ["m[1h]", "m[1h] offset 1h", "m[1h] offset -1h", "rate(m[1h])", "rate(m[1h] smoothed)", "m[1h] smoothed"]
    {
        for at_ms in [i64::MIN, i64::MAX] {
            let value = block_on(engine.instant(&tenant, text, at_ms, QueryOptions::default())).unwrap().value;
            let empty = match &value {
                Value::Matrix(series) => series.is_empty(),
                Value::Vector(elements) => elements.is_empty(),
                _ => false,
            };
            assert!(empty, "{text} at {at_ms}: {value:?}");
        }
    }
}

#[test]
fn an_empty_range_has_an_empty_answer() {
    let engine = engine(series(1), EngineOptions::default());
    let range = QueryRange { start_ms: 10, end_ms: 9, step: Duration::from_secs(1) };
    let outcome = block_on(engine.range(&TenantId::anonymous(), "m", range, QueryOptions::default())).unwrap();
    assert_eq!(outcome.value, Value::Matrix(Vec::new()));
}

#[test]
fn metrics_count_queries_and_their_samples() {
    use prometheus::core::Collector;
    let engine = engine(series(2), EngineOptions::default());
    instant(&engine, "m").unwrap();
    let families = engine.metrics().collect();
    let family = |name: &str| families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(family("prometheus_engine_queries").get_metric()[0].get_gauge().get_value(), 0.0);
    assert_eq!(family("prometheus_engine_queries_concurrent_max").get_metric()[0].get_gauge().get_value(), 20.0);
    assert_eq!(family("prometheus_engine_query_samples_total").get_metric()[0].get_counter().get_value(), 2.0);
    let slices = family("prometheus_engine_query_duration_seconds").get_metric();
    assert_eq!(slices.len(), 4);
    assert!(slices.iter().all(|slice| slice.get_summary().get_quantile().len() == 3));
}

#[test]
fn a_query_that_fails_is_timed_too() {
    use prometheus::core::Collector;
    let engine = engine(series(2), EngineOptions { max_samples: 1, ..EngineOptions::default() });
    instant(&engine, "m").unwrap_err();
    let families = engine.metrics().collect();
    let slices = families.iter().find(|family| family.name() == "prometheus_engine_query_duration_seconds").unwrap();
    let timed = slices.get_metric().iter().map(|slice| slice.get_label()[0].value());
    assert!(timed.into_iter().any(|slice| slice == "inner_eval"), "{slices:?}");
}
