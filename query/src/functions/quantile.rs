//! Quantiles of plain values.

use std::cmp::Ordering;

/// The order in which quantiles see values: NaN before all else.
fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The `phi`-quantile, between the two nearest values in proportion. NaN without values or when `phi` is NaN, an infinity when
/// `phi` is not between 0 and 1. Reorders the values.
pub fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let rank = phi * (values.len() - 1) as f64;
    let weight = rank - rank.floor();
    let (_, lower, above) = values.select_nth_unstable_by(rank.floor() as usize, nan_first);
    let lower = *lower;
    let upper = above.iter().copied().min_by(nan_first).unwrap_or(lower);
    lower * (1.0 - weight) + upper * weight
}

/// Median of the distances from the median, NaN if any value is. Reorders and replaces the values.
pub fn median_absolute_deviation(values: &mut [f64]) -> f64 {
    // Quantiles sort NaN away to the front, where it would only shift the median.
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_nearest_values() {
        for (phi, values, result) in [
            (0.0, &[0.0, 1.0, 2.0][..], 0.0),
            (0.5, &[2.0, 0.0, 1.0], 1.0),
            (0.75, &[1.0, 0.0, 2.0], 1.5),
            (0.8, &[0.0, 1.0, 2.0], 1.6),
            (1.0, &[0.0, 1.0, 2.0], 2.0),
            (0.5, &[3.0], 3.0),
            (-0.1, &[1.0], f64::NEG_INFINITY),
            (1.1, &[1.0], f64::INFINITY),
            (0.5, &[f64::NAN, 1.0, 2.0], 1.0),
            (1.0, &[2.0, f64::NAN], 2.0),
            (0.0, &[f64::NEG_INFINITY, 0.0], f64::NEG_INFINITY),
        ] {
            assert_eq!(quantile(phi, &mut values.to_vec()), result, "{phi} of {values:?}");
        }
        assert!(quantile(0.5, &mut []).is_nan());
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan());
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn deviations_are_from_the_median() {
        for (values, result) in [(&[4.0, 6.0, 2.0, 1.0, 999.0, 1.0, 2.0][..], 1.0), (&[7.0, 7.0], 0.0), (&[5.0], 0.0)] {
            assert_eq!(median_absolute_deviation(&mut values.to_vec()), result, "{values:?}");
        }
        assert!(median_absolute_deviation(&mut [1.0, 2.0, f64::NAN, 4.0]).is_nan());
    }
}
