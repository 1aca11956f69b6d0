use pharos_model::clock::ManualClock;
use pharos_model::{LabelSet, Sample};

use super::*;
use crate::EngineOptions;
use crate::testing::MemorySource;

/// `m{i="0"}` to `m{i="9"}`, each 10 s over 100 s.
fn engine(options: EngineOptions) -> Engine {
    let source = MemorySource::new(4);
    for i in 0..10 {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string())]);
        source.append(&labels, (0..=10).map(|k| Sample { ts: k * 10_000, value: i as f64 }));
    }
    Engine::new(Arc::new(source), options, Arc::new(ManualClock::default())).unwrap()
}

fn explain_with(options: EngineOptions, text: &str, analyze: bool) -> Result<Explanation, QueryError> {
    let step = Duration::from_secs(10);
    let times = ExplainTimes::Range(QueryRange { start_ms: 50_000, end_ms: 100_000, step });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let request = ExplainRequest { text, times, analyze };
    runtime.block_on(engine(options).explain(&TenantId::anonymous(), request, QueryOptions::default()))
}

fn explain(text: &str, analyze: bool) -> Explanation {
    explain_with(EngineOptions { parallelism: 2, ..EngineOptions::default() }, text, analyze).unwrap()
}

/// One line for each operator: its name and detail, and series and samples as reckoned and as measured.
fn lines(explained: &Explained, indent: usize, out: &mut Vec<String>) {
    let short = |figures: &Figures| format!("{}x{}", figures.series, figures.samples);
    let measured = explained.measured.map(|measured| short(&measured.figures));
    let measured = measured.unwrap_or_else(|| "-".into());
    let name = format!("{:indent$}{} {}", "", explained.operator, explained.detail);
    out.push(format!("{} | {} | {measured}", name.trim_end(), short(&explained.estimated)));
    explained.children.iter().for_each(|child| lines(child, indent + 1, out));
}

fn shown(text: &str, analyze: bool) -> Vec<String> {
    let mut out = Vec::new();
    lines(&explain(text, analyze).plan, 0, &mut out);
    out
}

#[test]
fn each_operator_shows_what_was_reckoned_and_what_was_measured() {
    assert_eq!(
        shown("sum(rate(m[30s])) > 1", true),
        [
            "Map vector > scalar | 1x6 | 0x0",
            " Aggregate sum by (), of all partitions | 1x6 | 1x6",
            "  Aggregate sum by (), in each partition | 2x12 | 2x12",
            "   Scan rate {__name__=\"m\"}[30s] | 10x60 | 10x60",
            "    Read storage | 10x80 | 10x80",
        ]
    );
}

#[test]
fn without_a_run_nothing_is_measured() {
    assert_eq!(
        shown("topk(1, m offset 10s)", false),
        [
            "AggregateK topk(1) by () | 10x6 | -",
            " AggregateK topk(1) by () | 10x12 | -",
            "  Scan {__name__=\"m\"} offset 10s | 10x60 | -",
            "   Read storage | 10x100 | -",
        ]
    );
}

#[test]
fn each_selector_has_its_own_estimate() {
    let lines = shown("sum(m) + on () group_right () m{i=~\"[0-3]\"}", true);
    let reads: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("Read")).collect();
    assert_eq!(reads, ["Read storage | 10x110 | 10x110", "Read storage | 4x44 | 4x44"]);
}

#[test]
fn what_a_run_has_to_say_comes_with_it() {
    let explained = explain("rate(m[30s])", true);
    assert!(explained.infos[0].contains("might not be a counter"), "{:?}", explained.infos);
    assert_eq!(explain("rate(m[30s])", false).infos, Vec::<String>::new());
}

#[test]
fn a_run_keeps_to_the_limits_of_a_query() {
    let tight = EngineOptions { max_samples: 50, ..EngineOptions::default() };
    assert!(explain_with(tight.clone(), "m", false).is_ok());
    assert!(matches!(explain_with(tight, "m", true), Err(QueryError::TooManySamples { .. })));
    assert!(matches!(explain_with(EngineOptions::default(), "m +", false), Err(QueryError::Parse(_))));
    let late = EngineOptions { timeout: Duration::ZERO, ..EngineOptions::default() };
    assert!(matches!(explain_with(late, "m", true), Err(QueryError::Timeout { .. })));
}
