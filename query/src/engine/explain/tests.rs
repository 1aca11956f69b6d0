use pharos_model::clock::ManualClock;
use pharos_model::{LabelSet, Sample};

use super::*;
use crate::EngineOptions;
use crate::testing::{Cluster, MemorySource};

/// `m{i="0"}` to `m{i="9"}`, each 10 s over 100 s.
fn source() -> MemorySource {
    let source = MemorySource::new(4);
    for i in 0..10 {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("i", &i.to_string())]);
        source.append(&labels, (0..=10).map(|k| Sample { ts: k * 10_000, value: i as f64 }));
    }
    source
}

fn engine(options: EngineOptions) -> Engine {
    Engine::new(Arc::new(source()), options, Arc::new(ManualClock::default())).unwrap()
}

fn explain_with(options: EngineOptions, text: &str, analyze: bool) -> Result<Explanation, QueryError> {
    explain_by(&engine(options), text, analyze)
}

fn explain_by(engine: &Engine, text: &str, analyze: bool) -> Result<Explanation, QueryError> {
    let step = Duration::from_secs(10);
    let times = ExplainTimes::Range(QueryRange { start_ms: 50_000, end_ms: 100_000, step });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let request = ExplainRequest { text, times, analyze };
    runtime.block_on(engine.explain(&TenantId::anonymous(), request, QueryOptions::default()))
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

/// As [`lines`], with those of each worker.
fn shown_by(engine: &Engine, text: &str, analyze: bool) -> Vec<String> {
    fn with_workers(explained: &Explained, indent: usize, out: &mut Vec<String>) {
        lines(&Explained { children: Vec::new(), ..explained.clone() }, indent, out);
        for on in &explained.workers {
            let (operator, detail) = ("@", on.worker.to_string());
            let (estimated, measured) = (on.estimated, on.measured);
            lines(&Explained { operator, detail, estimated, measured, ..Explained::default() }, indent, out);
        }
        explained.children.iter().for_each(|child| with_workers(child, indent + 1, out));
    }
    let mut out = Vec::new();
    with_workers(&explain_by(engine, text, analyze).unwrap().plan, 0, &mut out);
    out
}

fn over_workers() -> Engine {
    let clock: Arc<dyn pharos_model::Clock> = Arc::new(ManualClock::default());
    let options = EngineOptions { parallelism: 2, ..EngineOptions::default() };
    Cluster::new(source(), &clock, 1).engine(options, clock).unwrap()
}

#[test]
fn operators_on_workers_show_the_figures_of_each() {
    assert_eq!(
        shown_by(&over_workers(), "sum(rate(m[30s])) > 1", true),
        [
            "Map vector > scalar | 1x6 | 0x0",
            " Aggregate sum by (), of all partitions | 1x6 | 1x6",
            "  Aggregate sum by (), of some partitions | 3x18 | 3x18",
            "  @ worker-0 | 1x6 | 1x6",
            "  @ worker-1 | 1x6 | 1x6",
            "  @ worker-2 | 1x6 | 1x6",
            "   Aggregate sum by (), in each partition | 6x36 | 3x18",
            "   @ worker-0 | 2x12 | 1x6",
            "   @ worker-1 | 2x12 | 1x6",
            "   @ worker-2 | 2x12 | 1x6",
            "    Scan rate {__name__=\"m\"}[30s] | 10x60 | 10x60",
            "    @ worker-0 | 3x18 | 3x18",
            "    @ worker-1 | 4x24 | 4x24",
            "    @ worker-2 | 3x18 | 3x18",
            "     Read storage | 10x80 | 10x80",
            "     @ worker-0 | 3x24 | 3x24",
            "     @ worker-1 | 4x32 | 4x32",
            "     @ worker-2 | 3x24 | 3x24",
        ]
    );
    // A scalar of series is known before its part is sent.
    let plan = explain_by(&over_workers(), "m * scalar(sum(m offset 10s))", false).unwrap().plan;
    assert_eq!((plan.operator, plan.workers.len(), plan.measured), ("Map", 3, None));
    assert_eq!(plan.children.iter().map(|child| child.operator).collect::<Vec<_>>(), ["Scan", "Values"]);
    let Explained { workers, measured, .. } = explain_by(&over_workers(), "1 + time()", true).unwrap().plan;
    assert!(workers.is_empty() && measured.is_some());
}

#[test]
fn what_workers_say_adds_up_to_what_one_node_says() {
    for text in ["m", "sum by (i) (m)", "topk(2, m) + on (i) m", "sum(m) / count(m)", "quantile(0.5, m)"] {
        let reads = |plan: &Explained| {
            let mut sum = (Figures::default(), Figures::default());
            let mut left = vec![plan.clone()];
            while let Some(node) = left.pop() {
                if node.operator == "Read" {
                    sum = (sum.0.plus(node.estimated), sum.1.plus(node.measured.unwrap().figures));
                }
                left.extend(node.children);
            }
            (sum.0.series, sum.0.samples, sum.1.series, sum.1.samples)
        };
        let (theirs, own) = (explain_by(&over_workers(), text, true).unwrap(), explain(text, true));
        let given =
            |plan: &Explained| plan.measured.map(|given| (given.figures.series, given.figures.samples)).unwrap();
        assert_eq!(given(&theirs.plan), given(&own.plan), "{text}");
        assert!(reads(&theirs.plan).0 > 0, "{text}");
        if !text.contains("count") {
            assert_eq!(reads(&theirs.plan), reads(&own.plan), "{text}");
        }
    }
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
