//! Durations as Prometheus writes them: `1y2w3d4h5m6s7ms`, each unit at most once and in this order.

use crate::labels::quote;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {}", quote(.0))]
    Invalid(String),
    #[error("unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
}

const MS_PER_SECOND: u64 = 1000;
const MS_PER_MINUTE: u64 = 60 * MS_PER_SECOND;
const MS_PER_HOUR: u64 = 60 * MS_PER_MINUTE;
const MS_PER_DAY: u64 = 24 * MS_PER_HOUR;

/// Units in the order they must appear, with their milliseconds, and whether they are printed only when nothing is left over:
/// 90d reads better than 12w6d.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * MS_PER_DAY, true),
    ("w", 7 * MS_PER_DAY, true),
    ("d", MS_PER_DAY, false),
    ("h", MS_PER_HOUR, false),
    ("m", MS_PER_MINUTE, false),
    ("s", MS_PER_SECOND, false),
    ("ms", 1, false),
];

/// What 2^63 - 1 nanoseconds are in whole milliseconds: the longest duration, about 292 years.
const MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Parses to milliseconds, never negative; `0` needs no unit. At most 2^63 nanoseconds, as Go's `time.Duration`.
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let (mut rest, mut next_unit, mut total) = (text, 0, 0u64);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        if number.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let at = UNITS
            .iter()
            .position(|(name, ..)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        if at < next_unit {
            return Err(invalid());
        }
        total = number
            .checked_mul(UNITS[at].1)
            .and_then(|part| total.checked_add(part))
            .filter(|ms| *ms <= MS_MAX)
            .ok_or(DurationError::OutOfRange)?;
        (rest, next_unit) = (tail, at + 1);
    }
    Ok(total as i64)
}

/// As [`parse_ms`], with an optional minus sign in front.
pub fn parse_signed_ms(text: &str) -> Result<i64, DurationError> {
    match text.strip_prefix('-') {
        Some(magnitude) => parse_ms(magnitude).map(|ms| -ms),
        None => parse_ms(text),
    }
}

/// Prints milliseconds as Prometheus' `model.Duration`: years and weeks only where nothing is left over; `0s` for zero.
pub fn format_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut out = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (unit, size, exact) in UNITS {
        if rest >= size && (!exact || rest.is_multiple_of(size)) {
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
            ("0w", 0, "0s"),
            ("0s", 0, "0s"),
            ("324ms", 324, "324ms"),
            ("3s", 3_000, "3s"),
            ("90s", 90_000, "1m30s"),
            ("5m", 300_000, "5m"),
            ("1h", 3_600_000, "1h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("4d", 4 * 86_400_000, "4d"),
            ("4d1h", 97 * 3_600_000, "4d1h"),
            ("14d", 14 * 86_400_000, "2w"),
            ("2w", 14 * 86_400_000, "2w"),
            ("3w2d1h", 23 * 86_400_000 + 3_600_000, "23d1h"),
            ("10d", 864_000_000, "10d"),
            ("1y", 31_536_000_000, "1y"),
            ("8w5d", 61 * 86_400_000, "61d"),
            ("15ms", 15, "15ms"),
            ("1y2w3d4h5m6s7ms", 33_019_506_007, "382d4h5m6s7ms"),
            ("292y", 292 * 31_536_000_000, "292y"),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
            assert_eq!(format_ms(ms), back);
            assert_eq!(parse_ms(back), Ok(ms));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_prometheus_words() {
        for (text, error) in [
            ("", "empty duration string"),
            ("1", r#"not a valid duration string: "1""#),
            ("-1w", r#"not a valid duration string: "-1w""#),
            ("1y1m1d", r#"not a valid duration string: "1y1m1d""#),
            ("1d1y", r#"not a valid duration string: "1d1y""#),
            ("1m1m", r#"not a valid duration string: "1m1m""#),
            ("m", r#"not a valid duration string: "m""#),
            ("1.5d", r#"unknown unit "." in duration "1.5d""#),
            ("1 h", r#"unknown unit " h" in duration "1 h""#),
            ("15sec", r#"unknown unit "sec" in duration "15sec""#),
            ("300y", "duration out of range"),
            ("294y", "duration out of range"),
            ("200y10400w", "duration out of range"),
            ("99999999999999999999s", r#"not a valid duration string: "99999999999999999999s""#),
        ] {
            assert_eq!(parse_ms(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn a_sign_is_read_only_where_asked_for() {
        assert_eq!(parse_signed_ms("-1h30m"), Ok(-5_400_000));
        assert_eq!(parse_signed_ms("5m"), Ok(300_000));
        assert_eq!(parse_signed_ms("-"), Err(DurationError::Empty));
        assert_eq!(format_ms(-5_400_000), "-1h30m");
        assert_eq!(format_ms(i64::MIN), "-106751991167d7h12m55s808ms");
    }
}
