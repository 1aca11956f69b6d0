//! Label sets in their one canonical byte form.
//!
//! The canonical form is a sequence of name and value strings, sorted by name, each with its length
//! in front: one byte below 255, else the byte 255 and three bytes little-endian. It is the packed form of
//! Prometheus' `stringlabels` build, so that its xxhash64 is the hash Prometheus computes
//! (`limit_ratio` makes that hash visible).
//!
//! Invariants: names are unique and ascending by bytes, no name and no value is empty (an empty value
//! means that the label is absent), everything is UTF-8.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that carries the metric name.
pub const METRIC_NAME: &str = "__name__";
/// The label that carries the type of a metric, where types are labels.
pub const TYPE_LABEL: &str = "__type__";
/// The label that carries the unit of a metric, where units are labels.
pub const UNIT_LABEL: &str = "__unit__";
/// The label of a classic histogram's bucket bound.
pub const BUCKET_LABEL: &str = "le";
/// Longest name or value that the canonical form can carry, in bytes.
pub const LABEL_BYTES_MAX: usize = (1 << 24) - 1;

/// One label, borrowed from a [`LabelSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// Why bytes or pairs do not make a label set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    #[error("label set ends in the middle of a label")]
    Truncated,
    #[error("label name or value is not valid UTF-8")]
    InvalidUtf8,
    #[error("label name `{0}` is duplicated")]
    Duplicate(String),
    #[error("label name `{0}` is out of order")]
    Unsorted(String),
    #[error("label name or value is empty")]
    Empty,
    #[error("label `{name}` is {bytes} bytes long, the limit is {LABEL_BYTES_MAX}")]
    TooLong { name: String, bytes: usize },
}

/// An immutable, cheaply cloned set of labels. Equality, hash and order are those of its labels.
#[derive(Clone)]
pub struct LabelSet(Arc<[u8]>);

impl LabelSet {
    /// The set without labels.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Builds from pairs in any order. A later pair replaces an earlier one of the same name, empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelSetBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Takes bytes that may come from a disk or a peer: checks every invariant.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, LabelsError> {
        let mut rest = bytes;
        let mut last: Option<&str> = None;
        while !rest.is_empty() {
            let name = take_checked(&mut rest)?;
            let value = take_checked(&mut rest)?;
            if name.is_empty() || value.is_empty() {
                return Err(LabelsError::Empty);
            }
            match last.map(|last| last.cmp(name)) {
                Some(Ordering::Equal) => return Err(LabelsError::Duplicate(name.to_owned())),
                Some(Ordering::Greater) => return Err(LabelsError::Unsorted(name.to_owned())),
                _ => last = Some(name),
            }
        }
        Ok(Self(Arc::from(bytes)))
    }

    /// Takes bytes that this process made with [`push_label`] in name order, or read from another `LabelSet`.
    /// Invariants are checked in debug builds only.
    pub fn from_canonical_trusted(bytes: &[u8]) -> Self {
        debug_assert!(Self::from_canonical(bytes).is_ok(), "not a canonical label set");
        Self(Arc::from(bytes))
    }

    /// The canonical bytes: identity, group key and join key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of labels; walks the bytes.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn iter(&self) -> Iter<'_> {
        iter_canonical(&self.0)
    }

    /// The value of a label; `None` when the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|label| label.name == name).map(|label| label.value)
    }

    /// The value of a label; empty when the label is absent, as PromQL sees it.
    pub fn get_or_empty(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Keeps only the labels that `keep` accepts.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for label in self.iter().filter(|label| keep(label.name)) {
            push_label(&mut bytes, label.name, label.value);
        }
        if bytes.len() == self.0.len() { self.clone() } else { Self(Arc::from(bytes)) }
    }

    /// The set without the given label.
    pub fn without(&self, name: &str) -> Self {
        self.filter(|other| other != name)
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelSetBuilder {
        LabelSetBuilder { labels: self.iter().map(|l| (l.name.to_owned(), l.value.to_owned())).collect() }
    }

    /// xxhash64 of the canonical bytes with seed 0, the hash that Prometheus' `stringlabels` build has.
    pub fn hash64(&self) -> u64 {
        twox_hash::XxHash64::oneshot(0, &self.0)
    }
}

/// Walks canonical bytes that are known to be valid.
pub fn iter_canonical(bytes: &[u8]) -> Iter<'_> {
    Iter { rest: bytes }
}

/// A label as it lies in canonical bytes, its text not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedLabel<'a> {
    pub name: &'a [u8],
    /// Name and value with their lengths, as [`push_label`] writes them.
    pub encoded: &'a [u8],
}

/// Walks canonical bytes that are known to be valid, for those who copy labels by name. Much cheaper than
/// [`iter_canonical`], which checks names and values to be UTF-8 again.
pub fn iter_encoded(bytes: &[u8]) -> impl Iterator<Item = EncodedLabel<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = rest;
        let name = take_bytes(&mut rest).expect(VALID);
        take_bytes(&mut rest).expect(VALID);
        Some(EncodedLabel { name, encoded: &start[..start.len() - rest.len()] })
    })
}

/// Appends one label to a buffer of canonical bytes. The caller keeps the names ascending.
///
/// # Panics
/// If name or value is longer than [`LABEL_BYTES_MAX`]; decoders refuse those before.
pub fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    push_str(out, name);
    push_str(out, value);
}

fn push_str(out: &mut Vec<u8>, s: &str) {
    assert!(s.len() <= LABEL_BYTES_MAX, "label string beyond LABEL_BYTES_MAX");
    if s.len() < 255 {
        out.push(s.len() as u8);
    } else {
        out.push(255);
        out.extend_from_slice(&(s.len() as u32).to_le_bytes()[..3]);
    }
    out.extend_from_slice(s.as_bytes());
}

