mod workers;

use pharos_model::clock::ManualClock;
use pharos_model::{Clock, LabelSet, Matcher, PartitionId, Sample, TenantId};
use prometheus::core::Collector;

use super::*;
use crate::testing::MemorySource;
use crate::{Engine, EngineOptions, QueryOptions, QueryOutcome, QueryRange};

const MINUTE: i64 = 60_000;
/// What the clock shows at the beginning: a day.
const NOW: i64 = 24 * 60 * MINUTE;
const STEP: i64 = 15_000;

/// Counts what its engine reads.
struct Fixture {
    engine: Engine,
    source: MemorySource,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new(options: EngineOptions) -> Self {
        let (source, clock) = (filled(), Arc::new(ManualClock::at(NOW)));
        let engine = Engine::new(Arc::new(source.clone()), options, Arc::clone(&clock) as _).unwrap();
        Self { engine, source, clock }
    }

    fn cached() -> Self {
        Self::new(EngineOptions { results_cache_bytes: 1 << 20, parallelism: 1, ..EngineOptions::default() })
    }

    fn ask_with(&self, text: &str, start_ms: i64, end_ms: i64, options: QueryOptions) -> QueryOutcome {
        let range = QueryRange { start_ms, end_ms, step: Duration::from_millis(STEP as u64) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.engine.range(&TenantId::anonymous(), text, range, options)).unwrap()
    }

    /// Samples read for an answer, which must be that of an engine that keeps nothing.
    fn ask(&self, text: &str, start_ms: i64, end_ms: i64) -> u64 {
        let got = self.ask_with(text, start_ms, end_ms, QueryOptions::default());
        let bypass = QueryOptions { bypass_cache: true, ..QueryOptions::default() };
        assert_eq!(got.value, self.ask_with(text, start_ms, end_ms, bypass).value, "{text}");
        got.stats.total_queryable_samples
    }

    /// Asks for the hour before now.
    fn refresh(&self, text: &str) -> u64 {
        let now = self.clock.now_ms();
        self.ask(text, now - 60 * MINUTE, now)
    }

    fn pass(&self, ms: i64) {
        let now = self.clock.now_ms();
        self.clock.advance(Duration::from_millis(ms as u64));
        for job in ["a", "b"] {
            let samples = (now + 1..=now + ms).filter(|ts| ts % 15_000 == 0);
            self.source.append(&labels(job), samples.map(|ts| Sample { ts, value: (ts / 1000) as f64 }));
        }
    }

    fn outcomes(&self) -> Vec<(String, u64)> {
        let families = self.engine.metrics().collect();
        let family = families.iter().find(|family| family.name() == "pharos_query_results_cache_requests_total");
        let metrics = family.into_iter().flat_map(|family| family.get_metric());
        metrics.map(|of| (of.get_label()[0].value().to_owned(), of.get_counter().get_value() as u64)).collect()
    }
}

/// A counter that is sampled each 15 s for six hours up to now.
fn filled() -> MemorySource {
    let source = MemorySource::new(2);
    for job in ["a", "b"] {
        let samples = (NOW - 360 * MINUTE..=NOW).step_by(15_000).map(|ts| Sample { ts, value: (ts / 1000) as f64 });
        source.append(&labels(job), samples);
    }
    source
}

fn labels(job: &str) -> LabelSet {
    LabelSet::from_pairs([("__name__", "m_total"), ("job", job)])
}

const QUERY: &str = "sum by (job) (rate(m_total[1m]))";

#[test]
fn a_dashboard_that_is_refreshed_reads_its_newest_minutes_alone() {
    let fixture = Fixture::cached();
    let first = fixture.refresh(QUERY);
    let mut read = Vec::new();
    for _ in 0..8 {
        fixture.pass(STEP);
        read.push(fixture.refresh(QUERY));
    }
    // 241 steps at first; then those of the last five minutes and the one that has just left them.
    assert_eq!(first, 241 * 4 * 2);
    assert!(read.iter().all(|read| *read == 21 * 4 * 2), "{read:?}");
}

#[test]
fn each_way_of_using_the_cache_is_counted() {
    let fixture = Fixture::cached();
    let (start, end) = (NOW - 120 * MINUTE, NOW - 60 * MINUTE);
    fixture.ask(QUERY, start, end);
    assert_eq!(fixture.ask(QUERY, start, end), 0);
    assert_eq!(fixture.ask("sum  by(job)(rate(m_total{}[60s]))", start + STEP, end - STEP), 0);
    fixture.ask(QUERY, start, end + 10 * MINUTE);
    // Between the steps that are known.
    fixture.ask(QUERY, start + 5000, end);
    fixture.ask("m_total @ end()", start, end);
    let count =
        |outcome: &str| fixture.outcomes().into_iter().find(|(name, _)| name == outcome).map(|(_, count)| count);
    assert_eq!((count("hit"), count("partial"), count("miss")), (Some(2), Some(1), Some(2)));
    // Once for the expression, and once for each comparison.
    assert_eq!(count("bypass"), Some(7));
}

