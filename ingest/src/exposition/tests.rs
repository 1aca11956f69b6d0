//! The parsers as a whole: what they read, what they refuse and in which words, and that they agree with each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use pharos_model::LabelSet;
use pharos_model::sample::NORMAL_NAN_BITS;
use proptest::prelude::*;

use super::*;

mod created;
mod gather;
mod proto;

const LIMITS: LabelLimits = LabelLimits::CEILING;

/// Every entry of a body as one line, the way a person would write it down; an error ends the list.
fn entries(body: &[u8], format: Format) -> Vec<String> {
    entries_with(body, format, HistogramForms::default())
}

fn entries_with(body: &[u8], format: Format, forms: HistogramForms) -> Vec<String> {
    entries_of(Parser::with_histograms(body, format, forms))
}

fn entries_of(mut parser: Parser<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match parser.next().and_then(|event| event.map(|event| describe(&event)).transpose()) {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => return lines,
            Err(error) => {
                lines.push(format!("{}: {error}", error.at));
                return lines;
            }
        }
    }
}

fn describe(event: &Event<'_>) -> Result<String, ParseError> {
    Ok(match event {
        Event::Type { family, metric_type } => format!("TYPE {family} {metric_type}"),
        Event::Help { family, text } => format!("HELP {family} {text}"),
        Event::Unit { family, unit } => format!("UNIT {family} {unit}"),
        Event::Comment(text) => format!("COMMENT {}", String::from_utf8_lossy(text)),
        Event::HistogramPart => "PART".to_owned(),
        Event::Histogram(histogram) => {
            let Histogram { sample, histogram, exemplars } = &**histogram;
            let mut line =
                format!("{} {:?} {histogram}", sample.labels(&LIMITS)?.build(), histogram.counter_reset_hint);
            if let Some(ts) = sample.ts {
                write!(line, " @{ts}").unwrap();
            }
            if let Some(start) = sample.start {
                write!(line, " start @{start}").unwrap();
            }
            for exemplar in exemplars {
                write!(line, " # {} {}", exemplar.labels(&LIMITS)?, exemplar.value).unwrap();
            }
            line
        }
        Event::Sample(sample) => {
            let mut line = format!("{} {}", sample.labels(&LIMITS)?.build(), sample.value);
            if let Some(ts) = sample.ts {
                write!(line, " @{ts}").unwrap();
            }
            if let Some(start) = sample.start {
                write!(line, " start @{start}").unwrap();
            }
            if let Some(exemplar) = &sample.exemplar {
                write!(line, " # {} {}", exemplar.labels(&LIMITS)?, exemplar.value).unwrap();
                if let Some(ts) = exemplar.ts {
                    write!(line, " @{ts}").unwrap();
                }
            }
            line
        }
    })
}

/// The error of a body that has to have one.
fn error(body: &[u8], format: Format) -> String {
    let mut lines = entries(body, format);
    let last = lines.pop().unwrap_or_default();
    let (at, text) = last.split_once(": ").unwrap_or(("", &last));
    assert!(at.starts_with("line ") || at.starts_with("byte "), "{body:?} has no error: {lines:?} {last}");
    text.to_owned()
}

