//! Makes the index of a data file from the data file alone.
//!
//! Reads the file from front to back, a row group at a time, twice: first for its checksum, because nothing is parsed
//! before the whole file is known to be what the manifest names.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use pharos_model::LabelSet;
use pharos_model::labels::METRIC_NAME;

use super::decimal::SCALE_MAX;
use super::index::{FileFacts, Index, IndexBuilder, RowFacts, RowLayout};
use super::page::{Levels, PageMark, decode_chunk};
use super::reader::FileIdentity;
use super::schema::{DEF_VALUE, SampleColumn, label_of_column};
use super::writer::FILE_SPAN_MS_MAX;
use crate::object::Bucket;
use crate::select::{ReadError, off_thread};

/// Bytes of the trailer: the footer's length and the magic.
const TRAILER_BYTES: u64 = 8;
const MAGIC_BYTES: u64 = 4;
/// Bytes that are fetched at a time for the checksum.
const CHECKSUM_READ_BYTES: u64 = 8 << 20;
/// Largest footer that is read.
const FOOTER_BYTES_MAX: u64 = 256 << 20;

pub(super) async fn rebuild_index(bucket: &Bucket, identity: &FileIdentity) -> std::result::Result<Index, ReadError> {
    let damaged = |reason: String| ReadError::DataFile { file: identity.key.clone(), reason };
    let size = bucket.size(&identity.key).await?;
    if size != identity.bytes || size < MAGIC_BYTES + TRAILER_BYTES {
        return Err(damaged(format!("{size} bytes long, the manifest says {}", identity.bytes)));
    }
    let crc = checksum(bucket, &identity.key, size).await?;
    if crc != identity.crc {
        return Err(damaged(format!("checksum is {crc:08x}, the manifest says {:08x}", identity.crc)));
    }
    let metadata = read_footer(bucket, &identity.key, size).await?.map_err(|error| damaged(error.to_string()))?;
    let rows: u64 = metadata.row_groups().iter().map(|group| group.num_rows().max(0) as u64).sum();
    if rows != identity.rows {
        return Err(damaged(format!("{rows} rows, the manifest says {}", identity.rows)));
    }
    let mut builder = IndexBuilder::default();
    let mut samples = 0;
    for (i, group) in metadata.row_groups().iter().enumerate() {
        let range = group_range(group, size).map_err(|error| damaged(error.to_string()))?;
        let start = range.start;
        let bytes = bucket.get_range(&identity.key, range).await?;
        let group = GroupBytes { start, bytes, meta: group.clone() };
        let pages = offset_index(&metadata, i);
        let work = move || group.index_into(builder, &pages);
        let (grown, read) = off_thread(move || Ok(work())).await?.map_err(|error| damaged(error.to_string()))?;
        builder = grown;
        samples += read;
    }
    match builder.span_ms() {
        0..=FILE_SPAN_MS_MAX => Ok(builder.finish(FileFacts { bytes: size, crc, samples })),
        span_ms => Err(damaged(format!("it spans {span_ms} ms"))),
    }
}

async fn checksum(bucket: &Bucket, key: &str, size: u64) -> std::result::Result<u32, ReadError> {
    let mut crc = crc32fast::Hasher::new();
    let mut at = 0;
    while at < size {
        let end = size.min(at + CHECKSUM_READ_BYTES);
        crc.update(&bucket.get_range(key, at..end).await?);
        at = end;
    }
    Ok(crc.finalize())
}

async fn read_footer(bucket: &Bucket, key: &str, size: u64) -> std::result::Result<Result<ParquetMetaData>, ReadError> {
    let trailer = bucket.get_range(key, size - TRAILER_BYTES..size).await?;
    let [.., a, b, c, d, _, _, _, _] = *trailer else {
        return Ok(Err(ParquetError::EOF("the file ends before its trailer".to_owned())));
    };
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if len > FOOTER_BYTES_MAX || len + TRAILER_BYTES > size {
        return Ok(Err(ParquetError::General(format!("footer of {len} bytes"))));
    }
    let mut tail_start = size - TRAILER_BYTES - len;
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    loop {
        let tail = bucket.get_range(key, tail_start..size).await?;
        let parse = move || {
            let parsed = reader.try_parse_sized(&tail, size);
            Ok((parsed, reader))
        };
        let (parsed, returned) = off_thread(parse).await?;
        reader = returned;
        match parsed {
            // The page index lies before the footer.
            Err(ParquetError::NeedMoreData(needed))
                if (needed as u64) < size && size - (needed as u64) < tail_start =>
            {
                tail_start = size - needed as u64;
            }
            Err(error) => return Ok(Err(error)),
            Ok(()) => return Ok(reader.finish()),
        }
    }
}

