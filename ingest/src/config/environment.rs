//! `$NAME` and `${NAME}` in external labels, the one place where Prometheus expands the environment.

/// Looks a variable up; a hole that `src/` fills from the process' environment.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands as Go's `os.Expand`: `$$` is a dollar, an unset variable is empty and is reported to `unset`,
/// a dollar before anything that is no name stays, and broken braces are dropped.
pub fn expand(text: &str, lookup: &Lookup<'_>, mut unset: impl FnMut(&str)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let (name, tail) = split_name(&rest[at + 1..]);
        match name {
            Name::None => out.push('$'),
            Name::Broken => {}
            Name::Is("$") => out.push('$'),
            Name::Is(name) => match lookup(name).filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(&value),
                None => unset(name),
            },
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

enum Name<'a> {
    None,
    Broken,
    Is(&'a str),
}

/// Names of one character that a shell knows.
fn is_special(c: char) -> bool {
    matches!(c, '*' | '#' | '$' | '@' | '!' | '?' | '-' | '0'..='9')
}

fn split_name(rest: &str) -> (Name<'_>, &str) {
    if let Some(inner) = rest.strip_prefix('{') {
        let mut chars = inner.chars();
        if let (Some(c), Some('}')) = (chars.next(), chars.next())
            && is_special(c)
        {
            return (Name::Is(&inner[..1]), &inner[2..]);
        }
        return match inner.find('}') {
            None => (Name::Broken, inner),
            Some(0) => (Name::Broken, &inner[1..]),
            Some(end) => (Name::Is(&inner[..end]), &inner[end + 1..]),
        };
    }
    match rest.chars().next() {
        Some(c) if is_special(c) => (Name::Is(&rest[..1]), &rest[1..]),
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end == 0 { (Name::None, rest) } else { (Name::Is(&rest[..end]), &rest[end..]) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn expands_as_go_does() {
        let lookup = |name: &str| (name == "TEST").then(|| "TestValue".to_owned());
        for (text, expanded) in [
            ("foo${TEST}bar", "fooTestValuebar"),
            ("foo$TEST", "fooTestValue"),
            ("foo$TESTbar", "foo"),
            ("foo$${TEST}bar", "foo${TEST}bar"),
            ("foo$$bar", "foo$bar"),
            ("a$ b", "a$ b"),
            ("a$", "a$"),
            ("a${}b", "ab"),
            ("a${b", "ab"),
            ("ü$TEST.ü", "üTestValue.ü"),
            ("${1}x", "x"),
        ] {
            assert_eq!(expand(text, &lookup, |_| {}), expanded, "{text}");
        }
    }
}
