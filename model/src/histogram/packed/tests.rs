use super::*;
use crate::histogram::fixtures::{custom, exponential};
use crate::sample::stale_nan;

fn packed(histogram: &FloatHistogram) -> PackedHistogram {
    PackedHistogram::try_from(histogram).unwrap()
}

fn check_round_trip(histogram: &FloatHistogram, counts: CountKind) {
    let packed = packed(histogram);
    assert_eq!(packed.layout.counts, counts);
    let back = packed.to_float();
    assert!(back.has_same_data(histogram) && back.counter_reset_hint == histogram.counter_reset_hint);
    assert_eq!(PackedHistogram::try_from(&back).unwrap(), packed);
}

#[test]
fn whole_counts_are_integers_and_others_floats() {
    let whole = exponential(3, &[(-7, &[4.0, 0.0, 9.0]), (2, &[1.0])]).with_negative(&[(1, &[3.0, 5.0])]);
    check_round_trip(&whole.clone().with_zero(1e-3, 7.0).with_sum(stale_nan()), CountKind::Whole);
    check_round_trip(&custom(&[0.5, 1.0], &[1.0, 2.0, 9_007_199_254_740_000.0]), CountKind::Whole);
    check_round_trip(&whole.clone().with_zero(0.5, 0.25), CountKind::Float);
    check_round_trip(&exponential(0, &[(0, &[1e300, 1.0])]), CountKind::Float);
    check_round_trip(&FloatHistogram { zero_count: -0.0, ..whole.clone() }, CountKind::Float);
    check_round_trip(&FloatHistogram { count: f64::NAN, ..whole }, CountKind::Float);
    check_round_trip(&FloatHistogram::default(), CountKind::Whole);
}

#[test]
fn what_is_invalid_or_too_large_is_refused() {
    let invalid = FloatHistogram { schema: 9, ..FloatHistogram::default() };
    assert_eq!(PackedHistogram::try_from(&invalid), Err(PackError::Invalid(HistogramError::Schema(9))));
    let counts: Vec<f64> = (0..5_000).map(|i| f64::from(i) + 0.5).collect();
    let error = PackedHistogram::try_from(&exponential(8, &[(0, &counts)])).unwrap_err();
    assert_eq!(error.to_string(), "histogram of 40083 bytes is over the limit of 32768");
}

#[test]
fn the_hint_says_what_is_known_of_the_sample_before() {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    let first = exponential(1, &[(0, &[1.0, 2.0])]);
    let gauge = first.clone().with_hint(Gauge);
    for (next, before, expected) in [
        (exponential(1, &[(0, &[1.0, 2.0])]), &first, NotCounterReset),
        (exponential(1, &[(0, &[3.0, 2.0])]), &first, NotCounterReset),
        (exponential(1, &[(0, &[3.0, 2.5])]), &first, NotCounterReset),
        (exponential(1, &[(0, &[3.0, 1.0])]), &first, Unknown),
        (exponential(1, &[(0, &[1.0, 2.0, 3.0])]), &first, NotCounterReset),
        (exponential(1, &[(0, &[9.0])]), &first, Unknown),
        (exponential(0, &[(0, &[4.0, 9.0])]), &first, Unknown),
        (first.clone().with_zero(0.1, 1.0), &first, Unknown),
        (exponential(1, &[(0, &[1.0, 2.0])]).with_hint(CounterReset), &first, Unknown),
        (gauge.clone(), &first, Gauge),
        (gauge.clone(), &gauge, Gauge),
        (first.clone(), &gauge, Unknown),
    ] {
        assert_eq!(packed(&next).hint_after(&packed(before)), expected, "{next} after {before}");
    }
    assert_eq!(packed(&first.clone().with_hint(NotCounterReset)).hint_alone(), Unknown);
    assert_eq!(packed(&gauge).hint_alone(), Gauge);
}
