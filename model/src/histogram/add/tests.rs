//! Layouts and expected sums are those of upstream's `TestFloatHistogramAdd`, written shorter.

use proptest::prelude::*;

use super::*;
use crate::histogram::CounterResetHint;
use crate::histogram::fixtures::{custom, exponential};

/// The sum, compacted, which says the same whichever way it was added up; plain and compensated.
fn check_sum(a: &FloatHistogram, b: &FloatHistogram, expected: &FloatHistogram, settled: Settled) {
    let mut sum = a.clone();
    assert_eq!(sum.add(b), Ok(settled));
    sum.compact();
    assert_eq!(sum, *expected);

    let (mut sum, mut lost) = (a.clone(), None);
    assert_eq!(sum.kahan_add(b, &mut lost), Ok(settled));
    let lost = lost.unwrap();
    assert_eq!((&lost.positive_spans, &lost.negative_spans), (&sum.positive_spans, &sum.negative_spans));
    assert_eq!((lost.schema, lost.zero_threshold), (sum.schema, sum.zero_threshold));
    sum.add(&lost).unwrap();
    sum.compact();
    assert!(sum.almost_equals(expected, 1e-12), "{sum}, not {expected}");

    // Adding and taking away again leaves what there was, if only in the layout of the sum.
    let mut difference = expected.clone();
    difference.sub(b).unwrap();
    difference.compact();
    let mut reduced = FloatHistogram { sum: 0.0, count: 0.0, ..FloatHistogram::default() };
    (reduced.schema, reduced.zero_threshold) = (expected.schema, expected.zero_threshold);
    reduced.custom_values.clone_from(&expected.custom_values);
    reduced.add(a).unwrap();
    reduced.compact();
    assert!(difference.almost_equals(&reduced, 1e-9), "{difference}, not {reduced}");
}

fn first() -> FloatHistogram {
    exponential(0, &[(-2, &[1.0, 0.0]), (2, &[3.0, 4.0, 7.0])])
        .with_negative(&[(3, &[3.0, 1.0]), (3, &[5.0, 6.0])])
        .with_zero(0.01, 11.0)
}

#[test]
fn buckets_add_at_their_index() {
    let other = exponential(0, &[(-1, &[5.0, 4.0, 2.0, 3.0]), (0, &[6.0, 2.0, 5.0])])
        .with_negative(&[(4, &[1.0, 1.0]), (1, &[4.0, 4.0])])
        .with_zero(0.01, 8.0);
    let expected = exponential(0, &[(-2, &[1.0, 5.0, 4.0, 2.0, 6.0, 10.0, 9.0, 5.0])])
        .with_negative(&[(3, &[3.0, 2.0, 1.0]), (1, &[4.0, 9.0, 6.0])])
        .with_zero(0.01, 19.0);
    check_sum(&first(), &other, &expected, Settled::default());
    check_sum(&other, &first(), &expected, Settled::default());
}

#[test]
fn equal_layouts_add_one_by_one_and_keep_empty_buckets() {
    let mut sum = first().with_sum(2.0);
    sum.add(&first().with_sum(3.0)).unwrap();
    assert_eq!(sum.positive_spans, first().positive_spans);
    assert_eq!(sum.positive_buckets, [2.0, 0.0, 6.0, 8.0, 14.0]);
    assert_eq!((sum.count, sum.sum, sum.zero_count), (82.0, 5.0, 22.0));
    sum.sub(&first()).unwrap();
    assert_eq!(sum.positive_buckets, first().positive_buckets);
}

#[test]
fn the_finer_one_goes_to_the_coarser_schema() {
    let fine = exponential(1, &[(-4, &[1.0, 0.0, 0.0]), (5, &[3.0, 2.0, 2.0, 3.0, 4.0])])
        .with_negative(&[(6, &[3.0, 0.5, 0.5]), (6, &[2.0, 3.0, 2.0, 4.0])])
        .with_zero(0.01, 11.0);
    let coarse = exponential(0, &[(-1, &[5.0, 4.0, 2.0, 3.0]), (0, &[6.0, 2.0, 5.0])])
        .with_negative(&[(4, &[1.0, 1.0]), (1, &[4.0, 4.0])])
        .with_zero(0.01, 8.0);
    let expected = exponential(0, &[(-2, &[1.0, 5.0, 4.0, 2.0, 6.0, 10.0, 9.0, 5.0])])
        .with_negative(&[(3, &[3.0, 2.0, 1.0]), (1, &[4.0, 9.0, 6.0])])
        .with_zero(0.01, 19.0);
    check_sum(&coarse, &fine, &expected, Settled::default());
    check_sum(&fine, &coarse, &expected, Settled::default());
}

