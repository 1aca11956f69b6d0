//! Character classes: brackets, `\d` and its kin, POSIX names, Unicode categories and scripts, and escapes of one character.
//!
//! Perl and POSIX classes are ASCII. Folding of case comes before negation, as in RE2.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, HirKind};

use super::RegexError;
use super::parser::error;

type Result<T> = std::result::Result<T, RegexError>;

/// POSIX class names and their ranges; `\d`, `\s` and `\w` are not among them, `\s` lacks the vertical tab.
const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7f')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", &[('0', '9')]),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// The class with every character that differs only in case added.
pub(super) fn folded(mut class: ClassUnicode) -> ClassUnicode {
    class.try_case_fold_simple().expect("the case tables are compiled in");
    class
}

fn of_ranges(ranges: &[(char, char)], fold_case: bool, negated: bool) -> ClassUnicode {
    let class = ClassUnicode::new(ranges.iter().map(|&(start, end)| ClassUnicodeRange::new(start, end)));
    finish(class, fold_case, negated)
}

fn finish(class: ClassUnicode, fold_case: bool, negated: bool) -> ClassUnicode {
    let mut class = if fold_case { folded(class) } else { class };
    if negated {
        class.negate();
    }
    class
}

/// `[...]`: the class and what follows it.
pub(super) fn bracketed(text: &str, fold_case: bool) -> Result<(ClassUnicode, &str)> {
    let (negated, mut rest) = match text[1..].strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, &text[1..]),
    };
    let mut class = ClassUnicode::empty();
    // A bracket that comes first is a literal.
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((named, tail)) = posix(rest, fold_case)? {
            class.union(&named);
            rest = tail;
        } else if let Some((escaped, tail)) = escape(rest, fold_case)? {
            class.union(&escaped);
            rest = tail;
        } else {
            let (start, end, tail) = range(rest, text)?;
            let range = of_codes(start, end);
            class.union(&if fold_case { folded(range) } else { range });
            rest = tail;
        }
    }
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// One character or a range of them within brackets; `whole` is the class from its bracket on.
fn range<'a>(text: &'a str, whole: &str) -> Result<(u32, u32, &'a str)> {
    let (start, rest) = class_char(text, whole)?;
    let Some(after_dash) = rest.strip_prefix('-').filter(|tail| !tail.is_empty() && !tail.starts_with(']')) else {
        return Ok((start, start, rest));
    };
    let (end, rest) = class_char(after_dash, whole)?;
    if end < start {
        return Err(error("invalid character class range", &text[..text.len() - rest.len()]));
    }
    Ok((start, end, rest))
}

fn class_char<'a>(text: &'a str, whole: &str) -> Result<(u32, &'a str)> {
    match text.chars().next() {
        None => Err(error("missing closing ]", whole)),
        Some('\\') => escaped_char(text),
        Some(c) => Ok((u32::from(c), &text[c.len_utf8()..])),
    }
}

/// The characters from one code point to another, the surrogates between them left out.
fn of_codes(start: u32, end: u32) -> ClassUnicode {
    let start = char::from_u32(start).unwrap_or('\u{e000}');
    let end = char::from_u32(end).unwrap_or('\u{d7ff}');
    ClassUnicode::new((start <= end).then(|| ClassUnicodeRange::new(start, end)))
}

/// `[:name:]` or `[:^name:]` within brackets.
fn posix(text: &str, fold_case: bool) -> Result<Option<(ClassUnicode, &str)>> {
    let Some(end) = text.strip_prefix("[:").and_then(|rest| rest.find(":]")) else { return Ok(None) };
    let (whole, tail) = text.split_at(end + 4);
    let name = &whole[2..end + 2];
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    match POSIX.iter().find(|(known, _)| *known == name) {
        Some((_, ranges)) => Ok(Some((of_ranges(ranges, fold_case, negated), tail))),
        None => Err(error("invalid character class range", whole)),
    }
}

