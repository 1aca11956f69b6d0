//! What is wrong with a configuration, and where. Texts are Prometheus' where it has one; secrets are never in them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_saphyr::Error as YamlError;

/// A rule of the configuration that does not hold. Its text is meant for the person who wrote the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Why no configuration could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("open {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("parsing YAML file {}: {at}", path.display())]
    Parse { path: PathBuf, at: ParseError },
    #[error("parsing YAML file {}: {invalid}", path.display())]
    Invalid { path: PathBuf, invalid: Invalid },
    #[error("error retrieving {what} for {pattern:?}: {source}")]
    Glob { what: &'static str, pattern: String, source: io::Error },
}

/// A place in a YAML text and what is wrong there. Prints the line below the message, with secrets masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line and column from 1; `None` where the parser does not know.
    pub place: Option<(usize, usize)>,
    pub message: String,
    /// The line as it stands in the file; empty when there is no place.
    pub excerpt: String,
}

impl ParseError {
    /// Reads the place and the message from the YAML library's error and cuts the excerpt from the text.
    pub fn of(error: &YamlError, text: &str) -> Self {
        let bare = error.without_snippet();
        let place = error.location().map(|at| (at.line() as usize, at.column() as usize)).filter(|(line, _)| *line > 0);
        let message = match bare {
            YamlError::SerdeUnknownField { field, .. } => format!("field {field} not found in this section"),
            other => strip_place(&other.render_with_formatter(&serde_saphyr::UserMessageFormatter)),
        };
        let excerpt = place.map(|(line, _)| masked_line(text, line)).unwrap_or_default();
        Self { place, message, excerpt }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((line, column)) = self.place else { return f.write_str(&self.message) };
        let number = line.to_string();
        write!(f, "line {line}, column {column}: {}\n  {number} | {}", self.message, self.excerpt)?;
        write!(f, "\n  {:pad$} | {:column$}^", "", "", pad = number.len(), column = column.saturating_sub(1))
    }
}

impl std::error::Error for ParseError {}

/// The YAML library ends its texts with the place, which is printed in front here.
fn strip_place(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    text.rsplit_once(" at line ").map_or(text, |(message, _)| message).trim_end_matches(',').to_owned()
}

/// Keys whose value is, or holds, a secret.
const SECRET_KEYS: [&str; 9] = [
    "password",
    "credentials",
    "client_secret",
    "bearer_token",
    "secret_key",
    "secrets",
    "key",
    "access_key",
    "proxy_connect_header",
];
/// Sections that hold a secret. A plain value in place of one is most likely the secret itself.
const SECRET_SECTIONS: [&str; 3] = ["authorization", "basic_auth", "oauth2"];
/// What a secret is shown as.
pub const MASK: &str = "<secret>";

/// Whether the value of this key is masked wherever it is shown.
pub fn is_secret_key(key: &str) -> bool {
    SECRET_KEYS.contains(&key)
}

/// One line of the text; what follows a secret's key is masked, and so are passwords of URLs and lines that continue a secret.
fn masked_line(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let Some(shown) = line.checked_sub(1).and_then(|i| lines.get(i)) else { return String::new() };
    if is_within_secret(&lines[..line - 1], shown) {
        return format!("{}{MASK}", " ".repeat(indent_of(shown)));
    }
    match secret_from(shown) {
        Some(at) => format!("{} {MASK}", &shown[..at]),
        None => without_url_password(shown),
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether one of the keys that the line lies under is a secret's. An item of a list may stand at the column of its key.
fn is_within_secret(above: &[&str], shown: &str) -> bool {
    let reach = |line: &str| indent_of(line) + usize::from(line.trim_start().starts_with("- "));
    let mut inside = reach(shown);
    let is_plain = !is_mapping_line(shown);
    above.iter().rev().filter(|line| !line.trim().is_empty()).any(|line| {
        let is_parent = indent_of(line) < inside;
        if is_parent {
            inside = reach(line).min(inside);
        }
        is_parent && (secret_from(line).is_some() || (is_plain && section_from(line).is_some()))
    })
}

/// Whether the line looks like a key of a section, and so not like a value that stands on a line of its own.
fn is_mapping_line(line: &str) -> bool {
    line.trim().split_once(':').is_some_and(|(key, rest)| {
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_-\"' {".contains(c);
        (rest.is_empty() || rest.starts_with(' ')) && !key.trim().contains(' ') && key.chars().all(is_key)
    })
}

/// `scheme://user:password@host` with the password masked, wherever it stands in the line.
fn without_url_password(line: &str) -> String {
    let Some((before, rest)) = line.split_once("://") else { return line.to_owned() };
    let end = rest.find(['/', ' ', '"', '\'', ',']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}:{MASK}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    format!("{before}://{shown}{}", without_url_password(tail))
}

/// Where in the line the value of a secret's key begins, or a plain value in place of a section with a secret.
fn secret_from(line: &str) -> Option<usize> {
    let is_plain = |at: &usize| !matches!(line[*at..].trim_start().chars().next(), None | Some('{' | '#' | '&' | '*'));
    value_of(line, is_secret_key).or_else(|| section_from(line).filter(is_plain))
}

/// Where in the line the value of a section with a secret begins.
fn section_from(line: &str) -> Option<usize> {
    value_of(line, |key| SECRET_SECTIONS.contains(&key))
}

fn value_of(line: &str, is_wanted: impl Fn(&str) -> bool) -> Option<usize> {
    line.match_indices(':').map(|(at, _)| at).find_map(|at| {
        let key = line[..at].rsplit([' ', '{', ',', '-', '\t']).next()?.trim_matches(['"', '\'']);
        is_wanted(key).then_some(at + 1)
    })
}

/// `path: error` as Prometheus prefixes errors of included files.
pub fn in_file(path: &Path, error: impl fmt::Display) -> Invalid {
    Invalid::new(format!("{:?}: {error}", path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::masked_line;

    #[test]
    fn excerpts_never_show_a_secret() {
        let text = "a:\n  basic_auth: {username: u, password: hunter2, x: 1}\n  credentials: |\n    hunter2\n    more\n  \"password\": hunter2\n  password_file: f\n  url: http://u:hunter2@h/p";
        assert_eq!(masked_line(text, 2), "  basic_auth: {username: u, password: <secret>");
        assert_eq!(masked_line(text, 4), "    <secret>");
        assert_eq!(masked_line(text, 5), "    <secret>");
        assert_eq!(masked_line(text, 6), "  \"password\": <secret>");
        assert_eq!(masked_line(text, 7), "  password_file: f");
        assert_eq!(masked_line(text, 8), "  url: http://u:<secret>@h/p");
    }

    #[test]
    fn a_plain_value_in_place_of_a_section_is_taken_for_its_secret() {
        for (text, shown) in [
            ("  authorization: Bearer hunter2", "  authorization: <secret>"),
            ("- {basic_auth: 'u:hunter2'}", "- {basic_auth: <secret>"),
            ("oauth2: |\n  id: hunter2", "  <secret>"),
            ("authorization:\n  Bearer hunter2", "  <secret>"),
            ("authorization: {typ: Basic}", "authorization: {typ: Basic}"),
            ("authorization: # how", "authorization: # how"),
            ("basic_auth:\n  usernam: u", "  usernam: u"),
        ] {
            assert_eq!(masked_line(text, text.lines().count()), shown, "{text}");
        }
    }
}
