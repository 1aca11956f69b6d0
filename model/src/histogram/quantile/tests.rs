//! Expected values are those of upstream's `native_histograms.test`.

use super::*;
use crate::histogram::fixtures::{custom, exponential};

fn check(histogram: &FloatHistogram, quantiles: &[(f64, f64)]) {
    for &(q, expected) in quantiles {
        let quantile = histogram.quantile(q);
        assert_eq!(quantile.nan_effect, None);
        let is_near =
            quantile.value == expected || (quantile.value - expected).abs() <= 1e-9 * expected.abs().max(1e-3);
        assert!(is_near, "{q} of {histogram}: {}, not {expected}", quantile.value);
    }
}

const BUCKETS: [(i32, &[f64]); 1] = [(0, &[2.0, 3.0, 0.0, 1.0, 4.0])];

#[test]
fn exponential_buckets_are_interpolated_by_logarithm_and_the_zero_bucket_evenly() {
    check(
        &exponential(0, &BUCKETS).with_zero(0.001, 2.0),
        &[
            (1.001, f64::INFINITY),
            (1.0, 16.0),
            (0.99, 15.67072476139083),
            (0.9, 12.99603834169977),
            (0.6, 4.594793419988138),
            (0.5, 1.5874010519681994),
            (0.1, 0.0006),
            (0.0, 0.0),
            (-1.0, f64::NEG_INFINITY),
        ],
    );
}

#[test]
fn negative_buckets_mirror_positive_ones() {
    check(
        &exponential(0, &[]).with_negative(&BUCKETS).with_zero(0.001, 2.0),
        &[
            (1.0, 0.0),
            (0.99, -0.00006),
            (0.9, -0.0006),
            (0.5, -1.5874010519681996),
            (0.1, -12.996038341699768),
            (0.0, -16.0),
        ],
    );
}

#[test]
fn a_zero_bucket_between_both_sides_is_centred() {
    check(
        &exponential(0, &BUCKETS).with_negative(&BUCKETS).with_zero(0.001, 4.0),
        &[
            (0.99, 15.34822590920423),
            (0.7, 1.2030250360821164),
            (0.55, 0.0006),
            (0.5, 0.0),
            (0.45, -0.0006),
            (0.3, -1.2030250360821169),
            (0.01, -15.34822590920423),
            (0.0, -16.0),
        ],
    );
}

#[test]
fn the_schema_does_not_matter() {
    for (schema, expected) in [(-1, 8.0), (0, 2.82842712474619), (1, 1.6817928305074292)] {
        check(&exponential(schema, &[(0, &[0.0, 0.0, 5.0])]), &[(0.5, expected)]);
    }
}

#[test]
fn custom_buckets_are_interpolated_evenly_and_bounded_by_what_is_known() {
    let histogram = custom(&[5.0, 10.0, 15.0, 20.0], &[1.0, 6.0, 4.0, 3.0, 1.0]);
    check(&histogram, &[(0.5, 10.625), (0.0, 0.0), (1.0 / 30.0, 2.5), (1.0, 20.0), (0.99, 20.0)]);
    check(&custom(&[-5.0, 5.0], &[2.0, 2.0]), &[(0.1, -5.0), (0.75, 0.0)]);
}

#[test]
fn without_observations_there_is_no_quantile() {
    assert!(FloatHistogram::default().quantile(0.5).value.is_nan());
    assert!(exponential(0, &BUCKETS).quantile(f64::NAN).value.is_nan());
    // Counted, but in no bucket and not NaN: nothing to answer with but 0.
    let unsound = FloatHistogram { count: 3.0, ..FloatHistogram::default() };
    assert_eq!(unsound.quantile(0.4).value, 0.0);
}

fn with_nan(count: f64, buckets: &[f64]) -> FloatHistogram {
    FloatHistogram { count, sum: f64::NAN, ..exponential(0, &[(0, buckets)]) }
}

#[test]
fn nan_observations_are_above_all_others() {
    let is_nan = |quantile: Quantile| quantile.value.is_nan() && quantile.nan_effect == Some(NanEffect::ResultIsNan);
    assert!(is_nan(with_nan(3.0, &[]).quantile(0.4)));
    assert!(is_nan(with_nan(15.0, &[12.0]).quantile(0.81)));
    let skewed = |value| Quantile { value, nan_effect: Some(NanEffect::SkewedHigher) };
    assert_eq!(with_nan(15.0, &[12.0]).quantile(0.8), skewed(1.0));
    assert!((with_nan(15.0, &[12.0]).quantile(0.4).value - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-12);
}

#[test]
fn a_sum_of_both_infinities_skews_nothing() {
    assert_eq!(with_nan(12.0, &[12.0]).quantile(1.0), Quantile { value: 1.0, nan_effect: None });
}

#[test]
fn with_nan_observations_the_last_bucket_is_interpolated() {
    // The rank of 5 is in the middle of (0.5,1], but Prometheus 3.14 answers from (1,2].
    let quantile = with_nan(40.0, &[10.0, 10.0]).quantile(0.125);
    assert!((quantile.value - std::f64::consts::SQRT_2).abs() < 1e-12, "{quantile:?}");
}
