//! Open pages, and where in them each row is.

use bytes::Bytes;

use super::super::page::values::Values;
use super::super::page::{OpenPage, PageMark};
use super::super::schema::{DEF_VALUE, SampleColumn};
use super::PagePlace;

/// A page of a sample column, from which row after row is read: cheapest in ascending order.
#[derive(Debug)]
pub(super) struct RowPage<V: Values> {
    pub(super) page: usize,
    column: SampleColumn,
    first_row: u32,
    open: OpenPage<V>,
    /// The values of the row that was read last.
    row: Vec<V::Value>,
}

/// The list of a row.
#[derive(Debug)]
pub(super) struct List<'a, V> {
    /// Those that are there.
    pub(super) values: &'a [V],
    /// Definition level of each element; `None` when all are there.
    def: Option<&'a [u8]>,
}

impl<V: Values> RowPage<V> {
    pub(super) fn open(column: SampleColumn, place: PagePlace, mark: PageMark, bytes: Bytes) -> Result<Self, String> {
        let PagePlace { page, first_row } = place;
        let open = OpenPage::new(column, bytes, mark.rows).map_err(|error| error.to_string())?;
        Ok(Self { page, column, first_row, open, row: Vec::new() })
    }

    pub(super) fn row(&mut self, row: u32) -> Result<List<'_, V::Value>, String> {
        let i = (row - self.first_row) as usize;
        let OpenPage { rows, values } = &mut self.open;
        if i >= rows.len() {
            return Err(format!("row {row} is not in its page of {}", self.column.path()));
        }
        self.row.clear();
        values.read(rows.values_of(i), &mut self.row).map_err(|error| error.to_string())?;
        Ok(List { values: &self.row, def: rows.def_of(i) })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.open.memory_bytes() + self.row.capacity() * size_of::<V::Value>()
    }
}

impl<'a, V> List<'a, V> {
    /// A list that is not there.
    pub(super) fn none() -> Self {
        Self { values: &[], def: None }
    }

    /// Its elements, those that are not there included.
    pub(super) fn len(&self) -> usize {
        self.def.map_or(self.values.len(), <[u8]>::len)
    }

    /// Whether the element at a position is there.
    pub(super) fn has(&self, position: usize) -> bool {
        match self.def {
            Some(def) => def.get(position).is_some_and(|level| i16::from(*level) == DEF_VALUE),
            None => position < self.values.len(),
        }
    }
}
