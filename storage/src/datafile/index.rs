//! The index object: which rows of a data file match, what their labels are, and where their pages lie.
//!
//! A column store of label values. For each label the file has a sorted table of its values and, for the rows that
//! have the label, the number of the value: one or two bytes a row. Rows are sorted by labels, so rows of one shape (one
//! list of label names) come in runs. A matcher is decided once for each distinct value, then rows are
//! scanned, which costs about a nanosecond each; posting lists would take three times the space to save microseconds.
//! The same columns give a row's labels back without touching the Parquet file. Byte layout: `docs/format/index-object.md`.
//!
//! Invariants of an opened index, whatever the bytes were: value numbers are within their table, runs cover the
//! rows exactly, every row's labels are a canonical label set, every row's times lie between `min_ts` and `max_ts`.

mod builder;
mod codec;
mod common;
mod matching;
mod rows;

pub(crate) use builder::{IndexBuilder, RowFacts};
pub use codec::{INDEX_BYTES_MAX, IndexError};
pub(crate) use common::CommonTables;

use std::sync::Arc;

use self::common::Table;
use self::rows::RowTable;
use pharos_model::labels::push_label;
use pharos_model::{TimeRange, TimestampMs};

use super::page::PageMark;
use super::schema::SampleColumn;
use crate::select::share_within;

/// An opened index object.
#[derive(Debug)]
pub struct Index {
    /// What the data file must be, so that a pair of other origin is noticed.
    pub(crate) file: FileFacts,
    pub(crate) min_ts: TimestampMs,
    pub(crate) max_ts: TimestampMs,
    /// Sorted by label name.
    labels: Vec<LabelColumn>,
    runs: Vec<Run>,
    /// The labels of all runs, one after the other.
    run_labels: Vec<RunLabel>,
    rows: RowTable,
    pages: [Vec<PageMark>; SampleColumn::ALL.len()],
}

/// Size and checksum of the data file that an index belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub bytes: u64,
    pub crc: u32,
    pub samples: u64,
}

/// What is known of a row besides its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    /// From the file's `min_ts`.
    first_offset_ms: u32,
    last_offset_ms: u32,
    samples: u32,
    layout: RowLayout,
}

/// How a row's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowLayout {
    /// Scale of the mantissas; `None` when the row has none.
    pub scale: Option<u8>,
    /// Whether the row has a list of doubles.
    pub doubles: bool,
    /// Whether the row has a list of histograms.
    pub histograms: bool,
    /// Whether the row has a list of start timestamps.
    pub starts: bool,
}

/// One label's values and which row has which.
#[derive(Debug)]
struct LabelColumn {
    name: String,
    values: Arc<StringTable>,
    /// Value numbers of the rows that have the label, in row order.
    ids: Arc<Ids>,
    /// The rows that have the label.
    segments: Vec<Segment>,
}

/// Rows `start..end`; the first has its value number at `base`.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u32,
    end: u32,
    base: u32,
}

/// Rows from `start` on share their label names: `run_labels[labels_start..labels_end]`.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    labels_start: u32,
    labels_end: u32,
}

/// One label of a run: its column, and where in it the run's first row is.
#[derive(Clone, Copy, Debug)]
struct RunLabel {
    column: u32,
    base: u32,
}

/// Sorted strings, one after the other.
#[derive(Debug, Default, PartialEq)]
struct StringTable {
    bytes: String,
    /// End of each string.
    ends: Vec<u32>,
}

impl StringTable {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    fn find(&self, value: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }
}

/// Value numbers at the narrowest width that holds them.
#[derive(Debug, PartialEq)]
enum Ids {
    /// Every row has value 0.
    Same,
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Ids {
    fn get(&self, i: usize) -> u32 {
        match self {
            Self::Same => 0,
            Self::U8(ids) => u32::from(ids[i]),
            Self::U16(ids) => u32::from(ids[i]),
            Self::U32(ids) => ids[i],
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Same => 0,
            Self::U8(ids) => ids.len(),
            Self::U16(ids) => ids.len() * 2,
            Self::U32(ids) => ids.len() * 4,
        }
    }
}

impl Index {
    /// Number of rows, that is of series.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Replaces `out` by the canonical label bytes of a row.
    pub fn label_bytes(&self, row: u32, out: &mut Vec<u8>) {
        out.clear();
        let run = self.run_of(row);
        for label in &self.run_labels[run.labels_start as usize..run.labels_end as usize] {
            let column = &self.labels[label.column as usize];
            let id = column.ids.get((label.base + (row - run.start)) as usize);
            push_label(out, &column.name, column.values.get(id as usize));
        }
    }

    /// Time of the first and the last sample of a row.
    pub fn row_range(&self, row: u32) -> TimeRange {
        let row = self.rows.get(row as usize);
        let at = |offset: u32| self.min_ts + i64::from(offset);
        TimeRange::new(at(row.first_offset_ms), at(row.last_offset_ms))
    }

    pub fn row_samples(&self, row: u32) -> u32 {
        self.rows.get(row as usize).samples
    }

    /// Samples of a row in a range and their bytes in the data file, as if both lay evenly in time and file.
    pub(crate) fn estimate(&self, row: u32, range: TimeRange) -> (u64, u64) {
        let samples = share_within(range, self.row_range(row), u64::from(self.row_samples(row)));
        (samples, samples.saturating_mul(self.file.bytes) / self.file.samples.max(1))
    }

    pub(crate) fn row_layout(&self, row: u32) -> RowLayout {
        self.rows.get(row as usize).layout
    }

    pub(crate) fn pages(&self, column: SampleColumn) -> &[PageMark] {
        &self.pages[column as usize]
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        let tables = self.labels.iter().map(|column| column.values.memory_bytes() + column.ids.memory_bytes());
        self.own_bytes() + tables.sum::<usize>()
    }

    /// Bytes held in memory besides the tables that other indexes may have too.
    pub(crate) fn own_bytes(&self) -> usize {
        let labels = self
            .labels
            .iter()
            .map(|column| column.name.len() + column.segments.len() * size_of::<Segment>() + size_of::<LabelColumn>());
        size_of::<Self>()
            + labels.sum::<usize>()
            + self.runs.len() * size_of::<Run>()
            + self.run_labels.len() * size_of::<RunLabel>()
            + self.rows.memory_bytes()
            + self.pages.iter().map(|pages| pages.len() * size_of::<PageMark>()).sum::<usize>()
    }

    fn run_of(&self, row: u32) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.start <= row) - 1]
    }
}

#[cfg(test)]
mod tests;
