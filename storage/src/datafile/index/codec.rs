//! The bytes of an index object. Layout: `docs/format/index-object.md`.
//!
//! Opening takes bytes from a disk or a network: the checksum comes first, but nothing behind it is believed either.
//! Memory grows with the bytes that are there, never with a number they claim.

use std::io::Read;
use std::sync::Arc;

use pharos_model::labels::LABEL_BYTES_MAX;

use super::super::page::PageMark;
use super::super::schema::SampleColumn;
use super::builder::lay_runs;
use super::rows::RowTable;
use super::{FileFacts, Ids, Index, LabelColumn, Row, RowLayout, StringTable};
use crate::datafile::decimal::SCALE_MAX;
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

const MAGIC: &[u8; 8] = b"PHARIDX2";
/// Of a file with start timestamps.
const MAGIC_STARTS: &[u8; 8] = b"PHARIDX3";
/// Before there were histograms.
const MAGIC_FLOATS: &[u8; 8] = b"PHARIDX1";
/// Largest index object, decoded. Some 40 million rows.
pub const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Most bytes that a byte of compressed body may decode to. What we write stays far below.
const EXPANSION_MAX: u64 = 1_000;
const ZSTD_LEVEL: i32 = 6;
/// Most labels in one run: a bound on what a byte of the body can make grow.
const RUN_LABELS_MAX: u64 = 4_096;

/// Layout byte of a row: the scale in the low bits, or this when it has no mantissas.
const NO_MANTISSAS: u8 = 0x1f;
const HAS_DOUBLES: u8 = 0x20;
const HAS_HISTOGRAMS: u8 = 0x40;
const HAS_STARTS: u8 = 0x80;

/// Why bytes are not an index. The data file stays readable: the index is rebuilt from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("index object is {0} bytes long, too short")]
    Short(usize),
    #[error("not an index object of a known version")]
    Magic,
    #[error("index checksum is {found:08x}, not {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("index body of {0} bytes is beyond the limit")]
    TooLarge(u64),
    #[error("index body does not decompress")]
    Compression,
    #[error("index: {0}")]
    Malformed(#[from] Malformed),
}

