//! Durations as Prometheus writes them: `1y2w3d4h5m6s7ms`, each unit at most once and in this order.

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {}", crate::labels::quote(.0))]
    Invalid(String),
    #[error("duration out of range")]
    OutOfRange,
}

/// Units in the order they must appear, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses to milliseconds; `0` needs no unit. At most 2^63 nanoseconds, as Go's `time.Duration` (about 292 years).
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(0);
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let (mut rest, mut next_unit, mut total) = (text, 0, 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let at = UNITS[next_unit..].iter().position(|(name, _)| *name == unit).ok_or_else(invalid)? + next_unit;
        if digits == 0 {
            return Err(invalid());
        }
        let number: i64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        let part = number.checked_mul(UNITS[at].1).ok_or(DurationError::OutOfRange)?;
        total = total.checked_add(part).filter(|ms| *ms <= i64::MAX / 1_000_000).ok_or(DurationError::OutOfRange)?;
        (rest, next_unit) = (tail, at + 1);
    }
    Ok(total)
}

/// Prints milliseconds as Prometheus' `model.Duration`: years, weeks and days only where they divide what is left exactly
/// in years or days; `0s` for zero.
pub fn format_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs() as i64;
    for (unit, size, exact) in [
        ("y", UNITS[0].1, true),
        ("w", UNITS[1].1, true),
        ("d", UNITS[2].1, false),
        ("h", UNITS[3].1, false),
        ("m", UNITS[4].1, false),
        ("s", UNITS[5].1, false),
        ("ms", 1, false),
    ] {
        if exact && rest % size != 0 {
            continue;
        }
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, ms, back) in [
            ("0", 0, "0s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("2w", 14 * 86_400_000, "2w"),
            ("10d", 864_000_000, "10d"),
            ("1y", 31_536_000_000, "1y"),
            ("15ms", 15, "15ms"),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
            assert_eq!(format_ms(ms), back);
        }
        for bad in ["", "1", "1d1y", "1m1m", "-1m", "1.5h", "m", "300y", "1 h"] {
            assert!(parse_ms(bad).is_err(), "{bad}");
        }
    }
}
