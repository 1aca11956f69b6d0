//! Relabelling: rules that rewrite, keep or drop a label set, as Prometheus applies them to targets and to samples.
//!
//! Knows nothing of where the labels come from. A dropped set is `false`, never an empty set.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use md5::{Digest, Md5};
use pharos_model::labels::{LabelSetBuilder, quote};
use pharos_model::regex::LabelRegex;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::config::block::{Check, Zero, block};
use crate::config::error::Invalid;
use crate::config::scalar::names;
use crate::config::scrape::NameValidation;

names! {
    /// What a rule does. Names are read in any case.
    pub enum Action {
        Replace = "replace",
        Keep = "keep",
        Drop = "drop",
        KeepEqual = "keepequal",
        DropEqual = "dropequal",
        HashMod = "hashmod",
        LabelMap = "labelmap",
        LabelDrop = "labeldrop",
        LabelKeep = "labelkeep",
        Lowercase = "lowercase",
        Uppercase = "uppercase",
    }
    bad = |text: &str| format!("unknown relabel action {}", quote(text));
}

block! {
    /// One rule.
    pub struct RelabelConfig {
        keys {
            source_labels: SourceLabels,
            /// Between the values of the source labels. Default `;`.
            separator: String,
            /// Default `(.*)`.
            regex: Pattern,
            modulus: u64,
            target_label: String,
            /// Default `$1`.
            replacement: String,
            action: AnyCase,
        }
    }
}

impl Check for RelabelConfig {}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_PATTERN: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

static DEFAULT_REGEX: LazyLock<Pattern> =
    LazyLock::new(|| Pattern::new(DEFAULT_PATTERN).expect("the default pattern compiles"));

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: SourceLabels::default(),
            separator: DEFAULT_SEPARATOR.into(),
            regex: DEFAULT_REGEX.clone(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.into(),
            action: AnyCase(Action::Replace),
        }
    }
}

/// An action whose name is read in any case and printed in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyCase(pub Action);

impl<'de> Deserialize<'de> for AnyCase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let lower = text.to_ascii_lowercase();
        Action::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&lower))
            .map(Self)
            .map_err(|_| D::Error::custom(format!("unknown relabel action {}", quote(&text))))
    }
}

impl Serialize for AnyCase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Zero for AnyCase {
    fn is_zero(&self) -> bool {
        false
    }
}

/// Label names, printed on one line as Prometheus does.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct SourceLabels(pub Vec<String>);

impl Serialize for SourceLabels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_saphyr::FlowSeq(&self.0).serialize(serializer)
    }
}

impl Zero for SourceLabels {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

/// A compiled pattern that matches whole values. Cheap to clone; two are equal when their texts are.
#[derive(Clone)]
pub struct Pattern(LabelRegex);

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, Invalid> {
        LabelRegex::new(pattern).map(Self).map_err(|e| Invalid::new(e.to_string()))
    }

