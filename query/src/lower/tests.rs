use super::*;
use crate::functions::{RangeFunction, Selection};
use crate::plan::{Float, Param, Read, TimeShift, passes};
use pharos_promql::{ParserOptions, parse_expr};

const INSTANT: Settings = Settings {
    start_ms: 100_000,
    end_ms: 100_000,
    step_ms: None,
    lookback_ms: 300_000,
    subquery_step_ms: 60_000,
    delayed_names: false,
    type_and_unit_labels: false,
    use_start_timestamps: true,
};
const RANGE: Settings = Settings { end_ms: 160_000, step_ms: Some(10_000), ..INSTANT };

fn lowered(text: &str, settings: &Settings) -> Result<Lowered, QueryError> {
    lower(&parse_expr(text, &ParserOptions::ALL).unwrap(), settings)
}

fn plan(text: &str, settings: &Settings) -> Plan {
    match lowered(text, settings).unwrap().query {
        Query::Rows(plan) => passes::rewrite(plan),
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn start_timestamps_are_read_for_what_follows_from_them() {
    for (text, want) in [
        ("rate(x[5m])", true),
        ("increase(x[5m] anchored)", true),
        ("irate(x[5m])", true),
        ("resets(x[5m])", true),
        ("start_timestamp(x)", true),
        ("timestamp(x)", false),
        ("x", false),
        ("delta(x[5m])", false),
        ("idelta(x[5m])", false),
        ("sum_over_time(x[5m])", false),
    ] {
        let plan = plan(text, &INSTANT);
        let mut leaf = &plan;
        let read = loop {
            match &leaf.op {
                Op::Scan(scan) => break &scan.read,
                _ => leaf = &leaf.inputs[0],
            }
        };
        assert_eq!(read.looks_at_starts(), want, "{text}");
    }
}

/// The operators of a plan, innermost last: `Aggregate(Scan)`.
fn shape(plan: &Plan) -> String {
    let debug = format!("{:?}", plan.op);
    let name = debug.split([' ', '(', '{']).next().unwrap();
    let inputs: Vec<String> = plan.inputs.iter().map(shape).collect();
    if inputs.is_empty() { name.to_owned() } else { format!("{name}({})", inputs.join(", ")) }
}

#[test]
fn each_expression_becomes_the_operators_it_needs() {
    for (text, want) in [
        ("sum by (a) (rate(x[5m]))", "Aggregate(Scan)"),
        ("topk(3, x)", "AggregateK(Scan)"),
        ("topk(scalar(k), x)", "AggregateK(Scan, ScalarOf(Scan))"),
        ("x + 1", "Map(Scan)"),
        ("x / y", "Match(Scan, Scan)"),
        ("x and y", "Set(Scan, Scan)"),
        ("x + time()", "Map(Scan, Time)"),
        ("histogram_quantile(0.9, x)", "Histogram(Scan)"),
        ("absent_over_time(x[5m])", "Absent(Scan)"),
        ("max_over_time(rate(x[1m])[10m:])", "RangeOverSubquery(Scan)"),
        ("label_replace(x, \"a\", \"b\", \"c\", \"d\")", "Merge(Relabel(Scan))"),
        ("hour()", "Map(VectorOf(Time))"),
        ("timestamp(x)", "Scan"),
        ("timestamp(x + 1)", "Map(Map(Scan))"),
        ("sort(x)", "Sort(Scan)"),
    ] {
        assert_eq!(shape(&plan(text, &INSTANT)), want, "{text}");
    }
}

#[test]
fn constants_are_folded_into_the_nodes_that_use_them() {
    assert_eq!(plan("1 + 2 * 3", &INSTANT).as_constant(), Some(7.0));
    assert_eq!(plan("-(2 ^ 3)", &INSTANT).as_constant(), Some(-8.0));
    assert_eq!(plan("3 > bool 2", &INSTANT).as_constant(), Some(1.0));
    let clamp = plan("clamp(x, scalar(y), 1 + 1)", &INSTANT);
    let Op::Map { params, .. } = &clamp.op else { panic!("{clamp:?}") };
    assert_eq!(*params, [Param::Input(1), Param::Constant(Float(2.0))]);
    assert_eq!(clamp.inputs.len(), 2);
    let round = plan("clamp(x, 1 + 1, scalar(y))", &INSTANT);
    let Op::Map { params, .. } = &round.op else { panic!("{round:?}") };
    assert_eq!(*params, [Param::Constant(Float(2.0)), Param::Input(1)]);
}

#[test]
fn what_is_the_same_at_each_step_is_evaluated_once() {
    for (text, want) in [
        ("sum(x @ 10)", "Repeat(Aggregate(Scan))"),
        ("x + sum(y @ 10)", "Match(Scan, Repeat(Aggregate(Scan)))"),
        ("rate(x[5m] @ 10)", "Repeat(Scan)"),
        ("predict_linear(x[5m] @ 10, 60)", "Scan"),
        ("timestamp(x @ 10)", "Repeat(Scan)"),
        ("timestamp(abs(x @ 10))", "Map(Repeat(Map(Scan)))"),
        ("max_over_time((x @ 10)[5m:])", "RangeOverSubquery(Repeat(Scan))"),
        ("max_over_time(x[5m:] @ 10)", "Repeat(RangeOverSubquery(Scan))"),
        ("max_over_time(sum(y @ 5)[5m:] @ 10)", "Repeat(RangeOverSubquery(Repeat(Aggregate(Scan))))"),
        ("vector(1)", "Repeat(VectorOf(Constant))"),
        ("x @ 10 + time()", "Map(Repeat(Scan), Time)"),
    ] {
        assert_eq!(shape(&plan(text, &RANGE)), want, "{text}");
    }
}

#[test]
fn what_is_written_more_than_once_is_evaluated_once() {
    for (text, want) in [
        ("rate(x[5m]) / (rate(x[5m]) + rate(y[5m]))", "Match(Share(Scan), Match(Share(Scan), Scan))"),
        ("sum(x) / sum(x)", "Match(Share(Aggregate(Scan)), Share(Aggregate(Scan)))"),
        ("sum(x) / count(x)", "Match(Aggregate(Share(Scan)), Aggregate(Share(Scan)))"),
        ("topk(3, x) + topk(3,  (x))", "Match(Share(AggregateK(Scan)), Share(AggregateK(Scan)))"),
        ("x - x offset 1m", "Match(Scan, Scan)"),
        ("rate(x[5m]) - rate(x[1m])", "Match(Scan, Scan)"),
        ("time() + time()", "ScalarBinary(Time, Time)"),
        // Times of their own.
        ("sum(x) - max_over_time(sum(x)[5m:1m])", "Match(Aggregate(Scan), RangeOverSubquery(Aggregate(Scan)))"),
        (
            "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m])",
            "Match(RangeOverSubquery(Share(Aggregate(Scan))), RangeOverSubquery(Share(Aggregate(Scan))))",
        ),
        ("x @ 10 + x @ 10", "Repeat(Match(Share(Scan), Share(Scan)))"),
        ("x @ 10 + (x @ 10 + y)", "Match(Repeat(Share(Scan)), Match(Repeat(Share(Scan)), Scan))"),
    ] {
        assert_eq!(shape(&plan(text, &RANGE)), want, "{text}");
    }
}

#[test]
fn what_is_shared_says_what_its_first_place_says_and_how_often_it_is_written() {
    // Twice `sum(x) + 1`, and once more what is in it.
    let text = "((sum(x) + 1) * (sum(x) + 1)) / sum(x)";
    let plan = plan(text, &RANGE);
    let mut shares = Vec::new();
    collect_shares(&plan, &mut shares);
    shares.sort_by_key(|(share, _)| (share.id, share.place));
    shares.dedup();
    let place = |id, place, written| crate::plan::Share { id, place, places: 2, written };
    let at = |text: &str, found: &str| text.find(found).unwrap();
    let (inner, outer) = (at(text, "x"), at(text, "sum(x) + 1"));
    let places: Vec<_> = shares.iter().map(|(share, span)| (*share, span.start as usize)).collect();
    assert_eq!(
        places,
        [(place(0, 0, 3), inner), (place(0, 1, 3), inner), (place(1, 0, 2), outer), (place(1, 1, 2), outer)]
    );
}

fn collect_shares(plan: &Plan, shares: &mut Vec<(crate::plan::Share, pharos_promql::Span)>) {
    if let Op::Share(share) = plan.op {
        shares.push((share, plan.span));
    }
    plan.inputs.iter().for_each(|input| collect_shares(input, shares));
}

fn scan(text: &str, settings: &Settings) -> crate::plan::Scan {
    let mut plan = plan(text, settings);
    while !matches!(plan.op, Op::Scan(_)) {
        plan = plan.inputs.swap_remove(0);
    }
    match plan.op {
        Op::Scan(scan) => scan,
        _ => unreachable!(),
    }
}

#[test]
fn times_are_resolved() {
    for (text, offset_ms, at) in [
        ("x offset 5m", 300_000, None),
        ("x offset -1m", -60_000, None),
        ("x @ 10 offset 1m", 60_000, Some(10_000)),
        ("x @ start()", 0, Some(100_000)),
        ("x @ end()", 0, Some(160_000)),
        ("x offset step()", 10_000, None),
        ("x offset (range() / 2)", 30_000, None),
    ] {
        assert_eq!(scan(text, &RANGE).selector.shift, TimeShift { offset_ms, at }, "{text}");
    }
    let Read::Range { range_ms, selection, ref call, .. } = scan("rate(x[step() * 6] anchored)", &RANGE).read else {
        panic!("a range function is fused")
    };
    assert_eq!((range_ms, selection, call.function), (60_000, Selection::Anchored, RangeFunction::Rate));
}

#[test]
fn query_times_are_numbers() {
    for (text, value) in [("start()", 100.0), ("end()", 160.0), ("range()", 60.0), ("step()", 10.0)] {
        assert_eq!(plan(text, &RANGE).as_constant(), Some(value), "{text}");
    }
    assert_eq!(plan("step()", &INSTANT).as_constant(), Some(0.0));
    let one_step = Settings { end_ms: RANGE.start_ms, ..RANGE };
    assert_eq!(plan("step()", &one_step).as_constant(), Some(0.0));
}

#[test]
fn durations_that_come_out_wrong_are_refused_with_their_place() {
    for (text, want) in [
        ("rate(x[step() - 10s])", "7:19: duration must be greater than 0"),
        ("rate(x[5m / (step() - 10s)])", "7:25: division by zero"),
        ("rate(x[5m % (step() - 10s)])", "7:25: modulo by zero"),
        ("x offset (1y ^ 9)", "duration is out of range"),
    ] {
        let error = lowered(text, &RANGE).unwrap_err();
        assert!(matches!(error, QueryError::Parse(_)), "{text}: {error:?}");
        assert!(error.to_string().ends_with(want), "{text}: {error}");
    }
}

#[test]
fn a_range_query_needs_a_scalar_or_an_instant_vector() {
    for (text, kind) in [("x[5m]", "range vector"), ("\"a\"", "string"), ("x[5m:1m]", "range vector")] {
        let want = format!("invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector");
        assert_eq!(lowered(text, &RANGE).unwrap_err().to_string(), want);
        assert!(lowered(text, &INSTANT).is_ok());
    }
}

#[test]
fn partitions_meet_for_names_only_where_series_could_become_equal() {
    for (text, want) in [
        ("rate(x[5m])", "Scan"),
        ("rate({job=\"a\"}[5m])", "Merge(Scan)"),
        ("-{job=\"a\"}", "Merge(Map(Scan))"),
        ("-rate({job=\"a\"}[5m])", "Map(Merge(Scan))"),
        ("abs(sum by (__name__) (x))", "Merge(Map(Aggregate(Scan)))"),
        ("abs(sum by (a) ({job=\"a\"}))", "Map(Aggregate(Scan))"),
        ("abs(x or y)", "Merge(Map(Set(Scan, Scan)))"),
        ("last_over_time({job=\"a\"}[5m])", "Scan"),
    ] {
        assert_eq!(shape(&plan(text, &INSTANT)), want, "{text}");
        let delayed = Settings { delayed_names: true, ..INSTANT };
        assert!(!shape(&plan(text, &delayed)).contains("Merge"), "{text} with delayed name removal");
    }
}

#[test]
fn names_are_dropped_or_marked_by_what_changes_a_series_meaning() {
    let names = |text: &str, settings: &Settings| match plan(text, settings).op {
        Op::Map { names, .. } | Op::Match { names, .. } => names,
        Op::Scan(scan) => scan.names,
        other => panic!("{other:?}"),
    };
    let delayed = Settings { delayed_names: true, ..INSTANT };
    for (text, at_once, later) in [
        ("x + 1", NameRule::Drop, NameRule::Mark),
        ("x > 1", NameRule::Keep, NameRule::Keep),
        ("x > bool 1", NameRule::Drop, NameRule::Mark),
        ("-x", NameRule::Drop, NameRule::Mark),
        ("+x", NameRule::Keep, NameRule::Keep),
        ("rate(x[5m])", NameRule::Drop, NameRule::Mark),
        ("first_over_time(x[5m])", NameRule::Keep, NameRule::Keep),
        ("x + y", NameRule::Drop, NameRule::Drop),
        ("x > y", NameRule::Keep, NameRule::Keep),
        ("x > bool y", NameRule::Drop, NameRule::Mark),
    ] {
        assert_eq!(names(text, &INSTANT), at_once, "{text}");
        assert_eq!(names(text, &delayed), later, "{text}");
    }
}

#[test]
fn an_absent_series_has_the_labels_that_matchers_fix() {
    for (text, want) in [
        ("absent(x{a=\"1\", b=~\"2\"})", "{a=\"1\"}"),
        ("absent(x{a=\"1\", a=\"2\", b=\"3\"})", "{b=\"3\"}"),
        ("absent(sum(x{a=\"1\"}))", "{}"),
        ("absent_over_time(x{a=\"1\"}[5m])", "{a=\"1\"}"),
    ] {
        let Op::Absent { labels } = plan(text, &INSTANT).op else { panic!("{text}") };
        assert_eq!(labels.to_string(), want, "{text}");
    }
}

#[test]
fn sorting_a_range_query_only_warns() {
    let lowered = lowered("sort(x)", &RANGE).unwrap();
    assert_eq!(lowered.annotations.len(), 1);
    assert!(matches!(lowered.query, Query::Rows(Plan { op: Op::Scan(_), .. })));
}

#[test]
fn info_metrics_are_read_at_the_time_of_the_first_selector() {
    for (text, offset_ms, at) in [
        ("info(x)", 0, None),
        ("info(x offset 1m)", 60_000, None),
        ("info(rate(x[5m] @ 20 offset 1s))", 1_000, Some(20_000)),
        ("info(max_over_time((x offset 1m)[5m:] @ 30))", 60_000, Some(30_000)),
        ("info(max_over_time((x @ 7)[5m:] offset 3m))", 0, Some(7_000)),
    ] {
        let Lowered { query: Query::Rows(plan), .. } = lowered(text, &INSTANT).unwrap() else { panic!("{text}") };
        let Op::Scan(scan) = &plan.inputs[1].op else { panic!("{text}") };
        assert_eq!(scan.selector.shift, TimeShift { offset_ms, at }, "{text}");
    }
}
