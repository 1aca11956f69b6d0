//! Rows whose samples are in more than one list.

use bytes::Bytes;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::histogram::wire;

use super::super::decimal::join;
use super::super::page::values::Values;
use super::decoded::{List, RowPage};
use super::{Kept, RowReader};
use crate::select::histograms::Run;

/// The list of a row, whose elements are taken in order. A list that the row lacks has none.
pub(super) struct Cells<'a, V> {
    list: List<'a, V>,
    left: std::slice::Iter<'a, V>,
}

impl<'a, V> Cells<'a, V> {
    pub(super) fn new(list: List<'a, V>) -> Self {
        Self { left: list.values.iter(), list }
    }

    /// The element at a position, if there is one that is not null.
    pub(super) fn at(&mut self, position: usize) -> Option<&'a V> {
        if self.list.has(position) { self.left.next() } else { None }
    }

    fn is_at_end(&self) -> bool {
        self.left.as_slice().is_empty()
    }

    pub(super) fn check_len(&self, kept: &Kept) -> Result<(), String> {
        if self.list.len() == 0 { Ok(()) } else { kept.check(self.list.len()) }
    }
}

impl<'a, V: 'a> Cells<'a, V> {
    /// Of a row of a page, if it is in one.
    fn of(page: Option<&'a mut RowPage<impl Values<Value = V>>>, row: u32) -> Result<Self, String> {
        page.map_or_else(|| Ok(List::none()), |page| page.row(row)).map(Self::new)
    }
}

impl RowReader {
    pub(super) fn read_mixed(&mut self, row: u32, ts: &[i64], kept: &Kept, run: Run<'_>) -> Result<(), String> {
        let layout = self.file.index().row_layout(row);
        if layout.scale.is_some() {
            self.mantissa_page(row)?;
        }
        if layout.doubles {
            self.double_page(row)?;
        }
        if layout.histograms {
            self.histogram_page(row)?;
        }
        let scale = layout.scale.unwrap_or_default();
        let mut mantissas = Cells::of(self.mantissas.as_mut().filter(|_| layout.scale.is_some()), row)?;
        let mut doubles = Cells::of(self.doubles.as_mut().filter(|_| layout.doubles), row)?;
        let mut histograms = Cells::of(self.histograms.as_mut().filter(|_| layout.histograms), row)?;
        mantissas.check_len(kept)?;
        doubles.check_len(kept)?;
        histograms.check_len(kept)?;
        let mut chain = HistogramChain { run, before: None };
        for (position, &ts) in ts.iter().enumerate() {
            if let Some(bytes) = histograms.at(position) {
                chain.push(ts, bytes, histograms.is_at_end())?;
                continue;
            }
            let mantissa = mantissas.at(position).map(|mantissa| join(*mantissa, scale));
            let value = doubles.at(position).copied().or(mantissa);
            let value = value.ok_or_else(|| format!("row {row} has fewer values than samples"))?;
            if kept.kept.contains(&position) {
                chain.run.out.ts.push(ts);
                chain.run.out.values.push(value);
            }
        }
        Ok(())
    }
}

/// The histograms of a row: each is read with the one before it.
struct HistogramChain<'a> {
    run: Run<'a>,
    before: Option<PackedHistogram>,
}

impl HistogramChain<'_> {
    fn push(&mut self, ts: i64, bytes: &Bytes, is_last: bool) -> Result<(), String> {
        let (histogram, rest) = wire::take(bytes, self.before.as_ref()).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes after a histogram".to_owned());
        }
        self.run.push(ts, &histogram, self.before.as_ref(), is_last);
        self.before = Some(histogram);
        Ok(())
    }
}