fn split_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [255, a, b, c, rest @ ..] => Some((u32::from_le_bytes([*a, *b, *c, 0]) as usize, rest)),
        [255, ..] | [] => None,
        [n, rest @ ..] => Some((*n as usize, rest)),
    }
}

fn take_checked<'a>(rest: &mut &'a [u8]) -> Result<&'a str, LabelsError> {
    std::str::from_utf8(take_bytes(rest)?).map_err(|_| LabelsError::InvalidUtf8)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], LabelsError> {
    let (len, tail) = split_len(rest).ok_or(LabelsError::Truncated)?;
    let (head, tail) = tail.split_at_checked(len).ok_or(LabelsError::Truncated)?;
    *rest = tail;
    Ok(head)
}

/// Why walking canonical bytes does not fail.
const VALID: &str = "canonical bytes are checked when the label set is made";

/// The labels of a set in name order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Label<'a>;

    fn next(&mut self) -> Option<Label<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_checked(&mut self.rest).expect(VALID);
        let value = take_checked(&mut self.rest).expect(VALID);
        Some(Label { name, value })
    }
}

impl<'a> IntoIterator for &'a LabelSet {
    type Item = Label<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Label by label, name before value, as Prometheus sorts a result.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_canonical(&self.0, &other.0)
    }
}

/// Compares label by label, as bytes, which is how texts compare.
fn cmp_canonical(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        // Names, then values.
        for _ in 0..2 {
            let order = take_bytes(&mut a).expect(VALID).cmp(take_bytes(&mut b).expect(VALID));
            if order.is_ne() {
                return order;
            }
        }
    }
    a.len().cmp(&b.len())
}

impl Default for LabelSet {
    fn default() -> Self {
        Self::empty()
    }
}

/// As Prometheus prints a label set: `{a="b", c="d"}`, the metric name among the labels, values quoted as Go does.
/// A name that is not a legacy identifier is quoted too.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, label) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(label.name) {
                f.write_str(label.name)?;
            } else {
                f.write_str(&quote(label.name))?;
            }
            write!(f, "={}", quote(label.value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(ok) && bytes.all(|b| ok(b) || b.is_ascii_digit())
}

/// A string in double quotes with the escapes of Go's `strconv.Quote`.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || c == '\u{feff}' || c == '\u{a0}' || c == '\u{2028}' || c == '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Collects labels in any order and makes a [`LabelSet`].
#[derive(Clone, Debug, Default)]
pub struct LabelSetBuilder {
    /// Sorted by name, no empty values.
    labels: Vec<(String, String)>,
}

impl LabelSetBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.labels.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(i) if value.is_empty() => drop(self.labels.remove(i)),
            Ok(i) => value.clone_into(&mut self.labels[i].1),
            Err(_) if value.is_empty() => {}
            Err(i) => self.labels.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let i = self.labels.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.labels[i].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = Label<'_>> {
        self.labels.iter().map(|(name, value)| Label { name, value })
    }

    pub fn retain(&mut self, mut keep: impl FnMut(Label<'_>) -> bool) {
        self.labels.retain(|(name, value)| keep(Label { name, value }));
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn build(&self) -> LabelSet {
        let mut bytes = Vec::with_capacity(self.labels.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for (name, value) in &self.labels {
            push_label(&mut bytes, name, value);
        }
        LabelSet(Arc::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_prometheus() {
        let set = LabelSet::from_pairs([("__name__", "up"), ("job", "a\"b"), ("a.b", "x"), ("gone", "")]);
        assert_eq!(set.to_string(), r#"{__name__="up", "a.b"="x", job="a\"b"}"#);
    }

    #[test]
    fn long_values_survive_the_canonical_form() {
        let long = "x".repeat(70_000);
        let set = LabelSet::from_pairs([("a", long.as_str()), ("b", "1")]);
        let back = LabelSet::from_canonical(set.as_bytes()).unwrap();
        assert_eq!(back.get("a"), Some(long.as_str()));
        assert_eq!(back.get("b"), Some("1"));
    }

    #[test]
    fn encoded_labels_put_together_are_the_set() {
        let long = "x".repeat(300);
        let set = LabelSet::from_pairs([("__name__", "up"), ("a", long.as_str()), ("b", "1")]);
        let labels: Vec<_> = iter_encoded(set.as_bytes()).collect();
        assert_eq!(labels.iter().map(|label| label.name).collect::<Vec<_>>(), [&b"__name__"[..], b"a", b"b"]);
        assert_eq!(labels.iter().flat_map(|label| label.encoded).copied().collect::<Vec<u8>>(), set.as_bytes());
    }

    #[test]
    fn canonical_bytes_from_outside_are_checked() {
        let mut bytes = Vec::new();
        push_label(&mut bytes, "b", "1");
        push_label(&mut bytes, "a", "1");
        assert_eq!(LabelSet::from_canonical(&bytes), Err(LabelsError::Unsorted("a".into())));
        assert_eq!(LabelSet::from_canonical(&bytes[..3]), Err(LabelsError::Truncated));
        assert_eq!(LabelSet::from_canonical(b"\x01a\x01\xff"), Err(LabelsError::InvalidUtf8));
        assert_eq!(LabelSet::from_canonical(b"\x01a\x00"), Err(LabelsError::Empty));
    }

    #[test]
    fn order_is_by_label_not_by_bytes() {
        let short = LabelSet::from_pairs([("a", "zz")]);
        let long = LabelSet::from_pairs([("a", "bbb")]);
        assert!(long < short);
    }
}