#[test]
fn the_text_format_is_read_as_prometheus_reads_it() {
    let body = "# HELP go_gc_duration_seconds A summary of the GC invocation durations.\n\
        # \tTYPE go_gc_duration_seconds summary\n\
        go_gc_duration_seconds{quantile=\"0\"} 4.9351e-05\n\
        go_gc_duration_seconds{quantile=\"0.25\",} 7.424100000000001e-05\n\
        go_gc_duration_seconds{quantile=\"0.8\", a=\"b\"} 8.3835e-05\n\
        go_gc_duration_seconds { quantile = \"2.0\" a = \"b\" } 8.3835e-05\n\
        # Hrandom comment starting with prefix of HELP\n\
        #\n\
        \n\
        wind_speed{A=\"2\",c=\"3\"} 12345\n\
        # HELP nohelp1\n\
        # HELP nohelp2 \n\
        # HELP escapes a\\\\b\\nc\\\"\n\
        some:aggregate:rate5m{a_b=\"c\"}\t1\n\
        go_goroutines 33  \t123123\n  \
        indented 1 \n\
        nan NaN\n\
        inf{} +Inf 0\n\
        testmetric{label=\"\\\"bar\\\"\\n\\\\\",empty=\"\"} 1\n\
        two_lines{a=\"b\nc\"} 1\n\
        brace{a=\"}\",b=\"{\"} -3\n\
        null_byte{a=\"abc\0\"} 1\n\
        last 1";
    assert_eq!(
        entries(body.as_bytes(), Format::Text),
        [
            "HELP go_gc_duration_seconds A summary of the GC invocation durations.",
            "TYPE go_gc_duration_seconds summary",
            r#"{__name__="go_gc_duration_seconds", quantile="0.0"} 0.000049351"#,
            r#"{__name__="go_gc_duration_seconds", quantile="0.25"} 0.00007424100000000001"#,
            r#"{__name__="go_gc_duration_seconds", a="b", quantile="0.8"} 0.000083835"#,
            r#"{__name__="go_gc_duration_seconds", a="b", quantile="2.0"} 0.000083835"#,
            "COMMENT # Hrandom comment starting with prefix of HELP",
            "COMMENT #",
            r#"{A="2", __name__="wind_speed", c="3"} 12345"#,
            "HELP nohelp1 ",
            "HELP nohelp2 ",
            "HELP escapes a\\b\nc\\\"",
            r#"{__name__="some:aggregate:rate5m", a_b="c"} 1"#,
            r#"{__name__="go_goroutines"} 33 @123123"#,
            r#"{__name__="indented"} 1"#,
            r#"{__name__="nan"} NaN"#,
            r#"{__name__="inf"} inf @0"#,
            r#"{__name__="testmetric", label="\"bar\"\n\\"} 1"#,
            r#"{__name__="two_lines", a="b\nc"} 1"#,
            r#"{__name__="brace", a="}", b="{"} -3"#,
            r#"{__name__="null_byte", a="abc\x00"} 1"#,
            r#"{__name__="last"} 1"#,
        ]
    );
}

#[test]
fn quoted_names_are_read_in_both_text_formats() {
    let body = "# TYPE \"go.gc_seconds\" summary\n\
        {\"go.gc_seconds\",quantile=\"0\"} 1\n\
        {q=\"0.9\",\"http.status\",a=\"b\"} 2\n\
        {\"10€ \\\"x\\\" {a\\nb}\",\"strange©™\\n'quoted' \\\"name\\\"\"=\"6\"} 10.0\n\
        # EOF\n";
    let expected = [
        "TYPE go.gc_seconds summary",
        r#"{__name__="go.gc_seconds", quantile="0.0"} 1"#,
        r#"{__name__="http.status", a="b", q="0.9"} 2"#,
        r#"{__name__="10€ \"x\" {a\nb}", "strange©™\n'quoted' \"name\""="6"} 10"#,
    ];
    assert_eq!(entries(body.as_bytes(), Format::OpenMetrics), expected);
    assert_eq!(entries(body.as_bytes(), Format::Text)[..4], expected);
}

#[test]
fn openmetrics_is_read_as_prometheus_reads_it() {
    let body = "# HELP foo Counter with and without labels \\\"certified\\\"\n\
        # TYPE foo counter\n\
        # UNIT foo_seconds seconds\n\
        foo_total 17.0 1520879607.789 # {id=\"counter-test\"} 5\n\
        foo_total{a=\"b\"} 17.0 1520879607.789 # {id=\"counter-test\",b=\"\\\"c\\\"\"} 5 1520879607.5\n\
        foo_created 1520872607.123\n\
        # TYPE ii info\n\
        ii{foo=\"bar\"} 1\n\
        # TYPE h histogram\n\
        h_bucket{le=\"1\"} 4 # {} 0.5\n\
        h_bucket{le=\"+Inf\"} 4\n\
        # TYPE u unknown\n\
        u -Inf -1.5\n\
        # EOF\n";
    assert_eq!(
        entries(body.as_bytes(), Format::OpenMetrics),
        [
            "HELP foo Counter with and without labels \"certified\"",
            "TYPE foo counter",
            "UNIT foo_seconds seconds",
            r#"{__name__="foo_total"} 17 @1520879607789 # {id="counter-test"} 5"#,
            r#"{__name__="foo_total", a="b"} 17 @1520879607789 # {b="\"c\"", id="counter-test"} 5 @1520879607500"#,
            r#"{__name__="foo_created"} 1520872607.123"#,
            "TYPE ii info",
            r#"{__name__="ii", foo="bar"} 1"#,
            "TYPE h histogram",
            r#"{__name__="h_bucket", le="1.0"} 4 # {} 0.5"#,
            r#"{__name__="h_bucket", le="+Inf"} 4"#,
            "TYPE u unknown",
            r#"{__name__="u"} -inf @-1500"#,
        ]
    );
    assert_eq!(entries(b"# EOF", Format::OpenMetrics), [""; 0]);
}

