//! Expected values are those of upstream's `native_histograms.test`.

use super::*;
use crate::histogram::fixtures::{custom, exponential};

/// `</` and `>/` of upstream's scripts.
#[derive(Clone, Copy)]
enum Trim {
    Upper(f64),
    Lower(f64),
}
use Trim::{Lower, Upper};

const INFINITY: f64 = f64::INFINITY;

/// `expected` has all but the sum, which is given.
fn check(histogram: &FloatHistogram, trim: Trim, expected: &FloatHistogram, sum: f64) {
    let mut trimmed = histogram.clone();
    match trim {
        Upper(limit) => trimmed.trim_upper(limit),
        Lower(limit) => trimmed.trim_lower(limit),
    }
    let expected = expected.clone().with_sum(sum);
    assert!(trimmed.almost_equals(&expected, 1e-9), "{trimmed}, not {expected}");
}

fn both_sides() -> FloatHistogram {
    exponential(0, &[(0, &[2.0, 4.0, 8.0, 16.0])])
        .with_negative(&[(0, &[1.0, 2.0])])
        .with_zero(0.001, 1.0)
        .with_sum(123.75)
}

fn nothing(zero_threshold: f64) -> FloatHistogram {
    FloatHistogram { zero_threshold, ..FloatHistogram::default() }
}

#[test]
fn what_is_not_trimmed_keeps_its_sum() {
    check(&both_sides(), Lower(-INFINITY), &both_sides(), 123.75);
    check(&both_sides(), Upper(INFINITY), &both_sides(), 123.75);
    let custom = custom(&[5.0, 10.0], &[1.0, 6.0, 4.0]).with_sum(172.5);
    check(&custom, Lower(-INFINITY), &custom, 172.5);
    check(&custom, Upper(INFINITY), &custom, 172.5);
    check(&custom, Lower(0.0), &custom, 172.5);
}

#[test]
fn bounds_of_buckets_need_no_interpolation() {
    let above = exponential(0, &[(2, &[8.0, 16.0])]).with_zero(0.001, 0.0);
    check(&both_sides(), Lower(2.0), &above, 113.13708498984761);
    let below = exponential(0, &[(0, &[2.0, 4.0])]).with_negative(&[(0, &[1.0, 2.0])]).with_zero(0.001, 1.0);
    check(&both_sides(), Upper(2.0), &below, 3.5355339059327373);
    check(&both_sides(), Upper(-1.0), &nothing(0.001).with_negative(&[(1, &[2.0])]), -2.8284271247461903);
    check(&both_sides(), Lower(INFINITY), &nothing(0.001), 0.0);
    check(&both_sides(), Upper(-INFINITY), &nothing(0.001), 0.0);
}

#[test]
fn exponential_buckets_are_cut_by_logarithm() {
    let half = std::f64::consts::SQRT_2;
    let below = exponential(0, &[(0, &[2.0, 2.0])]).with_negative(&[(0, &[1.0, 2.0])]).with_zero(0.001, 1.0);
    check(&both_sides(), Upper(half), &below, 0.2570938865989847);
    let above = exponential(0, &[(1, &[2.0, 8.0, 16.0])]).with_zero(0.001, 0.0);
    check(&both_sides(), Lower(half), &above, 116.50067065070982);
    let fine = exponential(2, &[(0, &[1.0, 2.0, 4.0, 7.0, 3.0])])
        .with_negative(&[(0, &[1.0, 5.0, 3.0, 1.0])])
        .with_zero(0.001, 1.0);
    let above = exponential(2, &[(0, &[1.0, 2.0, 4.0, 7.0, 3.0])])
        .with_negative(&[(0, &[1.0, 5.0, 1.54213947904476])])
        .with_zero(0.001, 1.0);
    check(&fine, Lower(-1.3), &above, 16.29588491217537);
    let below = nothing(0.001).with_negative(&[(2, &[1.45786052095524, 1.0])]);
    check(
        &FloatHistogram { schema: 2, ..fine },
        Upper(-1.3),
        &FloatHistogram { schema: 2, ..below },
        -3.5189307983595066,
    );
}

