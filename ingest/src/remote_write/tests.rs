//! The receiver against a store that remembers, and the walker against prost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::clock::ManualClock;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::sample::stale_nan;
use pharos_model::{Clock, LabelSet, MetricType, TenantId};
use prost::Message;

use super::*;
use crate::sink::{AppendError, AppendOutcome, Place, Refusal, SampleBatch, SeriesHandle, Sink};

mod proto;
mod version2;
mod walker;

use proto::{BucketSpan, Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries, WriteRequest};

/// The time of day of these tests: well after 1970.
const NOW_MS: i64 = 1_700_000_000_000;

/// A store that gives out handles, remembers samples and does what a test tells it to.
#[derive(Debug, Default)]
struct Store(Mutex<StoreState>);

#[derive(Debug, Default)]
struct StoreState {
    series: Vec<LabelSet>,
    samples: BTreeMap<(String, i64), f64>,
    exemplars: Vec<String>,
    /// Samples of each append: known, fresh.
    appends: Vec<(usize, usize)>,
    /// Handles below are stale.
    stale_below: u64,
    /// Samples with this value are refused.
    refuse: Option<(f64, Refusal)>,
    fail: Option<AppendError>,
}

#[async_trait]
impl Sink for Store {
    async fn append(&self, batch: Arc<SampleBatch>) -> Result<AppendOutcome, AppendError> {
        let mut state = self.0.lock();
        if let Some(error) = &state.fail {
            return Err(error.clone());
        }
        state.appends.push((batch.known.len(), batch.fresh.len()));
        let mut outcome = AppendOutcome::default();
        for (at, sample) in batch.known.iter().enumerate() {
            if sample.series.0 < state.stale_below {
                outcome.stale.push(at);
                continue;
            }
            let histogram = text_at(&batch.histograms.known, at) + &start_at(&batch.starts.known, at);
            let series = format!("{} {}{histogram}", batch.tenant, state.series[sample.series.0 as usize]);
            let refused = state.keep(series, sample.ts, sample.value, &mut outcome);
            outcome.refused.extend(refused.map(|refusal| (Place::Known(at), refusal)));
        }
        for (at, fresh) in batch.fresh.iter().enumerate() {
            let (ts, value) = (fresh.sample.ts, fresh.sample.value);
            let histogram = text_at(&batch.histograms.fresh, at) + &start_at(&batch.starts.fresh, at);
            let series = format!("{} {}{histogram}", batch.tenant, fresh.labels);
            let refused = state.keep(series, ts, value, &mut outcome);
            outcome.refused.extend(refused.map(|refusal| (Place::Fresh(at), refusal)));
            state.series.push(fresh.labels.clone());
            outcome.handles.push(refused.is_none().then(|| SeriesHandle(state.series.len() as u64 - 1)));
        }
        let described = batch
            .exemplars
            .iter()
            .map(|e| format!("{} {} {} @{}", e.series, e.exemplar.labels, e.exemplar.value, e.exemplar.ts));
        state.exemplars.extend(described);
        Ok(outcome)
    }
}

/// The histogram at a place, if there is one.
fn text_at(histograms: &[(usize, PackedHistogram)], at: usize) -> String {
    let found = histograms.iter().find(|(place, _)| *place == at);
    found.map(|(_, histogram)| format!(" {:?} {}", histogram.hint, histogram.to_float())).unwrap_or_default()
}

/// The start timestamp at a place, if there is one.
fn start_at(starts: &[(usize, i64)], at: usize) -> String {
    let found = starts.iter().find(|(place, _)| *place == at);
    found.map(|(_, start)| format!(" since {start}")).unwrap_or_default()
}

impl StoreState {
    fn keep(&mut self, series: String, ts: i64, value: f64, outcome: &mut AppendOutcome) -> Option<Refusal> {
        if let Some((_, refusal)) = self.refuse.filter(|(refused, _)| *refused == value) {
            return Some(refusal);
        }
        let before = self.samples.insert((series, ts), value);
        outcome.duplicates += usize::from(before.is_some());
        None
    }
}

