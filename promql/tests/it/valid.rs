//! Texts that are PromQL: how they are printed again, how they group, and where their nodes are.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use pharos_promql::duration::{DurationExprKind, DurationValue};
use pharos_promql::{Expr, ExprKind, ParserOptions, parse_expr};

use crate::scripts::upstream_evals;

/// The expression, with matchers in the order of their text: printing sorts them.
pub(crate) fn parse(text: &str) -> Expr {
    let mut expr = parse_expr(text, &ParserOptions::ALL).unwrap_or_else(|errors| panic!("{text:?}: {errors}"));
    sort_matchers(&mut expr);
    expr
}

pub(crate) fn sort_matchers(expr: &mut Expr) {
    expr.walk_mut(&mut |node| {
        if let Some(selector) = node.selector_mut() {
            selector.matchers.sort_by_key(ToString::to_string);
        }
    });
}

/// Each text prints as given, and what is printed parses to the same expression.
fn check(cases: &[(&str, &str)]) {
    for (text, printed) in cases {
        let expr = parse(text);
        assert_eq!(expr.to_string(), *printed, "{text:?}");
        assert_eq!(parse(printed), expr, "{text:?}");
    }
}

/// Each text prints as itself.
fn check_same(texts: &[&str]) {
    for text in texts {
        check(&[(text, text)]);
    }
}

#[test]
fn every_upstream_expression_prints_to_an_equal_one() {
    for mut eval in upstream_evals() {
        sort_matchers(&mut eval.expr);
        let printed = eval.expr.to_string();
        assert_eq!(parse(&printed), eval.expr, "{} printed as {printed}", eval.text);
        let pretty = eval.expr.pretty();
        assert_eq!(parse(&pretty), eval.expr, "{} laid out as {pretty}", eval.text);
    }
}

#[test]
fn literals_keep_their_value() {
    check_same(&["1", "+Inf", "-Inf", "NaN", "0.5", "123.4567", "5m", "-5m", "1h30m", "\"a\"", "\"\\xff\"", "\"ä\""]);
    check(&[
        ("Inf", "+Inf"),
        ("2 * Inf ^ 3", "2 * Inf ^ 3"),
        ("inf", "+Inf"),
        ("nan", "NaN"),
        ("-NaN", "NaN"),
        (".5", "0.5"),
        ("5.", "5"),
        ("5e-3", "0.005"),
        ("5e3", "5000"),
        ("1e30", "1000000000000000000000000000000"),
        ("0xc", "12"),
        ("0x_1f", "31"),
        ("0755", "493"),
        ("08", "8"),
        ("1_000", "1000"),
        ("+5.5e-3", "0.0055"),
        ("-0755", "-493"),
        ("- 1", "-1"),
        ("--1", "1"),
        ("90s", "1m30s"),
        ("24h", "1d"),
        ("1y2w3d4h5m6s7ms", "382d4h5m6s7ms"),
        ("'single \\' quoted'", "\"single ' quoted\""),
        ("`raw \\n`", "\"raw \\\\n\""),
        ("\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"", "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\""),
        ("\"\\377\\u1234\"", "\"\\xffሴ\""),
    ]);
}

#[test]
fn operators_print_with_one_space_around() {
    check_same(&[
        "1 + 1",
        "1 == bool 1",
        "1 != bool 1",
        "1 >= bool 1",
        "1 < bool 2 - 1 * 2",
        "-1 ^ 2",
        "-some_metric",
        "+some_metric",
        "1 + 2 / (3 * 1)",
        "foo * bar",
        "foo * sum",
        "foo == 1",
        "2.5 / bar",
        "foo and bar",
        "foo + bar or bla and blub",
        "foo and bar unless baz or qux",
        "a atan2 b",
        "a </ b",
        "a >/ 2",
        "a % b",
        "up > bool 0",
        "foo + fill",
        "fill_left - fill_right",
    ]);
    check(&[("1+1", "1 + 1"), ("1 % 1", "1 % 1"), ("foo AND bar", "foo and bar"), ("a ATAN2 b", "a atan2 b")]);
}