#[test]
fn the_wider_zero_bucket_takes_what_it_covers() {
    let wide = |threshold| {
        exponential(0, &[(1, &[2.0, 3.0]), (0, &[6.0, 2.0, 5.0])])
            .with_negative(&[(4, &[1.0, 1.0]), (1, &[4.0, 4.0])])
            .with_zero(threshold, 17.0)
    };
    let expected = |threshold| {
        exponential(0, &[(1, &[2.0, 6.0, 10.0, 9.0, 5.0])])
            .with_negative(&[(3, &[3.0, 2.0, 1.0]), (1, &[4.0, 9.0, 6.0])])
            .with_zero(threshold, 29.0)
    };
    check_sum(&first(), &wide(1.0), &expected(1.0), Settled::default());
    check_sum(&wide(1.0), &first(), &expected(1.0), Settled::default());
    // 0.2 is within (0.125,0.25], which counts 1.
    check_sum(&first(), &wide(0.2), &expected(0.25), Settled::default());
    check_sum(&wide(0.2), &first(), &expected(0.25), Settled::default());
}

#[test]
fn zero_buckets_are_widened_before_the_schema_is_reduced() {
    let fine = exponential(1, &[(-3, &[1.0, 0.0]), (5, &[3.0, 2.0, 2.0, 3.0, 4.0])])
        .with_negative(&[(6, &[3.0, 0.5, 0.5]), (6, &[2.0, 3.0, 2.0, 4.0])])
        .with_zero(0.25, 12.0);
    let coarse = exponential(0, &[(-2, &[2.0, 5.0, 4.0, 2.0, 3.0]), (0, &[6.0, 2.0, 5.0])])
        .with_negative(&[(4, &[1.0, 1.0]), (1, &[4.0, 4.0])])
        .with_zero(0.01, 8.0);
    let expected = exponential(0, &[(-1, &[6.0, 4.0, 2.0, 6.0, 10.0, 9.0, 5.0])])
        .with_negative(&[(3, &[3.0, 2.0, 1.0]), (1, &[4.0, 9.0, 6.0])])
        .with_zero(0.25, 22.0);
    check_sum(&coarse, &fine, &expected, Settled::default());
}

#[test]
fn what_the_zero_bucket_of_the_sum_covers_is_left_out() {
    // Both have a bucket that their zero bucket covers, which no sound histogram has. Prometheus leaves out the second one.
    let odd = exponential(0, &[(0, &[1.0, 2.0])]).with_zero(1.0, 4.0);
    let mut sum = odd.clone();
    sum.add(&odd).unwrap();
    assert_eq!((sum.positive_buckets, sum.zero_count, sum.count), (vec![1.0, 4.0], 8.0, 14.0));
}

#[test]
fn thresholds_that_do_not_compare_end_too() {
    let nan = exponential(0, &[(0, &[1.0])]).with_zero(f64::NAN, 1.0);
    assert!(first().add(&nan).is_ok());
    assert!(nan.clone().sub(&first()).is_ok());
}

#[test]
fn custom_buckets_go_to_the_bounds_that_both_have() {
    let reconciled = Settled { hints_collided: false, bounds_reconciled: true };
    check_sum(
        &custom(&[1.0, 2.5], &[2.0, 3.0, 5.0]),
        &custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 2.0]),
        &custom(&[1.0], &[3.0, 15.0]),
        reconciled,
    );
    check_sum(
        &custom(&[2.0, 4.0], &[1.0, 0.0, 5.0]),
        &custom(&[1.0, 2.0, 3.0, 4.0, 5.0], &[10.0, 20.0, 0.0, 40.0, 50.0, 100.0]),
        &custom(&[2.0, 4.0], &[31.0, 40.0, 155.0]),
        reconciled,
    );
    check_sum(&custom(&[1.5], &[1.0, 2.0]), &custom(&[2.5], &[10.0, 20.0]), &custom(&[], &[33.0]), reconciled);
    check_sum(
        &custom(&[1.0, 2.0], &[1.0, 2.0]),
        &custom(&[1.0, 2.0], &[0.0, 3.0, 4.0]),
        &custom(&[1.0, 2.0], &[1.0, 5.0, 4.0]),
        Settled::default(),
    );
}

