//! The start timestamps of a head in its snapshot: behind its histograms, and only if the head ever had any.

use super::super::Head;
use super::super::refs::RefTable;
use super::super::starts::LateStarts;
use super::bounded;
use crate::index::Slot;
use crate::record::SeriesRef;
use crate::starts::StartColumn;
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

impl Head {
    pub(super) fn encode_starts(&self, out: &mut Vec<u8>) {
        if !self.starts.any {
            return;
        }
        let open = self.by_reference(self.starts.open.iter());
        put_varint(out, open.len() as u64);
        for (series, (slot, column)) in open {
            put_varint(out, u64::from(series.0));
            put_prefixed(out, &column.clone().into_bytes(self.open_count(*slot).into()));
        }
        let late = self.by_reference(self.starts.late.iter());
        put_varint(out, late.len() as u64);
        for (series, (_, waiting)) in late {
            put_varint(out, u64::from(series.0));
            put_varint(out, waiting.len() as u64);
            for (ts, start) in waiting {
                put_signed(out, *ts);
                put_signed(out, *start);
            }
        }
    }

    fn by_reference<'a, V>(&self, of: impl Iterator<Item = (&'a Slot, &'a V)>) -> Vec<(SeriesRef, (&'a Slot, &'a V))> {
        let mut sorted: Vec<_> = of.map(|(slot, value)| (self.series_at(*slot), (slot, value))).collect();
        sorted.sort_unstable_by_key(|(series, _)| *series);
        sorted
    }

    pub(super) fn decode_starts(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "start timestamps";
        if reader.is_empty() {
            return Ok(());
        }
        self.starts.any = true;
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let column = StartColumn::restore(reader.prefixed(FIELD)?, self.open_count(slot).into())?;
            self.starts.open.insert(slot, column);
        }
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let count = bounded(reader, FIELD)?;
            let start = |_| Ok((reader.signed(FIELD)?, reader.signed(FIELD)?));
            let waiting: LateStarts = (0..count).map(start).collect::<Result<_, _>>()?;
            self.starts.late.insert(slot, waiting);
        }
        Ok(())
    }
}
