//! The start timestamps of a row.

use super::mixed::Cells;
use super::{Kept, RowReader};
use crate::select::SampleColumns;
use crate::starts;

impl RowReader {
    /// Adds the starts of samples that were read behind so many floats and histograms.
    pub(super) fn read_starts(
        &mut self,
        row: u32,
        kept: &Kept,
        (floats, histograms): (usize, usize),
        out: &mut SampleColumns,
    ) -> Result<(), String> {
        let mut cells = Cells::new(self.start_page(row)?.row(row)?);
        cells.check_len(kept)?;
        let all: Vec<_> = (0..kept.len).map(|position| cells.at(position).copied().unwrap_or(0)).collect();
        let all = &all[kept.kept.clone()];
        if !self.file.index().row_layout(row).histograms {
            starts::append(&mut out.start_ts, floats, all);
            return Ok(());
        }
        let list = self.histogram_page(row)?.row(row)?;
        let of = |wanted: bool| -> Vec<_> {
            let samples = all.iter().zip(kept.kept.clone());
            samples.filter(|(_, position)| list.has(*position) == wanted).map(|(start, _)| *start).collect()
        };
        starts::append(&mut out.start_ts, floats, &of(false));
        starts::append(&mut out.histogram_start_ts, histograms, &of(true));
        Ok(())
    }
}
