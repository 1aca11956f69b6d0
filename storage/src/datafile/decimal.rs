//! Splits a series' values into exact decimals and the rest.
//!
//! A column of `mantissa / 10^scale` compresses to a fraction of a column of doubles, because what instruments report
//! are decimals. Every value is checked for its exact bits: one that no mantissa reproduces (NaN with its payload, a
//! staleness marker, infinity, `-0`, a double of 17 digits) is an *exception* and is kept as a double, at its position.
//! One scale serves a series; it is the one that makes the series smallest, so a few noisy doubles do not widen the rest.

/// Largest scale: 10^22 is the last power of ten that a double holds exactly, so `m / 10^scale` rounds once, as a
/// parser of the decimal does.
pub(crate) const SCALE_MAX: u8 = 22;
/// Integers up to here are exact in a double, so are quotients of two of them correctly rounded.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// What an exception is reckoned to cost, in bytes: its double and its place.
const EXCEPTION_COST_BYTES: f64 = 9.0;

const POWERS: [f64; SCALE_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The value of a mantissa. `scale` is at most [`SCALE_MAX`].
#[inline]
pub(crate) fn join(mantissa: i64, scale: u8) -> f64 {
    mantissa as f64 / POWERS[usize::from(scale)]
}

/// [`join`] of many.
pub(crate) fn join_all(mantissas: &[i64], scale: u8, out: &mut Vec<f64>) {
    match scale {
        0 => out.extend(mantissas.iter().map(|mantissa| *mantissa as f64)),
        _ => out.extend(mantissas.iter().map(|mantissa| join(*mantissa, scale))),
    }
}

/// The mantissa that reproduces `value` bit for bit at this scale.
#[inline]
pub(crate) fn split(value: f64, scale: u8) -> Option<i64> {
    let scaled = value * POWERS[usize::from(scale)];
    // At scale 0 any integer that fits the mantissa will do: a double is its own nearest double.
    let limit = if scale == 0 { 9.2e18 } else { EXACT_MAX };
    if scaled.is_nan() || scaled.abs() > limit {
        return None;
    }
    let mantissa = scaled.round_ties_even() as i64;
    (join(mantissa, scale).to_bits() == value.to_bits()).then_some(mantissa)
}

/// The scale that stores `values` in the fewest bytes; `None` when plain doubles are no worse.
pub(crate) fn best_scale(values: &[f64]) -> Option<u8> {
    let mut needing = [0_u32; SCALE_MAX as usize + 1];
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut near = 0;
    for &value in values {
        if let Some(scale) = smallest_scale(value, near) {
            needing[usize::from(scale)] += 1;
            (low, high) = (low.min(value), high.max(value));
            near = scale;
        }
    }
    let mut fitting = 0;
    let mut best = (values.len() as f64 * EXCEPTION_COST_BYTES, None);
    for (scale, &count) in needing.iter().enumerate().filter(|(_, count)| **count > 0) {
        fitting += count;
        let exceptions = values.len() as f64 - f64::from(fitting);
        let bytes =
            f64::from(fitting) * mantissa_bytes((high - low) * POWERS[scale]) + exceptions * EXCEPTION_COST_BYTES;
        if bytes < best.0 {
            best = (bytes, Some(scale as u8));
        }
    }
    best.1
}

/// Bytes that vary among mantissas that lie this far apart; the others compress away.
fn mantissa_bytes(spread: f64) -> f64 {
    ((spread + 1.0).log2() / 8.0).min(8.0)
}

/// The smallest scale that reproduces the value, searched from one near by: neighbours mostly agree.
fn smallest_scale(value: f64, near: u8) -> Option<u8> {
    if split(value, 0).is_some() {
        return Some(0);
    }
    if split(value, near).is_some() {
        return (1..near).rev().take_while(|scale| split(value, *scale).is_some()).last().or(Some(near));
    }
    (near + 1..=SCALE_MAX).find(|scale| split(value, *scale).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_keep_their_bits() {
        for text in ["0.1", "1769200", "5.0e-324", "1234567.89", "-0.000123456", "1e22", "9007199254740993", "0.3"] {
            let value: f64 = text.parse().unwrap();
            if let Some(scale) = best_scale(&[value; 4]) {
                assert_eq!(join(split(value, scale).unwrap(), scale).to_bits(), value.to_bits(), "{text}");
            }
        }
        assert_eq!(best_scale(&[0.25, 0.5, 3.0]), Some(2));
        assert_eq!(best_scale(&[1e15, 2e15]), Some(0));
    }

    #[test]
    fn what_is_no_decimal_is_an_exception_at_every_scale() {
        let stale = pharos_model::sample::stale_nan();
        for value in [f64::NAN, stale, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, f64::MIN_POSITIVE] {
            assert!((0..=SCALE_MAX).all(|scale| split(value, scale).is_none()), "{value}");
        }
    }

    #[test]
    fn one_noisy_value_does_not_set_the_scale() {
        let mut values: Vec<f64> =
            (0..200).map(|i| f64::from(i) * 7.0 / 1000.0 + 100.0).map(|v| (v * 1e3).round() / 1e3).collect();
        values.push(123.456_000_000_000_02);
        assert_eq!(best_scale(&values), Some(3));
    }

    proptest! {
        #[test]
        fn a_mantissa_is_only_given_for_exact_bits(bits in any::<u64>(), scale in 0..=SCALE_MAX) {
            let value = f64::from_bits(bits);
            if let Some(mantissa) = split(value, scale) {
                prop_assert_eq!(join(mantissa, scale).to_bits(), bits);
            }
        }

        #[test]
        fn decimals_of_up_to_fifteen_digits_are_found(mantissa in -999_999_999_999_999_i64..1_000_000_000_000_000, scale in 0_u8..=15) {
            let value: f64 = format!("{mantissa}e-{scale}").parse().unwrap();
            if value.to_bits() != (-0.0_f64).to_bits() {
                prop_assert!(smallest_scale(value, 0).is_some_and(|found| found <= scale));
            }
        }
    }
}