#[test]
fn mixed_kinds_change_nothing() {
    let mut histogram = first().with_hint(CounterResetHint::CounterReset);
    let mut lost = None;
    assert_eq!(histogram.add(&custom(&[1.0], &[1.0])), Err(IncompatibleSchemas));
    assert_eq!(histogram.kahan_add(&custom(&[1.0], &[1.0]), &mut lost), Err(IncompatibleSchemas));
    assert_eq!((histogram, lost), (first().with_hint(CounterResetHint::CounterReset), None));
}

#[test]
fn hints_combine_and_collisions_are_told() {
    let mut histogram = first().with_hint(CounterResetHint::CounterReset);
    let settled = histogram.sub(&first().with_hint(CounterResetHint::NotCounterReset)).unwrap();
    assert!(settled.hints_collided);
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::Unknown);
}

#[test]
fn errors_are_kept_through_changes_of_layout() {
    let tiny = 2f64.powi(-60);
    let (mut sum, mut lost) = (exponential(1, &[(1, &[1.0, 1.0])]), None);
    sum.kahan_add(&exponential(1, &[(1, &[tiny, tiny])]), &mut lost).unwrap();
    sum.kahan_add(&exponential(0, &[(1, &[tiny])]), &mut lost).unwrap();
    assert_eq!(sum.positive_buckets, [2.0]);
    assert_eq!(lost.as_ref().unwrap().positive_buckets, [3.0 * tiny]);
    // The zero bucket takes the bucket and its errors over.
    sum.kahan_add(&FloatHistogram { zero_threshold: 2.0, ..FloatHistogram::default() }, &mut lost).unwrap();
    let lost = lost.unwrap();
    assert_eq!((sum.zero_count, lost.zero_count, lost.positive_buckets.len()), (2.0, 3.0 * tiny, 0));

    let (mut sum, mut lost) = (custom(&[1.0, 2.0], &[1.0, 1.0]), None);
    sum.kahan_add(&custom(&[1.0, 2.0], &[tiny, tiny]), &mut lost).unwrap();
    sum.kahan_add(&custom(&[2.0], &[tiny]), &mut lost).unwrap();
    assert_eq!((sum.positive_buckets, lost.unwrap().positive_buckets), (vec![2.0], vec![3.0 * tiny]));
}

/// Adds to a sum of which `lost` has been lost, as upstream's `TestKahanAddWithCompHistogram`.
fn check_lost(mut sum: FloatHistogram, lost: FloatHistogram, other: &FloatHistogram, expected: &FloatHistogram) {
    let mut lost = Some(FloatHistogram { count: 0.0, ..lost });
    sum.kahan_add(other, &mut lost).unwrap();
    let lost = lost.unwrap();
    assert_eq!((&lost.positive_spans, &lost.negative_spans), (&sum.positive_spans, &sum.negative_spans));
    sum.add(&lost).unwrap();
    // The totals have nothing to do with the buckets here.
    sum.count = expected.count;
    assert!(sum.almost_equals(expected, 1e-12), "{sum}, not {expected}");
}

