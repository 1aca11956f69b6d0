//! Any text parses or fails; what parses prints to a text that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_promql::{ParserOptions, parse_expr};

fuzz_target!(|text: &str| {
    if let Ok(expr) = parse_expr(text, &ParserOptions::ALL) {
        let printed = expr.to_string();
        let again = parse_expr(&printed, &ParserOptions::ALL).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again.to_string(), printed);
        pharos_promql::pretty(&expr);
        pharos_promql::to_json(&expr);
    }
});
