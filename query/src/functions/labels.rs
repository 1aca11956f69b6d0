//! `label_replace` and `label_join`: one label of a set is made from others. An empty result removes the label.

use pharos_model::LabelSet;
use pharos_model::regex::LabelRegex;

use crate::functions::error::FunctionError;

/// A checked `label_replace` or `label_join`.
#[derive(Clone, Debug)]
pub struct LabelKernel {
    destination: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// The template filled from what the pattern takes of a label's value.
    Replace { template: String, label: String, pattern: LabelRegex },
    /// The values of labels with a separator between.
    Join { separator: String, labels: Vec<String> },
}

impl LabelKernel {
    /// `label_replace(v, destination, template, label, pattern)`.
    pub fn replace(destination: &str, template: &str, label: &str, pattern: &str) -> Result<Self, FunctionError> {
        // In this order: a call that is wrong twice has one error text.
        let pattern = LabelRegex::new(pattern).map_err(|_| FunctionError::Regex(pattern.to_owned()))?;
        check_destination("label_replace", destination)?;
        let source = Source::Replace { template: template.to_owned(), label: label.to_owned(), pattern };
        Ok(Self { destination: destination.to_owned(), source })
    }

    /// `label_join(v, destination, separator, labels...)`.
    pub fn join(destination: &str, separator: &str, labels: &[String]) -> Result<Self, FunctionError> {
        if let Some(invalid) = labels.iter().find(|label| label.is_empty()) {
            return Err(FunctionError::SourceLabel(invalid.clone()));
        }
        check_destination("label_join", destination)?;
        let source = Source::Join { separator: separator.to_owned(), labels: labels.to_vec() };
        Ok(Self { destination: destination.to_owned(), source })
    }

    /// The label that is written. When it is the metric name, the series keeps its name to the end.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The changed set; `None` when the pattern does not match and the set stays as it is.
    pub fn apply(&self, labels: &LabelSet) -> Option<LabelSet> {
        let value = match &self.source {
            Source::Replace { template, label, pattern } => {
                pattern.captures(labels.get_or_empty(label))?.expand(template)
            }
            Source::Join { separator, labels: sources } => {
                sources.iter().map(|label| labels.get_or_empty(label)).collect::<Vec<_>>().join(separator)
            }
        };
        Some(labels.to_builder().set(&self.destination, &value).build())
    }
}

/// Any UTF-8 is a label name, as long as there is some.
fn check_destination(function: &'static str, label: &str) -> Result<(), FunctionError> {
    if label.is_empty() {
        return Err(FunctionError::DestinationLabel { function, label: label.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(labels.iter().copied())
    }

    #[test]
    fn label_replace_fills_its_template_where_the_pattern_matches_all() {
        let before = set(&[("__name__", "m"), ("src", "source-value-10"), ("dst", "old")]);
        for ((destination, template, source, pattern), after) in [
            (("dst", "destination-value-$1", "src", "source-value-(.*)"), Some(vec![("dst", "destination-value-10")])),
            (("dst", "value-$1", "src", "value-(.*)"), None),
            (("dst", "value-$1", "src", "source-value"), None),
            (("dst", "", "src", ".*"), Some(vec![("dst", "")])),
            (("dst", "$1", "nonexistent", "(.*)"), Some(vec![("dst", "")])),
            (("new", "x", "nonexistent", ""), Some(vec![("new", "x")])),
            (("src", "", "", ""), Some(vec![("src", "")])),
            (("__name__", "${n}_total", "__name__", "(?P<n>.*)"), Some(vec![("__name__", "m_total")])),
            (("dst", "$1", "src", "(?i)SOURCE-(.*)"), Some(vec![("dst", "value-10")])),
        ] {
            let kernel = LabelKernel::replace(destination, template, source, pattern).unwrap();
            let expected = after.map(|changes| {
                let mut builder = before.to_builder();
                for (name, value) in changes {
                    builder.set(name, value);
                }
                builder.build()
            });
            assert_eq!(kernel.apply(&before), expected, "{destination} {template} {source} {pattern}");
        }
    }

    #[test]
    fn label_join_puts_a_separator_between_all_values() {
        let before = set(&[("__name__", "m"), ("src", "a"), ("src1", "b"), ("src2", "c")]);
        for ((destination, separator, sources), value) in [
            (("dst", "-", &["src", "src1", "src2"][..]), "a-b-c"),
            (("dst", "", &["src", "src1"]), "ab"),
            (("dst", "-", &["src", "missing", "src1"]), "a--b"),
            (("dst", ", ", &[]), ""),
            (("src", "", &["missing"]), ""),
        ] {
            let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
            let kernel = LabelKernel::join(destination, separator, &sources).unwrap();
            let after = kernel.apply(&before).unwrap();
            assert_eq!(after.get_or_empty(destination), value);
        }
    }

    #[test]
    fn wrong_arguments_are_refused_with_upstreams_words() {
        for (result, text) in [
            (LabelKernel::replace("d", "$1", "s", "(.*"), "invalid regular expression in label_replace(): (.*"),
            (LabelKernel::replace("", "$1", "s", "(.*)"), "invalid destination label name in label_replace(): "),
            (LabelKernel::join("", "-", &["a".into()]), "invalid destination label name in label_join(): "),
            (LabelKernel::join("d", "-", &["a".into(), String::new()]), "invalid source label name in label_join(): "),
        ] {
            assert_eq!(result.unwrap_err().to_string(), text);
        }
    }
}
