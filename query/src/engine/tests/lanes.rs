//! The series of one partition on several threads.

use std::sync::Condvar;

use super::*;
use crate::source::{SampleColumns, SeriesSamples};

/// So many series that their samples are worth several threads, in one partition. Values whose sum depends on their order.
fn many() -> MemorySource {
    let source = MemorySource::new(1);
    for i in 0..1_100 {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string()), ("g", &(i % 7).to_string())]);
        let value = |k: i64| ((i * 7_919 + k * 31) % 1_013) as f64 / 3.0 * 10f64.powi((i % 19) as i32 - 9);
        source.append(&labels, (0..250).map(|k| Sample { ts: k * 400, value: value(k) }));
    }
    source
}

#[test]
fn however_many_threads_there_are_the_answer_is_the_same_to_the_last_bit() {
    let source = many();
    let ask = |parallelism: usize, text: &str| {
        let engine = engine(source.clone(), EngineOptions { parallelism, ..EngineOptions::default() });
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
        let outcome = range(&engine.on_threads(threads.handle().clone()), text).unwrap();
        (outcome.value, outcome.infos, outcome.stats.total_queryable_samples)
    };
    for text in ["sum(m)", "avg by (g) (rate(m[20s]))", "stddev(m)", "m > 5", "topk by (g) (2, m)", "rate(m[1m])"] {
        let one = ask(1, text);
        assert!(matches!(&one.0, Value::Matrix(series) if !series.is_empty()), "{text}");
        for threads in [2, 5] {
            assert_eq!(ask(threads, text), one, "{text} on {threads} threads");
        }
    }
}

#[test]
fn memory_is_paid_for_on_several_threads_as_on_one() {
    let source = many();
    for parallelism in [1, 4] {
        let options = EngineOptions { parallelism, memory_limit: 60_000, ..EngineOptions::default() };
        let asked = range(&engine(source.clone(), options), "sum by (i) (m)");
        assert!(matches!(asked, Err(QueryError::MemoryLimit { .. })), "{parallelism}: {asked:?}");
    }
}

/// One partition of two batches, whose first series wait for each other.
#[derive(Debug)]
struct Meeting {
    state: Arc<Met>,
    series_count: usize,
}

#[derive(Debug, Default)]
struct Met {
    arrived: std::sync::Mutex<usize>,
    more: Condvar,
    estimates: AtomicUsize,
}

#[derive(Debug)]
struct MeetingSelection {
    state: Arc<Met>,
    series_count: usize,
    batches: usize,
}

#[derive(Debug)]
struct MeetingBatch(Arc<Met>);

#[async_trait]
impl SeriesSource for Meeting {
    fn partitions(&self) -> usize {
        1
    }

    fn partition_of(&self, _request: &SelectRequest) -> Option<usize> {
        None
    }

    async fn select(
        &self,
        partitions: &[usize],
        _request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let (state, series_count) = (&self.state, self.series_count);
        let selection = |_: &usize| {
            let selection = MeetingSelection { state: Arc::clone(state), series_count, batches: 2 };
            Box::new(selection) as Box<dyn Selection>
        };
        Ok(partitions.iter().map(selection).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        MemorySource::new(1).rely(relying, since).await
    }
}

#[async_trait]
impl Selection for MeetingSelection {
    fn series_count(&self) -> usize {
        self.series_count
    }

    fn estimate(&self) -> Estimate {
        self.state.estimates.fetch_add(1, Ordering::SeqCst);
        Estimate { series: self.series_count as u64, samples: 1 << 20, bytes: 0 }
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        let Some(left) = self.batches.checked_sub(1) else { return Ok(None) };
        self.batches = left;
        Ok(Some(Box::new(MeetingBatch(Arc::clone(&self.state)))))
    }
}

impl SeriesBatch for MeetingBatch {
    fn len(&self) -> usize {
        1
    }

    fn label_bytes(&self, _i: usize) -> &[u8] {
        &[]
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn samples<'a>(&'a self, _i: usize, scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError> {
        let mut arrived = self.0.arrived.lock().unwrap();
        *arrived += 1;
        self.0.more.notify_all();
        let patience = Duration::from_secs(30);
        let (arrived, _) = self.0.more.wait_timeout_while(arrived, patience, |arrived| *arrived < 2).unwrap();
        if *arrived < 2 {
            return Err(ReadError::Stopped("nobody came".into()));
        }
        scratch.clear();
        Ok(SeriesSamples::from(&*scratch))
    }
}

#[test]
fn a_large_selection_is_evaluated_side_by_side() {
    let state = Arc::new(Met::default());
    let source = Meeting { state: Arc::clone(&state), series_count: 10_000 };
    let engine = engine(source, EngineOptions { parallelism: 2, ..EngineOptions::default() });
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
    instant(&engine.on_threads(threads.handle().clone()), "m").unwrap();
    assert_eq!((*state.arrived.lock().unwrap(), state.estimates.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn few_series_are_not_looked_at_any_closer() {
    for (series_count, parallelism) in [(255, 2), (10_000, 1)] {
        let state = Arc::new(Met::default());
        // Nobody is waited for.
        *state.arrived.lock().unwrap() = 2;
        let source = Meeting { state: Arc::clone(&state), series_count };
        instant(&engine(source, EngineOptions { parallelism, ..EngineOptions::default() }), "m").unwrap();
        assert_eq!(state.estimates.load(Ordering::SeqCst), 0);
    }
}
