//! A request of version 2.0 as one of version 1.0, so that everything behind it knows one message.
//!
//! The messages differ in three things: labels and texts are numbers in a table of symbols, metadata comes with each
//! series, and samples say when their counters began. Symbols are written out, metadata becomes entries of its own;
//! start timestamps stay in their messages, which [`super::request`] reads.

use std::fmt;

use pharos_model::MetricType;
use pharos_model::histogram::classic::ClassicPart;
use pharos_model::labels::{METRIC_NAME, TYPE_LABEL, UNIT_LABEL};

use super::refusals::{INVALID_LABELS, NO_SAMPLES, Refusals};
use super::request::metric_type;
use super::{WriteError, labels};
use crate::label_limits::LabelLimits;
use crate::wire::{BYTES, Reader, Tag, VARINT, WireError, put_bytes, put_varint};

/// Symbols of a request: an empty one takes two bytes of it and 16 here.
const SYMBOLS_MAX: usize = 1_000_000;
/// References to symbols that are kept of one label set: more labels than a series may have, so that it is refused.
const REFS_MAX: usize = 2 * (LabelLimits::CEILING.labels_max + 1);
/// References that an error repeats.
const REFS_SHOWN_MAX: usize = 64;

/// Fields of a request of version 2.0.
const SYMBOLS: u32 = 4;
const TIMESERIES: u32 = 5;

/// How a request is rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewriting {
    /// Largest message that may come of it: a symbol is written as often as it is named.
    pub bytes_max: usize,
    /// Series get what is known of their type and unit as labels, in place of labels of the same names.
    pub metadata_labels: bool,
}

/// A series of version 2.0, taken apart.
#[derive(Default)]
struct Parts<'a> {
    labels: Vec<u32>,
    /// The messages as they were sent.
    samples: Vec<&'a [u8]>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<Reader<'a>>,
    metadata: RawMetadata,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct RawMetadata {
    number: u64,
    help: u32,
    unit: u32,
}

/// The symbols of a request.
struct Symbols<'a>(Vec<&'a [u8]>);

/// Name and value.
type Label<'a> = (&'a [u8], &'a [u8]);

/// References that stand for nothing. Texts are Prometheus'.
#[derive(Debug, thiserror::Error)]
enum RefError {
    #[error("invalid labelRefs length {0}")]
    Odd(usize),
    #[error("labelRefs {name} (name) = {value} (value) outside of symbols table (size {size})")]
    Label { name: u32, value: u32, size: usize },
    #[error("{what} {at} outside of symbols table (size {size})")]
    Text { what: &'static str, at: u32, size: usize },
}

impl Rewriting {
    /// Appends the request as version 1.0 has it to `out`, but for what is refused.
    pub(super) fn rewrite(self, body: &[u8], out: &mut Vec<u8>, refusals: &mut Refusals) -> Result<(), WriteError> {
        let symbols = Symbols::read(body)?;
        let mut fields = Reader::new(body);
        let (mut parts, mut labels, mut series) = (Parts::default(), Vec::new(), Vec::new());
        let mut told = (Vec::new(), RawMetadata::default());
        while let Some(tag) = fields.tag()? {
            if tag.field != TIMESERIES {
                fields.skip(tag)?;
                continue;
            }
            tag.expect(BYTES)?;
            parts.read(fields.message(TIMESERIES)?)?;
            if let Err((what, reason)) = parts.resolve(&symbols, &mut labels) {
                let text = || format!("parsing {what} for series {:?}: {reason}", Refs(&parts.labels));
                refusals.add(INVALID_LABELS, parts.sample_count(), text);
                continue;
            }
            series.clear();
            self.put_labels(&parts, &labels, &symbols, &mut series)?;
            if parts.sample_count() == 0 {
                let text = "TimeSeries must contain at least one sample or histogram for series";
                refusals.add(NO_SAMPLES, 0, || format!("{text} {}", labels::series_name(&series)));
                continue;
            }
            self.put_samples(&parts, &symbols, &mut series, refusals)?;
            put_bytes(out, 1, &series);
            put_metadata(&parts, &labels, &symbols, &mut told, out);
            self.check_size(out)?;
        }
        Ok(())
    }

    fn check_size(self, out: &[u8]) -> Result<(), WriteError> {
        let (what, max) = ("bytes with its symbols written out", self.bytes_max);
        if out.len() > max { Err(WriteError::TooMany { what, max }) } else { Ok(()) }
    }

