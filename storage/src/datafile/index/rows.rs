//! What is known of each row, each different one once: series that are scraped together are alike, often those of all targets.

use hashbrown::HashMap;

use super::{Ids, Row};

/// Where there are more different ones than this share of the rows, each row has its own.
const DISTINCT_SHARE: usize = 4;

#[derive(Debug)]
pub(super) struct RowTable {
    len: usize,
    distinct: Vec<Row>,
    /// Which one a row has; `None` when each has its own.
    ids: Option<Ids>,
}

impl RowTable {
    pub(super) fn of(rows: Vec<Row>) -> Self {
        let mut numbers: HashMap<Row, u32> = HashMap::new();
        let (mut distinct, mut ids) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in &rows {
            let number = *numbers.entry(*row).or_insert_with(|| {
                distinct.push(*row);
                distinct.len() as u32 - 1
            });
            ids.push(number);
            if distinct.len() > rows.len().div_ceil(DISTINCT_SHARE) {
                return Self { len: rows.len(), distinct: rows, ids: None };
            }
        }
        distinct.shrink_to_fit();
        Self { len: rows.len(), ids: Some(Ids::pack(ids.into_iter(), distinct.len())), distinct }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, row: usize) -> &Row {
        match &self.ids {
            Some(ids) => &self.distinct[ids.get(row) as usize],
            None => &self.distinct[row],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        (0..self.len).map(|row| self.get(row))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.distinct.len() * size_of::<Row>() + self.ids.as_ref().map_or(0, Ids::memory_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RowLayout;
    use super::*;

    proptest! {
        #[test]
        fn rows_are_as_they_were(samples in prop::collection::vec(0..5_u32, 0..40)) {
            let layout = RowLayout { scale: None, doubles: true, histograms: false, starts: false };
            let row = |samples| Row { first_offset_ms: 1, last_offset_ms: 2, samples, layout };
            let rows: Vec<Row> = samples.into_iter().map(row).collect();
            let table = RowTable::of(rows.clone());
            prop_assert_eq!(table.iter().copied().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn rows_that_are_alike_take_a_byte() {
        let layout = RowLayout { scale: Some(0), doubles: false, histograms: false, starts: false };
        let rows = (0..10_000).map(|i| Row { first_offset_ms: i % 100, last_offset_ms: i % 100, samples: 7, layout });
        assert!(RowTable::of(rows.collect()).memory_bytes() < 13_000);
    }
}
