//! What data files have for a batch, row by row, before it is merged.

use std::ops::Range;

use pharos_model::TimeRange;

use super::batch::DecodedSeries;
use super::{ReadError, SampleColumns, SampleSlices, histograms};

/// What one file had for a batch.
#[derive(Debug)]
pub(super) struct FilePart {
    pub file: usize,
    /// The series' place in the batch, and its samples.
    pub rows: Vec<(usize, Piece)>,
    samples: SampleColumns,
}

/// Where the samples of one row are.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    floats: Range<usize>,
    histograms: Range<usize>,
}

impl FilePart {
    pub(super) fn new(file: usize) -> Self {
        Self { file, rows: Vec::new(), samples: SampleColumns::default() }
    }

    /// Takes what `read` appends as the samples of a series.
    pub(super) fn add(
        &mut self,
        member: usize,
        read: impl FnOnce(&mut SampleColumns) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let (floats, histograms) = (self.samples.ts.len(), self.samples.histogram_ts.len());
        read(&mut self.samples)?;
        self.samples.complete_starts();
        let (floats, histograms) = (floats..self.samples.ts.len(), histograms..self.samples.histogram_ts.len());
        self.rows.push((member, Piece { floats, histograms }));
        Ok(())
    }

    pub(super) fn samples(&self, piece: &Piece) -> SampleSlices<'_> {
        self.samples.slice(piece.floats.clone(), piece.histograms.clone())
    }
}

/// Merges the samples that are not deleted into the series being built.
pub(super) fn merge_visible(batch: &mut DecodedSeries, samples: SampleSlices<'_>, hidden: &[TimeRange]) {
    if hidden.is_empty() {
        return batch.merge(samples);
    }
    let is_visible = |ts: i64| !hidden.iter().any(|range| range.contains(ts));
    let mut visible = SampleColumns {
        histogram_ts: samples.histogram_ts.to_vec(),
        histograms: samples.histograms.to_vec(),
        histogram_start_ts: samples.histogram_start_ts.to_vec(),
        ..SampleColumns::default()
    };
    histograms::retain(&mut visible, is_visible);
    let floats = samples.ts.iter().zip(samples.values).filter(|(ts, _)| is_visible(**ts));
    (visible.ts, visible.values) = floats.unzip();
    let starts = samples.ts.iter().zip(samples.start_ts).filter(|(ts, _)| is_visible(**ts));
    visible.start_ts = starts.map(|(_, start)| *start).collect();
    batch.merge(visible.slices());
}