    fn put_labels(
        self,
        parts: &Parts<'_>,
        labels: &[Label<'_>],
        symbols: &Symbols<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let metadata = parts.metadata;
        let (metric_type, unit) = (metric_type(metadata.number), symbols.text(metadata.unit));
        let replaced = |name: &[u8]| name == TYPE_LABEL.as_bytes() || name == UNIT_LABEL.as_bytes();
        let is_known = metric_type != MetricType::Unknown || !unit.is_empty();
        let with_metadata = self.metadata_labels && is_known;
        for (name, value) in labels.iter().filter(|(name, _)| !(with_metadata && replaced(name))) {
            put_label(out, name, value);
            self.check_size(out)?;
        }
        if with_metadata {
            if metric_type != MetricType::Unknown {
                put_label(out, TYPE_LABEL.as_bytes(), metric_type.as_str().as_bytes());
            }
            put_label(out, UNIT_LABEL.as_bytes(), unit);
        }
        Ok(())
    }

    /// `out` has the series' labels. An exemplar that is refused takes no sample with it.
    fn put_samples(
        self,
        parts: &Parts<'_>,
        symbols: &Symbols<'_>,
        out: &mut Vec<u8>,
        refusals: &mut Refusals,
    ) -> Result<(), WriteError> {
        let labels_end = out.len();
        parts.samples.iter().for_each(|sample| put_bytes(out, 2, sample));
        parts.histograms.iter().for_each(|histogram| put_bytes(out, 4, histogram));
        for exemplar in &parts.exemplars {
            match self.rewrite_exemplar(*exemplar, symbols)? {
                Ok(exemplar) => put_bytes(out, 3, &exemplar),
                Err(reason) => {
                    let series = || labels::series_name(&out[..labels_end]);
                    refusals.add(INVALID_LABELS, 0, || format!("parsing exemplar for series {}: {reason}", series()));
                }
            }
            self.check_size(out)?;
        }
        Ok(())
    }

    fn rewrite_exemplar(
        self,
        message: Reader<'_>,
        symbols: &Symbols<'_>,
    ) -> Result<Result<Vec<u8>, RefError>, WriteError> {
        let (mut fields, mut refs, mut out, mut scalars) = (message, Vec::new(), Vec::new(), Vec::new());
        while let Some(tag) = fields.tag()? {
            if tag.field == 1 {
                read_refs(&mut fields, tag, &mut refs)?;
            } else {
                fields.skip(tag)?;
                scalars.extend_from_slice(fields.slice(tag.at, fields.position()));
            }
        }
        let mut labels = Vec::new();
        if let Err(error) = symbols.labels(&refs, &mut labels) {
            return Ok(Err(error));
        }
        for (name, value) in labels {
            put_label(&mut out, name, value);
            self.check_size(&out)?;
        }
        out.extend_from_slice(&scalars);
        Ok(Ok(out))
    }
}

impl<'a> Parts<'a> {
    fn read(&mut self, mut fields: Reader<'a>) -> Result<(), WireError> {
        self.labels.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata = RawMetadata::default();
        while let Some(tag) = fields.tag()? {
            match tag.field {
                1 => read_refs(&mut fields, tag, &mut self.labels)?,
                2 | 3 => {
                    tag.expect(BYTES)?;
                    let message = fields.bytes(tag.field)?;
                    if tag.field == 2 { &mut self.samples } else { &mut self.histograms }.push(message);
                }
                4 => {
                    tag.expect(BYTES)?;
                    self.exemplars.push(fields.message(4)?);
                }
                5 => {
                    tag.expect(BYTES)?;
                    self.metadata = read_metadata(fields.message(5)?)?;
                }
                _ => fields.skip(tag)?,
            }
        }
        Ok(())
    }

    /// Floats and histograms.
    fn sample_count(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }

    /// Puts the labels into `out`; else says what cannot be read, and why.
    fn resolve<'s>(&self, symbols: &Symbols<'s>, out: &mut Vec<Label<'s>>) -> Result<(), (&'static str, RefError)> {
        symbols.labels(&self.labels, out).map_err(|error| ("labels", error))?;
        for (what, at) in [("helpRef", self.metadata.help), ("unitRef", self.metadata.unit)] {
            symbols.check_text(what, at).map_err(|error| ("metadata", error))?;
        }
        Ok(())
    }
}

impl<'a> Symbols<'a> {
    fn read(body: &'a [u8]) -> Result<Self, WriteError> {
        let (mut fields, mut symbols) = (Reader::new(body), Vec::new());
        while let Some(tag) = fields.tag()? {
            if tag.field != SYMBOLS {
                fields.skip(tag)?;
                continue;
            }
            tag.expect(BYTES)?;
            if symbols.len() == SYMBOLS_MAX {
                return Err(WriteError::TooMany { what: "symbols", max: SYMBOLS_MAX });
            }
            symbols.push(fields.bytes(SYMBOLS)?);
        }
        Ok(Self(symbols))
    }