#[test]
fn what_was_lost_goes_where_its_bucket_goes() {
    check_lost(
        exponential(0, &[(-2, &[1.0, 2.0]), (2, &[3.0, 4.0, 7.0])])
            .with_negative(&[(3, &[3.0, 1.0]), (3, &[5.0, 6.0])])
            .with_zero(0.01, 11.0),
        exponential(0, &[(-2, &[0.02, 0.03]), (2, &[0.06, 0.07, 0.05])])
            .with_negative(&[(3, &[0.01, 0.01]), (3, &[0.04, 0.04])])
            .with_zero(0.01, 0.0),
        &exponential(0, &[(1, &[2.0, 3.0]), (0, &[6.0, 2.0, 5.0])])
            .with_negative(&[(4, &[1.0, 1.0]), (1, &[4.0, 4.0])])
            .with_zero(1.0, 17.0),
        &exponential(0, &[(1, &[2.0, 6.06, 10.07, 9.05, 5.0])])
            .with_negative(&[(3, &[3.01, 2.01, 1.0]), (1, &[4.0, 9.04, 6.04])])
            .with_zero(1.0, 31.05),
    );
    // A bucket of nothing of which nothing was lost goes when the zero bucket widens.
    check_lost(
        exponential(0, &[(-2, &[1.0, 3.0]), (1, &[3.0]), (1, &[0.0, 7.0, -6.0])]).with_zero(0.01, 11.0),
        exponential(0, &[(-2, &[7.0, 2.0]), (1, &[0.03]), (1, &[0.0, 0.05, 0.06])]).with_zero(0.01, 0.0),
        &exponential(0, &[(1, &[2.0, 3.0]), (1, &[2.0, 5.0])]).with_zero(1.0, 17.0),
        &exponential(0, &[(1, &[5.03, 3.0]), (1, &[9.05, -0.94])]).with_zero(1.0, 41.0),
    );
    check_lost(
        exponential(2, &[(-2, &[1.0, 3.0]), (1, &[1e100]), (1, &[0.0, 7.0, -6.0])]).with_zero(0.01, 11.0),
        exponential(2, &[(-2, &[7.0, 2.0]), (1, &[0.03]), (1, &[0.0, 0.05, 0.06])]).with_zero(0.01, 1.0),
        &exponential(1, &[(1, &[-1e100, 3.0]), (1, &[2.0, 5.0])]).with_zero(1.0, 17.0),
        &exponential(1, &[(1, &[0.03, 10.05, -5.94, 2.0, 5.0])]).with_zero(1.0, 42.0),
    );
    check_lost(
        exponential(0, &[(1, &[2.0, 3.0]), (1, &[2.0, 5.0])]).with_zero(1.0, 17.0),
        exponential(0, &[(1, &[17.0, 2.0]), (1, &[0.03, 0.0])]).with_zero(1.0, 1.0),
        &exponential(2, &[(-2, &[1e100, 4.1, -1e100]), (1, &[2.1]), (1, &[0.0, 7.0, -6.0])]).with_zero(0.01, 11.0),
        &exponential(0, &[(1, &[21.1, 6.0]), (1, &[2.03, 5.0])]).with_zero(1.0, 33.1),
    );
}

prop_compose! {
    fn any_histogram()(
        schema in -2i32..4,
        zero in (prop::sample::select(vec![0.0, 0.001, 0.3, 1.0, 3.0]), 0u8..5),
        positive in (-6i32..6, prop::collection::vec(0u8..4, 0..8)),
        negative in (-6i32..6, prop::collection::vec(0u8..4, 0..8)),
    ) -> FloatHistogram {
        let floats = |counts: &[u8]| counts.iter().map(|count| f64::from(*count)).collect::<Vec<_>>();
        // No buckets within the zero bucket, as targets expose them.
        let outside = |(offset, counts): &(i32, Vec<u8>)| {
            let inside = counts.iter().zip(*offset..).filter(|(_, i)| bounds::exponential(*i, schema) <= zero.0).count();
            (offset + inside as i32, floats(&counts[inside..]))
        };
        let ((at, positive), (negative_at, negative)) = (outside(&positive), outside(&negative));
        exponential(schema, &[(at, &positive)])
            .with_negative(&[(negative_at, &negative)])
            .with_zero(zero.0, f64::from(zero.1))
    }
}

proptest! {
    #[test]
    fn plain_and_compensated_sums_agree_and_commute(a in any_histogram(), b in any_histogram()) {
        let (mut plain, mut other_way, mut compensated, mut lost) = (a.clone(), b.clone(), a.clone(), None);
        plain.add(&b).unwrap();
        other_way.add(&a).unwrap();
        compensated.kahan_add(&b, &mut lost).unwrap();
        prop_assert_eq!(plain.validate(), Ok(()));
        // Small whole numbers lose nothing.
        prop_assert!(compensated.has_same_data(&plain), "{} {}", compensated, plain);
        prop_assert!(lost.unwrap().positive_buckets.iter().all(|lost| *lost == 0.0));
        prop_assert_eq!(plain.count, a.count + b.count);
        prop_assert_eq!(plain.zero_threshold, other_way.zero_threshold);
        prop_assert_eq!(plain.zero_count, other_way.zero_count);
    }
}
