//! Series of native histograms: counters that are reset, gauges, schemas and bounds that change, floats in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use pharos_model::sample::stale_nan;
use pharos_model::{CounterResetHint, FloatHistogram, Sample, TimestampMs};

use super::{Data, SPAN_MS, Series, Temper, random_labels};

/// Powers of four, where buckets of all schemas end: of one that ends later upstream counts observations twice, when it is made
/// a coarser one.
const THRESHOLDS: [f64; 3] = [0.0, 0.0009765625, 0.25];
const BOUNDS: [&[f64]; 3] = [&[0.5, 1.0, 2.5, 10.0], &[0.5, 2.5, 10.0], &[1.0, 5.0]];

/// What a histogram counts, and how it looks at the moment.
#[derive(Debug)]
struct Counter {
    is_custom: bool,
    is_gauge: bool,
    schema: i32,
    threshold: f64,
    bounds: &'static [f64],
    zero: f64,
    /// By index of the finest schema, or of the first bounds.
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
    sum: f64,
}

impl Data {
    /// Series of histograms, and some of floats beside them.
    pub(crate) fn random_native(rng: &mut Rng) -> Self {
        let mut data = Self { tick_ms: 1000, series: Vec::new() };
        for _ in 0..rng.usize(3..12) {
            let name = ["latency_seconds", "latency_seconds", "size_bytes", "mixed"][rng.usize(..4)];
            let labels =
                random_labels(rng, Temper::Wild).without("__type__").to_builder().set("__name__", name).build();
            if data.series.iter().all(|series| series.labels != labels) {
                let counter = Counter::random(rng, name);
                let (samples, histograms) = counter.samples(rng, name == "mixed");
                data.series.push(Series { labels, samples, histograms });
            }
        }
        data
    }
}

impl Counter {
    fn random(rng: &mut Rng, name: &str) -> Self {
        Self {
            is_custom: name == "size_bytes" || name == "mixed" && rng.bool(),
            is_gauge: rng.u8(..4) == 0,
            schema: rng.i32(-1..3),
            threshold: THRESHOLDS[rng.usize(..THRESHOLDS.len())],
            bounds: BOUNDS[rng.usize(..BOUNDS.len())],
            zero: 0.0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
            sum: 0.0,
        }
    }

    fn samples(mut self, rng: &mut Rng, has_floats: bool) -> (Vec<Sample>, Vec<(TimestampMs, Arc<FloatHistogram>)>) {
        let (mut samples, mut histograms) = (Vec::new(), Vec::new());
        let interval_ms = [10_000, 15_000, 30_000, 60_000, 97_000][rng.usize(..5)];
        let mut at = if rng.bool() { 0 } else { rng.i64(0..SPAN_MS / 2000) * 1000 };
        let has_negative = rng.u8(..4) == 0;
        let mut is_float = false;
        while at < SPAN_MS {
            if rng.u8(..25) == 0 {
                match rng.u8(..3) {
                    0 => samples.push(Sample { ts: at, value: stale_nan() }),
                    1 => histograms.push((at, Arc::new(FloatHistogram { sum: stale_nan(), ..self.histogram() }))),
                    _ => {}
                }
                at += interval_ms * rng.i64(1..20);
                continue;
            }
            self.go_on(rng, has_negative);
            is_float ^= has_floats && rng.u8(..6) == 0;
            match is_float {
                true => samples.push(Sample { ts: at, value: f64::from(rng.u8(..100)) / 4.0 }),
                false => histograms.push((at, Arc::new(self.histogram()))),
            }
            at += interval_ms;
        }
        (samples, histograms)
    }

    /// What happens between two samples.
    fn go_on(&mut self, rng: &mut Rng, has_negative: bool) {
        match rng.u8(..30) {
            0 => {
                self.positive.clear();
                self.negative.clear();
                (self.zero, self.sum) = (0.0, 0.0);
            }
            1 => self.schema = rng.i32(-1..3),
            2 => self.threshold = THRESHOLDS[rng.usize(..THRESHOLDS.len())],
            3 => self.bounds = BOUNDS[rng.usize(..BOUNDS.len())],
            4..10 => return,
            _ => {}
        }
        for _ in 0..rng.u8(1..5) {
            let count = f64::from(rng.u8(1..5));
            match rng.u8(..6) {
                0 if !self.is_custom => self.zero += count,
                1 if !self.is_custom && has_negative => {
                    *self.negative.entry(rng.i32(-12..10)).or_default() += count;
                }
                _ => {
                    let index = if self.is_custom { rng.i32(0..5) } else { rng.i32(-12..14) };
                    *self.positive.entry(index).or_default() += count;
                }
            }
            self.sum += count * f64::from(rng.u8(..20)) / 4.0;
        }
        if self.is_gauge && rng.u8(..4) == 0 {
            self.positive.pop_first();
        }
    }

