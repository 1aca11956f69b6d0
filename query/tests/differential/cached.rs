//! Queries that are answered from the results cache must be answered as if there were none, to the bit, whatever happens to the
//! samples between them: some come, some come late, some are deleted, and the clock goes on.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use pharos_model::clock::ManualClock;
use pharos_model::{Clock as _, FloatHistogram, Matcher, Sample, TenantId, TimeRange, TimestampMs};
use pharos_promql::ParserOptions;
use pharos_query::testing::{MemorySample, MemorySource};
use pharos_query::{Engine, EngineOptions, QueryOptions, QueryRange, Value};
use prometheus::core::Collector as _;

use crate::data::{Data, SPAN_MS, Series, Temper};
use crate::generate::{Dialect, Generator};

/// Events over each data set.
const EVENTS: usize = 300;
/// Generated expressions that are asked for again and again, and so many of our own.
const EXPRESSIONS: usize = 3;
/// Native histograms, of which the generator knows nothing, and what looks at other times than its own.
const OWN_EXPRESSIONS: [&str; 14] = [
    "native",
    "rate(native[3m])",
    "histogram_quantile(0.9, sum(rate(native[2m])))",
    "histogram_count(native offset 5m)",
    "sum by (job) (requests_total offset -3m)",
    "max_over_time(memory[10m:30s] offset -2m)",
    "memory - memory @ 600",
    "increase(requests_total[4m] smoothed)",
    "memory @ start()",
    "sum_over_time(memory[5m] @ end())",
    "memory + end() - start()",
    "rate(requests_total[range()])",
    "topk(scalar(sum(memory)), memory)",
    "rate({__name__=~\"requests_total|errors_total\"}[5m])",
];
/// Of which each run takes two.
const STEPS_MS: [i64; 4] = [15_000, 30_000, 60_000, 97_000];
const MINUTE_MS: i64 = 60_000;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Compared {
    pub same: usize,
    /// The engine does not agree with itself: the order of additions is open.
    pub open: usize,
    /// Steps that were not computed.
    pub kept_steps: u64,
    pub failures: Vec<String>,
}

/// One source under two engines.
struct Pair {
    source: MemorySource,
    clock: Arc<ManualClock>,
    cached: Engine,
    plain: Engine,
}

impl Pair {
    fn new() -> Self {
        let source = MemorySource::new(1);
        let clock = Arc::new(ManualClock::at(SPAN_MS));
        let engine = |results_cache_bytes| {
            let parser = ParserOptions::ALL;
            let options = EngineOptions { parser, parallelism: 1, results_cache_bytes, ..EngineOptions::default() };
            Engine::new(Arc::new(source.clone()), options, Arc::clone(&clock) as _).expect("an engine")
        };
        let (cached, plain) = (engine(1 << 20), engine(0));
        Self { source, clock, cached, plain }
    }

    async fn compare(&self, text: &str, range: QueryRange, out: &mut Compared) {
        let got = ask(&self.cached, text, range).await;
        let expected = ask(&self.plain, text, range).await;
        if got != expected && self.hangs_on_order(text, range, &expected).await {
            out.open += 1;
            return;
        }
        if got == expected {
            out.same += 1;
        } else {
            out.failures.push(format!("{text} over {range:?}\n# expected\n{expected}\n# got\n{got}\n"));
        }
    }

    /// Whether the answer differs from one run to the next, as rows come out of some operators in any order: each stretch that is
    /// kept has one of the answers.
    async fn hangs_on_order(&self, text: &str, range: QueryRange, first: &str) -> bool {
        for _ in 0..ASKED_AGAIN {
            if ask(&self.plain, text, range).await != first {
                return true;
            }
        }
        false
    }
}

/// How often an engine is asked whether it agrees with itself.
const ASKED_AGAIN: usize = 40;

/// The whole answer as text, floats by their bits.
async fn ask(engine: &Engine, text: &str, range: QueryRange) -> String {
    let answer = engine.range(&TenantId::anonymous(), text, range, QueryOptions::default()).await;
    let outcome = match answer {
        Ok(outcome) => outcome,
        Err(error) => return error.to_string(),
    };
    let Value::Matrix(series) = outcome.value else { panic!("{text} is no matrix") };
    let mut out = format!("{:?} {:?}\n", outcome.warnings, outcome.infos);
    for series in series {
        let floats: Vec<_> = series.samples.iter().map(|sample| (sample.ts, sample.value.to_bits())).collect();
        let histograms: Vec<_> =
            series.histograms.iter().map(|sample| (sample.ts, sample.histogram.to_string())).collect();
        out.push_str(&format!("{} {floats:?} {histograms:?}\n", series.labels));
    }
    out
}

/// Samples that come in the course of time.
struct Feed {
    series: Vec<Series>,
    /// Those up to here have come.
    until_ms: TimestampMs,
}

