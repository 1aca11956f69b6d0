//! Replacement templates by the rules of Go's `Regexp.Expand`.

/// Fills `$1`, `${1}`, `$name`, `${name}`; `$$` is a dollar sign. A group that does not exist or did not take part is
/// empty; a dollar sign with nothing usable behind it stays.
pub(super) fn expand(template: &str, names: &[Option<String>], captures: &regex::Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('$') {
        out.push_str(text);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((reference, after)) = reference(after) {
            out.push_str(resolve(reference, names, captures));
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The longest name at the front, or one in braces, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

fn resolve<'t>(reference: &str, names: &[Option<String>], captures: &regex::Captures<'t>) -> &'t str {
    let group = |number: usize| captures.get(number).map(|group| group.as_str());
    let by_number = || {
        let plain = reference.bytes().all(|b| b.is_ascii_digit()) && (reference == "0" || !reference.starts_with('0'));
        plain.then(|| reference.parse().ok()).flatten()
    };
    match by_number() {
        Some(number) => group(number),
        // Several groups may have one name: the first that took part counts.
        None => (0..names.len()).filter(|&number| names[number].as_deref() == Some(reference)).find_map(group),
    }
    .unwrap_or_default()
}
