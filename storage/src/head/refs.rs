//! Series references of a partition: numbers that are never used twice.
//!
//! References are given out in pages of 256, each page to one head, so that a reference of another tenant's series is
//! stale rather than wrong. A page is freed when all of its series are gone.

use crate::index::Slot;
use crate::record::SeriesRef;
use crate::wire::{Malformed, Reader, put_varint};

const PAGE_REFS: usize = 256;
const PAGES_MAX: usize = 1 << 24;
const GONE: u32 = u32::MAX;

#[derive(Debug)]
struct Page {
    head: u32,
    assigned: u16,
    live: u16,
    slots: [u32; PAGE_REFS],
}

impl Page {
    fn new(head: u32) -> Self {
        Self { head, assigned: 0, live: 0, slots: [GONE; PAGE_REFS] }
    }
}

/// From references to slots of heads.
#[derive(Debug, Default)]
pub(crate) struct RefTable {
    /// Every page that was ever opened; `None` once all of its series are gone.
    pages: Vec<Option<Box<Page>>>,
    /// By head: the page it takes references from.
    open: Vec<Option<u32>>,
}

impl RefTable {
    /// The slot of a live series of this head.
    #[inline]
    pub(crate) fn resolve(&self, head: u32, series: SeriesRef) -> Option<Slot> {
        let page = self.pages.get(series.0 as usize / PAGE_REFS)?.as_ref()?;
        let slot = page.slots[series.0 as usize % PAGE_REFS];
        (page.head == head && slot != GONE).then_some(Slot(slot))
    }

    /// A reference that was never given out before; `None` when all are used up.
    pub(crate) fn assign(&mut self, head: u32, slot: Slot) -> Option<SeriesRef> {
        let number = self.page_with_room(head)?;
        let page = self.pages[number as usize].as_mut().expect("an open page is there");
        let at = usize::from(page.assigned);
        page.slots[at] = slot.0;
        page.assigned += 1;
        page.live += 1;
        Some(SeriesRef(number * PAGE_REFS as u32 + at as u32))
    }

    fn page_with_room(&mut self, head: u32) -> Option<u32> {
        if self.open.len() <= head as usize {
            self.open.resize(head as usize + 1, None);
        }
        if let Some(number) = self.open[head as usize] {
            let assigned = self.pages[number as usize].as_ref().map_or(PAGE_REFS, |page| usize::from(page.assigned));
            if assigned < PAGE_REFS {
                return Some(number);
            }
        }
        if self.pages.len() >= PAGES_MAX {
            return None;
        }
        self.pages.push(Some(Box::new(Page::new(head))));
        let number = self.pages.len() as u32 - 1;
        self.open[head as usize] = Some(number);
        Some(number)
    }

    /// The series is gone: its reference is stale from now on.
    pub(crate) fn release(&mut self, series: SeriesRef) {
        let place = &mut self.pages[series.0 as usize / PAGE_REFS];
        let page = place.as_mut().expect("the page of a live series is there");
        let slot = &mut page.slots[series.0 as usize % PAGE_REFS];
        assert_ne!(*slot, GONE, "series reference {} is released twice", series.0);
        *slot = GONE;
        page.live -= 1;
        if page.live == 0 && usize::from(page.assigned) == PAGE_REFS {
            *place = None;
        }
    }

    /// The series has moved within its head, or was read back from a checkpoint. `false` when no such reference was
    /// given out.
    pub(crate) fn place(&mut self, head: u32, series: SeriesRef, slot: Slot) -> bool {
        let number = series.0 as usize / PAGE_REFS;
        let Some(place) = self.pages.get_mut(number) else { return false };
        let page = place.get_or_insert_with(|| Box::new(Page { assigned: PAGE_REFS as u16, ..Page::new(head) }));
        let at = series.0 as usize % PAGE_REFS;
        if page.head != head || at >= usize::from(page.assigned) {
            return false;
        }
        page.live += u16::from(page.slots[at] == GONE);
        page.slots[at] = slot.0;
        true
    }

    /// How far references are given out; the series themselves are in the heads' snapshots.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.pages.len() as u64);
        put_varint(out, self.open.len() as u64);
        for open in &self.open {
            // Page numbers start at 0, so 0 stands for none.
            put_varint(out, open.map_or(0, |number| u64::from(number) + 1));
            let assigned = open
                .and_then(|number| self.pages[number as usize].as_ref())
                .map_or(PAGE_REFS, |page| page.assigned.into());
            put_varint(out, assigned as u64);
        }
    }

    /// Reads what [`Self::encode`] wrote; [`Self::place`] brings the series.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        const FIELD: &str = "series reference table";
        let pages = reader.varint32(FIELD)? as usize;
        let heads = reader.varint32(FIELD)? as usize;
        if pages > PAGES_MAX || heads > reader.rest().len() {
            return Err(Malformed(FIELD));
        }
        let mut table = Self { pages: Vec::new(), open: vec![None; heads] };
        table.pages.resize_with(pages, || None);
        for head in 0..heads {
            let number = reader.varint32(FIELD)?;
            let assigned = reader.varint32(FIELD)? as usize;
            if number as usize > pages || assigned > PAGE_REFS {
                return Err(Malformed(FIELD));
            }
            let Some(number) = number.checked_sub(1) else { continue };
            table.open[head] = Some(number);
            if assigned < PAGE_REFS {
                table.pages[number as usize] =
                    Some(Box::new(Page { assigned: assigned as u16, ..Page::new(head as u32) }));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_never_used_twice_and_belong_to_one_head() {
        let mut table = RefTable::default();
        let first: Vec<_> = (0..600).map(|slot| table.assign(0, Slot(slot)).unwrap()).collect();
        let other = table.assign(1, Slot(0)).unwrap();
        assert_eq!(table.resolve(0, first[7]), Some(Slot(7)));
        assert_eq!(table.resolve(1, first[7]), None);
        assert_eq!(table.resolve(0, other), None);
        for &series in &first {
            table.release(series);
        }
        let again = table.assign(0, Slot(3)).unwrap();
        assert!(!first.contains(&again) && again != other);
        assert_eq!(table.resolve(0, first[3]), None);
        assert_eq!(table.resolve(0, SeriesRef(u32::MAX)), None);
    }

    #[test]
    fn a_table_that_was_written_goes_on_where_it_was() {
        let mut table = RefTable::default();
        let refs: Vec<_> = (0..300).map(|slot| table.assign(0, Slot(slot)).unwrap()).collect();
        table.assign(2, Slot(9)).unwrap();
        for &series in &refs[..256] {
            table.release(series);
        }
        let mut bytes = Vec::new();
        table.encode(&mut bytes);
        let mut back = RefTable::decode(&mut Reader::new(&bytes)).unwrap();
        for (slot, &series) in refs[256..].iter().enumerate() {
            assert!(back.place(0, series, Slot(slot as u32)));
        }
        assert!(!back.place(1, refs[256], Slot(0)), "a page belongs to one head");
        assert!(!back.place(0, SeriesRef(refs[299].0 + 1), Slot(0)), "not given out yet");
        assert_eq!(back.resolve(0, refs[0]), None);
        assert_eq!(back.resolve(0, refs[299]), Some(Slot(43)));
        assert_eq!(back.assign(0, Slot(1)), table.assign(0, Slot(1)));
        assert_eq!(back.assign(2, Slot(1)), table.assign(2, Slot(1)));
        assert_eq!(back.assign(1, Slot(1)), table.assign(1, Slot(1)));
    }
}
