//! Floats of expositions, read as Prometheus reads them.

use pharos_model::number;

use super::error::quote_bytes;

/// Why a text is no value. Texts are those of Go's `strconv` and of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    #[error("unsupported character in float")]
    Unsupported,
    #[error("strconv.ParseFloat: parsing {0}: invalid syntax")]
    Syntax(String),
    #[error("strconv.ParseFloat: parsing {0}: value out of range")]
    Range(String),
}

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Digits that always fit a double's 53 bits.
const EXACT_DIGITS: usize = 15;

/// Reads a plain decimal at the start of `bytes` and returns it with the number of bytes it takes. Answers only where
/// a double division or multiplication is exact, which is nearly every value of an exposition; the caller has to check
/// that the token ends there, and goes to [`parse`] for everything else.
#[inline]
pub(super) fn short_decimal(bytes: &[u8]) -> Option<(f64, usize)> {
    let is_negative = bytes.first() == Some(&b'-');
    let mut at = usize::from(is_negative);
    let (mut mantissa, mut digits, mut exponent) = (0u64, 0, 0i32);
    while let Some(digit) = digit_at(bytes, at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        (digits, at) = (digits + 1, at + 1);
    }
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        while let Some(digit) = digit_at(bytes, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            (digits, exponent, at) = (digits + 1, exponent - 1, at + 1);
        }
    }
    if digits == 0 || digits > EXACT_DIGITS {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let (power, length) = short_exponent(&bytes[at + 1..])?;
        (exponent, at) = (exponent + power, at + 1 + length);
    }
    let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
    let magnitude = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some((if is_negative { -magnitude } else { magnitude }, at))
}

/// `+06`, `-5`, `21`: at most three digits.
fn short_exponent(bytes: &[u8]) -> Option<(i32, usize)> {
    let is_negative = bytes.first() == Some(&b'-');
    let start = usize::from(is_negative || bytes.first() == Some(&b'+'));
    let (mut power, mut at) = (0, start);
    while let Some(digit) = digit_at(bytes, at) {
        (power, at) = (power * 10 + digit as i32, at + 1);
        if at > start + 3 {
            return None;
        }
    }
    (at > start).then_some((if is_negative { -power } else { power }, at))
}

#[inline]
fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// Reads a whole token: Go's float syntax without hexadecimal floats and underscores. NaN is the canonical one.
pub(super) fn parse(token: &[u8]) -> Result<f64, FloatError> {
    if token.iter().any(|b| b"pP_".contains(b)) {
        return Err(FloatError::Unsupported);
    }
    let syntax = || FloatError::Syntax(quote_bytes(token));
    match number::parse_float_checked(std::str::from_utf8(token).map_err(|_| syntax())?) {
        Ok(value) => Ok(value),
        Err(number::FloatError::Syntax) => Err(syntax()),
        Err(number::FloatError::Range(_)) => Err(FloatError::Range(quote_bytes(token))),
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::sample::NORMAL_NAN_BITS;

    use super::*;

    #[test]
    fn values_read_as_in_go() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("12345", 12345.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-1.5", -1.5),
            ("+3", 3.0),
            ("4.9351e-05", 4.9351e-05),
            ("8.68748e+06", 8.68748e6),
            ("1e22", 1e22),
            ("1e23", 1e23),
            ("9007199254740993", 9007199254740992.0),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("1e-400", 0.0),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_bits(), value.to_bits(), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_bits(), NORMAL_NAN_BITS);
        }
    }

    #[test]
    fn what_go_or_prometheus_refuses_is_refused_in_their_words() {
        for (text, error) in [
            ("true", r#"strconv.ParseFloat: parsing "true": invalid syntax"#),
            ("", r#"strconv.ParseFloat: parsing "": invalid syntax"#),
            ("1e", r#"strconv.ParseFloat: parsing "1e": invalid syntax"#),
            (".", r#"strconv.ParseFloat: parsing ".": invalid syntax"#),
            ("0x10", r#"strconv.ParseFloat: parsing "0x10": invalid syntax"#),
            ("+nan", r#"strconv.ParseFloat: parsing "+nan": invalid syntax"#),
            ("1e999", r#"strconv.ParseFloat: parsing "1e999": value out of range"#),
            ("1_0", "unsupported character in float"),
            ("0x1p-2", "unsupported character in float"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long_way(text in "-?[0-9]{0,17}(\\.[0-9]{0,8})?([eE][+-]?[0-9]{0,4})?") {
            if let Some((value, length)) = short_decimal(text.as_bytes()) && length == text.len() {
                proptest::prop_assert_eq!(value.to_bits(), parse(text.as_bytes()).unwrap().to_bits());
            }
        }
    }
}