/// The bytes of a row group. Its columns are written one after the other.
fn group_range(group: &RowGroupMetaData, size: u64) -> Result<std::ops::Range<u64>> {
    let chunks = || group.columns().iter().map(chunk_range);
    let start = chunks().map(|(start, _)| start).min().unwrap_or(0);
    let end = chunks().filter_map(|(start, len)| start.checked_add(len)).max().unwrap_or(0);
    if start > end || end > size {
        return Err(ParquetError::General("row group lies outside the file".to_owned()));
    }
    Ok(start..end)
}

fn chunk_range(chunk: &ColumnChunkMetaData) -> (u64, u64) {
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    (start.max(0) as u64, chunk.compressed_size().max(0) as u64)
}

/// Offset, length and first row of each page of each sample column of a row group.
fn offset_index(metadata: &ParquetMetaData, group: usize) -> [Vec<(u64, u32, u64)>; SampleColumn::ALL.len()] {
    SampleColumn::ALL.map(|column| {
        let columns = metadata.row_group(group).columns();
        let place = columns.iter().position(|chunk| chunk.column_path().string() == column.path());
        let pages = metadata.offset_index().zip(place).and_then(|(index, place)| index.get(group)?.get(place));
        let pages = pages.into_iter().flat_map(|pages| pages.page_locations());
        pages.map(|page| (page.offset as u64, page.compressed_page_size as u32, page.first_row_index as u64)).collect()
    })
}

/// One row group, in memory.
struct GroupBytes {
    /// Offset of the first byte in the file.
    start: u64,
    bytes: Bytes,
    meta: RowGroupMetaData,
}

impl GroupBytes {
    /// Adds the rows and pages to the index; says how many samples they have.
    fn index_into(
        &self,
        mut builder: IndexBuilder,
        pages: &[Vec<(u64, u32, u64)>; SampleColumn::ALL.len()],
    ) -> Result<(IndexBuilder, u64)> {
        let rows = self.meta.num_rows() as usize;
        let labels = self.labels(rows)?;
        let first_ts = of_each_row("min_ts", rows, self.levels::<Int64Type>("min_ts", rows)?.values)?;
        let last_ts = of_each_row("max_ts", rows, self.levels::<Int64Type>("max_ts", rows)?.values)?;
        let counts = of_each_row("n", rows, self.levels::<Int32Type>("n", rows)?.values)?;
        let scales = of_each_row("scale", rows, self.levels::<Int32Type>("scale", rows)?.values)?;
        let [mantissas, doubles] = [SampleColumn::Mantissas.path(), SampleColumn::Doubles.path()];
        let has_mantissas = rows_with_values(&self.levels::<Int64Type>(mantissas, rows)?);
        let has_mantissas = of_each_row(mantissas, rows, has_mantissas)?;
        let has_doubles = of_each_row(doubles, rows, rows_with_values(&self.levels::<DoubleType>(doubles, rows)?))?;
        let has_histograms = self.rows_of_optional::<ByteArrayType>(SampleColumn::Histograms, rows)?;
        let has_starts = self.rows_of_optional::<Int64Type>(SampleColumn::Starts, rows)?;
        if scales.iter().any(|scale| !(0..=i32::from(SCALE_MAX)).contains(scale)) {
            return Err(ParquetError::General(format!("a scale is not from 0 to {SCALE_MAX}")));
        }
        if first_ts.iter().zip(&last_ts).any(|(first, last)| first > last) {
            return Err(ParquetError::General("a row ends before it begins".to_owned()));
        }
        let mut samples = 0;
        for (row, labels) in labels.iter().enumerate() {
            let layout = RowLayout {
                scale: has_mantissas[row].then_some(scales[row] as u8),
                doubles: has_doubles[row],
                histograms: has_histograms[row],
                starts: has_starts[row],
            };
            let facts =
                RowFacts { first_ts: first_ts[row], last_ts: last_ts[row], samples: counts[row] as u32, layout };
            builder.push_row(labels, facts);
            samples += u64::from(facts.samples);
        }
        let is_optional = |column| matches!(column, SampleColumn::Histograms | SampleColumn::Starts);
        let is_there = |column: SampleColumn| !is_optional(column) || self.chunk(column.path()).is_some();
        for (column, pages) in SampleColumn::ALL.into_iter().zip(pages).filter(|(column, _)| is_there(*column)) {
            self.pages(column, pages, rows)?.into_iter().for_each(|page| builder.push_page(column, page));
        }
        Ok((builder, samples))
    }

    /// For each row, whether it has values in a column that the file may lack: `h` in files of the first version, `st` where
    /// there are no start timestamps.
    fn rows_of_optional<T: DataType>(&self, column: SampleColumn, rows: usize) -> Result<Vec<bool>> {
        match self.chunk(column.path()) {
            Some(_) => of_each_row(column.path(), rows, rows_with_values(&self.levels::<T>(column.path(), rows)?)),
            None => Ok(vec![false; rows]),
        }
    }

