//! One row's samples as the columns `ts`, `m`, `v`, `h` and `st` take them.

use parquet::data_type::ByteArray;
use pharos_model::FloatHistogram;
use pharos_model::histogram::packed::{PackError, PackedHistogram};
use pharos_model::histogram::wire;

use super::decimal::{best_scale, split};
use super::index::RowLayout;
use super::schema::{DEF_NULL_ELEMENT, DEF_VALUE};
use crate::select::SampleColumns;

/// Times, mantissas, exceptions, histograms and start timestamps of one series, with the definition levels of all but the first. Reused from
/// row to row.
#[derive(Debug, Default)]
pub(crate) struct SplitValues {
    pub ts: Vec<i64>,
    pub scale: Option<u8>,
    pub mantissas: Vec<i64>,
    pub doubles: Vec<f64>,
    /// Each as what changed since the one before.
    pub histograms: Vec<ByteArray>,
    pub starts: Vec<i64>,
    /// One for each sample: whether `m` has it.
    pub mantissa_def: Vec<i16>,
    /// One for each sample: whether `v` has it.
    pub double_def: Vec<i16>,
    /// One for each sample: whether `h` has it.
    pub histogram_def: Vec<i16>,
    /// One for each sample: whether `st` has its start. Empty when it has none.
    pub start_def: Vec<i16>,
}

impl SplitValues {
    /// Splits the samples of one series: each is in exactly one of the lists, with its exact bits.
    pub(crate) fn split(&mut self, samples: &SampleColumns) -> Result<(), PackError> {
        self.clear();
        self.scale = best_scale(&samples.values);
        let mut floats = samples.ts.iter().zip(&samples.values).peekable();
        let mut before = None;
        for (&ts, histogram) in samples.histogram_ts.iter().zip(&samples.histograms) {
            while let Some((&float_ts, &value)) = floats.next_if(|(float_ts, _)| **float_ts < ts) {
                self.push_float(float_ts, value);
            }
            before = Some(self.push_histogram(ts, histogram, before)?);
        }
        floats.for_each(|(&ts, &value)| self.push_float(ts, value));
        if !(samples.start_ts.is_empty() && samples.histogram_start_ts.is_empty()) {
            self.split_starts(samples);
        }
        Ok(())
    }

    /// In the order of the samples, which are split already.
    fn split_starts(&mut self, samples: &SampleColumns) {
        let (mut floats, mut histograms) = (samples.start_ts.iter(), samples.histogram_start_ts.iter());
        for def in &self.histogram_def {
            let next = if *def == DEF_VALUE { histograms.next() } else { floats.next() };
            let start = next.copied().filter(|start| *start != 0);
            self.start_def.push(if start.is_some() { DEF_VALUE } else { DEF_NULL_ELEMENT });
            self.starts.extend(start);
        }
    }

    fn clear(&mut self) {
        self.ts.clear();
        self.mantissas.clear();
        self.doubles.clear();
        self.histograms.clear();
        self.mantissa_def.clear();
        self.double_def.clear();
        self.histogram_def.clear();
        self.starts.clear();
        self.start_def.clear();
    }

    fn push_float(&mut self, ts: i64, value: f64) {
        match self.scale.and_then(|scale| split(value, scale)) {
            Some(mantissa) => {
                self.mantissas.push(mantissa);
                self.push_def(ts, [DEF_VALUE, DEF_NULL_ELEMENT, DEF_NULL_ELEMENT]);
            }
            None => {
                self.doubles.push(value);
                self.push_def(ts, [DEF_NULL_ELEMENT, DEF_VALUE, DEF_NULL_ELEMENT]);
            }
        }
    }

    /// The first one of a row says nothing of what was before it: that is in another file, which may be gone.
    fn push_histogram(
        &mut self,
        ts: i64,
        histogram: &FloatHistogram,
        before: Option<PackedHistogram>,
    ) -> Result<PackedHistogram, PackError> {
        let mut packed = PackedHistogram::try_from(histogram)?;
        let mut bytes = Vec::new();
        match &before {
            Some(before) => wire::put_after(&mut bytes, &packed, before),
            None => {
                packed.hint = packed.hint_alone();
                wire::put(&mut bytes, &packed);
            }
        }
        self.histograms.push(bytes.into());
        self.push_def(ts, [DEF_NULL_ELEMENT, DEF_NULL_ELEMENT, DEF_VALUE]);
        Ok(packed)
    }

    fn push_def(&mut self, ts: i64, [mantissa, double, histogram]: [i16; 3]) {
        self.ts.push(ts);
        self.mantissa_def.push(mantissa);
        self.double_def.push(double);
        self.histogram_def.push(histogram);
    }

    pub(crate) fn layout(&self) -> RowLayout {
        RowLayout {
            scale: self.scale,
            doubles: !self.doubles.is_empty(),
            histograms: !self.histograms.is_empty(),
            starts: !self.starts.is_empty(),
        }
    }
}
