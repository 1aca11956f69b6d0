//! Decoded pages, and where in them each row is.

use bytes::Bytes;
use parquet::data_type::{DataType, Int64Type};

use super::super::index::Index;
use super::super::page::{PageMark, decode};
use super::super::schema::{DEF_VALUE, SampleColumn};
use super::PagePlace;

/// A page of the `ts` column: every row has its list, of the length that the index knows.
#[derive(Debug)]
pub(super) struct TimestampPage {
    pub(super) page: usize,
    first_row: u32,
    /// End of each row's list.
    ends: Vec<usize>,
    values: Vec<i64>,
}

impl TimestampPage {
    pub(super) fn decode(index: &Index, place: PagePlace, mark: PageMark, bytes: Bytes) -> Result<Self, String> {
        let PagePlace { page, first_row } = place;
        let column = SampleColumn::Timestamps.descriptor();
        let levels = decode::<Int64Type>(&column, bytes, mark.rows).map_err(|error| error.to_string())?;
        let mut end = 0;
        let lengths = (first_row..first_row + mark.rows).map(|row| index.row_samples(row) as usize);
        let ends: Vec<_> = lengths
            .map(|len| {
                end += len;
                end
            })
            .collect();
        if end != levels.values.len() {
            return Err(format!("page at {} has {} timestamps, the index {end}", mark.offset, levels.values.len()));
        }
        Ok(Self { page, first_row, ends, values: levels.values })
    }

    pub(super) fn row(&self, row: u32) -> &[i64] {
        let i = (row - self.first_row) as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.values[start..self.ends[i]]
    }
}

/// A page of `m` or `v`: a row may have no list, and a list may lack elements.
#[derive(Debug)]
pub(super) struct ValuePage<V> {
    pub(super) page: usize,
    first_row: u32,
    rows: Vec<RowEnds>,
    def: Vec<i16>,
    values: Vec<V>,
}

/// Where a row ends among the levels and among the values.
#[derive(Clone, Copy, Debug, Default)]
struct RowEnds {
    levels: usize,
    values: usize,
}

impl<V> ValuePage<V> {
    pub(super) fn decode<T: DataType<T = V>>(
        column: SampleColumn,
        place: PagePlace,
        mark: PageMark,
        bytes: Bytes,
    ) -> Result<Self, String> {
        let PagePlace { page, first_row } = place;
        let levels = decode::<T>(&column.descriptor(), bytes, mark.rows).map_err(|error| error.to_string())?;
        let mut rows = Vec::with_capacity(mark.rows as usize);
        let mut ends = RowEnds::default();
        for (rep, def) in levels.rep.iter().zip(&levels.def) {
            if *rep == 0 && ends.levels > 0 {
                rows.push(ends);
            }
            ends.levels += 1;
            ends.values += usize::from(*def == DEF_VALUE);
        }
        rows.push(ends);
        if rows.len() != mark.rows as usize || ends.values != levels.values.len() {
            return Err(format!("page at {} has {} rows, the index {}", mark.offset, rows.len(), mark.rows));
        }
        Ok(Self { page, first_row, rows, def: levels.def, values: levels.values })
    }

    /// The values that a row has, and the definition level of each of its elements.
    pub(super) fn row(&self, row: u32) -> (&[V], &[i16]) {
        let i = (row - self.first_row) as usize;
        let start = if i == 0 { RowEnds::default() } else { self.rows[i - 1] };
        let end = self.rows[i];
        (&self.values[start.values..end.values], &self.def[start.levels..end.levels])
    }
}
