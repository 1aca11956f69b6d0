use proptest::prelude::*;

use super::*;
use crate::FloatHistogram;
use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

fn count() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..1_000_u32).prop_map(f64::from),
        1 => 0.0..1e18_f64,
        1 => (0..1_u64 << 54).prop_map(|count| count as f64),
        1 => Just(f64::NAN),
    ]
}

fn side(first_offset: std::ops::Range<i32>) -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    (first_offset, prop::collection::vec((0..6_i32, prop::collection::vec(count(), 0..5)), 0..5)).prop_map(
        |(first, runs)| {
            let offset = |(at, run): (usize, &(i32, Vec<f64>))| if at == 0 { first } else { run.0 };
            let spans = runs.iter().enumerate().map(|run| Span { offset: offset(run), length: run.1.1.len() as u32 });
            (spans.collect(), runs.iter().flat_map(|(_, counts)| counts.clone()).collect())
        },
    )
}

fn hint() -> impl Strategy<Value = CounterResetHint> {
    (0..4_u8).prop_map(hint_of)
}

prop_compose! {
    fn exponential()(
        counter_reset_hint in hint(),
        schema in -4..=8_i32,
        zero_threshold in prop_oneof![Just(0.0), Just(1e-128), 0.0..1.0],
        (zero_count, count, sum) in (count(), count(), any::<u64>().prop_map(f64::from_bits)),
        (positive_spans, positive_buckets) in side(-2_000..2_000),
        (negative_spans, negative_buckets) in side(-2_000..2_000),
    ) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint, schema, zero_threshold, zero_count, count, sum,
            positive_spans, negative_spans, positive_buckets, negative_buckets, custom_values: Vec::new(),
        }
    }
}

prop_compose! {
    fn custom()(
        counter_reset_hint in hint(),
        (count, sum) in (count(), any::<u64>().prop_map(f64::from_bits)),
        (positive_spans, positive_buckets) in side(0..3),
        first_bound in -1e3..1e3_f64,
    ) -> FloatHistogram {
        let reach: u32 = positive_spans.iter().map(|span| span.offset as u32 + span.length).sum();
        let custom_values = (0..reach).map(|bound| first_bound + f64::from(bound)).collect();
        FloatHistogram {
            counter_reset_hint, schema: CUSTOM_BUCKETS_SCHEMA, count, sum,
            positive_spans, positive_buckets, custom_values, ..FloatHistogram::default()
        }
    }
}

fn packed() -> impl Strategy<Value = PackedHistogram> {
    prop_oneof![exponential(), custom()].prop_map(|histogram| PackedHistogram::try_from(&histogram).unwrap())
}

/// The same layout with other numbers, as the next sample of a series mostly is.
fn changed_numbers(before: &PackedHistogram, seed: u64) -> PackedHistogram {
    let mut next = before.clone();
    for (at, number) in next.numbers.iter_mut().enumerate().filter(|(at, _)| seed >> (at % 64) & 1 == 1) {
        *number = number.wrapping_add(at as u64 * 7 + 1);
    }
    next
}

fn bytes_of(histogram: &PackedHistogram) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, histogram);
    out
}

proptest! {
    #[test]
    fn every_histogram_comes_back_with_the_same_bits(histogram in prop_oneof![exponential(), custom()]) {
        let packed = PackedHistogram::try_from(&histogram).unwrap();
        let bytes = bytes_of(&packed);
        prop_assert!(bytes.len() <= encoded_len_max(&packed));
        let back = decode(&bytes).unwrap();
        prop_assert_eq!(&back, &packed);
        let float = back.to_float();
        prop_assert!(float.has_same_data(&histogram));
        prop_assert_eq!(float.positive_spans, histogram.positive_spans);
        prop_assert_eq!(float.counter_reset_hint, histogram.counter_reset_hint);
    }

    #[test]
    fn runs_of_histograms_come_back(first in packed(), seeds in prop::collection::vec((any::<u64>(), hint(), prop::option::of(packed())), 0..12)) {
        let mut run = vec![first];
        for (seed, hint, other) in seeds {
            let before = run.last().unwrap();
            run.push(PackedHistogram { hint, ..other.unwrap_or_else(|| changed_numbers(before, seed)) });
        }
        let mut out = bytes_of(&run[0]);
        run.windows(2).for_each(|pair| put_after(&mut out, &pair[1], &pair[0]));
        let (mut rest, mut before) = (out.as_slice(), None);
        for histogram in &run {
            let (back, after) = take(rest, before.as_ref()).unwrap();
            prop_assert_eq!(&back, histogram);
            (rest, before) = (after, Some(back));
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn every_cut_is_refused(histogram in packed()) {
        let bytes = bytes_of(&histogram);
        prop_assert!((0..bytes.len()).all(|cut| decode(&bytes[..cut]).is_err()));
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), flags in 0..64_u8, before in packed(),
    ) {
        let bytes = [&[flags], bytes.as_slice()].concat();
        if let Ok(histogram) = decode(&bytes) {
            prop_assert_eq!(histogram.to_float().validate(), Ok(()));
        }
        if let Ok((histogram, _)) = take(&bytes, Some(&before)) {
            let _ = histogram.to_float();
        }
    }

    #[test]
    fn a_flipped_bit_gives_another_histogram_or_none(histogram in packed(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = bytes_of(&histogram);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes) != Ok(histogram));
    }
}

#[test]
fn an_unchanged_histogram_takes_a_byte_and_small_changes_few() {
    let counts: Vec<f64> = (0..30).map(|i| f64::from(i * 1_000)).collect();
    let histogram = FloatHistogram {
        count: counts.iter().sum(),
        sum: 1234.5,
        positive_spans: vec![Span { offset: 3, length: 30 }],
        positive_buckets: counts,
        ..FloatHistogram::default()
    };
    let before = PackedHistogram::try_from(&histogram).unwrap();
    let mut out = Vec::new();
    put_after(&mut out, &before, &before);
    assert_eq!(out.len(), 1);
    let mut more = histogram;
    (more.count, more.sum) = (more.count + 2.0, more.sum + 0.75);
    more.positive_buckets[7] += 2.0;
    out.clear();
    put_after(&mut out, &PackedHistogram::try_from(&more).unwrap(), &before);
    assert!(out.len() <= 14, "{} bytes", out.len());
}

#[test]
fn a_short_histogram_cannot_claim_many_buckets() {
    let mut bytes = vec![0, 0, 1, 0];
    put_varint(&mut bytes, u64::from(u32::MAX));
    bytes.extend_from_slice(&[0; 40]);
    assert_eq!(decode(&bytes), Err(CUT_OFF));
    assert_eq!(decode(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(MalformedHistogram("count")));
    assert_eq!(decode(&[FLAG_AFTER]), Err(MalformedHistogram("changes to no histogram")));
    assert_eq!(decode(&[1 << 6]), Err(MalformedHistogram("flags")));
}
