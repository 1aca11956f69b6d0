//! Whatever comes in, nothing panics, and what parses keeps its meaning when it is printed.

use pharos_promql::{ParserOptions, Script, parse_expr, parse_metric_selector, parse_series_description};
use proptest::prelude::*;

use crate::valid::{parse, sort_matchers};

/// Words that make up expressions, descriptions and scripts, whole and broken.
const WORDS: &[&str] = &[
    "foo",
    "up",
    "a:b",
    "rate",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "offset",
    "@",
    "start",
    "end",
    "step",
    "range",
    "min_of",
    "max_of",
    "anchored",
    "smoothed",
    "fill",
    "fill_left",
    "fill_right",
    "and",
    "or",
    "unless",
    "atan2",
    "(",
    ")",
    "()",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "[5m]",
    "[5m:]",
    "[step()]",
    "(1)",
    "{a=\"b\"}",
    "{\"x y\"}",
    ",",
    ":",
    "=",
    "==",
    "!=",
    "=~",
    "!~",
    "<",
    "</",
    ">/",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "1",
    "0",
    "5m",
    "1h30m",
    ".5",
    "0x1f",
    "1e3",
    "Inf",
    "NaN",
    "\"s\"",
    "'",
    "\"",
    "`r`",
    "\\",
    "#",
    "\n",
    "_",
    "x2",
    "{{",
    "}}",
    "schema:",
    "buckets:[1 2]",
    "stale",
    "load",
    "load 1m\n",
    "eval",
    "eval instant at 1m ",
    "eval range from 0 to 1m step 1s ",
    "expect",
    "\u{e4}",
    "\u{fffd}",
    "\0",
];

fn soup(separator: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..24).prop_map(move |words| words.join(separator))
}

/// Expressions that mostly parse: operands and operators in turn.
fn near_expression() -> impl Strategy<Value = String> {
    let operand = prop::sample::select(vec![
        "foo",
        "foo{a=\"b\"}",
        "1",
        "-1",
        "5m",
        "foo offset 5m",
        "foo @ start()",
        "rate(foo[5m])",
        "sum by (a) (foo)",
        "(foo)",
        "foo[5m:1m]",
        "-foo",
        "time()",
        "foo anchored",
        "foo offset (1m + step())",
        "topk(2, foo)",
        "\"s\"",
        "foo offset --2",
    ]);
    let operator = prop::sample::select(vec![
        "+",
        "-",
        "*",
        "^",
        "==",
        "> bool",
        "and",
        "or on (a)",
        "/ on (a) group_left (b)",
        "% fill (1)",
        "atan2",
        "</",
        ",",
    ]);
    (operand.clone(), prop::collection::vec((operator, operand), 0..6)).prop_map(|(first, rest)| {
        rest.into_iter().fold(first.to_owned(), |text, (operator, operand)| format!("{text} {operator} {operand}"))
    })
}

fn check(text: &str) {
    for options in [ParserOptions::ALL, ParserOptions::NONE, ParserOptions::default()] {
        match parse_expr(text, &options) {
            Ok(mut expr) => {
                sort_matchers(&mut expr);
                assert_eq!(parse(&expr.to_string()), expr, "{text:?} printed as {expr}");
                assert_eq!(parse(&expr.pretty()), expr, "{text:?} laid out");
                expr.to_json();
            }
            Err(errors) => {
                for error in errors.iter() {
                    assert!(error.span.start as usize <= text.len(), "{text:?}: {error:?}");
                    assert_ne!(error.position, "invalid position", "{text:?}");
                }
            }
        }
        let _ = parse_metric_selector(text, &options);
    }
    let _ = parse_series_description(text);
    let _ = Script::parse(text);
}

proptest! {
    #[test]
    fn spaced_words_do_no_harm(text in soup(" ")) {
        check(&text);
    }

    #[test]
    fn glued_words_do_no_harm(text in soup("")) {
        check(&text);
    }

    #[test]
    fn any_text_does_no_harm(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn near_expressions_keep_their_meaning(text in near_expression()) {
        check(&text);
    }
}
