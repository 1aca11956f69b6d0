//! Floats as Go writes and reads them: PromQL, the HTTP API and the expositions depend on the exact text.

use std::ops::Range;

/// Magnitudes that the query API writes without an exponent, besides zero.
const JSON_WITHOUT_EXPONENT: Range<f64> = 1e-6..1e21;
/// Below this every whole `f64` is written by its digits; well within what it holds exactly.
const INTEGERS_BELOW: f64 = 1e15;

/// Go's `strconv.FormatFloat(value, 'f', -1, 64)`: shortest digits that round-trip, never an exponent; `NaN`, `+Inf`, `-Inf`.
pub fn format_f(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => format!("{v}"),
    }
}

/// Go's `'e', -1`: shortest digits, sign and at least two digits in the exponent (`1e+06`).
pub fn format_e(value: f64) -> String {
    if !value.is_finite() {
        return format_f(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("LowerExp writes an exponent");
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Value text of the query API: as [`format_f`], but as [`format_e`] when `0 < |value| < 1e-6` or `|value| >= 1e21`.
pub fn format_json(value: f64) -> String {
    with_exponent_outside(value, JSON_WITHOUT_EXPONENT)
}

/// Appends the text of [`format_json`], for everyday values without a text in between.
pub fn push_json(out: &mut Vec<u8>, value: f64) {
    use std::io::Write as _;
    let magnitude = value.abs();
    if magnitude < INTEGERS_BELOW && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        if value < 0.0 {
            out.push(b'-');
        }
        push_u64(out, magnitude as u64);
    } else if JSON_WITHOUT_EXPONENT.contains(&magnitude) {
        write!(out, "{value}").expect("a Vec takes every write");
    } else {
        out.extend_from_slice(format_json(value).as_bytes());
    }
}

/// Appends a number's decimal digits.
pub fn push_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)` and `%g`, `%v`: as [`format_e`] when the exponent is below -4 or at least
/// 6, else as [`format_f`].
pub fn format_g(value: f64) -> String {
    with_exponent_outside(value, 1e-4..1e6)
}

fn with_exponent_outside(value: f64, plain: Range<f64>) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !plain.contains(&magnitude) { format_e(value) } else { format_f(value) }
}

/// As OpenMetrics wants `le` and `quantile`: [`format_g`] with a `.0` where there is neither point nor exponent.
pub fn format_openmetrics(value: f64) -> String {
    let text = format_g(value);
    if value.is_finite() && !text.contains(['e', '.']) { text + ".0" } else { text }
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum FloatError {
    #[error("invalid syntax")]
    Syntax,
    /// The infinity that the number rounds to.
    #[error("value out of range")]
    Range(f64),
}

/// Go's `strconv.ParseFloat(text, 64)`: decimal and hexadecimal floats (`0x1.8p-2`), single underscores between digits,
/// `inf`, `infinity` and `nan` in any case, a sign except for `nan`. The text formats take less: there, refuse `_`, `p` and
/// `P` first, as Prometheus does.
pub fn parse_float_checked(text: &str) -> Result<f64, FloatError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    } else if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::from_bits(crate::sample::NORMAL_NAN_BITS));
    } else if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        hexadecimal(hex)
    } else {
        decimal(unsigned)
    }
    .ok_or(FloatError::Syntax)?;
    let value = if negative { -magnitude } else { magnitude };
    if value.is_infinite() { Err(FloatError::Range(value)) } else { Ok(value) }
}

/// As [`parse_float_checked`]; what is out of range becomes an infinity, the value that accompanies Go's error.
pub fn parse_float(text: &str) -> Option<f64> {
    match parse_float_checked(text) {
        Ok(value) | Err(FloatError::Range(value)) => Some(value),
        Err(FloatError::Syntax) => None,
    }
}

fn decimal(text: &str) -> Option<f64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    without_underscores(text, u8::is_ascii_digit)?.parse().ok()
}

/// What follows `0x`: digits, a point perhaps, and an exponent of two, which is not optional.
fn hexadecimal(text: &str) -> Option<f64> {
    // The prefix counts as a digit before an underscore.
    let text = without_underscores(&format!("0{text}"), u8::is_ascii_hexdigit)?;
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // The first digit is the one that stands for the prefix.
    if whole.len() + fraction.len() < 2 {
        return None;
    }
    let (mut mantissa, mut scale, mut sticky) = (0u64, 0i64, false);
    for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = u64::from(char::from(digit).to_digit(16)?);
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            sticky |= digit != 0;
            scale += 4;
        }
        if at >= whole.len() {
            scale -= 4;
        }
    }
    Some(scaled(mantissa, sticky, scale.saturating_add(binary_exponent(exponent)?)))
}

/// A sign and digits. Beyond any exponent a float can have it need not be exact.
fn binary_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(i64::MAX / 2).min(i64::MAX / 2);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `mantissa * 2^exponent`, rounded half to even; `sticky` says that digits below the mantissa were not all zero.
fn scaled(mantissa: u64, sticky: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let leading = exponent.saturating_add(i64::from(63 - mantissa.leading_zeros()));
    if leading > 1023 {
        return f64::INFINITY;
    }
    // What the lowest bit of the result is worth.
    let unit = (leading - 52).max(-1074);
    let dropped = unit.saturating_sub(exponent);
    let units = match u32::try_from(dropped) {
        Err(_) if dropped < 0 => mantissa << -dropped,
        Ok(bits @ 0..=63) => {
            let kept = mantissa >> bits;
            let rest = mantissa - (kept << bits);
            let half = 1u64.checked_shl(bits).unwrap_or(0) >> 1;
            let up = bits > 0 && (rest > half || rest == half && (sticky || kept & 1 == 1));
            kept + u64::from(up)
        }
        Ok(64) => u64::from(mantissa > 1 << 63 || mantissa == 1 << 63 && sticky),
        _ => 0,
    };
    let power = match unit {
        -1074..=-1023 => f64::from_bits(1 << (unit + 1074)),
        _ => f64::from_bits(((unit + 1023) as u64) << 52),
    };
    units as f64 * power
}

/// The text without its underscores, each of which must stand between two digits.
fn without_underscores(text: &str, is_digit: fn(&u8) -> bool) -> Option<String> {
    let bytes = text.as_bytes();
    let digit_at = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(is_digit);
    for (at, _) in text.match_indices('_') {
        if !digit_at(at.checked_sub(1)) || !digit_at(Some(at + 1)) {
            return None;
        }
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests;
