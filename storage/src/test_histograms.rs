//! Histograms as a series has them: counters that grow, gain buckets, reset, and change their schema.

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use pharos_model::{CounterResetHint, FloatHistogram};
use proptest::prelude::*;

/// What happens between two histograms of a series.
#[derive(Clone, Debug)]
enum Change {
    Same,
    /// Observations in the buckets that the bits name.
    Grow(u64, f64),
    NewBucket,
    Reset,
    Schema(i32),
    Custom(u8),
    Gauge,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Same),
        8 => (any::<u64>(), prop_oneof![3 => (1..9_u8).prop_map(f64::from), 1 => 0.1..9.0])
            .prop_map(|(bits, by)| Change::Grow(bits, by)),
        1 => Just(Change::NewBucket),
        1 => Just(Change::Reset),
        1 => (-4..=8).prop_map(Change::Schema),
        1 => (1..6_u8).prop_map(Change::Custom),
        1 => Just(Change::Gauge),
    ]
}

fn of_buckets(schema: i32, buckets: usize) -> FloatHistogram {
    FloatHistogram {
        schema,
        positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
        positive_buckets: vec![0.0; buckets],
        ..FloatHistogram::default()
    }
}

fn grow(histogram: &mut FloatHistogram, bits: u64, by: f64) {
    let named = histogram.positive_buckets.iter_mut().enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1);
    let grown = named.map(|(_, count)| *count += by).count();
    histogram.count += by * grown as f64;
    histogram.sum += by * 0.37;
}

fn apply(mut histogram: FloatHistogram, change: Change) -> FloatHistogram {
    histogram.counter_reset_hint = CounterResetHint::Unknown;
    match change {
        Change::Same => {}
        Change::Grow(bits, by) => grow(&mut histogram, bits, by),
        Change::NewBucket => {
            let custom = histogram.uses_custom_buckets();
            histogram.positive_spans.push(Span { offset: i32::from(!custom) * 2, length: 1 });
            histogram.positive_buckets.push(0.0);
            let bounds = histogram.custom_values.len();
            histogram.custom_values.extend(custom.then_some(bounds as f64));
        }
        Change::Reset => histogram.positive_buckets.iter_mut().for_each(|count| *count = 0.0),
        Change::Schema(schema) => histogram = of_buckets(schema, 4),
        Change::Custom(bounds) => {
            histogram = of_buckets(CUSTOM_BUCKETS_SCHEMA, usize::from(bounds));
            histogram.custom_values = (0..bounds).map(f64::from).collect();
        }
        Change::Gauge => histogram.counter_reset_hint = CounterResetHint::Gauge,
    }
    histogram
}

/// One series: histograms at steps of about 15 s.
pub(crate) fn series(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(i64, FloatHistogram)>> {
    prop::collection::vec((prop_oneof![3 => Just(15_000_i64), 1 => 1..40_000_i64], change()), len).prop_map(|changes| {
        let mut before = of_buckets(3, 5);
        let mut ts = 0;
        let grown = changes.into_iter().map(|(step, change)| {
            ts += step;
            before = apply(before.clone(), change);
            (ts, before.clone())
        });
        grown.collect()
    })
}

pub(crate) fn packed(histogram: &FloatHistogram) -> PackedHistogram {
    PackedHistogram::try_from(histogram).expect("the histogram is valid and small")
}

/// A counter with the same observations in each of its four buckets.
pub(crate) fn counter(in_bucket: u32) -> FloatHistogram {
    let mut histogram = of_buckets(0, 4);
    grow(&mut histogram, u64::MAX, f64::from(in_bucket));
    histogram
}
