//! A head as bytes: its part of a checkpoint. Layout: `docs/format/head-snapshot.md`.
//!
//! Series are written in the order of their references and pairs in the order in which series use them, so that
//! reading back fills every table front to back. Reading back is also how a head sheds the remains of removed series.

mod histograms;
mod starts;

use pharos_model::{Exemplar, LabelSet, TenantId, TimeRange, TimestampMs};

use super::{Head, HeadOptions, Series};
use crate::chunk::blocks::BlockPool;
use crate::chunk::codec::{OpenChunk, OpenChunkState};
use crate::chunk::segment::ChunkPtr;
use crate::head::late::LATE_SAMPLES_MAX;
use crate::head::refs::RefTable;
use crate::index::{LABELS_MAX, Slot};
use crate::record::SeriesRef;
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

impl Head {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_prefixed(out, self.tenant.as_str().as_bytes());
        put_signed(out, self.sealed_until_ms);
        put_signed(out, self.dropped_until_ms);
        put_time(out, self.min_ts);
        put_time(out, self.max_ts);
        put_varint(out, self.occupied.len() as u64);
        self.occupied.iter().for_each(|&cell| put_signed(out, cell));
        let mut slots: Vec<Slot> = self.index.live_slots().iter().map(Slot).collect();
        slots.sort_unstable_by_key(|&slot| self.series_at(slot));
        let numbers = self.encode_pairs(&slots, out);
        put_varint(out, slots.len() as u64);
        let mut last_ref = 0;
        for &slot in &slots {
            let series = &self.series[slot.0 as usize];
            put_varint(out, u64::from(series.series.0 - last_ref));
            last_ref = series.series.0;
            self.encode_series(slot, series, &numbers, out);
        }
        self.encode_late(out);
        self.encode_tombstones(out);
        self.encode_exemplars(out);
        self.encode_histograms(out);
        self.encode_starts(out);
    }

    /// Writes the pieces of the pairs that the series use. Returns the number of each pair in the snapshot.
    fn encode_pairs(&self, slots: &[Slot], out: &mut Vec<u8>) -> Vec<u32> {
        const UNUSED: u32 = u32::MAX;
        let mut numbers = vec![UNUSED; self.index.pair_limit()];
        let mut used = Vec::new();
        for &slot in slots {
            for &pair in self.index.pair_numbers(slot) {
                if numbers[pair as usize] == UNUSED {
                    numbers[pair as usize] = used.len() as u32;
                    used.push(pair);
                }
            }
        }
        put_varint(out, used.len() as u64);
        for pair in used {
            put_prefixed(out, self.index.piece(pair));
        }
        numbers
    }

    fn encode_series(&self, slot: Slot, series: &Series, numbers: &[u32], out: &mut Vec<u8>) {
        let pairs = self.index.pair_numbers(slot);
        put_varint(out, pairs.len() as u64);
        for &pair in pairs {
            put_varint(out, u64::from(numbers[pair as usize]));
        }
        put_varint(out, series.last_chunk.to_bits());
        let state = series.chunk.state();
        out.extend_from_slice(&state.newest_ts.to_le_bytes());
        out.extend_from_slice(&state.newest_bits.to_le_bytes());
        put_varint(out, u64::from(state.bits));
        if state.bits > 0 {
            put_varint(out, u64::from(state.step));
            out.extend_from_slice(&[state.count, state.leading, state.significant]);
            series.chunk.copy_to(&self.pool, out);
        }
    }

    fn encode_late(&self, out: &mut Vec<u8>) {
        let mut late: Vec<_> = self.late.iter().map(|(&slot, buffer)| (self.series_at(slot), buffer)).collect();
        late.sort_unstable_by_key(|&(series, _)| series);
        put_varint(out, late.len() as u64);
        for (series, buffer) in late {
            put_varint(out, u64::from(series.0));
            put_varint(out, buffer.len() as u64);
            for (ts, value_bits) in buffer {
                put_signed(out, *ts);
                out.extend_from_slice(&value_bits.to_le_bytes());
            }
        }
    }

    fn encode_tombstones(&self, out: &mut Vec<u8>) {
        let mut tombstones: Vec<_> = self.tombstones.iter().collect();
        tombstones.sort_unstable_by_key(|&(series, _)| series);
        put_varint(out, tombstones.len() as u64);
        for (series, ranges) in tombstones {
            put_varint(out, u64::from(series.0));
            put_varint(out, ranges.len() as u64);
            for range in ranges {
                put_signed(out, range.start_ms);
                put_signed(out, range.end_ms);
            }
        }
    }

    fn encode_exemplars(&self, out: &mut Vec<u8>) {
        put_varint(out, self.exemplars.len() as u64);
        for (series, exemplar) in self.exemplars.iter() {
            put_varint(out, u64::from(series.0));
            put_signed(out, exemplar.ts);
            out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
            put_prefixed(out, exemplar.labels.as_bytes());
        }
    }

    /// Reads a head back and puts its series into the table.
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        place: u32,
        options: HeadOptions,
        refs: &mut RefTable,
    ) -> Result<Self, Malformed> {
        let tenant = TenantId::new(reader.prefixed_str("tenant id")?).map_err(|_| Malformed("tenant id"))?;
        let mut head = Self::new(tenant, place, options);
        head.sealed_until_ms = reader.signed("seal floor")?;
        head.dropped_until_ms = reader.signed("drop floor")?;
        head.min_ts = take_time(reader)?;
        head.max_ts = take_time(reader)?;
        let cells = bounded(reader, "occupied cell")?;
        head.occupied = (0..cells).map(|_| reader.signed("occupied cell")).collect::<Result<_, _>>()?;
        let mut scratch = Scratch { known_pairs: head.decode_pairs(reader)?, ..Scratch::default() };
        let count = reader.varint32("count of series")?;
        let mut last_ref = 0_u32;
        for _ in 0..count {
            let step = reader.varint32("series reference")?;
            last_ref = last_ref.checked_add(step).ok_or(Malformed("series reference"))?;
            head.decode_series(SeriesRef(last_ref), reader, &mut scratch, refs)?;
        }
        head.decode_late(reader, refs)?;
        head.decode_tombstones(reader, refs)?;
        head.decode_exemplars(reader, refs)?;
        head.decode_histograms(reader, refs)?;
        head.decode_starts(reader, refs)?;
        head.index.optimize();
        Ok(head)
    }

    fn decode_pairs(&mut self, reader: &mut Reader<'_>) -> Result<Vec<u32>, Malformed> {
        const FIELD: &str = "label pair";
        let count = bounded(reader, FIELD)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let piece = reader.prefixed(FIELD)?;
            let is_one_label = LabelSet::from_canonical(piece).is_ok_and(|label| label.len() == 1);
            if !is_one_label {
                return Err(Malformed(FIELD));
            }
            pairs.push(self.index.intern(piece));
        }
        Ok(pairs)
    }

    fn decode_series(
        &mut self,
        series: SeriesRef,
        reader: &mut Reader<'_>,
        scratch: &mut Scratch,
        refs: &mut RefTable,
    ) -> Result<(), Malformed> {
        let labels = reader.varint32("count of labels")? as usize;
        if labels > LABELS_MAX {
            return Err(Malformed("count of labels"));
        }
        scratch.pairs.clear();
        for _ in 0..labels {
            let number = reader.varint32("number of a label pair")? as usize;
            scratch.pairs.push(*scratch.known_pairs.get(number).ok_or(Malformed("number of a label pair"))?);
        }
        let last_chunk = ChunkPtr::from_bits(reader.varint("place of a chunk")?);
        let chunk = decode_open_chunk(reader, &mut self.pool)?;
        self.open_chunks += usize::from(chunk.count() > 0);
        let slot = self.index.insert_pairs(&scratch.pairs, &mut scratch.labels);
        self.place_series(slot, Series { chunk, last_chunk, series });
        if refs.place(self.place, series, slot) { Ok(()) } else { Err(Malformed("series reference")) }
    }

    fn decode_late(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "late samples";
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let count = bounded(reader, FIELD)?;
            if count >= LATE_SAMPLES_MAX {
                return Err(Malformed(FIELD));
            }
            let buffer =
                (0..count).map(|_| Ok((reader.signed(FIELD)?, reader.u64(FIELD)?))).collect::<Result<_, _>>()?;
            self.late.insert(slot, buffer);
        }
        Ok(())
    }

    fn decode_tombstones(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "deleted ranges";
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let count = bounded(reader, FIELD)?;
            let range = |_| Ok(TimeRange::new(reader.signed(FIELD)?, reader.signed(FIELD)?));
            let ranges = (0..count).map(range).collect::<Result<_, _>>()?;
            self.tombstones.insert(self.series_at(slot), ranges);
        }
        Ok(())
    }

    fn decode_exemplars(&mut self, reader: &mut Reader<'_>, refs: &RefTable) -> Result<(), Malformed> {
        const FIELD: &str = "exemplar";
        for _ in 0..bounded(reader, FIELD)? {
            let slot = self.decode_live(reader, refs, FIELD)?;
            let ts = reader.signed(FIELD)?;
            let value = f64::from_bits(reader.u64(FIELD)?);
            let labels = LabelSet::from_canonical(reader.prefixed(FIELD)?).map_err(|_| Malformed(FIELD))?;
            self.exemplars.restore(self.series_at(slot), Exemplar { labels, value, ts });
        }
        Ok(())
    }

    /// The slot of a series that is named by reference.
    fn decode_live(&self, reader: &mut Reader<'_>, refs: &RefTable, field: &'static str) -> Result<Slot, Malformed> {
        let series = SeriesRef(reader.varint32(field)?);
        refs.resolve(self.place, series).ok_or(Malformed(field))
    }
}

