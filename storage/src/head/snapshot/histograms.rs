//! The histograms of a head in its snapshot: behind everything older, and only if there are any or start timestamps behind them,
//! so that heads without either have the bytes they always had.

use pharos_model::histogram::wire;

use super::super::Head;
use super::super::histograms::{LATE_HISTOGRAMS_MAX, LateHistograms};
use super::super::refs::RefTable;
use super::bounded;
use crate::chunk::histogram::OpenHistogramChunk;
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

impl Head {
    pub(super) fn encode_histograms(&self, out: &mut Vec<u8>) {
        if self.histograms.is_empty() && self.late_histograms.is_empty() && !self.starts.any {
            return;
        }
        let mut open: Vec<_> = self.histograms.iter().map(|(&slot, chunk)| (self.series_at(slot), chunk)).collect();
        open.sort_unstable_by_key(|&(series, _)| series);
        put_varint(out, open.len() as u64);
        for (series, chunk) in open {
            put_varint(out, u64::from(series.0));
            out.push(chunk.count());
            put_prefixed(out, chunk.stream());
        }
        let mut late: Vec<_> = self.late_histograms.iter().map(|(&slot, late)| (self.series_at(slot), late)).collect();
        late.sort_unstable_by_key(|&(series, _)| series);
        put_varint(out, late.len() as u64);
        let mut bytes = Vec::new();
        for (series, buffer) in late {
            put_varint(out, u64::from(series.0));
            put_varint(out, buffer.len() as u64);
            for (ts, histogram) in buffer {
                put_signed(out, *ts);
                bytes.clear();
                wire::put(&mut bytes, histogram);
                put_prefixed(out, &bytes);
            }
        }
    }

    pub(super) fn decode_histograms(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        if reader.is_empty() {
            return Ok(());
        }
        self.decode_open_histograms(reader, refs)?;
        self.decode_late_histograms(reader, refs)
    }

    fn decode_open_histograms(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "open chunk of histograms";
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let count = reader.u8(FIELD)?;
            let chunk = OpenHistogramChunk::restore(reader.prefixed(FIELD)?, count)?;
            let floats = &self.series[slot.0 as usize].chunk;
            if floats.count() > 0 || floats.newest_ts() != chunk.newest_ts() {
                return Err(Malformed(FIELD));
            }
            if self.histograms.insert(slot, Box::new(chunk)).is_some() {
                return Err(Malformed(FIELD));
            }
            self.open_chunks += 1;
        }
        Ok(())
    }

    fn decode_late_histograms(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "late histograms";
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let count = bounded(reader, FIELD)?;
            if count >= LATE_HISTOGRAMS_MAX {
                return Err(Malformed(FIELD));
            }
            let sample = |_| {
                let ts = reader.signed(FIELD)?;
                Ok((ts, wire::decode(reader.prefixed(FIELD)?).map_err(|_| Malformed(FIELD))?))
            };
            let buffer: LateHistograms = (0..count).map(sample).collect::<Result<_, _>>()?;
            self.late_histograms.insert(slot, buffer);
        }
        Ok(())
    }
}
