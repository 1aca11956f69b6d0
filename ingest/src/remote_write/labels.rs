//! The label fields of a series or exemplar as a label set.
//!
//! Senders have to sort labels and to send each name once. Unsorted ones are sorted here, as Prometheus does; a name that
//! comes twice is refused. Empty values mean that the label is absent.

use pharos_model::LabelSet;
use pharos_model::labels::{METRIC_NAME, is_legacy_label_name, push_label, quote};

use crate::label_limits::{LabelLimitError, LabelLimits};
use crate::wire::{BYTES, Reader, WireError};

/// Why a series is refused whatever its samples are. Texts are Prometheus' where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    #[error("invalid metric name or labels, got {0}")]
    Invalid(String),
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    Duplicate { labels: String, name: String },
    #[error(transparent)]
    Limit(#[from] LabelLimitError),
}

/// Why label fields are no label set: the bytes are broken, or what they say is refused.
#[derive(Debug)]
pub(super) enum LabelsError {
    Wire(WireError),
    Series(SeriesError),
}

impl From<WireError> for LabelsError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Longest piece of a label set that an error repeats, in characters.
const EXCERPT_CHARS_MAX: usize = 512;
/// Labels that an error looks at to name a series; more than fit into its excerpt.
const EXCERPT_LABELS_MAX: usize = EXCERPT_CHARS_MAX / 4;
/// Room for the labels of an ordinary series.
const LABELS_EXPECTED: usize = 16;

/// The labels of a series: there has to be a metric name, every name has to be non-empty UTF-8.
pub(super) fn of_series(fields: &[u8], limits: &LabelLimits) -> Result<LabelSet, LabelsError> {
    let set = build(fields, limits)?;
    match set.metric_name() {
        Some(_) => Ok(set),
        None => Err(LabelsError::Series(SeriesError::Invalid(series_name(fields)))),
    }
}

/// The labels of an exemplar, which has no metric name.
pub(super) fn of_exemplar(fields: &[u8], limits: &LabelLimits) -> Result<LabelSet, LabelsError> {
    build(fields, limits)
}

/// How an error names the series of these label fields: by its first labels, if there are too many to print.
pub(super) fn series_name(fields: &[u8]) -> String {
    let mut labels = Vec::new();
    let read = each(fields, |name, value| {
        if labels.len() < EXCERPT_LABELS_MAX {
            labels.push((excerpt(name), excerpt(value)));
        }
    });
    labels.sort_by_key(|(name, _)| *name);
    match read {
        Ok(()) => describe(&labels),
        Err(error) => error.to_string(),
    }
}

fn build(fields: &[u8], limits: &LabelLimits) -> Result<LabelSet, LabelsError> {
    let mut labels: Vec<(&str, &str)> = Vec::with_capacity(LABELS_EXPECTED);
    let (mut count, mut are_valid) = (0, true);
    // All are read, also after one that is refused: damage behind it makes the whole request worthless.
    each(fields, |name, value| {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            are_valid = false;
            return;
        };
        are_valid &= !name.is_empty();
        count += 1;
        // What is beyond the limit is counted for the error and not kept: a label takes two bytes, its place here 32.
        if limits.allows_labels(count) {
            labels.push((name, value));
        }
    })?;
    if !are_valid {
        return Err(LabelsError::Series(SeriesError::Invalid(series_name(fields))));
    }
    let metric = || labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| *value);
    limits.check_count(count, metric).map_err(|error| LabelsError::Series(error.into()))?;
    if !labels.is_sorted_by_key(|(name, _)| *name) {
        labels.sort_by_key(|(name, _)| *name);
    }
    limits.check(labels.iter().copied()).map_err(|error| LabelsError::Series(error.into()))?;
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let (labels, name) = (series_name(fields), twice[0].0.to_owned());
        return Err(LabelsError::Series(SeriesError::Duplicate { labels, name }));
    }
    let mut canonical = Vec::with_capacity(fields.len());
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        push_label(&mut canonical, name, value);
    }
    Ok(LabelSet::from_canonical_trusted(&canonical))
}

/// The piece of a name or value that an error can show.
fn excerpt(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(EXCERPT_CHARS_MAX)]
}

/// Hands out the name and value of each label as they were sent.
fn each<'a>(fields: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), WireError> {
    let mut reader = Reader::new(fields);
    while let Some(tag) = reader.tag()? {
        if tag.field != 1 {
            reader.skip(tag)?;
            continue;
        }
        tag.expect(BYTES)?;
        let (mut label, mut name, mut value) = (reader.message(1)?, &b""[..], &b""[..]);
        while let Some(tag) = label.tag()? {
            match tag.field {
                1 | 2 => {
                    tag.expect(BYTES)?;
                    let bytes = label.bytes(tag.field)?;
                    *(if tag.field == 1 { &mut name } else { &mut value }) = bytes;
                }
                _ => label.skip(tag)?,
            }
        }
        take(name, value);
    }
    Ok(())
}

/// As Prometheus prints a label set, for labels that may be none.
fn describe(labels: &[(&[u8], &[u8])]) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let name = if is_legacy_label_name(&name) { name.into_owned() } else { quote(&name) };
        out.push_str(if i > 0 { ", " } else { "" });
        out.push_str(&format!("{name}={}", quote(&value)));
        if out.len() > EXCERPT_CHARS_MAX {
            out = out.chars().take(EXCERPT_CHARS_MAX).collect();
            out.push_str("...");
            break;
        }
    }
    out.push('}');
    out
}