/// A receiver, its store and its clock.
struct Bench {
    receiver: Arc<Receiver>,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    registry: prometheus::Registry,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ReceiverConfig)) -> Self {
        let mut config = ReceiverConfig::new(11);
        change(&mut config);
        let (store, clock) = (Arc::new(Store::default()), Arc::new(ManualClock::at(NOW_MS)));
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let metadata = Arc::new(MetadataStore::new(100));
        let receiver = Receiver::new(config, store.clone(), metadata, clock.clone(), metrics);
        Self { receiver, store, clock, registry }
    }

    async fn send_as(&self, tenant: &str, request: &WriteRequest) -> Result<WriteSummary, WriteError> {
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
        self.send_body(tenant, body).await
    }

    async fn send(&self, request: &WriteRequest) -> Result<WriteSummary, WriteError> {
        self.send_as("anonymous", request).await
    }

    async fn send_body(&self, tenant: &str, body: Vec<u8>) -> Result<WriteSummary, WriteError> {
        self.send_with(RequestHeaders::default(), tenant, body).await
    }

    async fn send_with(
        &self,
        headers: RequestHeaders<'_>,
        tenant: &str,
        body: Vec<u8>,
    ) -> Result<WriteSummary, WriteError> {
        let tenant = TenantId::new(tenant).unwrap();
        self.receiver.admit(headers)?.write(&tenant, Bytes::from(body)).await
    }

    /// Everything that is stored, one line for each sample.
    fn stored(&self) -> Vec<String> {
        let state = self.store.0.lock();
        state.samples.iter().map(|((series, ts), value)| format!("{series} {value} @{ts}")).collect()
    }

    /// The lines of `/metrics` that begin so.
    fn counted(&self, name: &str) -> Vec<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    fn appends(&self) -> Vec<(usize, usize)> {
        self.store.0.lock().appends.clone()
    }
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries {
        labels: labels
            .iter()
            .map(|(name, value)| Label { name: name.as_bytes().into(), value: value.as_bytes().into() })
            .collect(),
        samples: samples.iter().map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp }).collect(),
        ..TimeSeries::default()
    }
}

/// So many labels, the metric's name `0` among them.
fn numbered(count: usize) -> Vec<Label> {
    let name = |i: usize| if i == 0 { "__name__".into() } else { i.to_string() };
    (0..count).map(|i| Label { name: name(i).into(), value: i.to_string().into() }).collect()
}

fn request(timeseries: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { timeseries, ..WriteRequest::default() }
}

#[tokio::test]
async fn a_steady_sender_is_known_by_its_bytes() {
    let bench = Bench::new();
    let round = |ts| {
        request(vec![
            series(&[("__name__", "a"), ("x", "1")], &[(ts, 1.0)]),
            series(&[("__name__", "b"), ("x", "1")], &[(ts, 2.0), (ts + 1, 3.0)]),
        ])
    };
    let all = WriteSummary { samples: 3, ..WriteSummary::default() };
    assert_eq!(bench.send(&round(10)).await.unwrap(), all);
    assert_eq!(bench.send(&round(20)).await.unwrap(), all);
    assert_eq!(bench.send(&round(20)).await.unwrap(), WriteSummary { duplicates: 3, ..all });
    assert_eq!(bench.appends(), [(0, 3), (3, 0), (3, 0)]);
    assert_eq!(
        bench.stored(),
        [
            r#"anonymous {__name__="a", x="1"} 1 @10"#,
            r#"anonymous {__name__="a", x="1"} 1 @20"#,
            r#"anonymous {__name__="b", x="1"} 2 @10"#,
            r#"anonymous {__name__="b", x="1"} 3 @11"#,
            r#"anonymous {__name__="b", x="1"} 2 @20"#,
            r#"anonymous {__name__="b", x="1"} 3 @21"#,
        ]
    );
}

