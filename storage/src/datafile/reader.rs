//! Reads rows of a data file: their pages by range, checked, decoded off the async threads.
//!
//! Rows are asked for in ascending order over many calls. A page is fetched once, some further ones that later rows
//! will want with it, and the page that the last row was in stays, open too unless there are too many files for that. Of an open page the
//! bytes are held, and each row is decoded when it is asked for.

mod decoded;
mod mixed;
mod open;
mod starts;

pub(crate) use open::{DataFile, FileIdentity, IndexOrigin};

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use self::decoded::RowPage;
use super::decimal::join_all;
use super::index::Index;
use super::page::PageMark;
use super::page::values::{ByBytes, Deltas, Doubles, Strings, Values};
use super::schema::SampleColumn;
use crate::object::Bucket;
use crate::select::histograms::{Run, Wanted};
use crate::select::{ReadError, SampleColumns};
use bytes::Bytes;

/// Pages of one file, fetched and not yet used up, and one of each column open.
#[derive(Debug)]
pub(crate) struct RowReader {
    file: Arc<DataFile>,
    /// Whether start timestamps are read.
    with_starts: bool,
    /// Verified pages by column and number.
    fetched: [BTreeMap<usize, Bytes>; SampleColumn::ALL.len()],
    timestamps: Option<RowPage<Deltas>>,
    mantissas: Option<RowPage<ByBytes>>,
    doubles: Option<RowPage<Doubles>>,
    histograms: Option<RowPage<Strings>>,
    starts: Option<RowPage<Deltas>>,
}

/// The page of a column that a row is in, and the number of the page's first row.
#[derive(Clone, Copy, Debug)]
struct PagePlace {
    page: usize,
    first_row: u32,
}

impl RowReader {
    pub(crate) fn new(file: Arc<DataFile>, with_starts: bool) -> Self {
        Self {
            file,
            with_starts,
            fetched: Default::default(),
            timestamps: None,
            mantissas: None,
            doubles: None,
            histograms: None,
            starts: None,
        }
    }

    pub(crate) fn file(&self) -> &Arc<DataFile> {
        &self.file
    }

    /// The pages that have to be fetched before the first `needed` of `rows` can be read, and up to `ahead_bytes` more for
    /// the others. The needed rows ascend.
    pub(crate) fn missing(&self, rows: &[u32], needed: usize, ahead_bytes: u64) -> Vec<(SampleColumn, usize)> {
        let mut wanted = Vec::new();
        let mut ahead = 0;
        let mut last_page = [None; SampleColumn::ALL.len()];
        for (i, &row) in rows.iter().enumerate() {
            if i >= needed && ahead >= ahead_bytes {
                break;
            }
            for column in self.columns_of(row) {
                let PagePlace { page, .. } = self.file.page_of(column, row);
                let seen = last_page[column as usize].replace(page) == Some(page);
                if seen || self.fetched[column as usize].contains_key(&page) || wanted.contains(&(column, page)) {
                    continue;
                }
                wanted.push((column, page));
                if i >= needed {
                    ahead += u64::from(self.file.index().pages(column)[page].len);
                }
            }
        }
        wanted
    }

    /// The columns that a row is read from.
    fn columns_of(&self, row: u32) -> impl Iterator<Item = SampleColumn> {
        let with_starts = self.with_starts;
        self.file.columns_of(row).filter(move |column| with_starts || *column != SampleColumn::Starts)
    }

    /// Bytes held in memory: of pages that were fetched, and of open ones.
    pub(crate) fn memory_bytes(&self) -> usize {
        let fetched = self.fetched.iter().flat_map(BTreeMap::values).map(Bytes::len).sum::<usize>();
        fetched
            + self.timestamps.as_ref().map_or(0, RowPage::memory_bytes)
            + self.mantissas.as_ref().map_or(0, RowPage::memory_bytes)
            + self.doubles.as_ref().map_or(0, RowPage::memory_bytes)
            + self.histograms.as_ref().map_or(0, RowPage::memory_bytes)
            + self.starts.as_ref().map_or(0, RowPage::memory_bytes)
    }