impl Feed {
    fn go_on(&mut self, source: &MemorySource, by_ms: i64) {
        let until_ms = self.until_ms + by_ms;
        for series in &self.series {
            let fresh = series.samples.iter().filter(|sample| self.until_ms < sample.ts && sample.ts <= until_ms);
            source.append(&series.labels, fresh.copied());
        }
        let times = (self.until_ms + 1..=until_ms).filter(|ts| ts % 15_000 == 0);
        source.append_points(&native_labels(), times.map(native));
        self.until_ms = until_ms;
    }
}

fn native_labels() -> pharos_model::LabelSet {
    pharos_model::LabelSet::from_pairs([("__name__", "native")])
}

fn native(ts: TimestampMs) -> MemorySample {
    // A counter that begins anew each ten minutes.
    let count = (ts % 600_000 / 1000) as f64;
    let span = pharos_model::histogram::Span { offset: 0, length: 1 };
    let histogram = FloatHistogram {
        count,
        sum: count * 2.0,
        positive_spans: vec![span],
        positive_buckets: vec![count],
        ..FloatHistogram::default()
    };
    MemorySample { ts, start_ts: 0, point: histogram.into() }
}

/// Windows as dashboards ask for them: mostly up to now, often on the same grid.
fn window(rng: &mut Rng, now_ms: TimestampMs, steps_ms: &[i64]) -> QueryRange {
    let step_ms = steps_ms[rng.usize(..steps_ms.len())];
    let phase_ms = if rng.u8(..4) == 0 { rng.i64(0..step_ms) } else { 0 };
    let end_ms = now_ms - if rng.bool() { 0 } else { rng.i64(-5 * MINUTE_MS..SPAN_MS) };
    let start_ms = end_ms - rng.i64(0..SPAN_MS);
    let start_ms = start_ms - start_ms.rem_euclid(step_ms) + phase_ms;
    QueryRange { start_ms, end_ms: end_ms.max(start_ms), step: Duration::from_millis(step_ms as u64) }
}

pub(crate) async fn run(seed: u64) -> Compared {
    let mut rng = Rng::with_seed(seed);
    let data = Data::random(&mut rng, Temper::Wild);
    let pair = Pair::new();
    // All series are there from the beginning, so that a new one does not put the others in another order.
    for series in &data.series {
        pair.source.append(&series.labels, [Sample { ts: -1_000_000_000, value: 1.0 }]);
    }
    let mut feed = Feed { series: data.series, until_ms: -1 };
    feed.go_on(&pair.source, SPAN_MS / 2);
    pair.clock.advance(Duration::from_millis(rng.u64(..600_000)));
    let mut texts: Vec<String> = (0..EXPRESSIONS).map(|_| vector(&mut rng)).collect();
    texts.extend(rng.choose_multiple(OWN_EXPRESSIONS, EXPRESSIONS).into_iter().map(str::to_owned));
    let steps_ms = rng.choose_multiple(STEPS_MS, 2);
    let mut out = Compared::default();
    for _ in 0..EVENTS {
        let now_ms = pair.clock.now_ms();
        match rng.u8(..20) {
            0..4 => {
                let by_ms = rng.i64(1..2 * MINUTE_MS);
                feed.go_on(&pair.source, by_ms);
                pair.clock.advance(Duration::from_millis(by_ms as u64));
            }
            // A source that catches up, or one that goes on while nobody looks.
            4 => feed.go_on(&pair.source, rng.i64(1..10 * MINUTE_MS)),
            5 => pair.clock.advance(Duration::from_millis(rng.u64(..900_000))),
            6 => {
                let series = &feed.series[rng.usize(..feed.series.len())];
                let late = Sample { ts: rng.i64(0..feed.until_ms.max(1)), value: rng.i64(0..100) as f64 };
                pair.source.append(&series.labels, [late]);
            }
            7 => {
                let start_ms = rng.i64(0..feed.until_ms.max(1));
                let range = TimeRange::new(start_ms, start_ms + rng.i64(0..3 * MINUTE_MS));
                let job = if rng.bool() { "api" } else { "db" };
                pair.source.delete(&[Matcher::equal("job", job)], range);
            }
            _ => {
                let text = &texts[rng.usize(..texts.len())];
                pair.compare(text, window(&mut rng, now_ms, &steps_ms), &mut out).await;
            }
        }
    }
    out.kept_steps = kept_steps(&pair.cached);
    out
}

fn kept_steps(engine: &Engine) -> u64 {
    let families = engine.metrics().collect();
    let steps = families.iter().find(|family| family.name() == "pharos_query_results_cache_steps_total");
    let of_cache = steps.into_iter().flat_map(|family| family.get_metric());
    of_cache.filter(|of| of.get_label()[0].value() == "cache").map(|of| of.get_counter().get_value() as u64).sum()
}

/// A range query has no range vectors.
fn vector(rng: &mut Rng) -> String {
    loop {
        let text = Generator::new(rng, Dialect::Today).expression();
        if !text.ends_with(']') {
            return text;
        }
    }
}