#[test]
fn matching_prints_as_far_as_it_says_something() {
    check_same(&[
        "bar + on (foo) bla / on (baz, buz) group_right (test) blub",
        "foo * on (test, blub) bar",
        "foo and on () bar",
        "foo unless on (start) bar",
        "foo and ignoring (test, blub) bar",
        "foo / on (test, blub) group_left (bar) bar",
        "foo / ignoring (test, blub) group_left (blub) bar",
        "foo - on (test, blub) group_right (bar, foo) bar",
        "a - on (\"b c\") group_left (\"d.e\") c",
        "a + fill (0) b",
        "a == bool on (x) group_left () fill (-1) b",
        "a + fill_left (5) b",
        "a + fill_right (+Inf) b",
        "a + fill_left (1) fill_right (NaN) b",
        "a + fill (1e-07) b",
        "a + fill (1e+21) b",
    ]);
    check(&[
        ("a - ignoring() c", "a - c"),
        ("a - on(b) group_left c", "a - on (b) group_left () c"),
        ("a - ignoring() group_left c", "a - ignoring () group_left () c"),
        ("a + fill(1m) b", "a + fill (60) b"),
        ("a + FILL(1) b", "a + fill (1) b"),
        ("a + fill_right(2) fill_left(1) b", "a + fill_left (1) fill_right (2) b"),
        ("a + on(BY, offset, bool, group_left, atan2,) b", "a + on (BY, offset, bool, group_left, atan2) b"),
    ]);
}

#[test]
fn selectors_print_sorted_and_quote_what_they_must() {
    check_same(&[
        "foo",
        "min",
        "foo:bar{a=\"bc\"}",
        "{__name__=\"a\"}",
        "foo{NaN=\"bc\"}",
        "foo{bar=\"}\"}",
        "{__name__!~\"baz\",__name__=~\"bar\"}",
        "{__name__=\"bar\",__name__=\"baz\"}",
        "{\"a b\"=\"c\",__name__=\"foo\"}",
        "start{end=\"foo\"}",
        "offset{step=\"1s\"}[5m]",
        "step{offset=\"1s\"}[5m]",
        "anchored{job=\"test\"}",
        "smoothed",
        "start",
        "range",
        "min_of{a=\"b\"}",
        "foo{a=\"\"}",
    ]);
    check(&[
        ("{\"foo\"}", "{__name__=\"foo\"}"),
        ("{\"foo\", a=\"bc\"}", "{__name__=\"foo\",a=\"bc\"}"),
        (
            "{'foo\\'bar', 'a\\\\dos\\\\path'='boo\\\\urns'}",
            "{\"a\\\\dos\\\\path\"=\"boo\\\\urns\",__name__=\"foo'bar\"}",
        ),
        ("foo{}", "foo"),
        ("foo{a='b',}", "foo{a=\"b\"}"),
        (
            "foo{a=\"b\", foo!=\"bar\", test=~\"test\", bar!~\"baz\"}",
            "foo{a=\"b\",bar!~\"baz\",foo!=\"bar\",test=~\"test\"}",
        ),
        ("foo # comment\n { # comment\n a = \"b\" }", "foo{a=\"b\"}"),
        ("foo{a=\"\\n\"}", "foo{a=\"\\n\"}"),
    ]);
}

#[test]
fn modifiers_print_in_their_order() {
    check_same(&[
        "a offset 1m",
        "a offset -7m",
        "a{c=\"d\"}[5m] offset 1m",
        "a[12m] offset -3m",
        "a[1h:5m] offset 1m",
        "foo[10m:]",
        "a @ start()",
        "a @ end()",
        "a[1m] @ start()",
        "foo[10m:6s] @ end() offset 1m",
        "a anchored",
        "a[5m] smoothed",
        "a @ 10.000 anchored offset 1m",
        "a[5m] anchored @ 10.000 offset 1m",
        "(foo + bar{nm=\"val\"})[5m:] @ 1603775019.000",
        "min_over_time(rate(foo{bar=\"baz\"}[2s])[5m:] offset 4m)[4m:3s]",
        "-foo offset 5m",
        "foo ^ bar offset 5m",
    ]);
    check(&[
        ("a @ 10", "a @ 10.000"),
        ("foo @ -100", "foo @ -100.000"),
        ("foo @ .3", "foo @ 0.300"),
        ("foo @ 3.3335", "foo @ 3.334"),
        ("foo @ 3e2", "foo @ 300.000"),
        ("foo @ 0xA", "foo @ 10.000"),
        ("foo @ -3.3e1", "foo @ -33.000"),
        ("some_metric[5m] @ 1m", "some_metric[5m] @ 60.000"),
        ("foo OFFSET 1m30ms", "foo offset 1m30ms"),
        ("foo offset 0s", "foo"),
        ("foo offset +5m", "foo offset 5m"),
        ("foo offset -1.5", "foo offset -1s500ms"),
        ("foo offset 5m @ 1", "foo @ 1.000 offset 5m"),
        ("test[5] OFFSET 3600", "test[5s] offset 1h"),
        ("foo[4.18]", "foo[4s180ms]"),
        ("test[1001ms]", "test[1s1ms]"),
        ("test[5w] offset 2w", "test[5w] offset 2w"),
        ("some_metric offset 1m [10m:5s]", "some_metric offset 1m[10m:5s]"),
        ("foo offset 5s-8", "foo offset 5s - 8"),
        ("foo offset -1^1", "foo offset -1s ^ 1"),
        ("foo offset 5m * 2", "foo offset 5m * 2"),
        ("foo[  -  step  (  )  ]", "foo[-step()]"),
    ]);
}