#[test]
fn a_zero_bucket_lies_on_the_side_that_has_buckets() {
    let positive = exponential(0, &[(0, &[10.0])]).with_zero(0.5, 2.0).with_sum(8.021067811865476);
    check(&positive, Lower(0.1), &exponential(0, &[(0, &[10.0])]).with_zero(0.5, 1.6), 7.551067811865476);
    check(&positive, Lower(0.0), &positive, 8.021067811865476);
    check(&positive, Upper(0.1), &nothing(0.5).with_zero(0.5, 0.4), 0.02);
    check(&positive, Upper(0.0), &nothing(0.5), 0.0);
    let negative = nothing(0.5).with_negative(&[(0, &[10.0])]).with_zero(0.5, 2.0).with_sum(-8.021067811865476);
    check(&negative, Upper(-0.1), &nothing(0.5).with_negative(&[(0, &[10.0])]).with_zero(0.5, 1.6), -7.551067811865476);
    check(&negative, Lower(-0.5), &nothing(0.5).with_zero(0.5, 2.0), -0.5);
    let alone = nothing(0.1).with_zero(0.1, 5.0);
    check(&alone, Lower(0.05), &nothing(0.1).with_zero(0.1, 1.25), 0.09375);
    check(&alone, Upper(0.0), &nothing(0.1).with_zero(0.1, 2.5), -0.125);
    check(&alone, Upper(-0.1), &nothing(0.1), 0.0);
}

#[test]
fn custom_buckets_are_cut_evenly() {
    let bounds = [5.0, 10.0, 15.0, 20.0];
    let histogram = custom(&bounds, &[1.0, 6.0, 4.0, 3.0, 1.0]).with_sum(172.5);
    check(&histogram, Upper(13.0), &custom(&bounds, &[1.0, 6.0, 2.4]), 75.1);
    check(&histogram, Lower(13.0), &custom(&bounds, &[0.0, 0.0, 1.6, 3.0, 1.0]), 94.9);
    check(&histogram, Lower(15.0), &custom(&bounds, &[0.0, 0.0, 0.0, 3.0, 1.0]), 72.5);
    // The bucket up to +Inf goes even if the limit is in it.
    check(&histogram, Upper(50.0), &custom(&bounds, &[1.0, 6.0, 4.0, 3.0]), 150.0);
    check(&histogram, Upper(0.0), &custom(&bounds, &[]), 0.0);
}

#[test]
fn endless_buckets_are_kept_or_dropped_by_what_is_known() {
    let one = custom(&[], &[100.0]);
    for (trim, is_kept) in
        [(Upper(10.0), false), (Lower(10.0), false), (Upper(INFINITY), true), (Lower(-INFINITY), true)]
    {
        check(&one, trim, &if is_kept { one.clone() } else { custom(&[], &[]) }, 0.0);
    }
    for (bound, trim, counts, sum) in [
        (0.0, Upper(10.0), [1.0, 0.0], 0.0),
        (0.0, Upper(-10.0), [1.0, 0.0], -10.0),
        (0.0, Lower(-10.0), [0.0, 100.0], 0.0),
        (0.0, Lower(10.0), [0.0, 100.0], 1000.0),
        (5.0, Upper(10.0), [1.0, 0.0], 2.5),
        (5.0, Upper(2.0), [0.4, 0.0], 0.4),
        (5.0, Upper(0.0), [0.0, 0.0], 0.0),
        (5.0, Lower(-10.0), [0.0, 100.0], 500.0),
        (5.0, Lower(2.0), [0.6, 100.0], 502.1),
        (-5.0, Upper(-2.0), [1.0, 0.0], -5.0),
        (-5.0, Upper(-10.0), [1.0, 0.0], -10.0),
        (-5.0, Lower(-10.0), [0.0, 100.0], -500.0),
        (-5.0, Lower(-2.0), [0.0, 100.0], -200.0),
    ] {
        check(&custom(&[bound], &[1.0, 100.0]).with_sum(33.0), trim, &custom(&[bound], &counts), sum);
    }
    check(&custom(&[5.0], &[1.0, 100.0]).with_sum(33.0), Lower(0.0), &custom(&[5.0], &[1.0, 100.0]), 33.0);
}

#[test]
fn a_limit_that_is_nan_keeps_nothing_in_buckets() {
    let mut histogram = exponential(0, &[(0, &[1.0])]).with_sum(1.0);
    histogram.trim_upper(f64::NAN);
    assert_eq!(histogram, nothing(0.0));
}
