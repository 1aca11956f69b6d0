//! The series of one label pair.

use roaring::RoaringBitmap;

const FEW: usize = 3;
/// Up to here a sorted list is smaller than a bitmap with its containers.
const SORTED_MAX: usize = 48;

/// A set of slots. Most pairs have a few series or very many; the first kind needs no memory of its own.
#[derive(Clone, Debug)]
pub(super) enum Postings {
    Few {
        len: u8,
        slots: [u32; FEW],
    },
    // Boxed, so that all kinds fit 16 bytes.
    #[expect(clippy::box_collection, reason = "keeps the enum at 16 bytes; there is one for each label pair")]
    Sorted(Box<Vec<u32>>),
    Bitmap(Box<RoaringBitmap>),
}

impl Default for Postings {
    fn default() -> Self {
        Self::Few { len: 0, slots: [0; FEW] }
    }
}

impl Postings {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bitmap(bitmap) => bitmap.len(),
            _ => self.list().len() as u64,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Bitmap(bitmap) => bitmap.is_empty(),
            _ => self.list().is_empty(),
        }
    }

    /// The slots where they are a list: ascending for `Sorted`, in no order for `Few`.
    fn list(&self) -> &[u32] {
        match self {
            Self::Few { len, slots } => &slots[..usize::from(*len)],
            Self::Sorted(slots) => slots,
            Self::Bitmap(_) => &[],
        }
    }

    /// Adds a slot that is not there yet.
    pub(super) fn insert(&mut self, slot: u32) {
        match self {
            Self::Few { len, slots } if usize::from(*len) < FEW => {
                slots[usize::from(*len)] = slot;
                *len += 1;
            }
            Self::Few { slots, .. } => {
                let mut list = Box::new(Vec::with_capacity(2 * FEW));
                list.extend_from_slice(slots);
                list.push(slot);
                list.sort_unstable();
                *self = Self::Sorted(list);
            }
            Self::Sorted(list) if list.len() < SORTED_MAX => {
                let at = list.partition_point(|&other| other < slot);
                list.insert(at, slot);
            }
            Self::Sorted(list) => {
                let mut bitmap = list.iter().copied().collect::<RoaringBitmap>();
                bitmap.insert(slot);
                *self = Self::Bitmap(Box::new(bitmap));
            }
            Self::Bitmap(bitmap) => drop(bitmap.insert(slot)),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        match self {
            Self::Few { len, slots } => {
                if let Some(at) = slots[..usize::from(*len)].iter().position(|&other| other == slot) {
                    *len -= 1;
                    slots[at] = slots[usize::from(*len)];
                }
            }
            Self::Sorted(list) => {
                if let Ok(at) = list.binary_search(&slot) {
                    list.remove(at);
                }
                if list.is_empty() {
                    *self = Self::default();
                }
            }
            Self::Bitmap(bitmap) => {
                bitmap.remove(slot);
                if bitmap.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    pub(super) fn union_into(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Self::Bitmap(own) => *bitmap |= &**own,
            _ => bitmap.extend(self.list()),
        }
    }

    pub(super) fn intersect_into(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Self::Bitmap(own) => *bitmap &= &**own,
            _ => *bitmap = self.list().iter().copied().filter(|&slot| bitmap.contains(slot)).collect(),
        }
    }

    pub(super) fn intersects(&self, bitmap: &RoaringBitmap) -> bool {
        match self {
            Self::Bitmap(own) => !own.is_disjoint(bitmap),
            _ => self.list().iter().any(|&slot| bitmap.contains(slot)),
        }
    }

    pub(super) fn optimize(&mut self) {
        if let Self::Bitmap(bitmap) = self {
            bitmap.optimize();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_for_each_pair_stays_small() {
        assert_eq!(size_of::<Postings>(), 16);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(steps in prop::collection::vec((any::<bool>(), 0..100_u32), 0..300)) {
            let mut postings = Postings::default();
            let mut model = BTreeSet::new();
            for (add, slot) in steps {
                if add && model.insert(slot) {
                    postings.insert(slot);
                } else if !add && model.remove(&slot) {
                    postings.remove(slot);
                }
                prop_assert_eq!(postings.len(), model.len() as u64);
                prop_assert_eq!(postings.is_empty(), model.is_empty());
            }
            let evens: RoaringBitmap = (0..100).filter(|slot| slot % 2 == 0).collect();
            let mut both = evens.clone();
            postings.intersect_into(&mut both);
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), model.iter().copied().filter(|s| s % 2 == 0).collect::<Vec<_>>());
            prop_assert_eq!(postings.intersects(&evens), !both.is_empty());
            let mut union = RoaringBitmap::new();
            postings.union_into(&mut union);
            prop_assert_eq!(union.iter().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