    /// Gives up the open pages, which are what takes memory.
    pub(crate) fn close_pages(&mut self) {
        self.timestamps = None;
        self.mantissas = None;
        self.doubles = None;
        self.histograms = None;
        self.starts = None;
    }

    /// Takes pages that [`DataFile::fetch`] has verified.
    pub(crate) fn supply(&mut self, pages: Vec<(SampleColumn, usize, Bytes)>) {
        for (column, page, bytes) in pages {
            self.fetched[column as usize].insert(page, bytes);
        }
    }

    /// Appends the samples of a row that are wanted to `out`. Its pages have been supplied. CPU work.
    pub(crate) fn read(&mut self, row: u32, wanted: Wanted, out: &mut SampleColumns) -> Result<(), ReadError> {
        self.read_row(row, wanted, out).map_err(|reason| self.file.error(reason))
    }

    fn read_row(&mut self, row: u32, wanted: Wanted, out: &mut SampleColumns) -> Result<(), String> {
        let range = wanted.range;
        let layout = self.file.index().row_layout(row);
        let times = self.file.index().row_range(row);
        let samples = self.file.index().row_samples(row) as usize;
        let ts = self.timestamp_page(row)?.row(row)?.values;
        if ts.len() != samples || ts.first() != Some(&times.start_ms) || ts.last() != Some(&times.end_ms) {
            return Err(format!("times of row {row} are not those of the index"));
        }
        let kept = ts.partition_point(|ts| *ts < range.start_ms)..ts.partition_point(|ts| *ts <= range.end_ms);
        if kept.is_empty() {
            return Ok(());
        }
        let kept = Kept { len: samples, kept };
        let before = (out.ts.len(), out.histogram_ts.len());
        match (layout.scale, layout.doubles, layout.histograms) {
            (Some(scale), false, false) => {
                out.ts.extend_from_slice(kept.of(ts)?);
                join_all(kept.of(self.mantissa_page(row)?.row(row)?.values)?, scale, &mut out.values);
            }
            (None, true, false) => {
                out.ts.extend_from_slice(kept.of(ts)?);
                out.values.extend_from_slice(kept.of(self.double_page(row)?.row(row)?.values)?);
            }
            (None, false, false) => return Err(format!("row {row} has no values")),
            _ => {
                let ts = ts.to_vec();
                self.read_mixed(row, &ts, &kept, Run::new(wanted, out))?;
            }
        }
        if layout.starts && self.with_starts { self.read_starts(row, &kept, before, out) } else { Ok(()) }
    }

    fn timestamp_page(&mut self, row: u32) -> Result<&mut RowPage<Deltas>, String> {
        let page = self.timestamps.take();
        let page = self.page_with(SampleColumn::Timestamps, row, page)?;
        Ok(self.timestamps.insert(page))
    }

    fn mantissa_page(&mut self, row: u32) -> Result<&mut RowPage<ByBytes>, String> {
        let page = self.mantissas.take();
        let page = self.page_with(SampleColumn::Mantissas, row, page)?;
        Ok(self.mantissas.insert(page))
    }

    fn double_page(&mut self, row: u32) -> Result<&mut RowPage<Doubles>, String> {
        let page = self.doubles.take();
        let page = self.page_with(SampleColumn::Doubles, row, page)?;
        Ok(self.doubles.insert(page))
    }

    fn histogram_page(&mut self, row: u32) -> Result<&mut RowPage<Strings>, String> {
        let page = self.histograms.take();
        let page = self.page_with(SampleColumn::Histograms, row, page)?;
        Ok(self.histograms.insert(page))
    }

    fn start_page(&mut self, row: u32) -> Result<&mut RowPage<Deltas>, String> {
        let page = self.starts.take();
        let page = self.page_with(SampleColumn::Starts, row, page)?;
        Ok(self.starts.insert(page))
    }