impl Index {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.put_file(&mut body);
        self.put_labels(&mut body);
        self.put_rows(&mut body);
        self.put_pages(&mut body);
        let has_starts = !self.pages(SampleColumn::Starts).is_empty();
        seal_envelope(if has_starts { MAGIC_STARTS } else { MAGIC }, &body)
    }

    fn put_file(&self, out: &mut Vec<u8>) {
        put_varint(out, self.file.bytes);
        out.extend_from_slice(&self.file.crc.to_le_bytes());
        put_varint(out, self.file.samples);
        put_signed(out, self.min_ts);
        put_signed(out, self.max_ts);
        put_varint(out, self.rows.len() as u64);
    }

    fn put_labels(&self, out: &mut Vec<u8>) {
        put_varint(out, self.labels.len() as u64);
        for column in &self.labels {
            put_prefixed(out, column.name.as_bytes());
            put_varint(out, column.values.len() as u64);
            column.values.iter().for_each(|value| put_prefixed(out, value.as_bytes()));
        }
        put_varint(out, self.runs.len() as u64);
        for (i, run) in self.runs.iter().enumerate() {
            let end = self.runs.get(i + 1).map_or(self.rows.len() as u32, |next| next.start);
            put_varint(out, u64::from(end - run.start));
            let labels = &self.run_labels[run.labels_start as usize..run.labels_end as usize];
            put_varint(out, labels.len() as u64);
            labels.iter().for_each(|label| put_varint(out, u64::from(label.column)));
        }
        for column in &self.labels {
            match &*column.ids {
                Ids::Same => {}
                Ids::U8(ids) => out.extend_from_slice(ids),
                Ids::U16(ids) => ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes())),
                Ids::U32(ids) => ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes())),
            }
        }
    }

    fn put_rows(&self, out: &mut Vec<u8>) {
        self.rows.iter().for_each(|row| put_varint(out, u64::from(row.samples)));
        self.rows.iter().for_each(|row| put_varint(out, u64::from(row.first_offset_ms)));
        self.rows.iter().for_each(|row| put_varint(out, u64::from(row.last_offset_ms - row.first_offset_ms)));
        out.extend(self.rows.iter().map(|row| row.layout.byte()));
    }

    fn put_pages(&self, out: &mut Vec<u8>) {
        let [values @ .., starts] = &self.pages;
        let starts = (!starts.is_empty()).then_some(starts);
        for pages in values.iter().chain(starts) {
            put_varint(out, pages.len() as u64);
            for page in pages {
                put_varint(out, page.offset);
                put_varint(out, u64::from(page.len));
                put_varint(out, u64::from(page.rows));
                out.extend_from_slice(&page.crc.to_le_bytes());
            }
        }
    }

    /// Opens the bytes of an index object, checking every invariant of [`Index`].
    pub fn open(bytes: &[u8]) -> Result<Self, IndexError> {
        let (magic, body) = open_envelope(bytes)?;
        let mut reader = Reader::new(&body);
        let file = FileFacts {
            bytes: reader.varint("file size")?,
            crc: reader.u32("file checksum")?,
            samples: reader.varint("sample count")?,
        };
        let (min_ts, max_ts) = (reader.signed("first time")?, reader.signed("last time")?);
        let rows = read_count(&mut reader, "row count")? as u32;
        let (mut labels, value_counts) = read_label_tables(&mut reader)?;
        let shapes = read_shapes(&mut reader, rows, &labels)?;
        let (runs, run_labels) = lay_runs(shapes.into_iter(), rows, &mut labels);
        for (column, values) in labels.iter_mut().zip(value_counts) {
            let present = column.segments.iter().map(|segment| (segment.end - segment.start) as usize).sum();
            column.ids = Arc::new(read_ids(&mut reader, present, values)?);
        }
        let rows = RowTable::of(read_rows(&mut reader, rows, min_ts, max_ts)?);
        let mut pages = <[Vec<PageMark>; SampleColumn::ALL.len()]>::default();
        let of_histograms = SampleColumn::Histograms as usize;
        for list in &mut pages[..of_histograms] {
            *list = read_pages(&mut reader, rows.len() as u64, file.bytes)?;
        }
        // Files of the first version lack the column, whichever version their index is of.
        if reader.rest() == [0] {
            reader.u8("page count")?;
        } else if !reader.is_empty() {
            pages[of_histograms] = read_pages(&mut reader, rows.len() as u64, file.bytes)?;
        }
        if magic == *MAGIC_STARTS {
            pages[SampleColumn::Starts as usize] = read_pages(&mut reader, rows.len() as u64, file.bytes)?;
        }
        let lacks = |column: SampleColumn, has: fn(RowLayout) -> bool| {
            pages[column as usize].is_empty() && rows.iter().any(|row| has(row.layout))
        };
        if lacks(SampleColumn::Histograms, |layout| layout.histograms)
            || lacks(SampleColumn::Starts, |layout| layout.starts)
        {
            return Err(Malformed("page").into());
        }
        if !reader.is_empty() {
            return Err(Malformed("end").into());
        }
        Ok(Self { file, min_ts, max_ts, labels, runs, run_labels, rows, pages })
    }
}

/// Compresses the body and puts magic, length and checksum around it.
pub(super) fn seal_envelope(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let compressed = zstd::bulk::compress(body, ZSTD_LEVEL).expect("compressing into memory has no way to fail");
    let mut out = Vec::with_capacity(MAGIC.len() + 12 + compressed.len());
    out.extend_from_slice(magic);
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&compressed);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

