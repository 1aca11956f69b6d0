//! Expressions laid out over lines and as JSON.

use serde_json::json;

use crate::valid::parse;

#[test]
fn what_fits_a_line_stays_in_one() {
    for text in [
        "foo",
        "-foo",
        "sum by (job) (rate(http_requests_total[5m])) / on (job) group_left () sum(up)",
        "quantile_over_time(0.99, foo[5m:30s] offset 1m)",
    ] {
        assert_eq!(parse(text).pretty(), text);
    }
}

#[test]
fn what_does_not_fit_is_split_and_indented() {
    let long = "http_requests_total_of_some_very_long_name{code=\"200\",instance=\"localhost:9090\"}";
    let (a, b) = (format!("{long} + {long}"), format!("rate({long}[5m])"));
    for (text, lines) in [
        (a.clone(), vec![format!("  {long}"), "+".into(), format!("  {long}")]),
        (
            format!("sum by (code) ({a})"),
            vec!["sum by (code) (".into(), format!("    {long}"), "  +".into(), format!("    {long}"), ")".into()],
        ),
        (
            format!("topk(5, {b} * 10000000000)"),
            vec!["topk(".into(), "  5,".into(), format!("    {b}"), "  *".into(), "    10000000000".into(), ")".into()],
        ),
        (
            format!("({a}) > bool 1"),
            vec![
                "  (".into(),
                format!("      {long}"),
                "    +".into(),
                format!("      {long}"),
                "  )".into(),
                "> bool".into(),
                "  1".into(),
            ],
        ),
        (
            format!("label_replace({long}, \"a\", \"b\", \"c\", \"d\")"),
            ["label_replace(", &format!("  {long},"), "  \"a\",", "  \"b\",", "  \"c\",", "  \"d\"", ")"]
                .map(String::from)
                .to_vec(),
        ),
        (format!("-({a})"), vec!["-(".into(), format!("    {long}"), "  +".into(), format!("    {long}"), ")".into()]),
        (
            format!("({a})[5m:1m] offset 1m"),
            vec!["(".into(), format!("    {long}"), "  +".into(), format!("    {long}"), ")[5m:1m] offset 1m".into()],
        ),
    ] {
        let expr = parse(&text);
        assert_eq!(expr.pretty(), lines.join("\n"), "{text}");
        assert_eq!(parse(&expr.pretty()), expr, "{text}");
    }
}

#[test]
fn trees_are_told_as_json() {
    let selector = json!({
        "type": "vectorSelector", "name": "a", "offset": -300_000, "timestamp": 1500, "startOrEnd": null,
        "anchored": false, "smoothed": false,
        "matchers": [{"name": "__name__", "type": "=", "value": "a"}, {"name": "b", "type": "=~", "value": "c.*"}],
    });
    let number = |text: &str| json!({"type": "numberLiteral", "val": text});
    for (text, expected) in [
        ("1.5", number("1.5")),
        ("-Inf", number("-Inf")),
        ("5m", number("300")),
        ("\"a\\xff\"", json!({"type": "stringLiteral", "val": "a\u{fffd}"})),
        ("(1)", json!({"type": "parenExpr", "expr": number("1")})),
        ("a{b=~\"c.*\"} offset -5m @ 1.5", selector.clone()),
        ("-a{b=~\"c.*\"} offset -5m @ 1.5", json!({"type": "unaryExpr", "op": "-", "expr": selector})),
        (
            "{x=\"y\"}[5m] @ end() offset (1m+1m)",
            json!({
                "type": "matrixSelector", "name": "", "offset": 0, "range": 300_000, "timestamp": null,
                "startOrEnd": "end", "anchored": false, "smoothed": false,
                "matchers": [{"name": "x", "type": "=", "value": "y"}],
            }),
        ),
        (
            "vector(1)[5m:30s] @ start()",
            json!({
                "type": "subquery", "range": 300_000, "step": 30_000, "offset": 0, "timestamp": null,
                "startOrEnd": "start",
                "expr": {
                    "type": "call", "args": [number("1")],
                    "func": {"name": "vector", "argTypes": ["scalar"], "variadic": 0, "returnType": "vector"},
                },
            }),
        ),
        (
            "1 == bool 2",
            json!({
                "type": "binaryExpr", "op": "==", "lhs": number("1"), "rhs": number("2"), "matching": null, "bool": true,
            }),
        ),
    ] {
        assert_eq!(parse(text).to_json(), expected, "{text}");
    }
    let matching = &parse("a * on (x) group_left (y) fill_left (0) b").to_json()["matching"];
    let expected = json!({
        "card": "many-to-one", "on": true, "labels": ["x"], "include": ["y"], "fillValues": {"lhs": 0.0, "rhs": null},
    });
    assert_eq!(*matching, expected);
    let aggregation = parse("topk without (x) (3, a)").to_json();
    assert_eq!(aggregation["param"], number("3"));
    assert_eq!((&aggregation["grouping"], &aggregation["without"]), (&json!(["x"]), &json!(true)));
    assert_eq!(parse("sum(a)").to_json()["param"], json!(null));
    let variadic = |text: &str| parse(text).to_json()["func"]["variadic"].clone();
    assert_eq!((variadic("label_join(a, \"b\", \"c\", \"d\")"), variadic("round(a)")), (json!(-1), json!(1)));
}
