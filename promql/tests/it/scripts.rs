//! The test-script language, on upstream's scripts and on small ones of our own.

use std::io::Write as _;
use std::path::PathBuf;

use pharos_model::histogram::Span;
use pharos_model::sample::is_stale;
use pharos_model::{CounterResetHint, FloatHistogram};
use pharos_promql::script::{CommandKind, Eval, EvalTime, Expected, Load};
use pharos_promql::series::{SEQUENCE_VALUES_MAX, SequenceValue};
use pharos_promql::{Script, parse_series_description};

/// Upstream's scripts, or `None` after saying why there are none.
pub(crate) fn upstream_scripts() -> Option<Vec<(String, String)>> {
    let Some(folder) = std::env::var_os("PHAROS_PROMQLTEST").map(PathBuf::from) else {
        let _ = writeln!(std::io::stderr(), "skipped: PHAROS_PROMQLTEST, the folder of upstream's scripts, is not set");
        return None;
    };
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "test") {
            let text = std::fs::read_to_string(&path).expect("a script can be read");
            scripts.push((path.display().to_string(), text));
        }
    }
    assert!(!scripts.is_empty(), "no script in {}", folder.display());
    Some(scripts)
}

/// All evaluations of upstream's scripts; none when there are no scripts.
pub(crate) fn upstream_evals() -> Vec<Eval> {
    let mut evals = Vec::new();
    for (name, text) in upstream_scripts().unwrap_or_default() {
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        evals.extend(script.commands.into_iter().filter_map(|command| match command.kind {
            CommandKind::Eval(eval) => Some(*eval),
            CommandKind::Clear | CommandKind::Load(_) => None,
        }));
    }
    evals
}

#[test]
fn every_upstream_script_parses() {
    let Some(scripts) = upstream_scripts() else {
        return;
    };
    for (name, text) in scripts {
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = text.lines().filter(|line| line.trim_start().starts_with("eval")).count();
        let parsed = script.commands.iter().filter(|command| matches!(command.kind, CommandKind::Eval(_))).count();
        assert_eq!(parsed, written, "{name}");
    }
}

fn parse(text: &str) -> Script {
    Script::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn only_load(text: &str) -> Load {
    match parse(text).commands.pop().map(|command| command.kind) {
        Some(CommandKind::Load(load)) => load,
        other => panic!("{other:?}"),
    }
}

fn only_eval(text: &str) -> Eval {
    match parse(text).commands.pop().map(|command| command.kind) {
        Some(CommandKind::Eval(eval)) => *eval,
        other => panic!("{other:?}"),
    }
}

/// Values as text: floats as Rust prints them, `_` for gaps, histograms by their sum.
fn values(values: &[SequenceValue]) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|value| match value {
            SequenceValue::Omitted => "_".into(),
            SequenceValue::Float(float) if is_stale(*float) => "stale".into(),
            SequenceValue::Float(float) => format!("{float}"),
            SequenceValue::Histogram { histogram, .. } => format!("{{{}}}", histogram.sum),
        })
        .collect();
    texts.join(" ")
}

