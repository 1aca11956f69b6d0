//! `_created` lines as start timestamps. The cases are those of Prometheus' own tests.

use super::*;

/// The samples of a body as name, labels and start, those without labels and start by their names alone.
fn starts(body: &str) -> Vec<String> {
    let body = format!("{body}# EOF\n");
    let read = entries_of(Parser::new(body.as_bytes(), Format::OpenMetrics).reading_starts());
    let samples = read.into_iter().filter(|entry| entry.starts_with('{') || entry.contains("line "));
    let short = |entry: String| {
        let entry = entry.split(" # ").next().unwrap();
        let (labels, rest) = entry.rsplit_once('}').unwrap();
        let labels = labels.replace("__name__=", "");
        let start = rest.split_once("start @").map_or("-", |(_, start)| start.split(' ').next().unwrap());
        format!("{labels}}} {start}")
    };
    samples.map(short).collect()
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(starts(body), expected);
}

#[test]
fn a_counter_began_when_the_line_behind_it_says() {
    check(
        "# TYPE foo counter\n\
         foo_total 17.0 1520879607.789 # {id=\"counter-test\"} 5\nfoo_created 1520872607.123\n\
         foo_total{a=\"b\"} 17.0\nfoo_created{a=\"b\"} 1520872607.124\n\
         foo_total{le=\"c\"} 21.0\nfoo_created{le=\"c\"} 1520872621.123\nfoo_total{le=\"1\"} 10.0\n",
        &[
            r#"{"foo_total"} 1520872607123"#,
            r#"{"foo_total", a="b"} 1520872607124"#,
            r#"{"foo_total", le="c"} 1520872621123"#,
            r#"{"foo_total", le="1"} -"#,
        ],
    );
}

#[test]
fn all_series_of_a_summary_or_histogram_began_together_wherever_the_line_is() {
    check(
        "# TYPE bar summary\nbar_count 17\nbar_sum 3\nbar{quantile=\"0.9\"} 1\nbar_created 1520872608.124\n\
         # TYPE baz histogram\nbaz_count 18\nbaz_created 1520430001\nbaz_bucket{le=\"1\"} 1\nbaz_bucket{le=\"+Inf\"} 18\n",
        &[
            r#"{"bar_count"} 1520872608124"#,
            r#"{"bar_sum"} 1520872608124"#,
            r#"{"bar", quantile="0.9"} 1520872608124"#,
            r#"{"baz_count"} 1520430001000"#,
            r#"{"baz_bucket", le="1.0"} 1520430001000"#,
            r#"{"baz_bucket", le="+Inf"} 1520430001000"#,
        ],
    );
}

#[test]
fn each_metric_of_a_family_has_its_own_start() {
    check(
        "# TYPE h histogram\nh_bucket{a=\"x\",le=\"+Inf\"} 1\nh_count{a=\"x\"} 1\nh_created{a=\"x\"} 1\n\
         h_bucket{a=\"y\",le=\"+Inf\"} 1\nh_count{a=\"y\"} 1\nh_created{a=\"y\"} 2\nh_count{a=\"z\"} 1\n",
        &[
            r#"{"h_bucket", a="x", le="+Inf"} 1000"#,
            r#"{"h_count", a="x"} 1000"#,
            r#"{"h_bucket", a="y", le="+Inf"} 2000"#,
            r#"{"h_count", a="y"} 2000"#,
            r#"{"h_count", a="z"} -"#,
        ],
    );
}

/// So it is in Prometheus: only what follows a series is looked at.
#[test]
fn a_line_before_its_series_says_nothing_and_is_no_sample() {
    check("# TYPE a counter\na_created 5\na_total 1\n", &[r#"{"a_total"} -"#]);
}

#[test]
fn a_gauge_may_be_called_created() {
    check("# TYPE fizz_created gauge\nfizz_created 17\n", &[r#"{"fizz_created"} -"#]);
    check("a_total 1\na_created 5\n", &[r#"{"a_total"} -"#, r#"{"a_created"} -"#]);
}

#[test]
fn names_in_quotes_have_starts_too() {
    check(
        "# TYPE \"go.gc\" summary\n{\"go.gc\",quantile=\"0\"} 4\n{\"go.gc\",quantile=\"0.25\"} 7\n\
         {\"go.gc_created\"} 1520872607.123\n{\"go.gc\",quantile=\"0.5\",a=\"b\"} 8\n",
        &[
            r#"{"go.gc", quantile="0.0"} 1520872607123"#,
            r#"{"go.gc", quantile="0.25"} 1520872607123"#,
            r#"{"go.gc", a="b", quantile="0.5"} -"#,
        ],
    );
}

#[test]
fn a_gathered_histogram_began_with_its_series() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_created 7\n# EOF\n";
    let forms = HistogramForms { classic_as_native: true, ..HistogramForms::default() };
    let parser = Parser::with_histograms(body.as_bytes(), Format::OpenMetrics, forms).reading_starts();
    let last = entries_of(parser).pop().unwrap();
    assert!(last.starts_with("{__name__=\"h\"}") && last.ends_with(" start @7000"), "{last}");
}

#[test]
fn a_created_line_that_does_not_read_fails_the_body() {
    let body = b"# TYPE a counter\na_total 1\na_created x\n# EOF\n";
    let read = entries_of(Parser::new(body, Format::OpenMetrics).reading_starts());
    assert!(read[2].starts_with("line 3: "), "{read:?}");
}