/// Checks the envelope and decompresses the body. Returns the magic too.
pub(super) fn open_envelope(bytes: &[u8]) -> Result<([u8; 8], Vec<u8>), IndexError> {
    let short = || IndexError::Short(bytes.len());
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(short)?;
    let (magic, rest) = content.split_first_chunk::<8>().ok_or_else(short)?;
    let (body_len, compressed) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    if ![MAGIC, MAGIC_STARTS, MAGIC_FLOATS].contains(&magic) {
        return Err(IndexError::Magic);
    }
    let (expected, found) = (u32::from_le_bytes(*crc), crc32fast::hash(content));
    if expected != found {
        return Err(IndexError::Checksum { expected, found });
    }
    let body_len = u64::from_le_bytes(*body_len);
    if body_len > INDEX_BYTES_MAX || body_len > (compressed.len() as u64).saturating_mul(EXPANSION_MAX) {
        return Err(IndexError::TooLarge(body_len));
    }
    let mut body = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(|_| IndexError::Compression)?;
    decoder.take(body_len + 1).read_to_end(&mut body).map_err(|_| IndexError::Compression)?;
    if body.len() as u64 != body_len {
        return Err(IndexError::Compression);
    }
    Ok((*magic, body))
}

/// A number of things that take at least one byte each, so that it is bounded by what is left.
fn read_count(reader: &mut Reader<'_>, field: &'static str) -> Result<usize, Malformed> {
    let count = reader.varint32(field)? as usize;
    if count > reader.rest().len() {
        return Err(Malformed(field));
    }
    Ok(count)
}

/// Names and values, without value numbers, and how many values each label has. What is checked here makes every row's
/// labels canonical: names and values are not empty and not too long, and names ascend with the number of their column.
fn read_label_tables(reader: &mut Reader<'_>) -> Result<(Vec<LabelColumn>, Vec<usize>), Malformed> {
    let mut labels: Vec<LabelColumn> = Vec::new();
    let mut counts = Vec::new();
    for _ in 0..read_count(reader, "label count")? {
        let name = reader.prefixed_str("label name")?;
        if name.is_empty()
            || name.len() > LABEL_BYTES_MAX
            || labels.last().is_some_and(|last| last.name.as_str() >= name)
        {
            return Err(Malformed("label order"));
        }
        let mut values = StringTable::default();
        let count = read_count(reader, "value count")?;
        for i in 0..count {
            let value = reader.prefixed_str("label value")?;
            if value.is_empty() || value.len() > LABEL_BYTES_MAX || i > 0 && values.get(i - 1) >= value {
                return Err(Malformed("value order"));
            }
            values.bytes.push_str(value);
            values.ends.push(u32::try_from(values.bytes.len()).map_err(|_| Malformed("value table"))?);
        }
        values.bytes.shrink_to_fit();
        values.ends.shrink_to_fit();
        let (values, ids) = (Arc::new(values), Arc::new(Ids::Same));
        labels.push(LabelColumn { name: name.to_owned(), values, ids, segments: Vec::new() });
        counts.push(count);
    }
    Ok((labels, counts))
}

/// First row and columns of each run. The runs cover `rows` rows exactly.
fn read_shapes(reader: &mut Reader<'_>, rows: u32, labels: &[LabelColumn]) -> Result<Vec<(u32, Vec<u32>)>, Malformed> {
    let mut shapes = Vec::new();
    let mut start = 0_u32;
    for _ in 0..read_count(reader, "run count")? {
        let len = reader.varint32("run length")?;
        let label_count = reader.varint("run labels")?;
        if len == 0 || len > rows - start || label_count > RUN_LABELS_MAX {
            return Err(Malformed("run"));
        }
        let mut shape: Vec<u32> = Vec::new();
        for _ in 0..label_count {
            let column = reader.varint32("run label")?;
            let known = labels.get(column as usize).is_some_and(|label| label.values.len() > 0);
            if !known || shape.last().is_some_and(|last| *last >= column) {
                return Err(Malformed("run label"));
            }
            shape.push(column);
        }
        shapes.push((start, shape));
        start += len;
    }
    if start != rows {
        return Err(Malformed("run"));
    }
    Ok(shapes)
}

