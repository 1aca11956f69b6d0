//! Writes one data file, a row at a time.
//!
//! Rows come in label order, each with all samples of one series in the file's slice. Memory is bounded by one row
//! group of compressed pages plus the index; nothing depends on the number of samples in the slice. The time this takes
//! is CPU time: run it on a blocking thread.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::writer::SerializedFileWriter;
use pharos_model::histogram::packed::PackError;
use pharos_model::{LabelSet, TimestampMs};

use super::index::{FileFacts, INDEX_BYTES_MAX, IndexBuilder, RowFacts};
use super::page::PageMark;
use super::row_group::{ClosedColumn, RowGroup};
use super::schema::{FileColumns, FileSchema, SampleColumn, label_properties};
use super::split::SplitValues;
use crate::select::SampleColumns;

/// A row group is closed at this many rows or samples, whichever comes first; some 10 MB compressed.
const GROUP_ROWS_MAX: usize = 65_536;
const GROUP_SAMPLES_MAX: u64 = 16 << 20;
/// Longest time that one file covers: times in the index are 32 bits from the first.
pub const FILE_SPAN_MS_MAX: i64 = u32::MAX as i64;

/// Why a data file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("series {labels} does not come after the one before it")]
    Unsorted { labels: LabelSet },
    #[error("samples of series {labels} are empty, uneven or not ascending")]
    Samples { labels: LabelSet },
    #[error("series {labels} has start timestamps, and the file no column for them")]
    Starts { labels: LabelSet },
    #[error("series {labels}")]
    Histogram { labels: LabelSet, source: PackError },
    #[error("data file would span {span_ms} ms, the limit is {FILE_SPAN_MS_MAX}")]
    Span { span_ms: i64 },
    #[error("label sets of {bytes} bytes, the limit of one file is {INDEX_BYTES_MAX}")]
    Labels { bytes: u64 },
    #[error("parquet")]
    Parquet(#[from] ParquetError),
}

/// What a finished file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    pub rows: u64,
    pub samples: u64,
    pub bytes: u64,
    /// CRC-32 of all bytes of the data file.
    pub crc: u32,
    /// `None` when the file has no row.
    pub times: Option<(TimestampMs, TimestampMs)>,
    /// The index object.
    pub index: Vec<u8>,
}

/// Writes rows to `W`. Dropped before [`Writer::finish`], it leaves bytes that are no Parquet file.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<CrcSink<W>>,
    columns: FileColumns,
    group: Option<RowGroup>,
    index: IndexBuilder,
    last: Option<LabelSet>,
    split: SplitValues,
    samples: u64,
    label_bytes: u64,
    times: Option<(TimestampMs, TimestampMs)>,
}