    fn histogram(&self) -> FloatHistogram {
        let (mut zero, mut sides) = (self.zero, [BTreeMap::new(), BTreeMap::new()]);
        for (side, counts) in [&self.positive, &self.negative].into_iter().enumerate() {
            for (index, count) in counts {
                match self.place(*index) {
                    Some(place) => *sides[side].entry(place).or_insert(0.0) += count,
                    None => zero += count,
                }
            }
        }
        let [(positive_spans, positive_buckets), (negative_spans, negative_buckets)] = sides.map(|side| spans(&side));
        let in_buckets: f64 = positive_buckets.iter().chain(&negative_buckets).sum();
        FloatHistogram {
            counter_reset_hint: if self.is_gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
            schema: if self.is_custom { CUSTOM_BUCKETS_SCHEMA } else { self.schema },
            zero_threshold: if self.is_custom { 0.0 } else { self.threshold },
            zero_count: zero,
            count: zero + in_buckets,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: if self.is_custom { self.bounds.to_vec() } else { Vec::new() },
        }
    }

    /// The bucket that now counts what is kept under an index; none for the zero bucket.
    fn place(&self, index: i32) -> Option<i32> {
        if self.is_custom {
            let bound = BOUNDS[0].get(usize::try_from(index).ok()?).copied().unwrap_or(f64::INFINITY);
            let place = self.bounds.iter().position(|own| *own >= bound).unwrap_or(self.bounds.len());
            return i32::try_from(place).ok();
        }
        // Kept are the buckets of schema 2, four to a power of two.
        let is_outside = (f64::from(index - 1) / 4.0).exp2() >= self.threshold;
        let together = 1 << (2 - self.schema);
        is_outside.then_some((index + together - 1).div_euclid(together))
    }
}

fn spans(counts: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for index in counts.keys() {
        match spans.last_mut() {
            Some(span) if *index == end => span.length += 1,
            _ => spans.push(Span { offset: index - end, length: 1 }),
        }
        end = index + 1;
    }
    (spans, counts.values().copied().collect())
}

/// A histogram as test scripts write it.
pub(super) fn script(histogram: &FloatHistogram) -> String {
    let mut text = format!("schema:{} count:{} sum:{}", histogram.schema, histogram.count, histogram.sum);
    if histogram.zero_threshold != 0.0 || histogram.zero_count != 0.0 {
        text += &format!(" z_bucket:{} z_bucket_w:{}", histogram.zero_count, histogram.zero_threshold);
    }
    for (prefix, spans, buckets) in [
        ("", &histogram.positive_spans, &histogram.positive_buckets),
        ("n_", &histogram.negative_spans, &histogram.negative_buckets),
    ] {
        let Some(first) = spans.first() else { continue };
        let mut counts = Vec::new();
        let mut buckets = buckets.iter();
        for (i, span) in spans.iter().enumerate() {
            let gap = if i == 0 { 0 } else { usize::try_from(span.offset).expect("spans are in order") };
            counts.extend(std::iter::repeat_n("0".to_owned(), gap));
            counts.extend(buckets.by_ref().take(span.length as usize).map(f64::to_string));
        }
        text += &format!(" {prefix}offset:{} {prefix}buckets:[{}]", first.offset, counts.join(" "));
    }
    if !histogram.custom_values.is_empty() {
        let bounds: Vec<String> = histogram.custom_values.iter().map(f64::to_string).collect();
        text += &format!(" custom_values:[{}]", bounds.join(" "));
    }
    if histogram.counter_reset_hint == CounterResetHint::Gauge {
        text += " counter_reset_hint:gauge";
    }
    format!("{{{{{text}}}}}")
}
