//! The samples of a series that may hold native histograms.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{FloatHistogram, TimestampMs};

use crate::functions::grid::Samples;

/// Histograms of one series: ascending by time, one for each timestamp.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistogramSamples<'a> {
    pub ts: &'a [TimestampMs],
    pub list: &'a [Arc<FloatHistogram>],
    /// When the counter of each began, 0 where that is not known; empty when it is known of none.
    pub start_ts: &'a [TimestampMs],
}

/// All samples of one series. No timestamp is in both kinds.
#[derive(Clone, Copy, Debug)]
pub struct SeriesSamples<'a> {
    pub floats: Samples<'a>,
    /// As [`HistogramSamples::start_ts`], of the floats.
    pub float_start_ts: &'a [TimestampMs],
    pub histograms: HistogramSamples<'a>,
}

impl HistogramSamples<'_> {
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    pub fn slice(&self, range: Range<usize>) -> Self {
        let start_ts = if self.start_ts.is_empty() { &[] } else { &self.start_ts[range.clone()] };
        Self { ts: &self.ts[range.clone()], list: &self.list[range], start_ts }
    }

    /// Whether a histogram says that its series ended.
    pub fn is_stale(&self, at: usize) -> bool {
        is_stale(self.list[at].sum)
    }

    /// Samples that they weigh as.
    pub fn weight(&self) -> u64 {
        self.list.iter().map(|histogram| histogram.size_in_samples() as u64).sum()
    }
}

impl<'a> SeriesSamples<'a> {
    pub fn floats(floats: Samples<'a>) -> Self {
        Self { floats, float_start_ts: &[], histograms: HistogramSamples::default() }
    }

    /// Some of the floats, and some of the histograms.
    pub fn slice(&self, floats: Range<usize>, histograms: Range<usize>) -> Self {
        let float_start_ts = if self.float_start_ts.is_empty() { &[] } else { &self.float_start_ts[floats.clone()] };
        let values = &self.floats.values[floats.clone()];
        let floats = Samples { ts: &self.floats.ts[floats], values };
        Self { floats, float_start_ts, histograms: self.histograms.slice(histograms) }
    }

    /// Without start timestamps, for functions that do not know them.
    pub fn without_starts(self) -> Self {
        let histograms = HistogramSamples { start_ts: &[], ..self.histograms };
        Self { float_start_ts: &[], histograms, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.floats.ts.is_empty() && self.histograms.is_empty()
    }

    /// Samples that they weigh as.
    pub fn weight(&self) -> u64 {
        self.floats.ts.len() as u64 + self.histograms.weight()
    }
}

/// The start timestamp of a sample, 0 if none is known.
pub(in crate::functions) fn start_of(start_ts: &[TimestampMs], at: usize) -> TimestampMs {
    start_ts.get(at).copied().unwrap_or(0)
}
