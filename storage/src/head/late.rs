//! Late floats: older than the newest one of their series. They wait in a sorted buffer and go to chunks of their own.

use pharos_model::TimestampMs;

use super::Head;
use crate::chunk::codec::OpenChunk;
use crate::chunk::files::ChunkFiles;
use crate::chunk::segment::{ChunkHeader, ChunkKind};
use crate::index::Slot;

/// Late samples of a series that wait for their chunk.
pub(super) const LATE_SAMPLES_MAX: usize = 32;

/// Time and value bits, ascending, one for each time.
pub(super) type LateBuffer = Vec<(TimestampMs, u64)>;

impl Head {
    /// Takes a late float whose time the series does not have.
    pub(super) fn append_late(&mut self, slot: Slot, ts: TimestampMs, value_bits: u64, files: &mut ChunkFiles) {
        let buffer = self.late.entry(slot).or_default();
        let at = buffer.partition_point(|&(other, _)| other < ts);
        buffer.insert(at, (ts, value_bits));
        if buffer.len() >= LATE_SAMPLES_MAX {
            self.cut_late(slot, files);
        }
    }

    /// Moves the waiting late samples of a series to chunks in the files.
    fn cut_late(&mut self, slot: Slot, files: &mut ChunkFiles) {
        let Some(samples) = self.late.remove(&slot) else { return };
        let mut chunk = OpenChunk::EMPTY;
        let mut times = Vec::with_capacity(samples.len());
        for (ts, value_bits) in samples {
            if !chunk.try_append(&mut self.pool, ts, value_bits) {
                self.write_late(slot, &mut chunk, &mut times, files);
                let stored = chunk.try_append(&mut self.pool, ts, value_bits);
                assert!(stored, "an empty chunk takes any sample");
            }
            times.push(ts);
        }
        self.write_late(slot, &mut chunk, &mut times, files);
    }

    /// Writes a chunk of samples at `times`; both are empty then.
    fn write_late(&mut self, slot: Slot, chunk: &mut OpenChunk, times: &mut Vec<TimestampMs>, files: &mut ChunkFiles) {
        let starts = self.starts.cut_late(slot, times);
        times.clear();
        let series = &mut self.series[slot.0 as usize];
        let mut stream = Vec::with_capacity(chunk.byte_len());
        chunk.copy_to(&self.pool, &mut stream);
        let header = ChunkHeader {
            series: series.series,
            prev: series.last_chunk,
            max_ts: chunk.newest_ts(),
            count: chunk.count(),
            late: true,
            kind: ChunkKind::Float,
        };
        series.last_chunk = files.append(self.place, &header, &stream, &starts);
        chunk.clear(&mut self.pool);
    }
}