#[test]
fn sequences_stand_for_their_values() {
    for (text, expected) in [
        ("a 1 2 3", "1 2 3"),
        ("a", ""),
        ("a   1  2 ", "1 2"),
        ("a _ 1 _x3", "_ 1 _ _ _"),
        ("a 1x2", "1 1 1"),
        // No hexadecimal number.
        ("a 0x1", "0 0"),
        ("a 0+10x3", "0 10 20 30"),
        ("a 10-2.5x2 7", "10 7.5 5 7"),
        ("a -3-3x2", "-3 -6 -9"),
        ("a stale 1e3 .5 Inf -Inf NaN", "stale 1000 0.5 inf -inf NaN"),
        ("{} 1", "1"),
        ("", ""),
        ("a 1 2 3-10x4", "1 2 3 -7 -17 -27 -37"),
        ("a 1x0 1+1x0", "1 1"),
        ("a 1 -1 -3-10x4 7 9 +5", "1 -1 -3 -13 -23 -33 -43 7 9 5"),
        ("a {{ }} {{buckets:[5 10  7  ]  schema:1  }}x0", "{0} {0}"),
        ("sum{by=\"x\"} 1", "1"),
        ("a {{}} {{sum:2}}x1 _", "{0} {2} {2} _"),
        ("a {{sum:1}}+{{sum:2}}x2 {{sum:9}}-{{sum:4}}x1", "{1} {3} {5} {9} {5}"),
    ] {
        let description = parse_series_description(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(values(&description.values), expected, "{text}");
    }
}

#[test]
fn metrics_of_series_carry_all_their_labels() {
    for (text, labels) in [
        ("http:requests{b=\"2\", a='1',} 1", "{__name__=\"http:requests\", a=\"1\", b=\"2\"}"),
        ("{\"my.metric\", \"a b\"=\"c\"} 1", "{__name__=\"my.metric\", \"a b\"=\"c\"}"),
        ("{} 1", "{}"),
        ("offset 1", "{__name__=\"offset\"}"),
    ] {
        let description = parse_series_description(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let shown: Vec<String> = description
            .labels
            .iter()
            .map(|label| {
                let plain = label.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if plain {
                    format!("{}={:?}", label.name, label.value)
                } else {
                    format!("{:?}={:?}", label.name, label.value)
                }
            })
            .collect();
        assert_eq!(format!("{{{}}}", shown.join(", ")), labels, "{text}");
    }
}

#[test]
fn histogram_literals_fill_every_field() {
    let text = "a {{schema:1 sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 \
                n_buckets:[4.1 -5] n_offset:-5 counter_reset_hint:gauge }}";
    let description = parse_series_description(text).unwrap_or_else(|error| panic!("{error}"));
    let [SequenceValue::Histogram { histogram, hint_given: true }] = description.values.as_slice() else {
        panic!("{description:?}");
    };
    let expected = FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: 1,
        zero_threshold: 0.05,
        zero_count: 7.1,
        count: 3.1,
        sum: -0.3,
        positive_spans: vec![Span { offset: -3, length: 3 }],
        negative_spans: vec![Span { offset: -5, length: 2 }],
        positive_buckets: vec![5.1, 10.0, 7.0],
        negative_buckets: vec![4.1, -5.0],
        custom_values: Vec::new(),
    };
    assert_eq!(**histogram, expected);
    let custom = parse_series_description("a {{schema:-53 custom_values:[-1 2 Inf] buckets:[1]}}").unwrap();
    let [SequenceValue::Histogram { histogram, hint_given: false }] = custom.values.as_slice() else {
        panic!("{custom:?}");
    };
    assert_eq!(histogram.custom_values, [-1.0, 2.0, f64::INFINITY]);
}

#[test]
fn series_descriptions_are_refused_with_position() {
    let too_many = SEQUENCE_VALUES_MAX + 1;
    for (text, error) in [
        ("a{b=\"c\"}1", "1:9: parse error: unexpected number \"1\" in series values"),
        ("a 1 2foo", "1:5: parse error: bad number syntax: \"2\""),
        ("a foo", "1:3: parse error: unexpected identifier \"foo\" in series values, expected number or \"stale\""),
        ("{} -3-3 -3", "1:8: parse error: unexpected \" \" in series values"),
        ("{} -3 3+3x4-4", "1:12: parse error: unexpected <op:-> in series values"),
        ("{} -3 _-2", "1:8: parse error: unexpected <op:-> in series values"),
        (
            "{\"http.requests\"xx} 1",
            "1:17: parse error: unexpected identifier \"xx\" in label set, expected \",\" or \"}\"",
        ),
        ("{\"a\"=, x=\"y\"} 1", "1:6: parse error: unexpected \",\" in label set, expected string"),
        (
            "{} {{buckets:[5 10 7] schema:1}}+{{buckets:[1 2 3] schema:0}}x2",
            "1:63: parse error: error combining histograms: cannot merge from schema 0 to 1",
        ),
        ("{} {{schema :1}}", "1:6: parse error: missing `:` for histogram descriptor"),
        ("{} {{schema: 1}}", "1:13: parse error: unexpected \" \" in series values"),
        ("{} {{buckets:[ 1]}}", "1:15: parse error: unexpected \" \" in series values"),
        ("{} {{ schema:1}}", "1:7: parse error: unexpected \"schema\" in series values"),
        (
            "{} {{sum:1 count: 1}}",
            "1:18: parse error: unexpected \" \" in histogram description, expected histogram description key, e.g. buckets:[5 10 7]",
        ),
        ("{} {{counter_reset_hint:foo}}", "1:25: parse error: bad histogram descriptor found: \"foo\""),
        ("a 1+2", "1:6: parse error: unexpected end of input in series values"),
        ("a 1xx", "1:5: parse error: unexpected \"x\" in series values"),
        (
            "a 1x1.5",
            "1:5: parse error: invalid repetition in series values: strconv.ParseUint: parsing \"1.5\": invalid syntax",
        ),
        ("a 1 $", "1:5: parse error: unexpected character in series sequence: '$'"),
        ("a{b}", "1:4: parse error: unexpected \"}\" in label set, expected \"=\""),
        ("a{b=c}", "1:5: parse error: unexpected identifier \"c\" in label set, expected string"),
        ("a{,}", "1:3: parse error: unexpected \",\" in label set, expected identifier or \"}\""),
        ("a{b=\"c\" d=\"e\"}", "1:9: parse error: unexpected identifier \"d\" in label set, expected \",\" or \"}\""),
        ("a {{sum:1 sum:2}}", "1:1: parse error: duplicate key \"sum\" in histogram"),
        ("a {{foo:1}}", "1:5: parse error: bad histogram descriptor found: \"foo\""),
        ("a {{sum}}", "1:5: parse error: missing `:` for histogram descriptor"),
        ("a {{sum:1", "1:10: parse error: histogram description incomplete unexpected: '\u{fffd}'"),
        (
            "a {{schema:1}}+{{schema:0}}x2",
            "1:29: parse error: error combining histograms: cannot merge from schema 0 to 1",
        ),
        (&format!("a _x{too_many}"), &format!("1:5: parse error: series has more than {SEQUENCE_VALUES_MAX} values")),
    ] {
        let refused = parse_series_description(text).expect_err(text).to_string();
        assert_eq!(refused, error, "{text}");
    }
}

#[test]
fn loads_give_each_sample_its_start_timestamp() {
    let load = only_load(
        "load_with_nhcb 30s
           @st -1s _
           a 1 2 3
           b@st -1m-30sx1 _ *
           b 1 1 1 1
           # a comment ends a command, as an empty line does
        ",
    );
    assert_eq!((load.step_ms, load.with_nhcb), (30_000, true));
    assert_eq!(load.series[0].start_offsets_ms, [Some(-1000), None, Some(-1000)]);
    assert_eq!(load.series[1].start_offsets_ms, [Some(-60_000), Some(-90_000), None, Some(-90_000)]);
    let replaced = only_load("load 1s\n a 1\n a 2 3");
    assert_eq!(values(&replaced.series[0].values), "2 3");
    assert!(replaced.series[0].start_offsets_ms.is_empty());
}

#[test]
fn evaluations_say_when_and_what() {
    let eval = only_eval("eval instant at 1m30s sum(foo)\n {} 3");
    assert_eq!((eval.text.as_str(), eval.time), ("sum(foo)", EvalTime::Instant { at_ms: 90_000 }));
    let eval = only_eval("eval range from 0 to 10m step 1m foo\n foo{a=\"b\"} 1 _ 3\n foo 1");
    assert_eq!(eval.time, EvalTime::Range { start_ms: 0, end_ms: 600_000, step_ms: 60_000 });
    let Expected::Series(series) = &eval.expected else { panic!("{eval:?}") };
    assert_eq!((series.len(), values(&series[0].values).as_str(), series[1].position), (2, "1 _ 3", 2));
    let eval = only_eval("eval instant at 0 -1\n expect no_warn\n -0x10");
    assert!(matches!(eval.expected, Expected::Scalar(-16.0)) && eval.warnings.none);
    let eval = only_eval("eval instant at 0 \"a\"\n expect string \"a\\xff\"");
    assert!(matches!(&eval.expected, Expected::String(bytes) if bytes == b"a\xff"));
    let eval = only_eval("eval instant at 1m foo[2m]\n expect range vector from 10s to 1m step 10s\n foo 1 2 3");
    assert!(matches!(eval.time, EvalTime::Instant { at_ms: 60_000 }) && !eval.may_run_as_range());
    assert!(matches!(eval.expected, Expected::RangeVector { start_ms: 10_000, step_ms: 10_000, .. }));
}

#[test]
fn expectations_match_texts_as_written() {
    let eval = only_eval(
        "eval_ordered instant at 0 foo
           expect warn msg: PromQL warning: a (1:2)
           expect warn regex: ^b.*c$
           expect no_info
           foo 1",
    );
    assert!(eval.ordered && eval.infos.none && !eval.warnings.none);
    assert!(eval.warnings.texts[0].matches("PromQL warning: a (1:2)"));
    assert!(!eval.warnings.texts[0].matches("PromQL warning: a"));
    assert!(eval.warnings.texts[1].matches("bxc") && !eval.warnings.texts[1].matches("abc"));
    let Expected::Series(series) = &eval.expected else { panic!("{eval:?}") };
    assert_eq!(series[0].position, 1);
    let eval = only_eval("eval_fail instant at 0 foo\n expected_fail_message vector cannot do that");
    assert!(eval.fail.is_some_and(|fail| fail.matches("vector cannot do that") && !fail.matches("vector")));
    let eval = only_eval("eval_fail instant at 0 foo\n expected_fail_regexp cannot");
    assert!(eval.fail.is_some_and(|fail| fail.matches("vector cannot do that")));
    assert!(only_eval("eval_warn instant at 0 foo").warnings.some);
    assert!(only_eval("eval_info range from 0 to 1s step 1s foo").infos.some);
    assert!(only_eval("eval instant at 0 foo\n expect fail").fail.is_some_and(|fail| fail.matches("anything")));
}

#[test]
fn scripts_are_refused_with_their_line() {
    for (text, error) in [
        ("\nfoo", "line 2: invalid command \"foo\""),
        ("load", "line 1: invalid load command, must be `load[_with_nhcb] <step:duration>`"),
        ("load 5", "line 1: invalid step \"5\": not a valid duration string: \"5\""),
        ("load 1s\n a 1x", "line 2: 1:5: parse error: unexpected end of input in series values"),
        ("load 1s\n a@st -1s\n b 1", "line 2: `@st` line has no sample line of the same labels behind it"),
        ("load 1s\n a@st -1s\n", "line 2: `@st` line has no sample line of the same labels behind it"),
        ("load 1s\n a@st -1sx1\n a 1", "line 2: `@st` line has 2 values but the sample line has 1"),
        ("load 1s\n a@st foo\n a 1", "line 2: invalid `@st` item \"foo\": invalid duration"),
        ("load 1s\n a@st _x0\n a 1", "line 2: invalid `@st` item \"_x0\": invalid repeat count"),
        ("load 1s\n a@st 1s+1s\n a 1", "line 2: invalid `@st` item \"1s+1s\": expected `x<count>` after the step"),
        ("eval instant at 0 foo bar", "line 1: 1:5: parse error: unexpected identifier \"bar\""),
        ("eval range from 1m to 0s step 1m foo", "line 1: end \"0s\" is before start \"1m\""),
        (
            "eval instant at 0 foo\n foo 1 2",
            "line 2: several values for an instant evaluation need an `expect range vector` line",
        ),
        (
            "eval instant at 0 foo\n expect nothing",
            "line 2: invalid expect line, must be `expect <type> [msg|regex]: <text>`",
        ),
        (
            "eval instant at 0 foo\n expect warn txt: a",
            "line 2: invalid expect line, must be `expect <type> [msg|regex]: <text>`",
        ),
        ("eval instant at 0 foo\n expect warn regex: (", "line 2: invalid regular expression \"(\""),
        (
            "eval instant at 0 foo\n expect warn\n expect no_warn",
            "line 3: expect lines warn and no_warn contradict each other",
        ),
        (
            "eval instant at 0 foo\n expect fail\n expect fail",
            "line 3: expect lines fail and fail contradict each other",
        ),
        ("eval instant at 0 foo\n expect string a", "line 2: the expected string must be a quoted string literal"),
        (
            "eval instant at 0 foo\n expect range vector from 0",
            "line 2: invalid expected range vector, must be `expect range vector from <from> to <to> step <step>`",
        ),
    ] {
        let refused = Script::parse(text).expect_err(text).to_string();
        assert_eq!(refused, error, "{text:?}");
    }
    assert!(Script::parse("eval sometimes foo").is_err_and(|error| error.line == 1));
}