#[tokio::test]
async fn tenants_with_the_same_labels_are_kept_apart() {
    let bench = Bench::new();
    let one = request(vec![series(&[("__name__", "a")], &[(1, 1.0)])]);
    bench.send_as("t1", &one).await.unwrap();
    bench.send_as("t2", &one).await.unwrap();
    assert_eq!(bench.appends(), [(0, 1), (0, 1)]);
    assert_eq!(bench.stored(), [r#"t1 {__name__="a"} 1 @1"#, r#"t2 {__name__="a"} 1 @1"#]);
}

#[tokio::test]
async fn samples_of_stale_handles_are_sent_once_more_with_labels() {
    let bench = Bench::new();
    let round = |ts| {
        request(vec![
            series(&[("__name__", "a")], &[(ts, 1.0)]),
            series(&[("__name__", "b")], &[(ts, 2.0), (ts + 1, 3.0)]),
            series(&[("__name__", "c")], &[(ts, 4.0)]),
        ])
    };
    bench.send(&round(10)).await.unwrap();
    bench.store.0.lock().stale_below = 3;
    assert_eq!(bench.send(&round(20)).await.unwrap().samples, 4);
    assert_eq!(bench.send(&round(30)).await.unwrap().samples, 4);
    // `a` has handle 0, both samples of `b` gave it handles 1 and 2 and the last one counts, `c` has handle 3.
    assert_eq!(bench.appends(), [(0, 4), (4, 0), (0, 3), (4, 0)]);
    assert_eq!(bench.stored().len(), 12);
}

#[tokio::test]
async fn good_samples_of_a_request_with_bad_ones_are_kept() {
    let good = || series(&[("__name__", "good")], &[(NOW_MS, 1.0)]);
    let labels = |labels: &[(&str, &str)]| series(labels, &[(NOW_MS, 2.0)]);
    let long = "x".repeat(1 << 20);
    let nameless = format!("{{{}", [r#"""="""#; 100].join(", "));
    let nameless = format!("invalid metric name or labels, got {}...}}", &nameless[..512]);
    let invalid_utf8 =
        TimeSeries { labels: vec![Label { name: b"__name__".into(), value: vec![b'a', 0xff] }], ..labels(&[]) };
    let native = TimeSeries {
        histograms: vec![Histogram { count_int: 1, ..Histogram::default() }],
        ..series(&[("__name__", "h")], &[])
    };
    for (bad, reason) in [
        (labels(&[("a", "b")]), r#"invalid metric name or labels, got {a="b"}"#),
        (labels(&[("__name__", "")]), r#"invalid metric name or labels, got {__name__=""}"#),
        (labels(&[("__name__", "a"), ("", "b")]), r#"invalid metric name or labels, got {""="b", __name__="a"}"#),
        (invalid_utf8, "invalid metric name or labels, got {__name__=\"a\u{fffd}\"}"),
        (
            labels(&[("__name__", "a"), ("b", "1"), ("b", "2")]),
            r#"invalid labels for series, labels {__name__="a", b="1", b="2"}, duplicated label b"#,
        ),
        (
            labels(&[("__name__", "a"), ("b", &long)]),
            r#"label_value_length_limit exceeded (metric: a, label name: b, value: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", length: 1048576, limit: 65536)"#,
        ),
        (
            labels(&[("__name__", "a"), ("b", &long[..60_000]), ("c", &long[..60_000]), ("d", &long[..60_000])]),
            "label set is too long (metric: a, length: 180012, limit: 131072)",
        ),
        (TimeSeries { labels: vec![Label::default(); 1_000_000], ..labels(&[]) }, &nameless),
        (
            TimeSeries { labels: numbered(50_000), ..labels(&[]) },
            "label_limit exceeded (metric: 0, number of labels: 50000, limit: 512)",
        ),
        (native, r#"0 observations in buckets, but the count is 1: series {__name__="h"}"#),
        (
            series(&[("__name__", "late")], &[(NOW_MS + 600_001, 1.0)]),
            r#"out of bounds: series {__name__="late"}, timestamp 1700000600001"#,
        ),
    ] {
        let bench = Bench::new();
        let error = bench.send(&request(vec![good(), bad, good()])).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{reason} (1 of 3 samples refused, the others are stored)"));
        assert_eq!((error.status().as_u16(), error.retry_after()), (400, None));
        assert_eq!(bench.stored(), [r#"anonymous {__name__="good"} 1 @1700000000000"#]);
    }
}

#[tokio::test]
async fn what_the_store_refuses_is_named() {
    let bench = Bench::new();
    let round = |ts| {
        request(vec![
            series(&[("__name__", "a")], &[(ts, 1.0)]),
            series(&[("__name__", "b"), ("x", "y")], &[(ts, 2.0), (ts + 1, 7.0)]),
        ])
    };
    bench.store.0.lock().refuse = Some((7.0, Refusal::TooOld));
    for ts in [10, 20] {
        let error = bench.send(&round(ts)).await.unwrap_err().to_string();
        let named = format!(r#"too old sample: series {{__name__="b", x="y"}}, timestamp {}"#, ts + 1);
        assert_eq!(error, format!("{named} (1 of 3 samples refused, the others are stored)"));
    }
    assert_eq!(bench.appends(), [(0, 3), (3, 0)]);
}

#[tokio::test]
async fn refused_samples_are_counted_by_reason() {
    let bench = Bench::new();
    bench.store.0.lock().refuse = Some((7.0, Refusal::DuplicateTimestamp));
    let nameless = series(&[("a", "b")], &[(1, 1.0), (2, 1.0)]);
    bench.send(&request(vec![nameless, series(&[("__name__", "a")], &[(1, 7.0), (2, 1.0)])])).await.unwrap_err();
    assert_eq!(
        bench.counted("pharos_remote_write_refused_samples_total"),
        [
            r#"pharos_remote_write_refused_samples_total{reason="duplicate_timestamp"} 1"#,
            r#"pharos_remote_write_refused_samples_total{reason="invalid_labels"} 2"#,
        ]
    );
    assert_eq!(
        bench.counted("prometheus_api_remote_write_invalid_labels_samples_total"),
        ["prometheus_api_remote_write_invalid_labels_samples_total 2"]
    );
}

/// Work that grew with the square of the samples would take hours here.
#[tokio::test]
async fn a_series_of_many_samples_is_refused_or_sent_again_in_one_pass() {
    let many = |value: f64| {
        let samples: Vec<_> = (0..50_000).map(|ts| (ts, value)).collect();
        request(vec![series(&[("__name__", "a")], &samples)])
    };
    let bench = Bench::new();
    bench.store.0.lock().refuse = Some((7.0, Refusal::TooOld));
    let late: Vec<_> = (1..=50_000).map(|ms| (NOW_MS + 600_000 + ms, 1.0)).collect();
    for refused in [many(7.0), request(vec![series(&[("__name__", "a")], &late)])] {
        let error = bench.send(&refused).await.unwrap_err().to_string();
        assert!(error.ends_with("(50000 of 50000 samples refused, the others are stored)"), "{error}");
    }
    bench.send(&many(1.0)).await.unwrap();
    bench.store.0.lock().stale_below = u64::MAX;
    assert_eq!(bench.send(&many(2.0)).await.unwrap().samples, 50_000);
    assert_eq!(bench.appends()[1..], [(0, 50_000), (50_000, 0), (0, 50_000)]);
}

#[tokio::test]
async fn a_store_without_room_makes_the_sender_come_again() {
    let wait = Duration::from_millis(1500);
    for (error, status, seconds) in [
        (AppendError::Overloaded { limit: "queue", retry_after: wait }, 429, 2),
        (AppendError::DiskFull { retry_after: wait }, 503, 2),
        (AppendError::Unavailable { reason: "no leader".into(), retry_after: Duration::ZERO }, 503, 1),
        (AppendError::Timeout(wait), 503, 1),
        (AppendError::TooManyTenants { max: 3 }, 429, 1),
    ] {
        let bench = Bench::new();
        bench.store.0.lock().fail = Some(error);
        let error = bench.send(&request(vec![series(&[("__name__", "a")], &[(1, 1.0)])])).await.unwrap_err();
        assert_eq!(error.status().as_u16(), status);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
    }
    let bench = Bench::with(|config| config.requests_in_flight_max = 0);
    let error = bench.send(&request(vec![])).await.unwrap_err();
    assert_eq!(error.to_string(), "too many write requests at once (0)");
    assert_eq!((error.status().as_u16(), error.retry_after()), (429, Some(Duration::from_secs(1))));
}

#[tokio::test]
async fn what_never_fits_the_log_is_not_asked_for_again() {
    let bench = Bench::new();
    bench.store.0.lock().fail = Some(AppendError::TooLarge { reason: "2 MiB".into() });
    let error = bench.send(&request(vec![series(&[("__name__", "a")], &[(1, 1.0)])])).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.retry_after()), (400, None));
}

#[tokio::test]
async fn a_broken_request_stores_nothing() {
    let good = request(vec![series(&[("__name__", "good")], &[(1, 1.0)])]).encode_to_vec();
    let compress = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let whole_label_field = [&good[..], &[0x0a, 4, 0x0a, 2, 0x0a, 9]].concat();
    let small = |config: &mut ReceiverConfig| {
        config.limits.body.decompressed_bytes_max = 1000;
        (config.limits.series_max, config.limits.samples_max, config.limits.exemplars_max) = (2, 3, 1);
    };
    let two_exemplars =
        request(vec![TimeSeries { exemplars: vec![Exemplar::default(); 2], ..series(&[("__name__", "a")], &[]) }]);
    let three = request(vec![series(&[], &[]), series(&[], &[]), series(&[], &[])]);
    let four = request(vec![series(&[("__name__", "a")], &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)])]);
    for (body, text, status) in [
        (b"not snappy".to_vec(), "snappy: ", 400),
        (compress(&good)[..10].to_vec(), "snappy: ", 400),
        (compress(&good[..good.len() - 1]), "protobuf: field 1 ends at byte ", 400),
        (compress(&[&good[..], &[0x0a]].concat()), "protobuf: unexpected end of data at byte ", 400),
        (compress(&[&good[..], &[0x08, 1]].concat()), "protobuf: field 1 has wire type 0, not 2, at byte ", 400),
        (compress(&[0; 1001]), "body size limit exceeded: more than 1000 bytes", 413),
        (compress(&three.encode_to_vec()), "request has more than 2 series, the limit of one request", 413),
        (compress(&four.encode_to_vec()), "request has more than 3 samples, the limit of one request", 413),
        (compress(&two_exemplars.encode_to_vec()), "request has more than 1 exemplars, the limit of one request", 413),
    ] {
        let bench = Bench::with(small);
        let error = bench.send_body("anonymous", body).await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!((error.status().as_u16(), error.retry_after()), (status, None), "{error}");
        assert_eq!(bench.appends(), []);
        let counted = format!("pharos_remote_write_refused_requests_total{{code=\"{status}\"}} 1");
        assert_eq!(bench.counted("pharos_remote_write_refused_requests_total"), [counted]);
    }
    // The labels of a series without samples are never looked at.
    assert!(Bench::new().send_body("anonymous", compress(&whole_label_field)).await.is_ok());
}

#[tokio::test]
async fn labels_are_sorted_and_empty_values_left_out() {
    let bench = Bench::new();
    let odd = series(&[("z", "1"), ("__name__", "a"), ("gone", ""), ("b", "2")], &[(3, 3.0), (1, 1.0)]);
    bench.send(&request(vec![odd])).await.unwrap();
    let labels = r#"anonymous {__name__="a", b="2", z="1"}"#;
    assert_eq!(bench.stored(), [format!("{labels} 1 @1"), format!("{labels} 3 @3")]);
}

#[tokio::test]
async fn old_timestamps_pass_untouched() {
    let bench = Bench::new();
    for ts in [0, -1, i64::MIN] {
        bench.send(&request(vec![series(&[("__name__", "a")], &[(ts, 1.0)])])).await.unwrap();
    }
    let stored = bench.stored();
    assert!([0, -1, i64::MIN].iter().all(|ts| stored.iter().any(|line| line.ends_with(&format!("@{ts}")))));
    // The year 57,000.
    let far = request(vec![series(&[("__name__", "a")], &[(1_736_000_000_000_000, 1.0)])]);
    assert!(bench.send(&far).await.unwrap_err().to_string().starts_with("out of bounds: series {__name__=\"a\"}"));
}

#[tokio::test]
async fn exemplars_come_with_the_labels_of_their_series() {
    let bench = Bench::new();
    let exemplar = |labels: &[(&str, &str)]| Exemplar { labels: series(labels, &[]).labels, value: 0.5, timestamp: 7 };
    let with = TimeSeries {
        exemplars: vec![exemplar(&[("trace", "1")]), exemplar(&[("a", "1"), ("a", "2")])],
        ..series(&[("__name__", "a")], &[(1, 1.0)])
    };
    for _ in 0..2 {
        assert_eq!(bench.send(&request(vec![with.clone()])).await.unwrap().exemplars, 1);
    }
    assert_eq!(bench.appends(), [(0, 1), (1, 0)]);
    assert_eq!(bench.store.0.lock().exemplars, [r#"{__name__="a"} {trace="1"} 0.5 @7"#; 2]);
}

#[tokio::test]
async fn metadata_is_kept_for_the_metadata_api() {
    let bench = Bench::new();
    let metadata = MetricMetadata {
        r#type: 1,
        metric_family_name: b"a_total".into(),
        help: b"Things.".into(),
        unit: b"things".into(),
    };
    bench.send(&WriteRequest { metadata: vec![metadata], ..request(vec![]) }).await.unwrap();
    let list = bench.receiver.metadata().list(&TenantId::anonymous());
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&*list[0].0, list[0].1.metric_type, list[0].1.help.as_str()),
        ("a_total", MetricType::Counter, "Things.")
    );
    assert_eq!(bench.appends(), []);
}

#[tokio::test]
async fn a_large_body_is_served_like_a_small_one() {
    let bench = Bench::new();
    let noise = |i: u64| format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let many: Vec<_> =
        (0..5_000).map(|i| series(&[("__name__", "a"), ("i", &noise(i))], &[(i as i64, i as f64)])).collect();
    let request = request(many);
    assert!(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap().len() > 64 << 10);
    for _ in 0..2 {
        assert_eq!(bench.send(&request).await.unwrap().samples, 5_000);
    }
    assert_eq!(bench.appends(), [(0, 5_000), (5_000, 0)]);
}

#[tokio::test]
async fn series_that_are_not_written_for_long_are_forgotten() {
    let bench = Bench::new();
    let one = |name: &str| request(vec![series(&[("__name__", name)], &[(1, 1.0)])]);
    bench.send(&one("idle")).await.unwrap();
    for _ in 0..3 {
        bench.clock.advance(Duration::from_secs(15 * 60));
        for _ in 0..16 {
            bench.send(&one("busy")).await.unwrap();
        }
    }
    bench.send(&one("idle")).await.unwrap();
    bench.send(&one("busy")).await.unwrap();
    let appends = bench.appends();
    assert_eq!(appends[appends.len() - 2..], [(0, 1), (1, 0)]);
    assert_eq!(bench.clock.now_ms(), NOW_MS + 45 * 60 * 1000);
}

#[tokio::test]
async fn native_histograms_are_stored_beside_floats() {
    let span = |offset, length| BucketSpan { offset, length };
    let whole = |timestamp| Histogram {
        count_int: 10,
        sum: 2.5,
        schema: 1,
        zero_threshold: 0.5,
        zero_count_int: 1,
        positive_spans: vec![span(0, 2)],
        positive_deltas: vec![3, -1],
        negative_spans: vec![span(1, 1)],
        negative_deltas: vec![4],
        timestamp,
        ..Histogram::default()
    };
    let custom = Histogram {
        count_float: 1.5,
        schema: -53,
        positive_spans: vec![span(0, 1)],
        positive_counts: vec![1.5],
        custom_values: vec![2.0],
        reset_hint: 3,
        timestamp: NOW_MS,
        ..Histogram::default()
    };
    let ended = Histogram { sum: stale_nan(), timestamp: NOW_MS + 3, ..Histogram::default() };
    let mixed = TimeSeries {
        histograms: vec![ended, whole(NOW_MS + 2), whole(NOW_MS + 1)],
        ..series(&[("__name__", "mixed")], &[(NOW_MS, 7.0)])
    };
    let custom = TimeSeries { histograms: vec![custom], ..series(&[("__name__", "custom")], &[]) };
    let sent = request(vec![mixed, custom]);
    let whole = "{count:10, sum:2.5, [-1.4142135623730951,-1):4, [-0.5,0.5]:1, (0.7071067811865476,1]:3, (1,1.4142135623730951]:2}";
    let expected = [
        format!(r#"anonymous {{__name__="custom"}} Gauge {{count:1.5, sum:0, [-Inf,2]:1.5}} 0 @{NOW_MS}"#),
        format!(r#"anonymous {{__name__="mixed"}} 7 @{NOW_MS}"#),
        format!(r#"anonymous {{__name__="mixed"}} NaN @{}"#, NOW_MS + 3),
        format!(r#"anonymous {{__name__="mixed"}} Unknown {whole} 0 @{}"#, NOW_MS + 1),
        format!(r#"anonymous {{__name__="mixed"}} Unknown {whole} 0 @{}"#, NOW_MS + 2),
    ];
    let bench = Bench::new();
    assert_eq!(bench.send(&sent).await.unwrap().samples, 5);
    assert_eq!(bench.stored(), expected);
    // By handle, and then with labels once more, because the handles are stale.
    assert_eq!(bench.send(&sent).await.unwrap().duplicates, 5);
    bench.store.0.lock().stale_below = u64::MAX;
    assert_eq!(bench.send(&sent).await.unwrap().duplicates, 5);
    assert_eq!(bench.appends(), [(0, 5), (5, 0), (5, 0), (0, 5)]);
    assert_eq!(bench.stored(), expected);
}

#[tokio::test]
async fn histograms_without_end_are_refused() {
    let bench = Bench::with(|config| config.limits.histogram_counts_max = 100);
    let histogram = Histogram {
        positive_spans: vec![BucketSpan { offset: 0, length: 50 }],
        positive_deltas: vec![0; 50],
        ..Histogram::default()
    };
    let histograms = (0..2).map(|timestamp| Histogram { timestamp, ..histogram.clone() }).collect();
    let sent = request(vec![TimeSeries { histograms, ..series(&[("__name__", "h")], &[]) }]);
    let error = bench.send(&sent).await.unwrap_err();
    assert_eq!(error.to_string(), "request has more than 100 counts in histograms, the limit of one request");
    assert_eq!(error.status().as_u16(), 413);
}
