//! What number and string literals stand for, with Go's rules and error texts.

use pharos_model::labels::quote;
use pharos_model::number;

/// The value of a number literal: an integer in base 2, 8 (also by a leading zero), 10 or 16, or else a float.
/// `Err` says why as Go's `strconv.ParseFloat` does.
pub(crate) fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    let failed = |why: &str| format!("strconv.ParseFloat: parsing {}: {why}", quote(text));
    if !underscores_separate_digits(text) {
        return Err(failed("invalid syntax"));
    }
    let digits = text.replace('_', "");
    match number::parse_float(&digits) {
        None => Err(failed("invalid syntax")),
        Some(value) if value.is_infinite() && digits.contains(|c: char| c.is_ascii_digit()) => {
            Err(failed("value out of range"))
        }
        Some(value) => Ok(value),
    }
}

/// Go's `strconv.ParseInt` with base 0; `None` for what it refuses.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace('_', "");
    let (digits, radix) = match () {
        () if lower.starts_with("0x") => (&lower[2..], 16),
        () if lower.starts_with("0b") => (&lower[2..], 2),
        () if lower.starts_with("0o") => (&lower[2..], 8),
        () if lower.starts_with('0') && lower.len() > 1 => (&lower[1..], 8),
        () => (&*lower, 10),
    };
    i64::from_str_radix(digits, radix).ok()
}

/// Whether every underscore stands between digits, or between a base prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let hexadecimal = lower.starts_with("0x");
    let has_prefix = hexadecimal || lower.starts_with("0b") || lower.starts_with("0o");
    let mut last = if has_prefix { b'0' } else { b' ' };
    for byte in lower.bytes().skip(if has_prefix { 2 } else { 0 }) {
        let is_digit = byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
        match (byte, last) {
            (b'_', b'0') => last = b'_',
            (b'_', _) => return false,
            _ if is_digit => last = b'0',
            (_, b'_') => return false,
            _ => last = b'!',
        }
    }
    last != b'_'
}

/// The bytes of a quoted string. The lexer has checked its escapes.
pub(crate) fn unquote(quoted: &str) -> Vec<u8> {
    let inner = &quoted[1..quoted.len() - 1];
    if quoted.starts_with('`') || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        rest = push_escape(&mut out, escape);
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Appends what the escape at the start of `text` (behind its backslash) stands for; returns what follows it.
fn push_escape<'a>(out: &mut Vec<u8>, text: &'a str) -> &'a str {
    let kind = text.as_bytes()[0];
    let (from, to, radix) = match kind {
        b'x' => (1, 3, 16),
        b'u' => (1, 5, 16),
        b'U' => (1, 9, 16),
        b'0'..=b'7' => (0, 3, 8),
        _ => {
            out.push(match kind {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                // A backslash or a quote stands for itself.
                other => other,
            });
            return &text[1..];
        }
    };
    let value = u32::from_str_radix(&text[from..to], radix).expect("the lexer checked the digits");
    if matches!(kind, b'u' | b'U') {
        let c = char::from_u32(value).expect("the lexer checked the code point");
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(value).expect("the lexer checked that it is one byte"));
    }
    &text[to..]
}

/// A string as Go's `strconv.Quote` writes it, bytes that are no UTF-8 as `\xff`.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_go_s_bases_and_underscores() {
        for (text, value) in [
            ("1", 1.0),
            ("0755", 493.0),
            ("08", 8.0),
            ("0x1F", 31.0),
            ("0x_1f", 31.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("5e-3", 0.005),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
            ("9223372036854775808", 9223372036854775808.0),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("NaN").is_ok_and(f64::is_nan));
        assert_eq!(parse_number("1e999"), Err("strconv.ParseFloat: parsing \"1e999\": value out of range".into()));
        assert_eq!(parse_number("0x"), Err("strconv.ParseFloat: parsing \"0x\": invalid syntax".into()));
    }

    #[test]
    fn escapes_stand_for_bytes() {
        for (quoted, bytes) in [
            (r#""\xff""#, b"\xff".as_slice()),
            (r#""\377""#, b"\xff"),
            (r#""\u00ff""#, "ÿ".as_bytes()),
            (r#""\U0001F600""#, "😀".as_bytes()),
            (r#"'a\'b\\"'"#, br#"a'b\""#),
            (r"`a\n`", br"a\n"),
            (r#""\a\b\f\n\r\t\v""#, b"\x07\x08\x0c\n\r\t\x0b"),
        ] {
            assert_eq!(unquote(quoted), bytes, "{quoted}");
        }
        assert_eq!(quote_bytes(b"a\xff\"\n"), r#""a\xff\"\n""#);
    }
}
