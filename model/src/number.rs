//! Floats as Go writes and reads them: PromQL, the HTTP API and the expositions depend on the exact text.

/// Go's `strconv.FormatFloat(value, 'f', -1, 64)`: shortest digits that round-trip, never an exponent; `NaN`, `+Inf`, `-Inf`.
pub fn format_f(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => format!("{v}"),
    }
}

/// Value text of the query API: as [`format_f`], but an exponent of at least two digits (`1e-07`, `1e+21`) when `0 < |value| < 1e-6` or `|value| >= 1e21`.
pub fn format_json(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude.is_finite() && magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        exponent_form(value)
    } else {
        format_f(value)
    }
}

/// Go's `'e', -1`: shortest digits, sign and at least two digits in the exponent.
fn exponent_form(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("LowerExp writes an exponent");
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)`: an exponent when it is below -4 or at least 21.
pub fn format_g(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude.is_finite() && magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        exponent_form(value)
    } else {
        format_f(value)
    }
}

/// Go's `strconv.ParseFloat(text, 64)`: decimal and hexadecimal floats, `inf`, `infinity` and `nan` in any case, a sign.
/// Out of range gives an infinity, as the value that accompanies Go's range error.
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned.as_bytes().first()? {
        b'0'..=b'9' | b'.' => text.parse().ok(),
        b'i' | b'I' if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") => {
            Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        b'n' | b'N' if text.eq_ignore_ascii_case("nan") => Some(f64::from_bits(crate::sample::NORMAL_NAN_BITS)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_values_use_an_exponent_only_at_the_ends() {
        for (value, text) in [
            (1e-7, "1e-07"),
            (1.5e21, "1.5e+21"),
            (1e20, "100000000000000000000"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
        ] {
            assert_eq!(format_json(value), text);
        }
        assert_eq!(format_json(f64::NEG_INFINITY), "-Inf");
    }
}
