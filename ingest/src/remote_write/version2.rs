//! A request of version 2.0 as one of version 1.0, so that everything behind it knows one message.
//!
//! The messages differ in three things: labels and texts are numbers in a table of symbols, metadata comes with each
//! series, and samples say when their counters began. Symbols are written out, metadata becomes entries of its own;
//! start timestamps stay in their messages, which [`super::request`] reads.

use pharos_model::MetricType;
use pharos_model::histogram::classic::ClassicPart;
use pharos_model::labels::{METRIC_NAME, TYPE_LABEL, UNIT_LABEL};

use super::WriteError;
use super::request::metric_type;
use crate::label_limits::LabelLimits;
use crate::wire::{BYTES, Reader, Tag, VARINT, WireError, put_bytes, put_varint};

/// Symbols of a request: an empty one takes two bytes of it and 16 here.
const SYMBOLS_MAX: usize = 1_000_000;
/// References to symbols that are kept of one label set: more labels than a series may have, so that it is refused.
const REFS_MAX: usize = 2 * (LabelLimits::CEILING.labels_max + 1);

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

impl Rewriting {
    /// Appends the request as version 1.0 has it to `out`.
    pub(super) fn rewrite(self, body: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        let symbols = Symbols::read(body)?;
        let mut fields = Reader::new(body);
        let (mut parts, mut series) = (Parts::default(), Vec::new());
        let mut told = (Vec::new(), RawMetadata::default());
        while let Some(tag) = fields.tag()? {
            if tag.field != TIMESERIES {
                fields.skip(tag)?;
                continue;
            }
            tag.expect(BYTES)?;
            parts.read(fields.message(TIMESERIES)?)?;
            series.clear();
            self.put_series(&parts, &symbols, &mut series)?;
            put_bytes(out, 1, &series);
            put_metadata(&parts, &symbols, &mut told, out);
            self.check_size(out)?;
        }
        Ok(())
    }

    fn check_size(self, out: &[u8]) -> Result<(), WriteError> {
        let (what, max) = ("bytes with its symbols written out", self.bytes_max);
        if out.len() > max { Err(WriteError::TooMany { what, max }) } else { Ok(()) }
    }

    fn put_series(self, parts: &Parts<'_>, symbols: &Symbols<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let metadata = parts.metadata;
        let (metric_type, unit) = (metric_type(metadata.number), symbols.get(metadata.unit));
        let replaced = |name: &[u8]| name == TYPE_LABEL.as_bytes() || name == UNIT_LABEL.as_bytes();
        let is_known = metric_type != MetricType::Unknown || unit.is_some_and(|unit| !unit.is_empty());
        let with_metadata = self.metadata_labels && is_known;
        for (name, value) in symbols.pairs(&parts.labels).filter(|(name, _)| !(with_metadata && replaced(name))) {
            put_label(out, name, value);
            self.check_size(out)?;
        }
        if with_metadata {
            if metric_type != MetricType::Unknown {
                put_label(out, TYPE_LABEL.as_bytes(), metric_type.as_str().as_bytes());
            }
            put_label(out, UNIT_LABEL.as_bytes(), unit.unwrap_or_default());
        }
        if !symbols.has(metadata.unit) || !symbols.has(metadata.help) {
            put_label(out, b"", b"");
        }
        parts.samples.iter().for_each(|sample| put_bytes(out, 2, sample));
        parts.histograms.iter().for_each(|histogram| put_bytes(out, 4, histogram));
        for exemplar in &parts.exemplars {
            let exemplar = self.rewrite_exemplar(*exemplar, symbols)?;
            put_bytes(out, 3, &exemplar);
            self.check_size(out)?;
        }
        Ok(())
    }

    fn rewrite_exemplar(self, message: Reader<'_>, symbols: &Symbols<'_>) -> Result<Vec<u8>, WriteError> {
        let (mut fields, mut refs, mut out, mut scalars) = (message, Vec::new(), Vec::new(), Vec::new());
        while let Some(tag) = fields.tag()? {
            if tag.field == 1 {
                read_refs(&mut fields, tag, &mut refs)?;
            } else {
                fields.skip(tag)?;
                scalars.extend_from_slice(fields.slice(tag.at, fields.position()));
            }
        }
        for (name, value) in symbols.pairs(&refs) {
            put_label(&mut out, name, value);
            self.check_size(&out)?;
        }
        out.extend_from_slice(&scalars);
        Ok(out)
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
    fn has(&self, at: u32) -> bool {
        at == 0 || self.get(at).is_some()
    }

    /// The labels that references stand for. One that stands for nothing is a label without a name, for which its series is
    /// refused.
    fn pairs(&self, refs: &[u32]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        refs.chunks(2).map(|pair| match pair {
            [name, value] => self.get(*name).zip(self.get(*value)).unwrap_or_default(),
            _ => Default::default(),
        })
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
fn put_metadata(parts: &Parts<'_>, symbols: &Symbols<'_>, told: &mut (Vec<u8>, RawMetadata), out: &mut Vec<u8>) {
    let metadata = parts.metadata;
    if metadata == RawMetadata::default() {
        return;
    }
    let name = symbols.pairs(&parts.labels).find(|(name, _)| *name == METRIC_NAME.as_bytes());
    let Some(Ok(name)) = name.map(|(_, value)| std::str::from_utf8(value)) else { return };
    let family = family_of(name, metric_type(metadata.number));
    if told.0 == family.as_bytes() && told.1 == metadata {
        return;
    }
    *told = (family.as_bytes().to_vec(), metadata);
    let mut entry = Vec::new();
    put_varint(&mut entry, 1, metadata.number);
    put_bytes(&mut entry, 2, family.as_bytes());
    put_bytes(&mut entry, 4, symbols.get(metadata.help).unwrap_or_default());
    put_bytes(&mut entry, 5, symbols.get(metadata.unit).unwrap_or_default());
    put_bytes(out, 3, &entry);
}

/// The name that metadata goes by: that of the whole histogram or summary.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let has_parts = matches!(metric_type, MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary);
    ClassicPart::of_name(name).filter(|_| has_parts).map_or(name, |(_, family)| family)
}
