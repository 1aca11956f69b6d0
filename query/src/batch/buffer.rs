//! Rows kept by operators that need all of them.

use std::collections::VecDeque;

use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::rows::{Row, RowBatch};

/// Batches in memory, paid for in the query's memory pool.
#[derive(Debug)]
pub struct RowBuffer {
    batches: VecDeque<RowBatch>,
    reservation: MemoryReservation,
    points: u64,
}

/// A row of a [`RowBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowId {
    batch: u32,
    row: u32,
}

impl RowBuffer {
    pub fn new(reservation: MemoryReservation) -> Self {
        Self { batches: VecDeque::new(), reservation, points: 0 }
    }

    /// Fails when the query's memory limit is reached.
    pub fn push(&mut self, batch: RowBatch) -> Result<()> {
        self.reservation.try_grow(batch.bytes())?;
        self.points += batch.points();
        self.batches.push_back(batch);
        Ok(())
    }

    /// Takes the oldest batch out. Ids of rows do not hold any more.
    pub fn pop(&mut self) -> Option<RowBatch> {
        let batch = self.batches.pop_front()?;
        self.reservation.shrink(batch.bytes());
        self.points -= batch.points();
        Some(batch)
    }

    /// Batches now in memory.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The `i`th oldest batch.
    pub fn batch(&self, i: usize) -> Option<&RowBatch> {
        self.batches.get(i)
    }

    /// Bytes paid for.
    pub fn bytes(&self) -> usize {
        self.reservation.size()
    }

    /// Memory of what is made from the rows, counted against the same limit.
    pub fn reserve_beside(&self) -> MemoryReservation {
        self.reservation.new_empty()
    }

    /// Samples in all rows.
    pub fn points(&self) -> u64 {
        self.points
    }

    pub fn get(&self, id: RowId) -> Row<'_> {
        self.batches[id.batch as usize].row(id.row as usize)
    }

    /// All rows in the order of arrival.
    pub fn ids(&self) -> impl Iterator<Item = RowId> + '_ {
        (0u32..)
            .zip(&self.batches)
            .flat_map(|(batch, rows)| (0..rows.len() as u32).map(move |row| RowId { batch, row }))
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.batches.iter().flat_map(RowBatch::rows)
    }
}
