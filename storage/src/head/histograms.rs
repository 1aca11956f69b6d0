//! Native histograms of a head. They lie beside the series, because few series have any.
//!
//! Invariant: a series has one open chunk at most, of floats or of histograms, so that its chunks follow each other in time.
//! While it is one of histograms, the newest sample of the series is its newest.

use pharos_model::TimestampMs;
use pharos_model::histogram::packed::PackedHistogram;

use super::Head;
use crate::chunk::files::ChunkFiles;
use crate::chunk::histogram::OpenHistogramChunk;
use crate::chunk::segment::{ChunkHeader, ChunkKind};
use crate::index::Slot;

/// Late histograms of a series that wait for their chunk.
pub(super) const LATE_HISTOGRAMS_MAX: usize = 16;

/// Ascending, one for each time.
pub(super) type LateHistograms = Vec<(TimestampMs, PackedHistogram)>;

impl Head {
    /// Takes a histogram that is newer than every sample of the series.
    pub(super) fn append_histogram(
        &mut self,
        slot: Slot,
        ts: TimestampMs,
        histogram: &PackedHistogram,
        files: &mut ChunkFiles,
    ) {
        let at = slot.0 as usize;
        if self.series[at].chunk.count() > 0 {
            self.cut(slot, files);
        }
        if !self.histograms.get_mut(&slot).is_some_and(|open| open.try_append(ts, histogram)) {
            self.cut_histograms(slot, files);
            self.histograms.insert(slot, Box::new(OpenHistogramChunk::new(ts, histogram)));
            self.open_chunks += 1;
        }
        self.series[at].chunk.pass_newest(ts);
    }

    /// Moves the open chunk of histograms to the files, if the series has one.
    pub(super) fn cut_histograms(&mut self, slot: Slot, files: &mut ChunkFiles) {
        if let Some(chunk) = self.histograms.remove(&slot) {
            let starts = self.starts.cut(slot, chunk.count());
            self.write_histograms(slot, &chunk, (false, &starts), files);
            self.open_chunks -= 1;
        }
    }

    /// Takes a late histogram at a time that the series does not have.
    pub(super) fn append_late_histogram(
        &mut self,
        slot: Slot,
        ts: TimestampMs,
        histogram: &PackedHistogram,
        files: &mut ChunkFiles,
    ) {
        let buffer = self.late_histograms.entry(slot).or_default();
        let at = buffer.partition_point(|(other, _)| *other < ts);
        buffer.insert(at, (ts, histogram.clone()));
        if buffer.len() >= LATE_HISTOGRAMS_MAX {
            self.cut_late_histograms(slot, files);
        }
    }

    fn cut_late_histograms(&mut self, slot: Slot, files: &mut ChunkFiles) {
        let mut open: Option<OpenHistogramChunk> = None;
        let mut times = Vec::new();
        for (ts, histogram) in self.late_histograms.remove(&slot).unwrap_or_default() {
            if !open.as_mut().is_some_and(|chunk| chunk.try_append(ts, &histogram))
                && let Some(full) = open.replace(OpenHistogramChunk::new(ts, &histogram))
            {
                self.write_late_histograms(slot, &full, &mut times, files);
            }
            times.push(ts);
        }
        if let Some(last) = open {
            self.write_late_histograms(slot, &last, &mut times, files);
        }
    }

    /// Writes a late chunk of samples at `times`, which are empty then.
    fn write_late_histograms(
        &mut self,
        slot: Slot,
        chunk: &OpenHistogramChunk,
        times: &mut Vec<TimestampMs>,
        files: &mut ChunkFiles,
    ) {
        let starts = self.starts.cut_late(slot, times);
        times.clear();
        self.write_histograms(slot, chunk, (true, &starts), files);
    }

    /// Writes a chunk: whether it is late, and its start timestamps.
    fn write_histograms(
        &mut self,
        slot: Slot,
        chunk: &OpenHistogramChunk,
        (late, starts): (bool, &[u8]),
        files: &mut ChunkFiles,
    ) {
        let series = &mut self.series[slot.0 as usize];
        let header = ChunkHeader {
            series: series.series,
            prev: series.last_chunk,
            max_ts: chunk.newest_ts(),
            count: chunk.count(),
            late,
            kind: ChunkKind::Histogram,
        };
        series.last_chunk = files.append(self.place, &header, chunk.stream(), starts);
    }
}