#[test]
fn bad_text_is_refused_in_the_words_of_prometheus() {
    for (body, text) in [
        ("a", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        ("a{b='c'} 1\n", r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#),
        ("a{b=\n", r#"expected label value, got "\n" ("INVALID") while parsing: "a{b=\n""#),
        ("{\"a\", \"b = \"c\"}", r#"expected equal, got "c\"" ("LNAME") while parsing: "{\"a\", \"b = \"c\"""#),
        ("{\"a\",b\\nc=\"d\"} 1", r#"expected equal, got "\\" ("INVALID") while parsing: "{\"a\",b\\""#),
        ("a true\n", r#"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "a true""#),
        ("a 1e999\n", r#"strconv.ParseFloat: parsing "1e999": value out of range while parsing: "a 1e999""#),
        (
            "something_weird{problem=\"",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        (
            "empty_label_name{=\"\"} 0",
            r#"expected label name, got "=\"" ("EQUAL") while parsing: "empty_label_name{=\"""#,
        ),
        ("foo 1_2\n", r#"unsupported character in float while parsing: "foo 1_2""#),
        ("foo 0x1p-3\n", r#"unsupported character in float while parsing: "foo 0x1p-3""#),
        ("foo 0x1P-3\n", r#"unsupported character in float while parsing: "foo 0x1P-3""#),
        ("foo 0 1_2\n", r#"expected next entry after timestamp, got "_" ("INVALID") while parsing: "foo 0 1_""#),
        ("foo 0 -1\n", r#"expected timestamp or new record, got "-" ("INVALID") while parsing: "foo 0 -""#),
        (
            "foo 0 99999999999999999999\n",
            r#"strconv.ParseInt: parsing "99999999999999999999": value out of range while parsing: "foo 0 99999999999999999999""#,
        ),
        ("{a=\"ok\"} 1", r#"metric name not set while parsing: "{a=\"ok\"} 1""#),
        ("{\"a\",\"b\"} 1", r#"metric name already set while parsing: "{\"a\",\"b\"}""#),
        ("# TYPE #\n#EOF\n", r##"expected metric name after TYPE, got "#" ("INVALID") while parsing: "# TYPE #""##),
        ("# HELP #\n#EOF\n", r##"expected metric name after HELP, got "#" ("INVALID") while parsing: "# HELP #""##),
        ("# TYPE a lemon\n", r#"invalid metric type "lemon""#),
        ("# TYPE a counter \n", r#"invalid metric type "counter ""#),
        ("# TYPE a info\n", r#"invalid metric type "info""#),
        ("a{b=\0\"ssss\"} 1\n", r#"expected label value, got "\x00" ("INVALID") while parsing: "a{b=\x00""#),
        ("a{b=\"\0", r#"expected label value, got "\"\x00\n" ("INVALID") while parsing: "a{b=\"\x00\n""#),
        ("a{b\0=\"hiih\"}\t1", r#"expected equal, got "\x00" ("INVALID") while parsing: "a{b\x00""#),
        ("a\0{b=\"ddd\"} 1", r#"expected value after metric, got "\x00" ("INVALID") while parsing: "a\x00""#),
        ("a 0 1\0", r#"expected next entry after timestamp, got "\x00" ("INVALID") while parsing: "a 0 1\x00""#),
        ("\0", r#"expected a valid start token, got "\x00" ("INVALID") while parsing: "\x00""#),
        ("a{b=\"1\",c=\"2\",b=\"3\"} 1\n", r#"label name "b" is not unique: invalid sample"#),
        ("a{__name__=\"b\"} 1\n", r#"label name "__name__" is not unique: invalid sample"#),
        ("{\"\"} 1\n", "missing metric name (__name__ label)"),
        ("a{\"\"=\"b\"} 1\n", "invalid metric name or label names: a{\"\"=\"b\"}"),
    ] {
        assert_eq!(error(body.as_bytes(), Format::Text), text, "{body:?}");
    }
    for (body, text) in [
        (&b"a{\xff=\"foo\"} 1\n"[..], r#"expected label name, got "\xff" ("INVALID") while parsing: "a{\xff""#),
        (b"a{b=\"\xff\"} 1\n", r#"invalid UTF-8 label value: "\"\xff\"""#),
        (b"{\"\xff\"} 1\n", "invalid metric name or label names: {\"\u{fffd}\"}"),
        (b"# HELP a \xff\n", r#"help text "\xff" is not a valid utf8 string"#),
    ] {
        assert_eq!(error(body, Format::Text), text, "{body:?}");
    }
}

#[test]
fn bad_openmetrics_is_refused_in_the_words_of_prometheus() {
    for (body, text) in [
        ("", "data does not end with # EOF"),
        ("\n", r#"expected a valid start token, got "\n" ("INVALID") while parsing: "\n""#),
        ("metric", r#"expected value after metric, got "metric" ("EOF") while parsing: "metric""#),
        ("metric 1", "data does not end with # EOF"),
        ("metric 1\n", "data does not end with # EOF"),
        ("metric_total 1 # {aa=\"bb\"} 4", "data does not end with # EOF"),
        (" a 1\n#EOF\n", r#"expected a valid start token, got " " ("INVALID") while parsing: " ""#),
        ("9\n#EOF\n", r#"expected a valid start token, got "9" ("INVALID") while parsing: "9""#),
        ("# TYPE u untyped\n#EOF\n", r#"invalid metric type "untyped""#),
        ("# TYPE c counter \n#EOF\n", r#"invalid metric type "counter ""#),
        ("# TYPE c  counter\n", r#"invalid metric type " counter""#),
        ("#  TYPE c counter\n#EOF\n", r##"expected a valid start token, got "#  " ("INVALID") while parsing: "#  ""##),
        ("#\tTYPE c counter\n", r##"expected a valid start token, got "#\t" ("INVALID") while parsing: "#\t""##),
        ("# TYPE \n#EOF\n", r##"expected metric name after TYPE, got "\n" ("INVALID") while parsing: "# TYPE \n""##),
        ("# TYPE m\n#EOF\n", "expected text in TYPE"),
        ("# UNIT metric suffix\n#EOF\n", r#"unit "suffix" not a suffix of metric "metric""#),
        ("# UNIT metricsuffix suffix\n#EOF\n", r#"unit "suffix" not a suffix of metric "metricsuffix""#),
        ("# UNIT m\n#EOF\n", "expected text in UNIT"),
        ("# HELP m\n#EOF\n", "expected text in HELP"),
        ("a\t1\n#EOF\n", r#"expected value after metric, got "\t" ("INVALID") while parsing: "a\t""#),
        ("a 1\t2\n#EOF\n", r#"strconv.ParseFloat: parsing "1\t2": invalid syntax while parsing: "a 1\t2""#),
        ("a 1 2 \n#EOF\n", r#"expected next entry after timestamp, got " \n" ("INVALID") while parsing: "a 1 2 \n""#),
        (
            "a 1 2 #\n#EOF\n",
            r##"expected next entry after timestamp, got " #\n" ("TIMESTAMP") while parsing: "a 1 2 #\n""##,
        ),
        ("a 1 1z\n#EOF\n", r#"strconv.ParseFloat: parsing "1z": invalid syntax while parsing: "a 1 1z""#),
        ("# EOF\na 1", "unexpected data after # EOF"),
        ("# EOF\n\n", "unexpected data after # EOF"),
        ("# EOFa 1", "unexpected data after # EOF"),
        (
            "a 1 1 1\n# EOF\n",
            r#"expected next entry after timestamp, got " 1\n" ("TIMESTAMP") while parsing: "a 1 1 1\n""#,
        ),
        ("a{b='c'} 1\n# EOF\n", r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#),
        ("a{,b=\"c\"} 1\n# EOF\n", r#"expected label name, got ",b" ("COMMA") while parsing: "a{,b""#),
        (
            "a{b=\"c\"d=\"e\"} 1\n# EOF\n",
            r#"expected comma or brace close, got "d=" ("LNAME") while parsing: "a{b=\"c\"d=""#,
        ),
        ("a{b=\"c\",,d=\"e\"} 1\n# EOF\n", r#"expected label name, got ",d" ("COMMA") while parsing: "a{b=\"c\",,d""#),
        ("{\"a\",\"b = \"c\"}\n# EOF\n", r#"expected equal, got "c\"" ("LNAME") while parsing: "{\"a\",\"b = \"c\"""#),
        (
            "something_weird{problem=\"\n# EOF\n",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        ("foo 1_2\n\n# EOF\n", r#"unsupported character in float while parsing: "foo 1_2""#),
        ("foo 0 1_2\n\n# EOF\n", r#"unsupported character in float while parsing: "foo 0 1_2""#),
        (
            "c_total 1 # {aa=bb}\n# EOF\n",
            r#"expected label value, got "b" ("INVALID") while parsing: "c_total 1 # {aa=b""#,
        ),
        (
            "c_total 1 # {aa=\"bb\"}\n# EOF\n",
            r#"expected value after exemplar labels, got "\n" ("INVALID") while parsing: "c_total 1 # {aa=\"bb\"}\n""#,
        ),
        (
            "c_total 1 # {aa=\"bb\"}",
            r#"expected value after exemplar labels, got "}" ("EOF") while parsing: "c_total 1 # {aa=\"bb\"}""#,
        ),
        ("c_total 1 # {bb}", r#"expected label name, got "}" ("BCLOSE") while parsing: "c_total 1 # {bb}""#),
        ("c_total 1 # {bb, a=\"dd\"}", r#"expected label name, got ", " ("COMMA") while parsing: "c_total 1 # {bb, ""#),
        (
            "c_total 1 # {aa=\"bb\"} true",
            r#"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "c_total 1 # {aa=\"bb\"} true""#,
        ),
        ("{b=\"c\",} 1", r#"metric name not set while parsing: "{b=\"c\",} 1""#),
        ("a 1 NaN", "invalid timestamp NaN"),
        ("a 1 -Inf", "invalid timestamp -Inf"),
        ("a 1 Inf", "invalid timestamp +Inf"),
        ("h_bucket{le=\"+Inf\"} 1 # {aa=\"bb\"} 4 NaN", "invalid exemplar timestamp NaN"),
        ("a{b=\"\0", r#"expected label value, got "\"\x00" ("INVALID") while parsing: "a{b=\"\x00""#),
        ("#", r##"expected a valid start token, got "#" ("INVALID") while parsing: "#""##),
        ("# H", r##"expected a valid start token, got "# H" ("INVALID") while parsing: "# H""##),
        (
            "c_total 1 # {b=\"\0ss\"} 1\n",
            r#"expected label value, got "\"\x00" ("INVALID") while parsing: "c_total 1 # {b=\"\x00""#,
        ),
    ] {
        assert_eq!(error(body.as_bytes(), Format::OpenMetrics), text, "{body:?}");
    }
}

#[test]
fn an_error_knows_its_line_and_ends_the_body() {
    let mut parser = Parser::new(b"a 1\n\nb 2\nc oops\nd 4\n", Format::Text);
    assert!(parser.next().is_ok_and(|event| event.is_some()));
    assert!(parser.next().is_ok_and(|event| event.is_some()));
    assert_eq!(parser.next().unwrap_err().at, Position::Line(4));
    assert!(parser.next().is_ok_and(|event| event.is_none()));
}

#[test]
fn the_last_line_may_lack_its_newline() {
    for (body, entry) in [("#", "COMMENT #"), ("# HELP a b", "HELP a b"), ("a 1 2", r#"{__name__="a"} 1 @2"#)] {
        assert_eq!(entries(body.as_bytes(), Format::Text), [entry]);
    }
}

#[test]
fn a_long_bad_line_makes_a_short_error() {
    let line = format!("a{{b=\"{}\"", "x".repeat(1 << 20));
    assert!(error(line.as_bytes(), Format::Text).len() < 5000);
}

#[test]
fn a_label_of_a_megabyte_is_refused_by_name() {
    let body = format!("a{{b=\"{}\"}} 1\n", "x".repeat(1 << 20));
    let text = error(body.as_bytes(), Format::Text);
    assert!(text.starts_with("label_value_length_limit exceeded (metric: a, label name: b, value: \"xxx"), "{text}");
    assert!(text.ends_with("length: 1048576, limit: 65536)"), "{text}");
}

#[test]
fn labels_beyond_the_limit_are_counted_in_every_format() {
    let labels = |count: usize| (1..count).map(|i| format!("l{i}=\"\"")).collect::<Vec<_>>().join(",");
    let at_most = format!("a{{{}}} 1\n", labels(512));
    assert_eq!(entries(at_most.as_bytes(), Format::Text), [r#"{__name__="a"} 1"#]);
    let series = format!("a{{{}}} 1\n", labels(600));
    assert_eq!(
        error(series.as_bytes(), Format::Text),
        "label_limit exceeded (metric: a, number of labels: 600, limit: 512)"
    );
    let exemplar = format!("a_total 1 # {{{}}} 1\n# EOF\n", labels(601));
    assert_eq!(
        error(exemplar.as_bytes(), Format::OpenMetrics),
        "label_limit exceeded (metric: , number of labels: 600, limit: 512)"
    );
}

#[test]
fn nan_is_always_the_canonical_one() {
    for (body, format) in [("a NaN\n", Format::Text), ("a nan\n# EOF\n", Format::OpenMetrics)] {
        let mut parser = Parser::new(body.as_bytes(), format);
        let Ok(Some(Event::Sample(sample))) = parser.next() else { panic!("no sample in {body}") };
        assert_eq!(sample.value.to_bits(), NORMAL_NAN_BITS);
    }
}

/// The folder of real expositions, unless the test has to be skipped.
fn scrapes() -> Option<PathBuf> {
    let folder = std::env::var_os("PHAROS_SCRAPES").map(PathBuf::from);
    if folder.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: PHAROS_SCRAPES does not name a folder of real expositions");
    }
    folder
}

/// All samples of a body; text and protobuf of one target have the same labels.
fn samples(body: &[u8], format: Format) -> BTreeMap<LabelSet, f64> {
    let mut parser = Parser::new(body, format);
    let mut samples = BTreeMap::new();
    while let Some(event) = parser.next().unwrap() {
        if let Event::Sample(sample) = event {
            let labels = sample.labels(&LIMITS).unwrap().build();
            assert!(samples.insert(labels.clone(), sample.value).is_none(), "{labels} twice");
        }
    }
    samples
}

#[test]
fn real_text_expositions_are_read_whole() {
    let Some(folder) = scrapes() else { return };
    for name in ["prometheus.txt", "alertmanager.txt", "pushgateway.txt", "victoria-metrics.txt"] {
        let body = std::fs::read(folder.join(name)).unwrap();
        let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
        assert_eq!(samples(&body, Format::Text).len(), lines, "{name}");
    }
}

#[test]
fn text_and_protobuf_of_one_target_are_the_same_series() {
    let Some(folder) = scrapes() else { return };
    let text = samples(&std::fs::read(folder.join("prometheus.txt")).unwrap(), Format::Text);
    let protobuf = samples(&std::fs::read(folder.join("prometheus.pb")).unwrap(), Format::Protobuf);
    assert!(text.len() > 200, "{}", text.len());
    let only_text: Vec<_> = text.keys().filter(|labels| !protobuf.contains_key(labels)).collect();
    assert!(only_text.is_empty(), "{only_text:?}");
    // The text was scraped first, and that request made some series of its own.
    let of_that_scrape = |labels: &&LabelSet| labels.get("handler") == Some("/metrics");
    let only_protobuf = protobuf.keys().filter(|labels| !text.contains_key(labels));
    assert_eq!(only_protobuf.filter(|labels| !of_that_scrape(labels)).collect::<Vec<_>>(), Vec::<&LabelSet>::new());
}

prop_compose! {
    fn label()(name in "[a-zA-Z_][a-zA-Z0-9_]{0,8}|[^\0]{1,4}", value in "[^\0]{1,6}") -> (String, String) {
        (name, value)
    }
}

prop_compose! {
    fn series()(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}|[^\0]{1,6}",
        labels in prop::collection::vec(label(), 0..4),
        value in any::<f64>(),
        ts in prop::option::of(0..4_000_000_000_000i64),
    ) -> (LabelSet, f64, Option<i64>) {
        let mut builder = LabelSetBuilder::default();
        for (name, value) in labels {
            builder.set(&name, &value);
        }
        builder.set("__name__", &name);
        (builder.build(), value, ts)
    }
}

/// A series as a text format writes it, names quoted.
fn write_series(labels: &LabelSet, out: &mut String) {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    write!(out, "{{\"{}\"", escape(labels.metric_name().unwrap())).unwrap();
    for label in labels.iter().filter(|label| label.name != "__name__") {
        write!(out, ",\"{}\"=\"{}\"", escape(label.name), escape(label.value)).unwrap();
    }
    out.push('}');
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(series in prop::collection::vec(series(), 0..6)) {
        let (mut text, mut openmetrics) = (String::new(), String::new());
        for (labels, value, ts) in &series {
            for (out, ts) in [(&mut text, ts.map(|ts| ts.to_string())), (&mut openmetrics, ts.map(|ts| format!("{:.3}", ts as f64 / 1000.0)))] {
                write_series(labels, out);
                write!(out, " {}", pharos_model::number::format_f(*value)).unwrap();
                writeln!(out, "{}", ts.map_or(String::new(), |ts| format!(" {ts}"))).unwrap();
            }
        }
        openmetrics.push_str("# EOF\n");
        for (body, format) in [(text, Format::Text), (openmetrics, Format::OpenMetrics)] {
            let mut parser = Parser::new(body.as_bytes(), format);
            for (labels, value, ts) in &series {
                let Some(Event::Sample(sample)) = parser.next().unwrap() else { panic!("too few samples") };
                prop_assert_eq!(&sample.labels(&LIMITS).unwrap().build(), labels);
                prop_assert!(sample.value == *value || sample.value.is_nan() && value.is_nan());
                // OpenMetrics' seconds are a float: the last millisecond may be off, as in Prometheus.
                let off = sample.ts.unwrap_or_default() - ts.unwrap_or_default();
                prop_assert!(off == 0 || format == Format::OpenMetrics && off.abs() == 1);
            }
            prop_assert!(parser.next().unwrap().is_none());
        }
    }

    #[test]
    fn the_fast_way_and_the_strict_way_agree(line in "[a{}\"\\\\=, \t#1.e+\n-]{1,24}|a(\\{(b=\"[^\n]{0,6}\",?){0,2}\\})?[ \t]{0,2}-?[0-9.]{1,4}( [0-9.]{1,3})?") {
        for dialect in [lexer::Dialect::Text, lexer::Dialect::OpenMetrics] {
            let body = format!("{line}\n");
            let Some(fast) = fast::sample(body.as_bytes(), 0, dialect) else { continue };
            let mut lexer = lexer::Lexer::new(body.as_bytes(), dialect, 0);
            let mut strict = line::Line::default();
            if let Ok(Some(line::Entry::Series)) = strict.read(&mut lexer) {
                prop_assert_eq!(fast.series.clone(), strict.series.clone());
                prop_assert_eq!(fast.value.to_bits(), strict.value.to_bits());
                prop_assert_eq!((fast.ts, fast.end), (strict.ts, lexer.pos));
            } else {
                // What only the fast way takes has to fail as soon as its labels are wanted.
                let format = if dialect == lexer::Dialect::Text { Format::Text } else { Format::OpenMetrics };
                let last = entries(body.as_bytes(), format).pop().unwrap();
                prop_assert!(last.starts_with("line "), "{}", last);
            }
        }
    }

    #[test]
    fn metadata_is_the_same_on_both_ways(line in "# (HELP|TYPE)[ \t]{1,2}[a1_:]{0,3}[ \t]{0,2}(counter|untyped|info|[ \t\\na\"\u{e9}]{0,5})") {
        for dialect in [lexer::Dialect::Text, lexer::Dialect::OpenMetrics] {
            let body = format!("{line}\n");
            let Some(fast) = fast::metadata(body.as_bytes(), 0) else { continue };
            let mut lexer = lexer::Lexer::new(body.as_bytes(), dialect, 0);
            let mut strict = line::Line::default();
            match strict.read(&mut lexer) {
                Ok(Some(entry)) => {
                    prop_assert_eq!(fast.is_help, entry == line::Entry::Help);
                    prop_assert_eq!(fast.family, &body[strict.family.clone()]);
                    prop_assert_eq!(fast.text, &body[strict.text.clone()]);
                    prop_assert_eq!(fast.end, lexer.pos);
                }
                // Only the dialect knows which types there are.
                _ => prop_assert!(!fast.is_help && line::metric_type(fast.text, dialect).is_none()),
            }
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic_or_hang(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            entries(&body, format);
        }
    }

    #[test]
    fn no_almost_good_text_makes_a_parser_panic_or_hang(body in "(# (HELP|TYPE|UNIT|EOF) ?|a|b|\\{|\\}|\"|\\\\|=|,| |\n|1|\\.|e|#|\0|\u{e9}){0,60}") {
        for format in [Format::Text, Format::OpenMetrics] {
            entries(body.as_bytes(), format);
        }
    }
}