impl<W: Write + Send> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("rows", &self.index.rows())
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> Writer<W> {
    pub fn new(sink: W, columns: FileColumns) -> Result<Self, WriteError> {
        let schema = FileSchema::new(&columns)?;
        Ok(Self {
            file: SerializedFileWriter::new(CrcSink::new(sink), schema.root(), label_properties())?,
            columns,
            group: None,
            index: IndexBuilder::default(),
            last: None,
            split: SplitValues::default(),
            samples: 0,
            label_bytes: 0,
            times: None,
        })
    }

    /// Appends a row. Every value is kept bit for bit.
    pub fn append(&mut self, labels: &LabelSet, samples: &SampleColumns) -> Result<(), WriteError> {
        let (first_ts, last_ts) = self.check(labels, samples)?;
        self.split.split(samples).map_err(|source| WriteError::Histogram { labels: labels.clone(), source })?;
        let layout = self.split.layout();
        if layout.starts && !self.columns.starts {
            return Err(WriteError::Starts { labels: labels.clone() });
        }
        let group = match &mut self.group {
            Some(group) => group,
            None => self.group.insert(RowGroup::new(&self.columns)?),
        };
        group.append(labels, &self.split)?;
        self.index.push_row(labels, RowFacts { first_ts, last_ts, samples: samples.len() as u32, layout });
        self.samples += samples.len() as u64;
        self.last = Some(labels.clone());
        if group.rows() >= GROUP_ROWS_MAX || group.samples() >= GROUP_SAMPLES_MAX {
            self.close_group()?;
        }
        Ok(())
    }

    /// First and last time of a row that may be appended.
    fn check(&mut self, labels: &LabelSet, samples: &SampleColumns) -> Result<(TimestampMs, TimestampMs), WriteError> {
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return Err(WriteError::Unsorted { labels: labels.clone() });
        }
        let Some((first, last)) = extent(samples).filter(|_| is_even(samples)) else {
            return Err(WriteError::Samples { labels: labels.clone() });
        };
        let (start, end) = self.times.map_or((first, last), |(start, end)| (start.min(first), end.max(last)));
        let span_ms = end.saturating_sub(start);
        if span_ms > FILE_SPAN_MS_MAX {
            return Err(WriteError::Span { span_ms });
        }
        self.label_bytes += labels.as_bytes().len() as u64;
        if self.label_bytes > INDEX_BYTES_MAX {
            return Err(WriteError::Labels { bytes: self.label_bytes });
        }
        self.times = Some((start, end));
        Ok((first, last))
    }

    fn close_group(&mut self) -> Result<(), WriteError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let columns = group.close()?;
        let mut group = self.file.next_row_group()?;
        let mut pages = Vec::new();
        for ClosedColumn { chunk, close, sample_column } in columns {
            let rows = close.rows_written;
            let starts = close
                .offset_index
                .as_ref()
                .map(|index| index.page_locations.iter().map(|page| page.first_row_index as u64).collect::<Vec<_>>());
            group.append_column(&Bytes::from(chunk.bytes), close)?;
            if let (Some(column), Some(starts)) = (sample_column, starts) {
                pages.push((column, with_rows(chunk.pages, &starts, rows)));
            }
        }
        let written = group.close()?;
        for (column, marks) in pages {
            let chunk_start = chunk_start(&written, column);
            for mark in marks {
                self.index.push_page(column, PageMark { offset: chunk_start + mark.offset, ..mark });
            }
        }
        Ok(())
    }

    /// Writes the footer and makes the index.
    pub fn finish(mut self) -> Result<(FileSummary, W), WriteError> {
        self.close_group()?;
        let sink = self.file.into_inner()?;
        let (bytes, crc) = (sink.bytes, sink.crc.finalize());
        let rows = self.index.rows() as u64;
        let index = self.index.finish(FileFacts { bytes, crc, samples: self.samples }).encode();
        Ok((FileSummary { rows, samples: self.samples, bytes, crc, times: self.times, index }, sink.inner))
    }
}

fn with_rows(mut marks: Vec<PageMark>, starts: &[u64], rows: u64) -> Vec<PageMark> {
    debug_assert_eq!(marks.len(), starts.len(), "one entry of the offset index for each page");
    for (i, mark) in marks.iter_mut().enumerate() {
        mark.rows = (starts.get(i + 1).copied().unwrap_or(rows) - starts[i]) as u32;
    }
    marks
}

/// First and last time of samples of both kinds.
fn extent(samples: &SampleColumns) -> Option<(TimestampMs, TimestampMs)> {
    let first = samples.ts.first().into_iter().chain(samples.histogram_ts.first()).min()?;
    let last = samples.ts.last().into_iter().chain(samples.histogram_ts.last()).max()?;
    Some((*first, *last))
}

/// Whether there is a value for each time, and times ascend.
fn is_even(samples: &SampleColumns) -> bool {
    let ascend = |ts: &[TimestampMs]| ts.is_sorted_by(|a, b| a < b);
    let apart = || samples.histogram_ts.iter().all(|ts| samples.ts.binary_search(ts).is_err());
    let has_starts = |starts: &[TimestampMs], samples: usize| starts.is_empty() || starts.len() == samples;
    samples.ts.len() == samples.values.len()
        && samples.histogram_ts.len() == samples.histograms.len()
        && has_starts(&samples.start_ts, samples.ts.len())
        && has_starts(&samples.histogram_start_ts, samples.histogram_ts.len())
        && ascend(&samples.ts)
        && ascend(&samples.histogram_ts)
        && apart()
}

fn chunk_start(group: &RowGroupMetaData, column: SampleColumn) -> u64 {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column.path());
    chunk.expect("a column that was written is in the metadata").data_page_offset() as u64
}

/// Counts and hashes what passes.
struct CrcSink<W> {
    inner: W,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<W> CrcSink<W> {
    fn new(inner: W) -> Self {
        Self { inner, crc: crc32fast::Hasher::new(), bytes: 0 }
    }
}

impl<W: Write> Write for CrcSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
