use super::*;
use crate::histogram::fixtures::{custom, exponential};

fn previous() -> FloatHistogram {
    exponential(0, &[(-2, &[1.0, 0.0]), (1, &[3.5, 4.5, 0.5])])
        .with_negative(&[(3, &[3.0, 3.0]), (3, &[8.0, 1.0])])
        .with_zero(0.01, 5.5)
        .with_sum(2349.0)
}

/// Whether a change of `previous` is a reset.
fn is_reset(change: impl FnOnce(&mut FloatHistogram)) -> bool {
    let mut now = previous();
    change(&mut now);
    now.detect_reset(&previous())
}

#[test]
fn counts_that_go_down_are_a_reset() {
    assert!(!is_reset(|_| {}));
    assert!(!is_reset(|h| h.count += 1.0));
    assert!(is_reset(|h| h.count -= 1.0));
    assert!(!is_reset(|h| h.zero_count += 0.1));
    assert!(is_reset(|h| h.zero_count -= 0.1));
    assert!(!is_reset(|h| h.positive_buckets[3] += 0.1));
    assert!(is_reset(|h| h.positive_buckets[3] -= 0.1));
    assert!(!is_reset(|h| h.negative_buckets[1] += 0.1));
    assert!(is_reset(|h| h.negative_buckets[1] -= 0.1));
    assert!(!is_reset(|h| h.sum = -1.0));
}

#[test]
fn only_filled_buckets_are_missed() {
    assert!(!previous().detect_reset(&FloatHistogram::default()));
    assert!(FloatHistogram::default().detect_reset(&previous()));
    assert!(!is_reset(FloatHistogram::compact));
    assert!(is_reset(|h| {
        h.positive_buckets.remove(0);
        h.positive_spans[0] = crate::histogram::Span { offset: -1, length: 1 };
    }));
    let at_the_end = |last: f64| FloatHistogram { count: 0.0, ..exponential(0, &[(0, &[1.0, last])]) };
    let shorter = FloatHistogram { count: 0.0, ..exponential(0, &[(0, &[1.0])]) };
    assert!(!shorter.detect_reset(&at_the_end(0.0)));
    assert!(shorter.detect_reset(&at_the_end(1.0)));
}

#[test]
fn a_zero_bucket_may_grow_to_the_end_of_a_bucket() {
    assert!(is_reset(|h| h.zero_threshold = 0.009));
    assert!(!is_reset(|h| h.zero_threshold = 0.02));
    let widened = |threshold: f64, zero_count: f64| {
        is_reset(|h| {
            (h.zero_threshold, h.zero_count) = (threshold, zero_count);
            h.positive_buckets[0] = 0.0;
        })
    };
    // (0.125,0.25] counts 1.
    assert!(!widened(0.25, 6.5));
    assert!(widened(0.25, 6.4));
    assert!(widened(0.2, 6.5));
    // (0.25,0.5] is there, but empty.
    assert!(!widened(0.3, 6.5));
}

#[test]
fn resolution_may_go_down_only() {
    let fine = exponential(2, &[(-4, &[1.0, 2.0, 4.0, 8.0, 16.0])]);
    let mut coarse = fine.copy_to_schema(0).unwrap();
    assert!(!coarse.detect_reset(&fine));
    assert!(fine.detect_reset(&coarse));
    coarse.positive_buckets[1] -= 1.0;
    assert!(coarse.detect_reset(&fine));
}

#[test]
fn kinds_do_not_change_without_a_reset() {
    let (native, custom) = (exponential(0, &[(0, &[1.0])]), custom(&[1.0], &[1.0]));
    assert!(native.detect_reset(&custom));
    assert!(custom.detect_reset(&native));
    assert!(!custom.detect_reset(&custom.clone()));
}

#[test]
fn custom_bounds_are_compared_where_both_have_one() {
    let before = custom(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    // Up to 2: 3, up to 4: 7, above: 5.
    assert!(!custom(&[2.0, 4.0], &[3.0, 7.0, 5.0]).detect_reset(&before));
    assert!(custom(&[2.0, 4.0], &[2.0, 8.0, 5.0]).detect_reset(&before));
    assert!(custom(&[2.0, 4.0], &[3.0, 8.0, 4.0]).detect_reset(&before));
    assert!(!custom(&[0.5, 2.0, 4.0, 5.0], &[3.0, 0.0, 7.0, 4.0, 1.0]).detect_reset(&before));
    // Nothing in common but +Inf.
    assert!(!custom(&[9.0], &[0.0, 15.0]).detect_reset(&before));
    assert!(custom(&[9.0], &[0.0, 14.0]).detect_reset(&before));
}

#[test]
fn a_hint_that_knows_decides() {
    for (hint, same, less) in [
        (CounterResetHint::Unknown, false, true),
        (CounterResetHint::Gauge, false, true),
        (CounterResetHint::CounterReset, true, true),
        (CounterResetHint::NotCounterReset, false, false),
    ] {
        assert_eq!(is_reset(|h| h.counter_reset_hint = hint), same);
        assert_eq!(FloatHistogram::default().with_hint(hint).detect_reset(&previous()), less);
    }
}

#[test]
fn thresholds_that_do_not_compare_are_a_reset() {
    assert!(is_reset(|h| h.zero_threshold = f64::NAN));
}
