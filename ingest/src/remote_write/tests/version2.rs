//! Requests of version 2.0: what they say and version 1.0 cannot, and what they say in another way.

use super::*;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes = "vec", repeated, tag = "4")]
    symbols: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

#[derive(Clone, PartialEq, Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample2>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram2>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample2 {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

/// With so many observations of zero.
#[derive(Clone, PartialEq, Message)]
struct Histogram2 {
    #[prost(uint64, tag = "1")]
    count_int: u64,
    #[prost(uint64, tag = "6")]
    zero_count_int: u64,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(int64, tag = "17")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata2 {
    #[prost(uint32, tag = "1")]
    r#type: u32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

const SYMBOLS: [&str; 9] = ["", "__name__", "a_seconds_total", "x", "1", "some help", "seconds", "__type__", "mine"];
const HEADERS: RequestHeaders<'_> = RequestHeaders {
    content_type: Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    content_encoding: Some("snappy"),
};

fn sample(timestamp: i64, value: f64, start_timestamp: i64) -> Sample2 {
    Sample2 { value, timestamp, start_timestamp }
}

fn named(labels_refs: &[u32], samples: Vec<Sample2>) -> Series2 {
    Series2 { labels_refs: labels_refs.to_vec(), samples, ..Series2::default() }
}

fn compressed(timeseries: Vec<Series2>) -> Vec<u8> {
    let symbols = SYMBOLS.map(|symbol| symbol.as_bytes().to_vec()).to_vec();
    snap::raw::Encoder::new().compress_vec(&Request { symbols, timeseries }.encode_to_vec()).unwrap()
}

impl Bench {
    async fn send2(&self, timeseries: Vec<Series2>) -> Result<WriteSummary, WriteError> {
        self.send_with(HEADERS, "t", compressed(timeseries)).await
    }
}

#[tokio::test]
async fn samples_bring_their_starts_by_label_and_by_handle() {
    let bench = Bench::new();
    for ts in [10, 20] {
        // In another order than that of time, and one without a start.
        let samples = vec![sample(ts + 2, 3.0, 0), sample(ts + 1, 2.0, 5), sample(ts, 1.0, 4)];
        let summary = bench.send2(vec![named(&[1, 2, 3, 4], samples)]).await.unwrap();
        assert_eq!(summary, WriteSummary { samples: 3, ..WriteSummary::default() });
    }
    assert_eq!(bench.appends(), [(0, 3), (3, 0)]);
    let mut expected = Vec::new();
    for (value, since) in [(3.0, ""), (1.0, " since 4"), (2.0, " since 5")] {
        let offset = value as i64 - 1;
        for ts in [10, 20] {
            let series = format!("t {{__name__=\"a_seconds_total\", x=\"1\"}}{since}");
            expected.push(format!("{series} {value} @{}", ts + offset));
        }
    }
    assert_eq!(bench.stored(), expected);
}

#[tokio::test]
async fn both_versions_know_a_series_by_the_same_bytes() {
    let bench = Bench::new();
    let body = request(vec![series(&[("__name__", "a_seconds_total"), ("x", "1")], &[(10, 1.0)])]);
    bench.send_as("t", &body).await.unwrap();
    bench.send2(vec![named(&[1, 2, 3, 4], vec![sample(20, 2.0, 0)])]).await.unwrap();
    assert_eq!(bench.appends(), [(0, 1), (1, 0)]);
}

#[tokio::test]
async fn histograms_bring_their_starts_and_are_counted_apart() {
    let bench = Bench::new();
    let histogram = Histogram2 { count_int: 3, zero_count_int: 3, timestamp: 10, start_timestamp: 7 };
    let series = Series2 { histograms: vec![histogram], ..named(&[1, 2], vec![sample(11, 1.0, 0)]) };
    let summary = bench.send2(vec![series]).await.unwrap();
    assert_eq!(summary, WriteSummary { samples: 2, histograms: 1, ..WriteSummary::default() });
    let stored = bench.stored();
    assert!(stored.iter().any(|line| line.contains(" since 7") && line.contains("count:3")), "{stored:?}");
}

#[tokio::test]
async fn exemplars_and_metadata_name_symbols() {
    let bench = Bench::new();
    let exemplar = Exemplar2 { labels_refs: vec![3, 4], value: 0.5, timestamp: 9 };
    let metadata = Some(Metadata2 { r#type: 1, help_ref: 5, unit_ref: 6 });
    let series = Series2 { exemplars: vec![exemplar], metadata, ..named(&[1, 2], vec![sample(10, 1.0, 0)]) };
    assert_eq!(bench.send2(vec![series]).await.unwrap().exemplars, 1);
    assert_eq!(bench.store.0.lock().exemplars, [r#"{__name__="a_seconds_total"} {x="1"} 0.5 @9"#]);
    let told = bench.receiver.metadata().get(&TenantId::new("t").unwrap(), "a_seconds_total").unwrap();
    assert_eq!((told.metric_type, &*told.help, &*told.unit), (MetricType::Counter, "some help", "seconds"));
}

#[tokio::test]
async fn a_series_that_cannot_be_read_is_refused_in_prometheus_words_and_the_others_are_stored() {
    let bench = Bench::new();
    let one = |labels: &[u32]| named(labels, vec![sample(10, 1.0, 0)]);
    let told = |help_ref, unit_ref| Some(Metadata2 { help_ref, unit_ref, ..Metadata2::default() });
    let lost = || Exemplar2 { labels_refs: vec![3, 99], value: 0.5, timestamp: 9 };
    let cases = [
        (
            one(&[1, 99]),
            1,
            "parsing labels for series [1 99]: labelRefs 1 (name) = 99 (value) outside of symbols table (size 9)",
        ),
        (one(&[1, 2, 3]), 1, "parsing labels for series [1 2 3]: invalid labelRefs length 3"),
        (
            Series2 { metadata: told(0, 99), ..one(&[1, 2]) },
            1,
            "parsing metadata for series [1 2]: unitRef 99 outside of symbols table (size 9)",
        ),
        (
            Series2 { metadata: told(9, 0), ..one(&[1, 2]) },
            1,
            "parsing metadata for series [1 2]: helpRef 9 outside of symbols table (size 9)",
        ),
        (
            Series2 { exemplars: vec![lost()], ..named(&[1, 2, 3, 4], vec![]) },
            0,
            r#"TimeSeries must contain at least one sample or histogram for series {__name__="a_seconds_total", x="1"}"#,
        ),
    ];
    for (bad, expected, text) in cases {
        let error = bench.send2(vec![bad, one(&[1, 2])]).await.unwrap_err();
        let WriteError::Refused { first, refused, samples, stored } = error else { panic!("{error}") };
        assert_eq!((first.as_str(), refused, samples, stored.samples), (text, expected, expected + 1, 1));
    }
    assert_eq!(bench.stored(), [r#"t {__name__="a_seconds_total"} 1 @10"#]);
}

#[tokio::test]
async fn an_exemplar_that_cannot_be_read_is_refused_without_its_sample() {
    let bench = Bench::new();
    let exemplar = |labels: &[u32]| Exemplar2 { labels_refs: labels.to_vec(), value: 0.5, timestamp: 9 };
    let exemplars = vec![exemplar(&[3, 99]), exemplar(&[3, 4])];
    let series = Series2 { exemplars, ..named(&[1, 2], vec![sample(10, 1.0, 0)]) };
    let error = bench.send2(vec![series]).await.unwrap_err();
    let WriteError::Refused { first, refused: 0, samples: 1, stored } = error else { panic!("{error}") };
    let reason = "labelRefs 3 (name) = 99 (value) outside of symbols table (size 9)";
    assert_eq!(first, format!(r#"parsing exemplar for series {{__name__="a_seconds_total"}}: {reason}"#));
    assert_eq!((stored.samples, stored.exemplars), (1, 1));
}

#[tokio::test]
async fn type_and_unit_are_labels_where_they_are_wanted() {
    let metadata = |r#type, unit_ref| Some(Metadata2 { r#type, help_ref: 5, unit_ref });
    let series = || {
        let labelled = || named(&[1, 2, 7, 8], vec![sample(10, 1.0, 0)]);
        vec![Series2 { metadata: metadata(1, 6), ..labelled() }, Series2 { metadata: metadata(0, 0), ..labelled() }]
    };
    let with = Bench::with(|config| config.metadata_labels = true);
    with.send2(series()).await.unwrap();
    assert_eq!(
        with.stored(),
        [
            r#"t {__name__="a_seconds_total", __type__="counter", __unit__="seconds"} 1 @10"#,
            r#"t {__name__="a_seconds_total", __type__="mine"} 1 @10"#,
        ]
    );
    let without = Bench::new();
    without.send2(series()).await.unwrap();
    assert_eq!(without.stored(), [r#"t {__name__="a_seconds_total", __type__="mine"} 1 @10"#]);
}

#[tokio::test]
async fn a_request_may_not_grow_beyond_its_limit() {
    let bench = Bench::with(|config| config.limits.body.decompressed_bytes_max = 5_000);
    let refs: Vec<u32> = std::iter::repeat_n([1, 5], 400).flatten().collect();
    let error = bench.send2(vec![named(&refs, vec![sample(10, 1.0, 0)])]).await.unwrap_err();
    assert!(matches!(error, WriteError::TooMany { .. }), "{error}");
}
