//! Native histograms as protobuf messages carry them: in metric families and in remote write.
//!
//! The two messages have the same parts under other field numbers. Who walks a message hands each part to
//! [`NativeParts`], which makes a histogram of them at its end.

use pharos_model::histogram::integer::IntegerHistogram;
use pharos_model::histogram::{HistogramError, Span};
use pharos_model::sample::is_stale;
use pharos_model::{CounterResetHint, FloatHistogram};

use crate::wire::{BYTES, FIXED64, Reader, Tag, VARINT, WireError};

type Result<T> = std::result::Result<T, WireError>;

/// The parts of one message so far. Repeated fields add up, others are the last that came.
#[derive(Clone, Debug, Default)]
pub(crate) struct NativeParts {
    pub(crate) hint: CounterResetHint,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) count: Number,
    pub(crate) zero_count: Number,
    pub(crate) sum: f64,
    pub(crate) positive: Side,
    pub(crate) negative: Side,
    pub(crate) custom_values: Vec<f64>,
}

/// A count in both of its forms; one of them is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number {
    pub(crate) integer: u64,
    pub(crate) float: f64,
}

/// Buckets of one side: differences with whole counts, else absolute counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// A `BucketSpan`.
    pub(crate) fn read_span(&mut self, fields: &mut Reader<'_>, tag: Tag) -> Result<()> {
        tag.expect(BYTES)?;
        let mut span = Span { offset: 0, length: 0 };
        let mut fields = fields.message(tag.field)?;
        while let Some(tag) = fields.tag()? {
            match tag.field {
                1 => span.offset = signed(&mut fields, tag)? as i32,
                2 => {
                    tag.expect(VARINT)?;
                    span.length = fields.varint()? as u32;
                }
                _ => fields.skip(tag)?,
            }
        }
        self.spans.push(span);
        Ok(())
    }

    pub(crate) fn read_deltas(&mut self, fields: &mut Reader<'_>, tag: Tag) -> Result<()> {
        if tag.wire_type != BYTES {
            self.deltas.push(signed(fields, tag)?);
            return Ok(());
        }
        let mut packed = fields.message(tag.field)?;
        while !packed.is_at_end() {
            self.deltas.push(unzigzag(packed.varint()?));
        }
        Ok(())
    }

    pub(crate) fn read_counts(&mut self, fields: &mut Reader<'_>, tag: Tag) -> Result<()> {
        read_floats(&mut self.counts, fields, tag)
    }
}

/// A repeated double, packed or not.
pub(crate) fn read_floats(out: &mut Vec<f64>, fields: &mut Reader<'_>, tag: Tag) -> Result<()> {
    if tag.wire_type != BYTES {
        tag.expect(FIXED64)?;
        out.push(f64::from_bits(fields.fixed64()?));
        return Ok(());
    }
    let mut packed = fields.message(tag.field)?;
    while !packed.is_at_end() {
        out.push(f64::from_bits(packed.fixed64()?));
    }
    Ok(())
}

/// A signed integer of any width, zigzag-coded.
pub(crate) fn signed(fields: &mut Reader<'_>, tag: Tag) -> Result<i64> {
    tag.expect(VARINT)?;
    fields.varint().map(unzigzag)
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// What a message turns out to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Native {
    Histogram(FloatHistogram),
    /// Its sum says that the series ended.
    StalenessMarker,
}

impl NativeParts {
    /// Whether these are parts of a native histogram and not the empty ones of a classic one.
    pub(crate) fn is_any(&self) -> bool {
        let has_zero = self.zero_threshold > 0.0 || self.zero_count.integer > 0 || self.zero_count.float > 0.0;
        has_zero || !self.positive.is_empty() || !self.negative.is_empty()
    }

    /// The histogram, checked as Prometheus checks it. `is_float` says in which form the counts came.
    pub(crate) fn finish(self, is_float: bool) -> std::result::Result<Native, HistogramError> {
        if is_stale(self.sum) {
            return Ok(Native::StalenessMarker);
        }
        let (mut histogram, total) = if is_float {
            (self.into_float(), Ok(()))
        } else {
            let whole = self.into_whole();
            (whole.to_float(), whole.validate_total())
        };
        // Finer ones than can be queried may come; buckets join without loss.
        histogram.reduce_reserved_resolution();
        histogram.validate()?;
        total?;
        Ok(Native::Histogram(histogram))
    }

    fn into_float(self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.float,
            count: self.count.float,
            sum: self.sum,
            positive_spans: self.positive.spans,
            negative_spans: self.negative.spans,
            positive_buckets: self.positive.counts,
            negative_buckets: self.negative.counts,
            custom_values: self.custom_values,
        }
    }

    fn into_whole(self) -> IntegerHistogram {
        IntegerHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.integer,
            count: self.count.integer,
            sum: self.sum,
            positive_spans: self.positive.spans,
            negative_spans: self.negative.spans,
            positive_deltas: self.positive.deltas,
            negative_deltas: self.negative.deltas,
            custom_values: self.custom_values,
        }
    }
}
