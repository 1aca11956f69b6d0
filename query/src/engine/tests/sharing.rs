//! What stands in a query more than once is evaluated once, and nobody can tell but by the clock.

use super::*;

/// An engine over `m` of [`series`], and the batches that it read.
fn counting(count: usize, memory_limit: usize) -> (Engine, Arc<AtomicUsize>) {
    let batches = Arc::new(AtomicUsize::new(0));
    let source = Counting { inner: series(count), batches: Arc::clone(&batches) };
    (engine(source, EngineOptions { memory_limit, parallelism: 2, ..EngineOptions::default() }), batches)
}

const AMPLE: usize = 1 << 30;

fn batches_of(text: &str, (engine, batches): &(Engine, Arc<AtomicUsize>)) -> (QueryOutcome, usize) {
    batches.store(0, Ordering::SeqCst);
    let outcome = range(engine, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    (outcome, batches.load(Ordering::SeqCst))
}

#[test]
fn equal_parts_are_read_once_and_counted_as_often_as_written() {
    let all = counting(300, AMPLE);
    let (once, read_once) = batches_of("sum(m)", &all);
    for (text, value, written) in [
        ("sum(m) / sum(m)", 1.0, 2),
        ("sum(m) / count(m)", 149.5, 2),
        ("count(m and m)", 300.0, 2),
        // The right side first.
        ("sum(m unless on (i) (m > 10))", 55.0, 2),
        ("sum(m * m) / sum(m * m) + count(m)", 301.0, 5),
        ("count(clamp_max(m, scalar(sum(m))))", 300.0, 2),
        ("count(topk(scalar(sum(m)), m))", 300.0, 2),
        ("sum(m) - scalar(sum(m))", 0.0, 2),
    ] {
        let (outcome, read) = batches_of(text, &all);
        let Value::Matrix(series) = outcome.value else { panic!("{text}") };
        assert!(series[0].samples.len() == 11 && series[0].samples.iter().all(|at| at.value == value), "{text}");
        assert_eq!(read, read_once, "{text}");
        let (total, total_once) = (outcome.stats.total_queryable_samples, once.stats.total_queryable_samples);
        assert_eq!(total, written * total_once, "{text}");
    }
}

#[test]
fn rows_that_would_take_too_much_memory_are_evaluated_again() {
    let text = "sum(m) / count(m) + count(m * 2 and m)";
    let (ample, read_once) = batches_of(text, &counting(2000, AMPLE));
    // An eighth of this is far less than all rows.
    let (tight, read) = batches_of(text, &counting(2000, 1_500_000));
    assert_eq!(ample.value, tight.value);
    assert!(read > read_once, "{read} batches, {read_once} when all fits");
    assert_eq!(ample.stats.total_queryable_samples, tight.stats.total_queryable_samples);
}

#[test]
fn a_query_whose_parts_stream_holds_no_more_samples_than_before() {
    let options = EngineOptions { max_samples: 600_000, parallelism: 1, ..EngineOptions::default() };
    let engine = engine(series(2000), options);
    // Two million samples, some 130,000 a batch.
    let range = QueryRange { start_ms: 0, end_ms: 99_900, step: Duration::from_millis(100) };
    let run = |text| block_on(engine.range(&TenantId::anonymous(), text, range, QueryOptions::default()));
    assert!(matches!(run("m"), Err(QueryError::TooManySamples { .. })));
    assert!(run("sum(m) / count(m)").is_ok());
}

#[test]
fn steps_count_what_is_written() {
    let engine = engine(series(2), EngineOptions::default());
    let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    let range = QueryRange { start_ms: 0, end_ms: 20_000, step: Duration::from_secs(10) };
    let text = "sum(count_over_time(m[15s])) + sum(count_over_time(m[15s]))";
    let outcome = block_on(engine.range(&TenantId::anonymous(), text, range, options)).unwrap();
    assert_eq!(outcome.stats.samples_per_step, Some(vec![(0, 4), (10_000, 8), (20_000, 8)]));
}

#[test]
fn remarks_are_those_of_two_evaluations_at_the_first_place() {
    let source = MemorySource::new(1);
    for (bound, value) in [("1", 5.0), ("2", 4.0), ("+Inf", 5.0)] {
        let labels = LabelSet::from_pairs([("__name__", "b"), ("le", bound)]);
        source.append(&labels, [60_000, 100_000].map(|ts| Sample { ts, value }));
    }
    let engine = engine(source, EngineOptions::default());
    let infos = |text: &str| instant(&engine, text).unwrap().infos;
    let once = infos("histogram_quantile(0.5, b)");
    assert!(once[0].contains("over 1 samples"), "{once:?}");
    let twice = infos("histogram_quantile(0.5, b) + histogram_quantile(0.5, b)");
    assert_eq!(twice, [once[0].replace("over 1 samples", "over 2 samples")]);
    assert_eq!(infos("1 + rate(b[2m]) + rate(b[2m])"), infos("1 + rate(b[2m])"));
}

#[test]
fn a_part_that_fails_fails_at_all_its_places() {
    let engine = engine(series(2), EngineOptions::default());
    let text = "sum(m * on () m) or sum(m * on () m)";
    let error = range(&engine, text).unwrap_err();
    assert!(error.to_string().starts_with("found duplicate series for the match group {}"), "{error}");
}