/// What reading one series after the other needs.
#[derive(Default)]
struct Scratch {
    /// By number in the snapshot: the pair's number in the index.
    known_pairs: Vec<u32>,
    pairs: Vec<u32>,
    labels: Vec<u8>,
}

fn decode_open_chunk(reader: &mut Reader<'_>, pool: &mut BlockPool) -> Result<OpenChunk, Malformed> {
    const FIELD: &str = "open chunk";
    let newest_ts = reader.i64(FIELD)?;
    let newest_bits = reader.u64(FIELD)?;
    let bits = u16::try_from(reader.varint(FIELD)?).map_err(|_| Malformed(FIELD))?;
    let mut state = OpenChunkState { newest_ts, newest_bits, step: 0, bits, count: 0, leading: 0, significant: 0 };
    if bits == 0 {
        return OpenChunk::restore(pool, state, &[]);
    }
    state.step = reader.varint32(FIELD)?;
    state.count = reader.u8(FIELD)?;
    state.leading = reader.u8(FIELD)?;
    state.significant = reader.u8(FIELD)?;
    OpenChunk::restore(pool, state, reader.bytes(usize::from(bits).div_ceil(8), FIELD)?)
}

/// A count of items of at least one byte each.
fn bounded(reader: &mut Reader<'_>, field: &'static str) -> Result<usize, Malformed> {
    let count = reader.varint32(field)? as usize;
    if count > reader.rest().len() { Err(Malformed(field)) } else { Ok(count) }
}

fn put_time(out: &mut Vec<u8>, ts: Option<TimestampMs>) {
    out.push(u8::from(ts.is_some()));
    if let Some(ts) = ts {
        put_signed(out, ts);
    }
}

fn take_time(reader: &mut Reader<'_>) -> Result<Option<TimestampMs>, Malformed> {
    match reader.u8("presence of a time")? {
        0 => Ok(None),
        1 => reader.signed("time").map(Some),
        _ => Err(Malformed("presence of a time")),
    }
}