    /// The page of a column that a row is in: the one that is open already, or another.
    fn page_with<V: Values>(
        &mut self,
        column: SampleColumn,
        row: u32,
        open: Option<RowPage<V>>,
    ) -> Result<RowPage<V>, String> {
        let place = self.file.page_of(column, row);
        if let Some(open) = open.filter(|open| open.page == place.page) {
            return Ok(open);
        }
        let (mark, bytes) = self.page(column, place.page)?;
        RowPage::open(column, place, mark, bytes)
    }

    /// A fetched page for decoding. It stays at hand, for when the decoded one is given up; those before it, which no later
    /// row wants, do not.
    fn page(&mut self, column: SampleColumn, page: usize) -> Result<(PageMark, Bytes), String> {
        let fetched = &mut self.fetched[column as usize];
        *fetched = fetched.split_off(&page);
        let bytes = fetched.get(&page).ok_or_else(|| format!("page {page} of {} was not fetched", column.path()))?;
        Ok((self.file.index().pages(column)[page], bytes.clone()))
    }
}

/// Which of a row's samples are wanted.
#[derive(Debug)]
struct Kept {
    /// Samples that the row has.
    len: usize,
    kept: Range<usize>,
}

impl Kept {
    /// The wanted part of a list that must have an element for each sample.
    fn of<'a, T>(&self, list: &'a [T]) -> Result<&'a [T], String> {
        self.check(list.len())?;
        Ok(&list[self.kept.clone()])
    }

    fn check(&self, len: usize) -> Result<(), String> {
        if len == self.len { Ok(()) } else { Err(format!("a row has {} timestamps and {len} values", self.len)) }
    }
}

impl DataFile {
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    fn columns_of(&self, row: u32) -> impl Iterator<Item = SampleColumn> {
        let layout = self.index.row_layout(row);
        SampleColumn::ALL.into_iter().filter(move |column| match column {
            SampleColumn::Timestamps => true,
            SampleColumn::Mantissas => layout.scale.is_some(),
            SampleColumn::Doubles => layout.doubles,
            SampleColumn::Histograms => layout.histograms,
            SampleColumn::Starts => layout.starts,
        })
    }

    fn page_of(&self, column: SampleColumn, row: u32) -> PagePlace {
        let firsts = &self.page_firsts[column as usize];
        let page = firsts.partition_point(|first| *first <= row) - 1;
        PagePlace { page, first_row: firsts[page] }
    }

    /// The page that has most of a row, and its compressed bytes.
    pub(crate) fn main_page(&self, row: u32) -> (usize, u64) {
        let of_values = self.columns_of(row).filter(|column| *column != SampleColumn::Starts);
        let column = of_values.last().unwrap_or(SampleColumn::Timestamps);
        let PagePlace { page, .. } = self.page_of(column, row);
        (page, u64::from(self.index.pages(column)[page].len))
    }

    /// Fetches pages and verifies each against the index.
    pub(crate) async fn fetch(
        &self,
        bucket: &Bucket,
        wanted: Vec<(SampleColumn, usize)>,
    ) -> Result<Vec<(SampleColumn, usize, Bytes)>, ReadError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let marks = wanted.iter().map(|(column, page)| self.index.pages(*column)[*page]);
        let ranges: Vec<_> = marks.clone().map(|mark| mark.offset..mark.offset + u64::from(mark.len)).collect();
        let parts = bucket.get_ranges(&self.key, &ranges).await?;
        let mut pages = Vec::with_capacity(wanted.len());
        for (((column, page), mark), bytes) in wanted.iter().copied().zip(marks).zip(parts) {
            if bytes.len() != mark.len as usize || crc32fast::hash(&bytes) != mark.crc {
                return Err(self.error(format!("page at {} of column {} is damaged", mark.offset, column.path())));
            }
            pages.push((column, page, bytes));
        }
        Ok(pages)
    }

    fn error(&self, reason: impl Into<String>) -> ReadError {
        ReadError::DataFile { file: self.key.clone(), reason: reason.into() }
    }
}