/// `\d \D \s \S \w \W`, `\pN` and `\p{Name}`; `None` when the text is something else.
pub(super) fn escape(text: &str, fold_case: bool) -> Result<Option<(ClassUnicode, &str)>> {
    let bytes = text.as_bytes();
    let (Some(b'\\'), Some(&kind)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    let ranges: &[(char, char)] = match kind.to_ascii_lowercase() {
        b'd' => &[('0', '9')],
        b's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        b'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        b'p' => return unicode(text, fold_case).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((of_ranges(ranges, fold_case, kind.is_ascii_uppercase()), &text[2..])))
}

/// A general category or a script, by one letter or by a name in braces.
fn unicode(text: &str, fold_case: bool) -> Result<(ClassUnicode, &str)> {
    let invalid = |expression| error("invalid character class range", expression);
    let (whole, name) = match text[2..].chars().next() {
        None => return Err(invalid(text)),
        Some('{') => {
            let end = text.find('}').ok_or_else(|| invalid(text))?;
            (&text[..=end], &text[3..end])
        }
        Some(letter) => {
            let whole = &text[..2 + letter.len_utf8()];
            (whole, &whole[2..])
        }
    };
    let (inverted, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let negated = text.starts_with("\\P") != inverted;
    let class = unicode_table(name).ok_or_else(|| invalid(whole))?;
    Ok((finish(class, fold_case, negated), &text[whole.len()..]))
}

/// The table of a general category, else of a script. Binary properties and ages are not part of the dialect.
fn unicode_table(name: &str) -> Option<ClassUnicode> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b' ')) {
        return None;
    }
    ["gc", "sc"].into_iter().find_map(|property| {
        let hir = regex_syntax::parse(&format!("\\p{{{property}={name}}}")).ok()?;
        match hir.into_kind() {
            HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => Some(class),
            // A class of no character is no class to the library.
            _ => Some(ClassUnicode::empty()),
        }
    })
}

/// An escape that stands for one code point: `\n`, `\123`, `\x7f`, `\x{10ffff}`, `\.`.
pub(super) fn escaped_char(text: &str) -> Result<(u32, &str)> {
    let after = &text[1..];
    let Some(c) = after.chars().next() else { return Err(error("trailing backslash at end of expression", "")) };
    let rest = &after[c.len_utf8()..];
    let code = match c {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hex(text, rest),
        // A single digit would be a reference to a group.
        '0' => return Ok(octal(after)),
        '1'..='7' if rest.starts_with(|next: char| next.is_digit(8)) => return Ok(octal(after)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(invalid_escape(text, rest)),
    };
    Ok((code, rest))
}

fn invalid_escape(text: &str, rest: &str) -> RegexError {
    error("invalid escape sequence", &text[..text.len() - rest.len()])
}

/// Up to three octal digits.
fn octal(text: &str) -> (u32, &str) {
    let len = text.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (digits, rest) = text.split_at(len);
    (digits.bytes().fold(0, |code, digit| code * 8 + u32::from(digit - b'0')), rest)
}

/// Two hexadecimal digits, or any number of them in braces; `text` is the whole escape, `rest` follows its `x`.
fn hex<'a>(text: &'a str, rest: &'a str) -> Result<(u32, &'a str)> {
    let mut chars = rest.chars();
    let mut next = || chars.next();
    match next() {
        None => Err(invalid_escape(text, rest)),
        Some('{') => {
            let (mut code, mut digits) = (0u32, 0);
            loop {
                match next() {
                    Some('}') if digits > 0 => return Ok((code, chars.as_str())),
                    Some(c) if c.is_ascii_hexdigit() => {
                        code = code * 16 + c.to_digit(16).expect("checked by the guard");
                        digits += 1;
                        if code > u32::from(char::MAX) {
                            return Err(invalid_escape(text, chars.as_str()));
                        }
                    }
                    _ => return Err(invalid_escape(text, chars.as_str())),
                }
            }
        }
        Some(high) => {
            let low = next();
            match (high.to_digit(16), low.and_then(|low| low.to_digit(16))) {
                (Some(high), Some(low)) => Ok((high * 16 + low, chars.as_str())),
                _ => Err(invalid_escape(text, chars.as_str())),
            }
        }
    }
}