#[test]
fn duration_expressions_print_as_written() {
    check_same(&[
        "foo[11s + 10s - 5 * 2 ^ 2]",
        "foo[-(10s - 5s) + 20s]",
        "foo[-10s + 15s]",
        "foo[(5m)]",
        "foo[step()]",
        "foo[-step()]",
        "foo[2m / range()]",
        "foo[max_of(step(), 5s)]",
        "foo[0 + -2 ^ 2]",
        "foo[-2 ^ 2]",
        "foo[4s + 4s:1s * 2] offset (5s - 8)",
        "foo[5m:step()]",
        "foo[5m:(step() % 2)]",
        "foo offset step()",
        "foo offset -range()",
        "foo offset -min_of(5s, step() + 8s)",
        "foo offset (5)",
        "foo offset -(5)",
        "foo offset -(1 ^ 2)",
        "foo offset (-1 ^ 2)",
        "foo offset ((2) * 3)",
        "foo offset (1m) + 5 * 2",
        "rate(foo[2m + 2m])",
    ]);
    check(&[
        ("foo[STEP()]", "foo[step()]"),
        ("foo offset +(5)", "foo offset (5)"),
        ("foo offset +step()", "foo offset step()"),
        ("foo offset step() + 5", "foo offset step() + 5"),
        ("foo offset -(5) * 2", "foo offset -(5) * 2"),
        ("foo offset --5 + 3", "foo offset (5 + 3)"),
        ("foo[max_of(min_of(step()+1,1h),1ms)]", "foo[max_of(min_of(step() + 1, 1h), 1ms)]"),
    ]);
}

#[test]
fn aggregations_and_calls_print_canonically() {
    check_same(&[
        "sum(task:errors:rate10s{job=\"s\"})",
        "sum by (code) (task:errors:rate10s{job=\"s\"})",
        "sum without () (a)",
        "sum without (and, by, avg, count, alert, annotations) (some_metric)",
        "sum by (\"foo bar\") (a)",
        "topk(5, some_metric)",
        "limit_ratio(0.5, a)",
        "count_values(\"value\", some_metric)",
        "quantile by (a) (0.5, foo)",
        "sum(sum)",
        "(sum(foo))",
        "time()",
        "floor(some_metric{foo!=\"bar\"})",
        "round(some_metric, 5)",
        "day_of_year()",
        "label_join(a, \"b\", \"c\", \"d\", \"e\")",
        "start() + step()",
        "min_of(1, 2)",
        "histogram_quantiles(a, \"q\", 0.1, 0.5, 0.9)",
        "info(http_request_counter_total, {l=~\".*\"})",
        "info(rate(foo[5m]))",
        "start_timestamp(foo)",
        "sort_by_label(foo, \"a\", \"b\")",
    ]);
    check(&[
        ("sum by() (a)", "sum(a)"),
        ("sum (some_metric) without (foo)", "sum without (foo) (some_metric)"),
        ("sum by (foo,bar,)(some_metric)", "sum by (foo, bar) (some_metric)"),
        ("SUM BY (FOO) (a)", "sum by (FOO) (a)"),
        ("sum by ('foo', `bar`) (a)", "sum by (foo, bar) (a)"),
        ("sum by (anchored)(a) [30m:10s]", "sum by (anchored) (a)[30m:10s]"),
        ("rate( foo [5m] )", "rate(foo[5m])"),
    ]);
}

