//! The protobuf parser against messages that prost wrote.

use prost::Message;

use super::{LIMITS, entries, entries_with, error};
use crate::exposition::{Event, Format, HistogramForms, Parser};

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
    #[prost(message, optional, tag = "3")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    quantile: f64,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "4")]
    cumulative_count_float: f64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "4")]
    sample_count_float: f64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<BucketSpan>,
    #[prost(double, repeated, tag = "11")]
    negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
    #[prost(int64, tag = "6")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    help: Vec<u8>,
    #[prost(int32, tag = "3")]
    r#type: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

fn pair(name: &str, value: &str) -> LabelPair {
    LabelPair { name: name.into(), value: value.into() }
}

fn family(name: &str, number: i32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily { name: name.into(), r#type: number, metric, ..MetricFamily::default() }
}

fn gauge(value: f64, label: Vec<LabelPair>) -> Metric {
    Metric { gauge: Some(Gauge { value }), label, ..Metric::default() }
}

fn body(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn histogram() -> Histogram {
    let bucket = |upper_bound, cumulative_count| Bucket { upper_bound, cumulative_count, ..Bucket::default() };
    Histogram { sample_count: 7, sample_sum: 3.5, bucket: vec![bucket(0.5, 2), bucket(1.0, 5)], ..Histogram::default() }
}

fn histogram_entries(histogram: Histogram) -> Vec<String> {
    histogram_entries_with(histogram, 4, HistogramForms::default())
}

fn histogram_entries_with(histogram: Histogram, number: i32, forms: HistogramForms) -> Vec<String> {
    let metric = Metric { histogram: Some(histogram), label: vec![pair("a", "b")], ..Metric::default() };
    entries_with(&body(&[family("h", number, vec![metric])]), Format::Protobuf, forms).split_off(2)
}

#[test]
fn simple_metrics_are_one_sample_each() {
    let mut seconds = family("t_seconds_total", 0, vec![]);
    seconds.unit = "seconds".into();
    seconds.help = b"Time".to_vec();
    let exemplar = Exemplar {
        label: vec![pair("trace", "1")],
        value: 2.0,
        timestamp: Some(Timestamp { seconds: 3, nanos: 4_000_000 }),
    };
    let counter = Counter {
        value: 5.0,
        exemplar: Some(exemplar),
        created_timestamp: Some(Timestamp { seconds: 1, nanos: 999_999_999 }),
    };
    seconds.metric = vec![Metric { counter: Some(counter), timestamp_ms: -12, ..Metric::default() }];
    let two = family("t", 1, vec![gauge(1.0, vec![pair("b", "2"), pair("a", "1")]), gauge(f64::NAN, vec![])]);
    let empty = family("nothing", 1, vec![]);
    assert_eq!(
        entries(&body(&[seconds, empty, two]), Format::Protobuf),
        [
            "HELP t_seconds_total Time",
            "UNIT t_seconds_total seconds",
            "TYPE t_seconds_total counter",
            r#"{__name__="t_seconds_total"} 5 @-12 start @1999 # {trace="1"} 2 @3004"#,
            "HELP t ",
            "TYPE t gauge",
            r#"{__name__="t", a="1", b="2"} 1"#,
            r#"{__name__="t"} NaN"#,
        ]
    );
}

#[test]
fn a_summary_has_count_sum_and_quantiles() {
    let summary = Summary {
        sample_count: 3,
        sample_sum: 6.5,
        quantile: vec![Quantile { quantile: 0.5, value: 1.0 }, Quantile { quantile: 1.0, value: 4.0 }],
    };
    let metric = Metric { summary: Some(summary), ..Metric::default() };
    assert_eq!(
        entries(&body(&[family("s", 2, vec![metric])]), Format::Protobuf),
        [
            "HELP s ",
            "TYPE s summary",
            r#"{__name__="s_count"} 3"#,
            r#"{__name__="s_sum"} 6.5"#,
            r#"{__name__="s", quantile="0.5"} 1"#,
            r#"{__name__="s", quantile="1.0"} 4"#,
        ]
    );
}

#[test]
fn a_classic_histogram_ends_with_the_infinite_bucket() {
    let classic = [
        r#"{__name__="h_count", a="b"} 7"#,
        r#"{__name__="h_sum", a="b"} 3.5"#,
        r#"{__name__="h_bucket", a="b", le="0.5"} 2"#,
        r#"{__name__="h_bucket", a="b", le="1.0"} 5"#,
        r#"{__name__="h_bucket", a="b", le="+Inf"} 7"#,
    ];
    assert_eq!(histogram_entries(histogram()), classic);
    let mut explicit = histogram();
    explicit.bucket.push(Bucket { upper_bound: f64::INFINITY, cumulative_count: 7, ..Bucket::default() });
    assert_eq!(histogram_entries(explicit), classic);
    let mut float = histogram();
    (float.sample_count, float.sample_count_float) = (0, 7.5);
    float.bucket[0].cumulative_count_float = 2.5;
    assert_eq!(
        histogram_entries(float)[0..3],
        [
            r#"{__name__="h_count", a="b"} 7.5"#,
            r#"{__name__="h_sum", a="b"} 3.5"#,
            r#"{__name__="h_bucket", a="b", le="0.5"} 2.5"#,
        ]
    );
}

#[test]
fn native_buckets_are_passed_over_and_counted_when_alone() {
    let mut both = histogram();
    both.positive_span = vec![BucketSpan { offset: -3, length: 2 }];
    both.positive_delta = vec![1, -1];
    let mut native = both.clone();
    native.bucket.clear();
    assert_eq!(histogram_entries(both.clone()), histogram_entries(histogram()));
    assert_eq!(
        histogram_entries(native.clone()),
        [
            r#"{__name__="h_count", a="b"} 7"#,
            r#"{__name__="h_sum", a="b"} 3.5"#,
            r#"{__name__="h_bucket", a="b", le="+Inf"} 7"#,
        ]
    );
    let metrics = [both, native, histogram()].map(|h| Metric { histogram: Some(h), ..Metric::default() });
    let bytes = body(&[family("h", 4, metrics.to_vec())]);
    let mut parser = Parser::new(&bytes, Format::Protobuf);
    while parser.next().unwrap().is_some() {}
    assert_eq!(parser.native_only_histograms(), 1);
}

/// Two classic buckets, and two native ones.
fn both_kinds() -> Histogram {
    let exemplar = |value, timestamp| Some(Exemplar { label: vec![pair("id", "x")], value, timestamp });
    let mut both = histogram();
    both.schema = 1;
    both.zero_threshold = 0.25;
    both.zero_count = 1;
    both.positive_span = vec![BucketSpan { offset: 0, length: 2 }];
    both.positive_delta = vec![2, 2];
    both.bucket[0].exemplar = exemplar(0.3, Some(Timestamp { seconds: 1, nanos: 0 }));
    both.bucket[1].exemplar = exemplar(0.7, None);
    both
}

#[test]
fn native_histograms_come_in_place_of_classic_ones_or_beside_them() {
    let native = HistogramForms { native: true, ..HistogramForms::default() };
    let text = r#"{__name__="h", a="b"} Unknown {count:7, sum:3.5, [-0.25,0.25]:1, (0.7071067811865476,1]:2, (1,1.4142135623730951]:4}"#;
    let with_exemplar = format!(r##"{text} # {{id="x"}} 0.3"##);
    assert_eq!(histogram_entries_with(both_kinds(), 4, native), std::slice::from_ref(&with_exemplar));
    let beside = histogram_entries_with(both_kinds(), 4, HistogramForms { always_classic: true, ..native });
    let classic = histogram_entries_with(both_kinds(), 4, HistogramForms::default());
    assert_eq!((beside[0].as_str(), &beside[1..]), (with_exemplar.as_str(), &classic[..]));
    // Without native buckets, and in a gauge histogram.
    assert_eq!(histogram_entries_with(histogram(), 4, native), histogram_entries(histogram()));
    let gauge = histogram_entries_with(both_kinds(), 5, native);
    assert_eq!(gauge, [with_exemplar.replace("Unknown", "Gauge")]);
    // Its own exemplars come before those of the buckets.
    let own = Exemplar { value: 9.0, timestamp: Some(Timestamp::default()), ..Exemplar::default() };
    let own = Histogram { exemplars: vec![own], ..both_kinds() };
    assert_eq!(histogram_entries_with(own, 4, native), [format!("{text} # {{}} 9")]);
}

#[test]
fn native_histograms_with_float_counts_are_read_and_bad_ones_refused() {
    let native = HistogramForms { native: true, ..HistogramForms::default() };
    let float = Histogram {
        sample_count_float: 1.5,
        negative_span: vec![BucketSpan { offset: 1, length: 1 }],
        negative_count: vec![1.5],
        ..Histogram::default()
    };
    let text = r#"{__name__="h", a="b"} Unknown {count:1.5, sum:0, [-2,-1):1.5}"#;
    assert_eq!(histogram_entries_with(float, 4, native), [text]);
    let mut bad = both_kinds();
    bad.positive_delta.push(1);
    let refused = histogram_entries_with(bad, 4, native);
    assert!(refused[0].ends_with("positive side: spans need 2 buckets, have 3"), "{refused:?}");
    let bad = Histogram { sample_count: 8, ..both_kinds() };
    let refused = histogram_entries_with(bad, 4, native);
    assert!(refused[0].ends_with("7 observations in buckets, but the count is 8"), "{refused:?}");
    let ended = Histogram { sample_sum: pharos_model::sample::stale_nan(), ..both_kinds() };
    assert_eq!(histogram_entries_with(ended, 4, native), [r#"{__name__="h", a="b"} NaN"#]);
}

#[test]
fn every_sample_has_series_bytes_of_its_own() {
    let metric =
        |value: &str| Metric { histogram: Some(histogram()), label: vec![pair("a", value)], ..Metric::default() };
    let bytes = body(&[family("h", 4, vec![metric("1"), metric("2")]), family("h_sum", 1, vec![gauge(1.0, vec![])])]);
    let mut parser = Parser::new(&bytes, Format::Protobuf);
    let (mut keys, mut labels) = (Vec::new(), Vec::new());
    while let Some(event) = parser.next().unwrap() {
        if let Event::Sample(sample) = event {
            keys.push(sample.series.to_vec());
            labels.push(sample.labels(&LIMITS).unwrap().build());
        }
    }
    assert_eq!(keys.len(), 11);
    for list in [
        keys.iter().collect::<std::collections::BTreeSet<_>>().len(),
        labels.iter().collect::<std::collections::BTreeSet<_>>().len(),
    ] {
        assert_eq!(list, 11);
    }
}

#[test]
fn a_cut_body_is_an_error_at_every_byte() {
    let metric = Metric { histogram: Some(histogram()), label: vec![pair("a", "b")], ..Metric::default() };
    let whole = body(&[family("h", 4, vec![metric])]);
    for end in 1..whole.len() {
        let text = error(&whole[..end], Format::Protobuf);
        assert!(text.starts_with("protobuf: "), "{end}: {text}");
    }
}

#[test]
fn bad_families_are_refused_by_name() {
    let one = || vec![gauge(1.0, vec![])];
    let with = |change: &dyn Fn(&mut MetricFamily)| {
        let mut family = family("m", 1, one());
        change(&mut family);
        error(&body(&[family]), Format::Protobuf)
    };
    assert_eq!(with(&|f| f.name = vec![]), "invalid metric name: ");
    assert_eq!(with(&|f| f.name = vec![b'a', 0xff]), "invalid metric name: a\u{fffd}");
    assert_eq!(with(&|f| f.help = vec![0xff]), "invalid help for metric \"m\": \u{fffd}");
    assert_eq!(with(&|f| f.r#type = 9), r#"unknown metric type for metric "m": 9"#);
    assert_eq!(with(&|f| f.unit = "s".into()), r#"unit "s" not a suffix of metric "m""#);
    assert_eq!(with(&|f| f.metric[0].label = vec![pair("", "x")]), "invalid label name: ");
    assert_eq!(
        with(&|f| f.metric[0].label = vec![LabelPair { name: b"a".to_vec(), value: vec![0xff] }]),
        "invalid label value: \u{fffd}"
    );
    assert_eq!(
        with(&|f| f.metric[0].label = vec![pair("a", "1"), pair("a", "2")]),
        r#"label name "a" is not unique: invalid sample"#
    );
    assert_eq!(
        with(&|f| f.metric[0].label = vec![pair("a", ""); 600]),
        "label_limit exceeded (metric: m, number of labels: 600, limit: 512)"
    );
    let counter = MetricFamily { unit: "s".into(), ..family("m_total", 0, one()) };
    assert_eq!(error(&body(&[counter]), Format::Protobuf), r#"unit "s" not a suffix of counter "m_total""#);
}

#[test]
fn a_metric_of_more_points_than_any_honest_one_is_refused() {
    let with = |buckets| {
        let histogram = Histogram { bucket: vec![Bucket::default(); buckets], ..Histogram::default() };
        let metric = Metric { histogram: Some(histogram), ..Metric::default() };
        let body = body(&[family("h", 4, vec![metric])]);
        let mut parser = Parser::new(&body, Format::Protobuf);
        std::iter::from_fn(|| parser.next().map(|event| event.map(drop)).transpose()).last()
    };
    assert!(with(100_000).is_some_and(|last| last.is_ok()));
    let error = with(100_001).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "metric has more than 100000 buckets or quantiles");
}

#[test]
fn type_and_unit_are_labels_where_they_are_wanted() {
    let label = |name: &str, value: &str| LabelPair { name: name.into(), value: value.into() };
    let with_unit = MetricFamily {
        unit: "seconds".into(),
        ..family("t_seconds", 1, vec![gauge(1.0, vec![label("__unit__", "x")])])
    };
    let body = body(&[with_unit, family("g", 1, vec![gauge(3.0, Vec::new())])]);
    let read = super::entries_of(Parser::new(&body, Format::Protobuf).with_metadata_labels());
    let samples: Vec<_> = read.iter().filter(|entry| entry.starts_with('{')).collect();
    assert_eq!(
        samples,
        [r#"{__name__="t_seconds", __type__="gauge", __unit__="seconds"} 1"#, r#"{__name__="g", __type__="gauge"} 3"#,]
    );
}