    fn get(&self, at: u32) -> Option<&'a [u8]> {
        self.0.get(at as usize).copied()
    }

    /// Nothing said is nothing missing.
    fn check_text(&self, what: &'static str, at: u32) -> Result<(), RefError> {
        let size = self.0.len();
        if at == 0 || self.get(at).is_some() { Ok(()) } else { Err(RefError::Text { what, at, size }) }
    }

    /// A text that was checked.
    fn text(&self, at: u32) -> &'a [u8] {
        self.get(at).unwrap_or_default()
    }

    /// The labels that references stand for, in place of those in `out`.
    fn labels(&self, refs: &[u32], out: &mut Vec<Label<'a>>) -> Result<(), RefError> {
        out.clear();
        let (pairs, []) = refs.as_chunks::<2>() else { return Err(RefError::Odd(refs.len())) };
        for &[name, value] in pairs {
            let label = self.get(name).zip(self.get(value));
            out.push(label.ok_or(RefError::Label { name, value, size: self.0.len() })?);
        }
        Ok(())
    }
}

/// References as Prometheus prints them, the first ones if there are many.
struct Refs<'a>(&'a [u32]);

impl fmt::Debug for Refs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().take(REFS_SHOWN_MAX).map(u32::to_string).collect();
        let more = if self.0.len() > REFS_SHOWN_MAX { " ..." } else { "" };
        write!(f, "[{}{more}]", shown.join(" "))
    }
}

/// Numbers that are packed into one field, or one of them.
fn read_refs(fields: &mut Reader<'_>, tag: Tag, refs: &mut Vec<u32>) -> Result<(), WireError> {
    let mut push = |number: u64| {
        if refs.len() < REFS_MAX {
            refs.push(u32::try_from(number).unwrap_or(u32::MAX));
        }
    };
    if tag.wire_type == VARINT {
        push(fields.varint()?);
        return Ok(());
    }
    tag.expect(BYTES)?;
    let mut packed = fields.message(tag.field)?;
    while !packed.is_at_end() {
        push(packed.varint()?);
    }
    Ok(())
}

fn read_metadata(mut fields: Reader<'_>) -> Result<RawMetadata, WireError> {
    let mut metadata = RawMetadata::default();
    while let Some(tag) = fields.tag()? {
        match tag.field {
            1 | 3 | 4 => {
                tag.expect(VARINT)?;
                let number = fields.varint()?;
                let place = u32::try_from(number).unwrap_or(u32::MAX);
                match tag.field {
                    1 => metadata.number = number,
                    3 => metadata.help = place,
                    _ => metadata.unit = place,
                }
            }
            _ => fields.skip(tag)?,
        }
    }
    Ok(metadata)
}

fn put_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut label = Vec::with_capacity(name.len() + value.len() + 12);
    put_bytes(&mut label, 1, name);
    put_bytes(&mut label, 2, value);
    put_bytes(out, 1, &label);
}

/// Adds what a series says of its metric, unless the series before said it: those of one metric mostly stand together.
fn put_metadata(
    parts: &Parts<'_>,
    labels: &[Label<'_>],
    symbols: &Symbols<'_>,
    told: &mut (Vec<u8>, RawMetadata),
    out: &mut Vec<u8>,
) {
    let metadata = parts.metadata;
    if metadata == RawMetadata::default() {
        return;
    }
    let name = labels.iter().find(|(name, _)| *name == METRIC_NAME.as_bytes());
    let Some(Ok(name)) = name.map(|(_, value)| std::str::from_utf8(value)) else { return };
    let family = family_of(name, metric_type(metadata.number));
    if told.0 == family.as_bytes() && told.1 == metadata {
        return;
    }
    *told = (family.as_bytes().to_vec(), metadata);
    let mut entry = Vec::new();
    put_varint(&mut entry, 1, metadata.number);
    put_bytes(&mut entry, 2, family.as_bytes());
    put_bytes(&mut entry, 4, symbols.text(metadata.help));
    put_bytes(&mut entry, 5, symbols.text(metadata.unit));
    put_bytes(out, 3, &entry);
}

/// The name that metadata goes by: that of the whole histogram or summary.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let has_parts = matches!(metric_type, MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary);
    ClassicPart::of_name(name).filter(|_| has_parts).map_or(name, |(_, family)| family)
}