    pub fn as_str(&self) -> &str {
        self.0.pattern()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Zero for Pattern {
    fn is_zero(&self) -> bool {
        self.as_str() == DEFAULT_PATTERN
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl RelabelConfig {
    /// Whether the rule's keys fit its action, with names as `validation` has them.
    pub fn validate(&self, validation: NameValidation) -> Result<(), Invalid> {
        use Action as A;
        let action = self.action.0;
        let refuse = |text: String| Err(Invalid::new(text));
        if self.modulus == 0 && action == A::HashMod {
            return refuse("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let equal = matches!(action, A::KeepEqual | A::DropEqual);
        let changes_case = matches!(action, A::Lowercase | A::Uppercase);
        let needs_target = equal || changes_case || matches!(action, A::Replace | A::HashMod);
        if needs_target && self.target_label.is_empty() {
            return refuse(format!("relabel configuration for {action} action requires 'target_label' value"));
        }
        let target_ok = match action {
            A::Replace if self.target_label.contains('$') => is_label_template(&self.target_label, validation),
            _ => !needs_target || validation.is_label_name(&self.target_label),
        };
        if !target_ok {
            return refuse(format!("{} is invalid 'target_label' for {action} action", quote(&self.target_label)));
        }
        if (changes_case || equal) && self.replacement != DEFAULT_REPLACEMENT {
            return refuse(format!("'replacement' can not be set for {action} action"));
        }
        if action == A::LabelMap && !is_label_template(&self.replacement, validation) {
            return refuse(format!("{} is invalid 'replacement' for {action} action", quote(&self.replacement)));
        }
        let plain = self.modulus == 0 && self.separator == DEFAULT_SEPARATOR && self.replacement == DEFAULT_REPLACEMENT;
        if equal && !(plain && self.regex.is_zero()) {
            return refuse(format!(
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        let by_name = matches!(action, A::LabelDrop | A::LabelKeep);
        if by_name && !(plain && self.source_labels.0.is_empty() && self.target_label.is_empty()) {
            return refuse(format!("{action} action requires only 'regex', and no other fields"));
        }
        Ok(())
    }

    /// Applies the rule; `false` when the set is dropped.
    fn apply(&self, labels: &mut LabelSetBuilder, validation: NameValidation) -> bool {
        match self.action.0 {
            Action::Keep => return self.regex.0.is_match(&self.source_value(labels)),
            Action::Drop => return !self.regex.0.is_match(&self.source_value(labels)),
            Action::KeepEqual => {
                return labels.get(&self.target_label).unwrap_or_default() == self.source_value(labels);
            }
            Action::DropEqual => {
                return labels.get(&self.target_label).unwrap_or_default() != self.source_value(labels);
            }
            Action::Replace => self.replace(labels, validation),
            Action::Lowercase => {
                let value = self.source_value(labels).to_lowercase();
                labels.set(&self.target_label, &value);
            }
            Action::Uppercase => {
                let value = self.source_value(labels).to_uppercase();
                labels.set(&self.target_label, &value);
            }
            Action::HashMod => {
                let value = hash_modulus(&self.source_value(labels), self.modulus);
                labels.set(&self.target_label, &value.to_string());
            }
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => labels.retain(|label| !self.regex.0.is_match(label.name)),
            Action::LabelKeep => labels.retain(|label| self.regex.0.is_match(label.name)),
        }
        true
    }

    /// The values of the source labels with the separator between; an absent label is empty.
    fn source_value<'a>(&self, labels: &'a LabelSetBuilder) -> Cow<'a, str> {
        let value = |name: &String| labels.get(name).unwrap_or_default();
        match self.source_labels.0.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => Cow::Borrowed(value(one)),
            many => Cow::Owned(many.iter().map(value).collect::<Vec<_>>().join(&self.separator)),
        }
    }

    fn replace(&self, labels: &mut LabelSetBuilder, validation: NameValidation) {
        let (target, value) = {
            let source = self.source_value(labels);
            let Some(captures) = self.regex.0.captures(&source) else { return };
            (captures.expand(&self.target_label), captures.expand(&self.replacement))
        };
        if validation.is_label_name(&target) {
            labels.set(&target, &value);
        }
    }

    fn map_names(&self, labels: &mut LabelSetBuilder) {
        let renamed: Vec<(String, String)> = labels
            .iter()
            .filter_map(|label| {
                let captures = self.regex.0.captures(label.name)?;
                Some((captures.expand(&self.replacement), label.value.to_owned()))
            })
            .collect();
        for (name, value) in renamed {
            labels.set(&name, &value);
        }
    }
}

/// Applies rules in order; `false` when one of them drops the set, which is then in no defined state.
pub fn process(labels: &mut LabelSetBuilder, rules: &[RelabelConfig], validation: NameValidation) -> bool {
    rules.iter().all(|rule| rule.apply(labels, validation))
}

/// The last eight bytes of the MD5 sum modulo `modulus`, which must not be zero.
fn hash_modulus(value: &str, modulus: u64) -> u64 {
    let sum: [u8; 16] = Md5::digest(value.as_bytes()).into();
    let [.., a, b, c, d, e, f, g, h] = sum;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) % modulus
}

/// Whether a text with `$1`, `${1}` or `${name}` in it can become a label name.
fn is_label_template(text: &str, validation: NameValidation) -> bool {
    match validation {
        NameValidation::Utf8 => !text.is_empty(),
        NameValidation::Legacy => is_legacy_template(text),
    }
}

/// Whether the text is a legacy label name once each reference stands for part of one.
fn is_legacy_template(text: &str) -> bool {
    let mut rest = text;
    let mut started = false;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix('$') {
            let word = |s: &str| s.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let (length, tail) = match tail.strip_prefix('{') {
                Some(inner) => match inner[word(inner)..].strip_prefix('}') {
                    Some(tail) => (word(inner), tail),
                    None => return false,
                },
                None => (word(tail), &tail[word(tail)..]),
            };
            if length == 0 {
                return false;
            }
            rest = tail;
        } else if c.is_ascii_alphabetic() || c == '_' || (started && c.is_ascii_digit()) {
            rest = &rest[1..];
        } else {
            return false;
        }
        started = true;
    }
    started
}