    /// The pages of a column. They have to cover the rows, one page after the other.
    fn pages(&self, column: SampleColumn, pages: &[(u64, u32, u64)], rows: usize) -> Result<Vec<PageMark>> {
        let gap = || ParquetError::General(format!("pages of column {} do not cover its rows", column.path()));
        let mut covered = 0;
        let mut marks = Vec::with_capacity(pages.len());
        for (i, &(offset, len, first_row)) in pages.iter().enumerate() {
            let end_row = pages.get(i + 1).map_or(rows as u64, |next| next.2);
            if first_row != covered || end_row < first_row || end_row > rows as u64 {
                return Err(gap());
            }
            covered = end_row;
            let crc = crc32fast::hash(&self.slice(offset, u64::from(len))?);
            marks.push(PageMark { offset, len, rows: (end_row - first_row) as u32, crc });
        }
        if covered == rows as u64 { Ok(marks) } else { Err(gap()) }
    }

    fn slice(&self, offset: u64, len: u64) -> Result<Bytes> {
        let start = offset.checked_sub(self.start).map(|start| start as usize);
        let range = start.and_then(|start| Some(start..start.checked_add(len as usize)?));
        let range = range.filter(|range| range.end <= self.bytes.len());
        range
            .map(|range| self.bytes.slice(range))
            .ok_or_else(|| ParquetError::General("page outside its row group".to_owned()))
    }

    fn chunk(&self, path: &str) -> Option<&ColumnChunkMetaData> {
        self.meta.columns().iter().find(|chunk| chunk.column_path().string() == path)
    }

    fn levels<T: DataType>(&self, path: &str, rows: usize) -> Result<Levels<T::T>> {
        let chunk = self.chunk(path).ok_or_else(|| ParquetError::General(format!("column {path} is missing")))?;
        let (start, len) = chunk_range(chunk);
        let bytes = self.slice(start, len)?;
        let relative = |offset: i64| offset - start as i64;
        let meta = ColumnChunkMetaData::builder(chunk.column_descr_ptr())
            .set_compression_codec(chunk.compression_codec())
            .set_data_page_offset(relative(chunk.data_page_offset()))
            .set_dictionary_page_offset(chunk.dictionary_page_offset().map(relative))
            .set_total_compressed_size(chunk.compressed_size())
            .build()?;
        decode_chunk::<T>(&meta, bytes, rows)
    }

    fn labels(&self, rows: usize) -> Result<Vec<LabelSet>> {
        let mut sets: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); rows];
        for chunk in self.meta.columns() {
            let path = chunk.column_path().string();
            let label = if path == "name" { Some(METRIC_NAME) } else { label_of_column(&path) };
            let Some(label) = label else { continue };
            let levels = self.levels::<ByteArrayType>(&path, rows)?;
            let mut values = levels.values.iter();
            for (set, _) in sets.iter_mut().zip(&levels.def).filter(|(_, def)| **def == 1) {
                let value = values.next().ok_or_else(|| ParquetError::General("a label lacks its value".to_owned()))?;
                set.insert(label.to_owned(), text(value)?);
            }
        }
        let keys = self.levels::<ByteArrayType>("labels_rest.key_value.key", rows)?;
        let values = self.levels::<ByteArrayType>("labels_rest.key_value.value", rows)?;
        let mut pairs = keys.values.iter().zip(&values.values);
        let mut next_row = 0;
        for (rep, def) in keys.rep.iter().zip(&keys.def) {
            next_row += usize::from(*rep == 0);
            if *def == 1 {
                let (key, value) =
                    pairs.next().ok_or_else(|| ParquetError::General("a label lacks its value".to_owned()))?;
                let set = sets.get_mut(next_row.wrapping_sub(1));
                let set = set.ok_or_else(|| ParquetError::General("a label lies outside the rows".to_owned()))?;
                set.insert(text(key)?, text(value)?);
            }
        }
        Ok(sets.iter().map(LabelSet::from_pairs).collect())
    }
}

/// A column that has a value in every row.
fn of_each_row<T>(path: &str, rows: usize, values: Vec<T>) -> Result<Vec<T>> {
    if values.len() != rows {
        return Err(ParquetError::General(format!("column {path} has {} values in {rows} rows", values.len())));
    }
    Ok(values)
}

/// For each row, whether its list has an element that is not null.
fn rows_with_values<T>(levels: &Levels<T>) -> Vec<bool> {
    let mut rows = Vec::new();
    for (rep, def) in levels.rep.iter().zip(&levels.def) {
        if *rep == 0 {
            rows.push(false);
        }
        if let Some(row) = rows.last_mut() {
            *row |= *def == DEF_VALUE;
        }
    }
    rows
}

fn text(value: &ByteArray) -> Result<String> {
    Ok(value.as_utf8()?.to_owned())
}