fn read_ids(reader: &mut Reader<'_>, present: usize, values: usize) -> Result<Ids, Malformed> {
    const FIELD: &str = "value numbers";
    let within = |id: usize| if id < values { Ok(()) } else { Err(Malformed(FIELD)) };
    let take = |reader: &mut Reader<'_>, width: usize| {
        reader.bytes(present.checked_mul(width).ok_or(Malformed(FIELD))?, FIELD).map(<[u8]>::to_vec)
    };
    match values {
        0..=1 => Ok(Ids::Same),
        2..=0x100 => {
            let ids = take(reader, 1)?;
            ids.iter().try_for_each(|id| within(usize::from(*id)))?;
            Ok(Ids::U8(ids))
        }
        0x101..=0x1_0000 => {
            let bytes = take(reader, 2)?;
            let ids: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            ids.iter().try_for_each(|id| within(usize::from(*id)))?;
            Ok(Ids::U16(ids))
        }
        _ => {
            let bytes = take(reader, 4)?;
            let ids: Vec<u32> = bytes.as_chunks().0.iter().map(|quad| u32::from_le_bytes(*quad)).collect();
            ids.iter().try_for_each(|id| within(*id as usize))?;
            Ok(Ids::U32(ids))
        }
    }
}

fn read_rows(reader: &mut Reader<'_>, count: u32, min_ts: i64, max_ts: i64) -> Result<Vec<Row>, Malformed> {
    if count as usize > reader.rest().len() {
        return Err(Malformed("row count"));
    }
    let span = max_ts.checked_sub(min_ts).and_then(|span| u32::try_from(span).ok()).ok_or(Malformed("file times"))?;
    let none = RowLayout { scale: None, doubles: false, histograms: false, starts: false };
    let mut rows = vec![Row { first_offset_ms: 0, last_offset_ms: 0, samples: 0, layout: none }; count as usize];
    for row in &mut rows {
        row.samples = reader.varint32("samples of a row")?;
    }
    for row in &mut rows {
        row.first_offset_ms = reader.varint32("first time of a row")?;
    }
    for row in &mut rows {
        let len = reader.varint32("last time of a row")?;
        row.last_offset_ms =
            row.first_offset_ms.checked_add(len).filter(|last| *last <= span).ok_or(Malformed("row times"))?;
    }
    for row in &mut rows {
        row.layout = RowLayout::from_byte(reader.u8("row layout")?).ok_or(Malformed("row layout"))?;
    }
    Ok(rows)
}

/// The pages of one column: they cover the rows exactly, in order, and lie within the file.
fn read_pages(reader: &mut Reader<'_>, rows: u64, file_bytes: u64) -> Result<Vec<PageMark>, Malformed> {
    const FIELD: &str = "page";
    let mut pages = Vec::new();
    let mut covered = 0_u64;
    let mut end = 0_u64;
    for _ in 0..read_count(reader, "page count")? {
        let page = PageMark {
            offset: reader.varint(FIELD)?,
            len: reader.varint32(FIELD)?,
            rows: reader.varint32(FIELD)?,
            crc: reader.u32(FIELD)?,
        };
        let page_end = page.offset.checked_add(u64::from(page.len)).ok_or(Malformed(FIELD))?;
        if page.rows == 0 || page.offset < end || page_end > file_bytes {
            return Err(Malformed(FIELD));
        }
        end = page_end;
        covered += u64::from(page.rows);
        pages.push(page);
    }
    if covered != rows {
        return Err(Malformed(FIELD));
    }
    Ok(pages)
}

impl RowLayout {
    fn byte(self) -> u8 {
        let doubles = if self.doubles { HAS_DOUBLES } else { 0 };
        let histograms = if self.histograms { HAS_HISTOGRAMS } else { 0 };
        let starts = if self.starts { HAS_STARTS } else { 0 };
        self.scale.unwrap_or(NO_MANTISSAS) | doubles | histograms | starts
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let scale = match byte & !(HAS_DOUBLES | HAS_HISTOGRAMS | HAS_STARTS) {
            NO_MANTISSAS => None,
            scale if scale <= SCALE_MAX => Some(scale),
            _ => return None,
        };
        let has = |flag: u8| byte & flag != 0;
        Some(Self { scale, doubles: has(HAS_DOUBLES), histograms: has(HAS_HISTOGRAMS), starts: has(HAS_STARTS) })
    }
}
