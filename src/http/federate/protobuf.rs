//! The answer as delimited `io.prometheus.client.MetricFamily` messages, the one format that has native histograms.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{HeaderMap, header};
use pharos_model::histogram::Span;
use pharos_model::labels::METRIC_NAME;
use pharos_model::{CounterResetHint, FloatHistogram, LabelSet};

use super::{Names, Newest, NewestValue, merged_labels};

/// Numbers of `io.prometheus.client.MetricType`.
const UNTYPED: u64 = 3;
const HISTOGRAM: u64 = 4;
const GAUGE_HISTOGRAM: u64 = 5;

pub(super) fn content_type(names: Names) -> &'static str {
    match names {
        Names::Utf8 => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8"
        }
        Names::Underscores => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
        }
    }
}

/// Whether a scraper wants this format more than any other.
pub(super) fn is_preferred(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let quality = |media: &str| {
        let given = media.split(';').find_map(|parameter| parameter.trim().strip_prefix("q=")?.parse::<f64>().ok());
        given.unwrap_or(1.0)
    };
    let media: Vec<&str> = accepted.flat_map(|value| value.split(',')).map(str::trim).collect();
    let best = media.iter().map(|media| quality(media)).fold(0.0, f64::max);
    media.iter().any(|media| media.starts_with("application/vnd.google.protobuf") && quality(media) >= best)
}

pub(super) fn exposition(found: BTreeMap<LabelSet, Newest>, external: &LabelSet, names: Names) -> Vec<u8> {
    let mut families: BTreeMap<(Cow<'_, str>, u64), Vec<u8>> = BTreeMap::new();
    for (labels, newest) in &found {
        let Some(name) = labels.metric_name().map(|name| names.written(name)) else { continue };
        let family = families.entry((name, metric_type(newest))).or_default();
        field(family, 4, &metric(labels, newest, external, names));
    }
    let mut out = Vec::new();
    for ((name, metric_type), metrics) in families {
        let mut family = Vec::new();
        field(&mut family, 1, name.as_bytes());
        integer(&mut family, 3, metric_type);
        family.extend_from_slice(&metrics);
        varint(&mut out, family.len() as u64);
        out.extend_from_slice(&family);
    }
    out
}

fn metric_type(newest: &Newest) -> u64 {
    match &newest.value {
        NewestValue::Float(_) => UNTYPED,
        NewestValue::Histogram(histogram) if histogram.counter_reset_hint == CounterResetHint::Gauge => GAUGE_HISTOGRAM,
        NewestValue::Histogram(_) => HISTOGRAM,
    }
}

fn metric(labels: &LabelSet, newest: &Newest, external: &LabelSet, names: Names) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in merged_labels(labels, external).into_iter().filter(|(name, _)| *name != METRIC_NAME) {
        let mut pair = Vec::new();
        field(&mut pair, 1, names.written(name).as_bytes());
        field(&mut pair, 2, value.as_bytes());
        field(&mut out, 1, &pair);
    }
    let mut value = Vec::new();
    match &newest.value {
        NewestValue::Float(float) => {
            double(&mut value, 1, *float);
            field(&mut out, 5, &value);
        }
        NewestValue::Histogram(histogram) => {
            put_histogram(&mut value, histogram);
            field(&mut out, 7, &value);
        }
    }
    integer(&mut out, 6, newest.ts as u64);
    out
}

/// The message has no bounds of custom buckets, so those go as classic ones.
fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    double(out, 2, histogram.sum);
    double(out, 4, histogram.count);
    if histogram.uses_custom_buckets() {
        return put_classic_buckets(out, histogram);
    }
    integer(out, 5, zigzag(histogram.schema));
    double(out, 6, histogram.zero_threshold);
    double(out, 8, histogram.zero_count);
    put_side(out, (9, &histogram.negative_spans), (11, &histogram.negative_buckets));
    put_side(out, (12, &histogram.positive_spans), (14, &histogram.positive_buckets));
    if histogram.zero_threshold == 0.0 && histogram.positive_spans.is_empty() && histogram.negative_spans.is_empty() {
        // Without any part of a native histogram it would be read as a classic one.
        put_side(out, (12, &[Span { offset: 0, length: 0 }]), (14, &[]));
    }
}

