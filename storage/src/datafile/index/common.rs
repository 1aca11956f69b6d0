//! Tables that files have in common, held once: from one slice of time to the next, most labels of a partition have the same values.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use twox_hash::XxHash3_64;

use super::{Ids, Index, StringTable};

/// The tables of some indexes.
#[derive(Debug, Default)]
pub(crate) struct CommonTables {
    values: Held<StringTable>,
    ids: Held<Ids>,
}

/// A table of an index.
pub(super) trait Table: PartialEq {
    fn content_hash(&self) -> u64;
    fn memory_bytes(&self) -> usize;
}

/// Equal tables once, with the number of indexes that have them.
#[derive(Debug)]
struct Held<T>(HashTable<(u64, Arc<T>, usize)>);

impl CommonTables {
    /// Takes an index in: tables that are there already take the place of its own. Returns the bytes that this takes.
    pub(crate) fn hold(&mut self, index: &mut Index) -> usize {
        let tables = index.labels.iter_mut();
        tables.map(|column| self.values.hold(&mut column.values) + self.ids.hold(&mut column.ids)).sum()
    }

    /// Lets go of an index that was taken in. Returns the bytes that this frees, once nobody uses the index.
    pub(crate) fn release(&mut self, index: &Index) -> usize {
        let tables = index.labels.iter();
        tables.map(|column| self.values.release(&column.values) + self.ids.release(&column.ids)).sum()
    }
}

impl<T: Table> Held<T> {
    fn hold(&mut self, own: &mut Arc<T>) -> usize {
        let hash = own.content_hash();
        match self.0.entry(hash, |(of, table, _)| *of == hash && **table == **own, |(of, ..)| *of) {
            Entry::Occupied(mut held) => {
                let (_, table, users) = held.get_mut();
                *own = Arc::clone(table);
                *users += 1;
                0
            }
            Entry::Vacant(place) => {
                place.insert((hash, Arc::clone(own), 1));
                own.memory_bytes()
            }
        }
    }

    fn release(&mut self, own: &Arc<T>) -> usize {
        let hash = own.content_hash();
        let Ok(mut held) = self.0.find_entry(hash, |(_, table, _)| Arc::ptr_eq(table, own)) else { return 0 };
        held.get_mut().2 -= 1;
        if held.get().2 > 0 {
            return 0;
        }
        held.remove();
        own.memory_bytes()
    }
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl Table for StringTable {
    fn content_hash(&self) -> u64 {
        XxHash3_64::oneshot(self.bytes.as_bytes())
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4
    }
}

impl Table for Ids {
    fn content_hash(&self) -> u64 {
        match self {
            Self::Same => 0,
            Self::U8(ids) => XxHash3_64::oneshot(ids),
            Self::U16(ids) => hash_of(ids.iter().map(|id| u64::from(*id))),
            Self::U32(ids) => hash_of(ids.iter().map(|id| u64::from(*id))),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }
}

/// Good enough to tell tables apart that are compared afterwards.
fn hash_of(ids: impl Iterator<Item = u64>) -> u64 {
    ids.fold(0, |hash: u64, id| (hash.rotate_left(5) ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use pharos_model::LabelSet;

    use super::super::tests::build;
    use super::*;

    fn index(pods: std::ops::Range<usize>) -> Index {
        let rows = pods.map(|pod| LabelSet::from_pairs([("__name__", "m"), ("pod", &format!("{pod:09}")[..])]));
        Index::open(&build(&rows.collect::<Vec<_>>()).encode()).unwrap()
    }

    #[test]
    fn equal_tables_take_memory_once_and_as_long_as_any_file_has_them() {
        let mut common = CommonTables::default();
        let (mut first, mut second, mut other) = (index(0..500), index(0..500), index(1..501));
        let bytes = common.hold(&mut first);
        assert!(bytes > 500 * 9);
        assert_eq!(common.hold(&mut second), 0);
        let of_other = common.hold(&mut other);
        assert!(of_other > 500 * 9 && of_other < bytes);
        assert_eq!(common.release(&first), 0);
        assert_eq!(common.release(&other) + common.release(&second), bytes + of_other);
        assert!(common.values.0.is_empty() && common.ids.0.is_empty());
        let mut out = Vec::new();
        second.label_bytes(7, &mut out);
        assert_eq!(LabelSet::from_canonical(&out).unwrap().get("pod"), Some("000000007"));
    }
}
