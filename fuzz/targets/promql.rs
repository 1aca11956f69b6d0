//! Any text parses or fails; what parses prints, in one line and laid out over lines, to a text that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_promql::{ParserOptions, parse_expr, parse_metric_selector, parse_series_description};

fuzz_target!(|text: &str| {
    let _ = parse_metric_selector(text, &ParserOptions::default());
    let _ = parse_series_description(text);
    let Ok(expr) = parse_expr(text, &ParserOptions::ALL) else { return };
    expr.to_json();
    let printed = expr.to_string();
    for again in [&printed, &expr.pretty()] {
        match parse_expr(again, &ParserOptions::ALL) {
            Ok(same) => assert_eq!(same.to_string(), printed, "from {again:?}"),
            Err(error) => panic!("{again:?}: {error}"),
        }
    }
});
