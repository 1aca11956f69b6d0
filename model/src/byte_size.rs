//! Byte sizes as Prometheus' flags and configuration write them: `512MB`, `1.5GiB`, `1GiB512MiB`; 1024 in every case.

/// Why a text is no byte size; reads as the library that Prometheus uses puts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    #[error("units: invalid {0}")]
    Invalid(String),
    #[error("units: missing unit in {0}")]
    MissingUnit(String),
    #[error("units: unknown unit {unit} in {text}")]
    UnknownUnit { unit: String, text: String },
    #[error("units: overflow parsing unit")]
    OutOfRange,
}

/// Prefixes of the units, each 1024 times the one before.
const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// Parses to bytes, rounded down; `0` needs no unit. `KB` and `KiB` are the same, but one text uses one kind.
pub fn parse(text: &str) -> Result<i64, ByteSizeError> {
    parse_with(text, "iB").or_else(|_| parse_with(text, "B"))
}

fn parse_with(text: &str, suffix: &str) -> Result<i64, ByteSizeError> {
    let invalid = || ByteSizeError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut bytes = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        if unit.is_empty() {
            return Err(ByteSizeError::MissingUnit(text.to_owned()));
        }
        bytes += number
            * unit_bytes(unit, suffix)
                .ok_or_else(|| ByteSizeError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        rest = tail;
    }
    // The largest float below 2^63 is an integer, so the cast is exact.
    if bytes >= i64::MAX as f64 {
        return Err(ByteSizeError::OutOfRange);
    }
    Ok(if negative { -(bytes as i64) } else { bytes as i64 })
}

fn unit_bytes(unit: &str, suffix: &str) -> Option<f64> {
    if unit == "B" {
        return Some(1.0);
    }
    let prefix = unit.strip_suffix(suffix).filter(|prefix| !prefix.is_empty())?;
    let power = PREFIXES.iter().position(|known| *known == prefix)?;
    Some(1024f64.powi(power as i32))
}

/// Prints bytes in whole units from the largest down: `1GiB512MiB`, `0B`.
pub fn format(bytes: i64) -> String {
    if bytes == 0 {
        return "0B".into();
    }
    let (mut rest, mut parts) = (bytes, Vec::new());
    for (power, prefix) in PREFIXES.iter().enumerate() {
        if rest % 1024 != 0 {
            parts.push(format!("{}{prefix}{}", rest % 1024, if power == 0 { "B" } else { "iB" }));
        }
        rest /= 1024;
    }
    parts.reverse();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, back) in [
            ("0", 0, "0B"),
            ("0B", 0, "0B"),
            ("1B", 1, "1B"),
            ("1KB", 1024, "1KiB"),
            ("1KiB", 1024, "1KiB"),
            ("512MB", 512 << 20, "512MiB"),
            ("1.5GiB", 1536 << 20, "1GiB512MiB"),
            ("1GB512MB", 1536 << 20, "1GiB512MiB"),
            ("+.5KB", 512, "512B"),
            ("10TB", 10 << 40, "10TiB"),
            ("2PB", 2 << 50, "2PiB"),
            ("1EB", 1 << 60, "1EiB"),
            ("1025B", 1025, "1KiB1B"),
            ("-1KB", -1024, "-1KiB"),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(format(bytes), back);
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for (text, error) in [
            ("", "units: invalid "),
            ("-", "units: invalid -"),
            ("MB", "units: invalid MB"),
            (".MB", "units: invalid .MB"),
            ("1.2.3MB", "units: invalid 1.2.3MB"),
            ("10", "units: missing unit in 10"),
            ("1KB5", "units: missing unit in 1KB5"),
            ("1K", "units: unknown unit K in 1K"),
            ("1kB", "units: unknown unit kB in 1kB"),
            ("1GB1MiB", "units: unknown unit MiB in 1GB1MiB"),
            ("1 MB", "units: unknown unit  MB in 1 MB"),
            ("8EB", "units: overflow parsing unit"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }
}
