//! Collects an index while its data file is written, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use pharos_model::{LabelSet, TimestampMs};

use super::super::page::PageMark;
use super::super::schema::SampleColumn;
use super::rows::RowTable;
use super::{FileFacts, Ids, Index, LabelColumn, Row, RowLayout, Run, RunLabel, StringTable};

/// What the writer tells of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowFacts {
    pub first_ts: TimestampMs,
    pub last_ts: TimestampMs,
    pub samples: u32,
    pub layout: RowLayout,
}

/// Grows with the rows: some 50 bytes each, and each distinct label value once.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    labels: BTreeMap<String, usize>,
    columns: Vec<ColumnBuilder>,
    runs: Vec<RunBuilder>,
    rows: Vec<RowFacts>,
    pages: [Vec<PageMark>; SampleColumn::ALL.len()],
}

#[derive(Debug, Default)]
struct ColumnBuilder {
    numbers: HashMap<String, u32>,
    /// Numbers in order of first appearance.
    ids: Vec<u32>,
}

#[derive(Debug)]
struct RunBuilder {
    start: u32,
    columns: Vec<usize>,
}

impl IndexBuilder {
    pub(crate) fn push_row(&mut self, labels: &LabelSet, facts: RowFacts) {
        let mut shape = Vec::new();
        for label in labels {
            let column = self.column_of(label.name);
            self.columns[column].push(label.value);
            shape.push(column);
        }
        if self.runs.last().is_none_or(|run| run.columns != shape) {
            self.runs.push(RunBuilder { start: self.rows.len() as u32, columns: shape });
        }
        self.rows.push(facts);
    }

    pub(crate) fn push_page(&mut self, column: SampleColumn, page: PageMark) {
        self.pages[column as usize].push(page);
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    fn column_of(&mut self, name: &str) -> usize {
        if let Some(&column) = self.labels.get(name) {
            return column;
        }
        self.labels.insert(name.to_owned(), self.columns.len());
        self.columns.push(ColumnBuilder::default());
        self.columns.len() - 1
    }

    /// From the first sample to the last; `i64::MAX` when that is more.
    pub(crate) fn span_ms(&self) -> i64 {
        let (first, last) = self.times();
        last.saturating_sub(first)
    }

    /// First and last sample of all rows; zeros without any.
    fn times(&self) -> (TimestampMs, TimestampMs) {
        let first = self.rows.iter().map(|row| row.first_ts).min();
        let last = self.rows.iter().map(|row| row.last_ts).max();
        first.zip(last).unwrap_or_default()
    }

    /// Orders labels and values. The file must span less than 2^32 ms, which the writer has checked.
    pub(crate) fn finish(self, file: FileFacts) -> Index {
        let (min_ts, max_ts) = self.times();
        let mut place = vec![0_u32; self.columns.len()];
        let mut columns: Vec<_> = self.columns.into_iter().map(Some).collect();
        let mut labels = Vec::with_capacity(columns.len());
        for (name, first_seen) in self.labels {
            place[first_seen] = labels.len() as u32;
            labels.push(columns[first_seen].take().expect("each column has one name").finish(name));
        }
        let offset = |ts: TimestampMs| (ts - min_ts) as u32;
        let rows = self.rows.iter().map(|row| Row {
            first_offset_ms: offset(row.first_ts),
            last_offset_ms: offset(row.last_ts),
            samples: row.samples,
            layout: row.layout,
        });
        let rows = RowTable::of(rows.collect());
        let shapes = self.runs.into_iter().map(|run| {
            let mut shape: Vec<u32> = run.columns.iter().map(|column| place[*column]).collect();
            shape.sort_unstable();
            (run.start, shape)
        });
        let (runs, run_labels) = lay_runs(shapes, rows.len() as u32, &mut labels);
        Index { file, min_ts, max_ts, labels, runs, run_labels, rows, pages: self.pages }
    }
}

impl ColumnBuilder {
    fn push(&mut self, value: &str) {
        let next = self.numbers.len() as u32;
        let id = *self.numbers.entry_ref(value).or_insert(next);
        self.ids.push(id);
    }

    fn finish(self, name: String) -> LabelColumn {
        let mut sorted: Vec<_> = self.numbers.into_iter().collect();
        sorted.sort_unstable();
        let mut place = vec![0_u32; sorted.len()];
        let mut values = StringTable::default();
        for (value, first_seen) in sorted {
            place[first_seen as usize] = values.len() as u32;
            values.bytes.push_str(&value);
            values.ends.push(values.bytes.len() as u32);
        }
        let ids = self.ids.into_iter().map(|id| place[id as usize]);
        let ids = Arc::new(Ids::pack(ids, values.len()));
        LabelColumn { name, ids, values: Arc::new(values), segments: Vec::new() }
    }
}

impl Ids {
    pub(super) fn pack(ids: impl Iterator<Item = u32>, values: usize) -> Self {
        match values {
            0..=1 => Self::Same,
            2..=0x100 => Self::U8(ids.map(|id| id as u8).collect()),
            0x101..=0x1_0000 => Self::U16(ids.map(|id| id as u16).collect()),
            _ => Self::U32(ids.collect()),
        }
    }
}

/// Turns the shapes of the runs, each with its first row, into runs and the segments of each column.
pub(super) fn lay_runs(
    shapes: impl Iterator<Item = (u32, Vec<u32>)>,
    rows: u32,
    labels: &mut [LabelColumn],
) -> (Vec<Run>, Vec<RunLabel>) {
    let mut runs: Vec<Run> = Vec::new();
    let mut run_labels = Vec::new();
    let mut filled = vec![0_u32; labels.len()];
    let mut shapes = shapes.peekable();
    while let Some((start, shape)) = shapes.next() {
        let end = shapes.peek().map_or(rows, |(next, _)| *next);
        let labels_start = run_labels.len() as u32;
        for column in shape {
            let base = filled[column as usize];
            run_labels.push(RunLabel { column, base });
            filled[column as usize] += end - start;
            let segments = &mut labels[column as usize].segments;
            match segments.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => segments.push(super::Segment { start, end, base }),
            }
        }
        runs.push(Run { start, labels_start, labels_end: run_labels.len() as u32 });
    }
    (runs, run_labels)
}