#[test]
fn precedence_and_associativity_are_those_of_prometheus() {
    for (text, grouped) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
        ("-1 ^ 2", "-((1 ^ 2))"),
        ("-1 * 2", "(-1 * 2)"),
        ("-a * 2", "(-(a) * 2)"),
        ("-a ^ 2 * 3", "(-((a ^ 2)) * 3)"),
        ("-1 ^ -2", "-((1 ^ -2))"),
        ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
        ("+1 + -2 * 1", "(1 + (-2 * 1))"),
        ("a == b + c", "(a == (b + c))"),
        ("a < b == c", "((a < b) == c)"),
        ("a + b </ c", "((a + b) </ c)"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a % b atan2 c / d", "(((a % b) atan2 c) / d)"),
        ("a * b ^ c + d", "((a * (b ^ c)) + d)"),
    ] {
        assert_eq!(grouping(&parse(text)), grouped, "{text}");
    }
}

/// The expression with parentheses around every operator.
fn grouping(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary(binary) => {
            format!("({} {} {})", grouping(&binary.lhs), binary.op.as_str(), grouping(&binary.rhs))
        }
        ExprKind::Unary(unary) => format!("{}({})", unary.op.as_str(), grouping(&unary.expr)),
        _ => expr.to_string(),
    }
}

#[test]
fn nodes_know_where_they_were_written() {
    for (text, spans) in [
        ("1 + 1", vec!["1 + 1", "1", "1"]),
        (" +some_metric", vec!["+some_metric", "some_metric"]),
        (" +{\"some_metric\"}", vec!["+{\"some_metric\"}", "{\"some_metric\"}"]),
        ("- 1 * 2", vec!["- 1 * 2", "- 1", "2"]),
        ("foo offset 5m ", vec!["foo offset 5m"]),
        ("foo @ start() offset 1m", vec!["foo @ start() offset 1m"]),
        ("(foo offset (5))", vec!["(foo offset (5))", "foo offset (5))"]),
        ("rate(foo[5m] offset 1m)", vec!["rate(foo[5m] offset 1m)", "foo[5m] offset 1m"]),
        ("foo[5m:1m] @ 3 ", vec!["foo[5m:1m] @ 3", "foo"]),
        ("(sum(foo) )", vec!["(sum(foo) )", "sum(foo)", "foo"]),
        ("(sum(foo) by (bar))", vec!["(sum(foo) by (bar))", "sum(foo) by (bar)", "foo"]),
        ("(sum by (bar) (foo))", vec!["(sum by (bar) (foo))", "sum by (bar) (foo)", "foo"]),
        ("topk(5, foo)", vec!["topk(5, foo)", "foo", "5"]),
        ("sum(a) / time()", vec!["sum(a) / time()", "sum(a)", "a", "time()"]),
    ] {
        let expr = parse(text);
        let mut found = Vec::new();
        expr.walk(&mut |node| found.push(&text[node.span.start as usize..node.span.end as usize]));
        assert_eq!(found, spans, "{text}");
    }
}

#[test]
fn duration_nodes_know_where_they_were_written() {
    let expr = parse("foo[ step( ) - 5m ]");
    let ExprKind::Matrix(matrix) = &expr.kind else { panic!("{expr:?}") };
    let DurationValue::Expr(range) = &matrix.range else { panic!("{matrix:?}") };
    let DurationExprKind::Binary { lhs, rhs, .. } = &range.kind else { panic!("{range:?}") };
    let spans = [range.span, lhs.span, rhs.span].map(|span| (span.start, span.end));
    assert_eq!(spans, [(5, 17), (5, 12), (15, 17)]);
}

#[test]
fn spans_do_not_make_expressions_different() {
    let hash = |expr: &Expr| BuildHasherDefault::<DefaultHasher>::default().hash_one(expr);
    let expr = parse("foo + 1");
    for text in ["foo  +  1", "foo + 1 # comment"] {
        assert_eq!((parse(text), hash(&parse(text))), (expr.clone(), hash(&expr)), "{text}");
    }
    assert_ne!(parse("foo + 1"), parse("foo + 1s"));
}
