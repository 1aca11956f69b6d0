//! A `prometheus.Histogram` of a request, and all those of a request between the passes over it.

use std::ops::Range;

use pharos_model::histogram::packed::{PackError, PackedHistogram};
use pharos_model::sample::stale_nan;
use pharos_model::{CounterResetHint, Sample, TimestampMs};

use crate::native_histogram::{Native, NativeParts, read_floats, signed};
use crate::wire::{FIXED64, Reader, Tag, VARINT, WireError};

/// One histogram, before it is judged.
#[derive(Debug, Default)]
pub struct RequestHistogram {
    pub ts: TimestampMs,
    /// When it began to count, 0 where it is not said.
    pub start: TimestampMs,
    parts: NativeParts,
    is_float: bool,
}

/// What is stored of a histogram: the sample at its place, and the histogram unless it is a staleness marker.
pub(super) type Stored = (Sample, Option<PackedHistogram>);

impl RequestHistogram {
    pub(super) fn read(mut fields: Reader<'_>) -> Result<Self, WireError> {
        let mut histogram = Self::default();
        while let Some(tag) = fields.tag()? {
            histogram.field(&mut fields, tag)?;
        }
        Ok(histogram)
    }

    fn field(&mut self, fields: &mut Reader<'_>, tag: Tag) -> Result<(), WireError> {
        let parts = &mut self.parts;
        match tag.field {
            1 => (parts.count.integer, self.is_float) = (integer(fields, tag)?, false),
            2 => (parts.count.float, self.is_float) = (double(fields, tag)?, true),
            3 => parts.sum = double(fields, tag)?,
            4 => parts.schema = signed(fields, tag)? as i32,
            5 => parts.zero_threshold = double(fields, tag)?,
            6 => parts.zero_count.integer = integer(fields, tag)?,
            7 => parts.zero_count.float = double(fields, tag)?,
            8 => parts.negative.read_span(fields, tag)?,
            9 => parts.negative.read_deltas(fields, tag)?,
            10 => parts.negative.read_counts(fields, tag)?,
            11 => parts.positive.read_span(fields, tag)?,
            12 => parts.positive.read_deltas(fields, tag)?,
            13 => parts.positive.read_counts(fields, tag)?,
            14 => parts.hint = reset_hint(integer(fields, tag)?),
            15 => self.ts = integer(fields, tag)? as TimestampMs,
            16 => read_floats(&mut parts.custom_values, fields, tag)?,
            17 => self.start = integer(fields, tag)? as TimestampMs,
            _ => fields.skip(tag)?,
        }
        Ok(())
    }

    /// Judges it, and makes it what is stored.
    pub(super) fn into_stored(self) -> Result<Stored, PackError> {
        Ok(match self.parts.finish(self.is_float)? {
            Native::StalenessMarker => (Sample { ts: self.ts, value: stale_nan() }, None),
            Native::Histogram(histogram) => {
                (Sample { ts: self.ts, value: 0.0 }, Some(PackedHistogram::try_from(&histogram)?))
            }
        })
    }
}

/// The histograms of a request, by the places of their samples among all its samples, ascending.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    by_sample: Vec<(u32, PackedHistogram)>,
    numbers: usize,
}

impl Histograms {
    pub(super) fn clear(&mut self) {
        self.by_sample = Vec::new();
        self.numbers = 0;
    }

    pub(super) fn push(&mut self, sample: usize, histogram: PackedHistogram) {
        self.numbers += histogram.numbers.len();
        self.by_sample.push((sample as u32, histogram));
    }

    /// Counts of all of them: what they take in memory.
    pub(super) fn numbers(&self) -> usize {
        self.numbers
    }

    /// How many of the samples of a range are histograms.
    pub(super) fn count_in(&self, samples: Range<u32>) -> usize {
        let before = |end: u32| self.by_sample.partition_point(|(sample, _)| *sample < end);
        before(samples.end) - before(samples.start)
    }

    pub(super) fn len(&self) -> usize {
        self.by_sample.len()
    }

    #[inline]
    pub(super) fn at(&self, sample: u32) -> Option<&PackedHistogram> {
        if self.by_sample.is_empty() {
            return None;
        }
        let found = self.by_sample.binary_search_by_key(&sample, |(sample, _)| *sample).ok()?;
        Some(&self.by_sample[found].1)
    }
}

fn integer(fields: &mut Reader<'_>, tag: Tag) -> Result<u64, WireError> {
    tag.expect(VARINT)?;
    fields.varint()
}

fn double(fields: &mut Reader<'_>, tag: Tag) -> Result<f64, WireError> {
    tag.expect(FIXED64)?;
    fields.fixed64().map(f64::from_bits)
}

/// `prometheus.Histogram.ResetHint`; numbers to come are unknown.
fn reset_hint(number: u64) -> CounterResetHint {
    match number {
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}
