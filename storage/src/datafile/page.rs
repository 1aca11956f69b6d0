//! One Parquet page: written with its checksum, read back on its own.
//!
//! The parquet crate verifies page checksums but does not write them, so column chunks are collected here, each page
//! behind a header that carries its CRC (the `crc` field of the format, which other readers verify too). The index
//! object keeps a second CRC over header and body ([`PageMark`]), because a damaged header is damage as well.
//! A page is decoded without the file's footer: its place and its rows come from the index object.

mod levels;
pub(crate) mod values;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageReader, PageWriteSpec, PageWriter};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use self::levels::{Encoded, Rows};
use self::values::Values;
use super::schema::SampleColumn;
use crate::wire::{put_varint, zigzag};

/// Where a data page is and what its bytes must hash to. `rows` whole rows start and end in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageMark {
    /// From the start of the file; while a column chunk is being collected, from the start of the chunk.
    pub offset: u64,
    /// Header and body.
    pub len: u32,
    pub rows: u32,
    pub crc: u32,
}

/// The pages of one column chunk, in memory until the row group is written.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuffer {
    pub bytes: Vec<u8>,
    /// Data pages only, without their rows: those are known when the chunk is closed.
    pub pages: Vec<PageMark>,
}

/// Collects the pages of one column chunk into a shared [`ChunkBuffer`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkSink(Arc<Mutex<ChunkBuffer>>);

impl ChunkSink {
    /// Takes what was collected. The column writer must be closed before.
    pub(crate) fn take(&self) -> ChunkBuffer {
        std::mem::take(&mut self.0.lock())
    }
}

impl PageWriter for ChunkSink {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let mut chunk = self.0.lock();
        let start = chunk.bytes.len();
        put_header(&mut chunk.bytes, &page)?;
        let header_len = chunk.bytes.len() - start;
        chunk.bytes.extend_from_slice(page.data());
        let len = chunk.bytes.len() - start;
        if page.page_type() != PageType::DICTIONARY_PAGE {
            let crc = crc32fast::hash(&chunk.bytes[start..]);
            chunk.pages.push(PageMark { offset: start as u64, len: to_i32(len)? as u32, rows: 0, crc });
        }
        let mut spec = PageWriteSpec::new();
        spec.page_type = page.page_type();
        spec.uncompressed_size = page.uncompressed_size() + header_len;
        spec.compressed_size = len;
        spec.num_values = page.num_values();
        spec.offset = start as u64;
        spec.bytes_written = len as u64;
        Ok(spec)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

fn to_i32(n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| ParquetError::General(format!("page of {n} bytes")))
}

/// Types of Thrift's compact protocol, as the low half of a field header.
const I32: u8 = 5;
const STRUCT: u8 = 12;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const STOP: u8 = 0;

/// Appends the `PageHeader` struct of `parquet.thrift` in the compact protocol.
fn put_header(out: &mut Vec<u8>, page: &CompressedPage) -> Result<()> {
    let field = |out: &mut Vec<u8>, delta: u8, kind: u8| out.push(delta << 4 | kind);
    let int = |out: &mut Vec<u8>, delta: u8, value: i32| {
        field(out, delta, I32);
        put_varint(out, zigzag(i64::from(value)));
    };
    int(out, 1, page.page_type() as i32);
    int(out, 1, to_i32(page.uncompressed_size())?);
    int(out, 1, to_i32(page.data().len())?);
    int(out, 1, crc32fast::hash(page.data()) as i32);
    match page.compressed_page() {
        Page::DataPage { num_values, encoding, def_level_encoding, rep_level_encoding, .. } => {
            field(out, 1, STRUCT);
            int(out, 1, *num_values as i32);
            int(out, 1, *encoding as i32);
            int(out, 1, *def_level_encoding as i32);
            int(out, 1, *rep_level_encoding as i32);
        }
        Page::DictionaryPage { num_values, encoding, is_sorted, .. } => {
            field(out, 3, STRUCT);
            int(out, 1, *num_values as i32);
            int(out, 1, *encoding as i32);
            field(out, 1, if *is_sorted { TRUE } else { FALSE });
        }
        // The writer asks for version 1 pages: they compress the levels too, which are most of a constant series.
        Page::DataPageV2 { .. } => return Err(ParquetError::General("unexpected version 2 page".to_owned())),
    }
    out.extend_from_slice(&[STOP, STOP]);
    Ok(())
}

/// A decoded page: Parquet's levels and the values that are not null.
#[derive(Debug)]
pub(crate) struct Levels<T> {
    pub def: Vec<i16>,
    pub rep: Vec<i16>,
    pub values: Vec<T>,
}

/// A page of a sample column without its compression: its rows, and the bytes of their values.
#[derive(Debug)]
pub(crate) struct OpenPage<V> {
    pub rows: Rows,
    pub values: V,
}

impl<V: Values> OpenPage<V> {
    /// Opens a page of `rows` rows. The caller has verified its CRC.
    pub(crate) fn new(column: SampleColumn, page: Bytes, rows: u32) -> Result<Self> {
        let wrong = |what: &str| ParquetError::General(format!("{what} of a page of {}", column.path()));
        let descriptor = column.descriptor();
        let meta = ColumnChunkMetaData::builder(Arc::clone(&descriptor))
            .set_compression(Compression::ZSTD(Default::default()))
            .set_data_page_offset(0)
            .set_total_compressed_size(page.len() as i64)
            .build()?;
        let mut reader = SerializedPageReader::new(Arc::new(page), &meta, rows as usize, None)?;
        let Some(Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, .. }) =
            reader.get_next_page()?
        else {
            return Err(wrong("kind"));
        };
        if encoding != column.encoding() || [def_level_encoding, rep_level_encoding] != [Encoding::RLE; 2] {
            return Err(wrong("encoding"));
        }
        let mut rest = &buf[..];
        let mut levels = |max: i16| -> Result<Encoded<'_>> {
            let (len, behind) = rest.split_first_chunk::<4>().ok_or_else(|| wrong("levels"))?;
            let (bytes, behind) =
                behind.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(|| wrong("levels"))?;
            rest = behind;
            Ok(Encoded { bytes, width: (i16::BITS - max.leading_zeros()) as usize, len: num_values as usize })
        };
        let (rep, def) = (levels(descriptor.max_rep_level())?, levels(descriptor.max_def_level())?);
        let rows = Rows::decode(rep, def, descriptor.max_def_level() as u8, rows as usize)?;
        let values = V::open(buf.slice(buf.len() - rest.len()..), rows.values())?;
        Ok(Self { rows, values })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.values.memory_bytes()
    }
}

/// Decodes all pages of a column chunk that starts at the first of `bytes`, to which the offsets in `meta` are relative.
pub(crate) fn decode_chunk<T: DataType>(meta: &ColumnChunkMetaData, bytes: Bytes, rows: usize) -> Result<Levels<T::T>> {
    let reader = SerializedPageReader::new(Arc::new(bytes), meta, rows, None)?;
    let mut column = ColumnReaderImpl::<T>::new(meta.column_descr_ptr(), Box::new(reader));
    let mut levels = Levels { def: Vec::new(), rep: Vec::new(), values: Vec::new() };
    let (read, _, _) = column.read_records(rows, Some(&mut levels.def), Some(&mut levels.rep), &mut levels.values)?;
    if read != rows {
        return Err(ParquetError::General(format!("{read} rows where {rows} were expected")));
    }
    Ok(levels)
}