#[test]
fn a_window_that_moves_back_computes_what_is_before_it() {
    let fixture = Fixture::cached();
    let (start, end) = (NOW - 180 * MINUTE, NOW - 120 * MINUTE);
    let whole = fixture.ask(QUERY, start, end);
    assert_eq!(fixture.ask(QUERY, start - 30 * MINUTE, end - 30 * MINUTE), 120 * 4 * 2);
    assert_eq!(fixture.ask(QUERY, start - 30 * MINUTE, end), 0);
    // Far away, nothing of it is left.
    fixture.ask(QUERY, NOW - 340 * MINUTE, NOW - 330 * MINUTE);
    assert_eq!(fixture.ask(QUERY, start, end), whole);
}

#[test]
fn late_samples_and_deletions_take_the_steps_that_see_them() {
    let fixture = Fixture::cached();
    let (start, end) = (NOW - 120 * MINUTE, NOW - 60 * MINUTE);
    fixture.ask(QUERY, start, end);
    fixture.source.append(&labels("a"), [Sample { ts: NOW - 90 * MINUTE + 1, value: 5.0 }]);
    let after_late = fixture.ask(QUERY, start, end);
    assert!(0 < after_late && after_late <= 4 * 5 * 2, "{after_late}");
    assert_eq!(fixture.ask(QUERY, start, end), 0);
    let range = TimeRange::new(NOW - 100 * MINUTE, NOW - 95 * MINUTE);
    fixture.source.delete(&[Matcher::equal("job", "b")], range);
    let after_deletion = fixture.ask(QUERY, start, end);
    assert!(0 < after_deletion && after_deletion < 30 * 5 * 2, "{after_deletion}");
    fixture.source.clear();
    assert_eq!(fixture.ask(QUERY, start, end), 0);
}

#[test]
fn a_source_that_catches_up_is_not_answered_from_when_it_was_silent() {
    let fixture = Fixture::cached();
    let fresh = labels("c");
    assert!(fixture.refresh("m_total{job=\"c\"}") == 0 && fixture.refresh("m_total{job=\"c\"}") == 0);
    let samples = (NOW - 300 * MINUTE..NOW - 20 * MINUTE).step_by(15_000).map(|ts| Sample { ts, value: 1.0 });
    fixture.source.append(&fresh, samples);
    assert!(fixture.refresh("m_total{job=\"c\"}") > 0);
}

#[test]
fn answers_with_remarks_are_not_kept() {
    let fixture = Fixture::cached();
    let (start, end) = (NOW - 120 * MINUTE, NOW - 60 * MINUTE);
    let text = "quantile(2, m_total)";
    let first = fixture.ask_with(text, start, end, QueryOptions::default());
    assert_eq!(first.warnings.len(), 1);
    let second = fixture.ask_with(text, start, end, QueryOptions::default());
    assert_eq!((first.warnings, first.value), (second.warnings, second.value));
    assert!(fixture.outcomes().contains(&("miss".into(), 2)));
}

#[test]
fn what_is_asked_for_differently_is_kept_apart() {
    let fixture = Fixture::cached();
    let (start, end) = (NOW - 120 * MINUTE, NOW - 60 * MINUTE);
    let text = "max_over_time(m_total[5m:])";
    let whole = fixture.ask(text, start, end);
    let lookback = QueryOptions { lookback: Some(Duration::from_secs(10)), ..QueryOptions::default() };
    assert!(fixture.ask_with(text, start, end, lookback).stats.total_queryable_samples > 0);
    fixture.engine.set_subquery_step(Duration::from_secs(30));
    assert!(fixture.ask(text, start, end) > whole);
    assert_eq!(fixture.ask(text, start, end), 0);
    let stats = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    assert!(fixture.ask_with(text, start, end, stats).stats.total_queryable_samples > whole);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let fixture = Fixture::cached();
    for (start, end) in [(i64::MAX - 10 * STEP, i64::MAX - 1), (i64::MIN, i64::MIN + 10 * STEP)] {
        for _ in 0..2 {
            fixture.ask("time()", start, end);
        }
    }
}

#[test]
fn what_has_no_room_is_computed_each_time() {
    let options = EngineOptions { results_cache_bytes: 4000, parallelism: 1, ..EngineOptions::default() };
    let fixture = Fixture::new(options);
    let (start, end) = (NOW - 120 * MINUTE, NOW - 60 * MINUTE);
    let whole = fixture.ask(QUERY, start, end);
    assert_eq!(fixture.ask(QUERY, start, end), whole);
    fixture.ask(QUERY, start, start + 5 * MINUTE);
    assert_eq!(fixture.ask(QUERY, start, start + 5 * MINUTE), 0);
}