fn put_side(out: &mut Vec<u8>, (spans_field, spans): (u32, &[Span]), (counts_field, counts): (u32, &[f64])) {
    for span in spans {
        let mut message = Vec::new();
        integer(&mut message, 1, zigzag(span.offset));
        integer(&mut message, 2, u64::from(span.length));
        field(out, spans_field, &message);
    }
    let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    if !counts.is_empty() {
        field(out, counts_field, &counts);
    }
}

fn put_classic_buckets(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    let mut buckets = histogram.buckets().peekable();
    let mut count = 0.0;
    for bound in histogram.custom_values.iter().copied().chain([f64::INFINITY]) {
        while let Some(bucket) = buckets.next_if(|bucket| bucket.upper <= bound) {
            count += bucket.count;
        }
        let mut message = Vec::new();
        double(&mut message, 2, bound);
        double(&mut message, 4, count);
        field(out, 3, &message);
    }
}

fn field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number << 3 | 2));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number << 3));
    varint(out, value);
}

fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    varint(out, u64::from(number << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)) as u32)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;
    use pharos_ingest::exposition::{Event, Format, HistogramForms, Parser};
    use pharos_ingest::label_limits::LabelLimits;
    use pharos_model::histogram::CUSTOM_BUCKETS_SCHEMA;

    use super::*;

    #[test]
    fn it_is_told_only_to_scrapers_that_want_it_most() {
        for (accept, expected) in [
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.6,text/plain;q=0.5", true),
            ("application/openmetrics-text;q=0.6,application/vnd.google.protobuf;q=0.5", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(is_preferred(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn our_own_scraper_reads_what_was_written() {
        let spans = |length| vec![Span { offset: -2, length }];
        let native = FloatHistogram {
            schema: 1,
            zero_threshold: 0.5,
            zero_count: 1.0,
            count: 6.5,
            sum: 3.0,
            positive_spans: spans(2),
            positive_buckets: vec![2.0, 3.5],
            ..FloatHistogram::default()
        };
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            custom_values: vec![1.0],
            ..FloatHistogram::default()
        };
        let empty = FloatHistogram::default();
        let series =
            |name, value| (LabelSet::from_pairs([("__name__", name), ("instance", "i")]), Newest { ts: 7, value });
        let histogram = |histogram: &FloatHistogram| NewestValue::Histogram(Arc::new(histogram.clone()));
        let found = BTreeMap::from([
            series("a", NewestValue::Float(1.5)),
            series("b", histogram(&native)),
            series("c", histogram(&empty)),
            series("d", histogram(&custom)),
        ]);
        let body = exposition(found, &LabelSet::from_pairs([("zone", "z")]), Names::Utf8);
        let forms = HistogramForms { native: true, classic_as_native: true, always_classic: false };
        let mut parser = Parser::with_histograms(&body, Format::Protobuf, forms);
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        while let Some(event) = parser.next().unwrap() {
            match event {
                Event::Sample(sample) => floats.push((sample.value, sample.ts)),
                Event::Histogram(told) => {
                    let labels = told.sample.labels(&LabelLimits::CEILING).unwrap().build();
                    assert_eq!((labels.get("zone"), told.sample.ts), (Some("z"), Some(7)));
                    histograms.push(told.histogram);
                }
                _ => {}
            }
        }
        assert_eq!(floats, [(1.5, Some(7))]);
        let data_of = |histogram: &FloatHistogram| (histogram.to_string(), histogram.schema);
        assert_eq!(
            histograms.iter().map(data_of).collect::<Vec<_>>(),
            [native, empty, custom].iter().map(data_of).collect::<Vec<_>>()
        );
    }
}
