//! Walking the full chunks of a series, newest first, and finding the sample at one time.

use pharos_model::TimestampMs;

use super::Head;
use super::append::SampleValue;
use crate::chunk::codec::decode;
use crate::chunk::files::SegmentList;
use crate::chunk::histogram;
use crate::chunk::segment::{ChunkBytes, ChunkDamage, ChunkHeader, ChunkKind, ChunkPtr};
use crate::index::Slot;
use crate::record::SeriesRef;

/// The full chunks of one series that can have samples at or after a time, from the one that was cut last on.
///
/// A late chunk lies among the ones that were cut before it. So once a chunk in order ends before that time, all
/// before it do too.
#[derive(Debug)]
pub(super) struct ChunkWalk<'a> {
    segments: &'a SegmentList,
    series: SeriesRef,
    next: ChunkPtr,
    from: TimestampMs,
}

impl<'a> ChunkWalk<'a> {
    pub(super) fn new(segments: &'a SegmentList, series: SeriesRef, last_chunk: ChunkPtr, from: TimestampMs) -> Self {
        Self { segments, series, next: last_chunk, from }
    }

    /// Replaces `chunk` by the next one. `None` at the end.
    pub(super) fn next(&mut self, chunk: &mut ChunkBytes) -> Option<Result<ChunkHeader, ChunkDamage>> {
        loop {
            let at = self.next;
            let header = match self.segments.read(at, chunk)? {
                Ok(header) if header.series != self.series => {
                    Err(ChunkDamage { at, reason: "chunk of another series" })
                }
                Ok(header) if header.prev >= at => Err(ChunkDamage { at, reason: "chunks point in a circle" }),
                other => other,
            };
            let header = match header {
                Ok(header) => header,
                Err(damage) => {
                    self.next = ChunkPtr::NONE;
                    return Some(Err(damage));
                }
            };
            self.next = header.prev;
            if header.max_ts >= self.from {
                return Some(Ok(header));
            }
            if !header.late {
                self.next = ChunkPtr::NONE;
                return None;
            }
        }
    }
}

/// Time of the first sample of a chunk's stream.
pub(super) fn first_ts(stream: &[u8]) -> Option<TimestampMs> {
    stream.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes))
}

impl Head {
    /// Whether the newest sample of a series is `value`.
    pub(super) fn newest_is(&self, slot: Slot, value: SampleValue<'_>) -> bool {
        match self.histograms.get(&slot) {
            Some(open) => value.is_histogram(open.newest()),
            None => value.is_float(self.series[slot.0 as usize].chunk.newest_bits()),
        }
    }

    /// Looks for a sample of a series before its newest one; says whether it is the one sought if there is one at its time. A chunk that cannot be read counts as damaged and as
    /// not having it: a committed record must be applied, and readers get the error.
    pub(super) fn find_sample(
        &self,
        slot: Slot,
        sought: Sought<'_>,
        segments: &SegmentList,
        damaged: &mut u64,
    ) -> Option<bool> {
        if let Some(found) = self.find_waiting(slot, sought) {
            return Some(found);
        }
        let series = &self.series[slot.0 as usize];
        let mut stream = Vec::new();
        series.chunk.copy_to(&self.pool, &mut stream);
        let in_open = match self.histograms.get(&slot) {
            Some(open) => sought.find_in(open.stream(), open.count(), ChunkKind::Histogram, damaged),
            None => sought.find_in(&stream, series.chunk.count(), ChunkKind::Float, damaged),
        };
        if in_open.is_some() {
            return in_open;
        }
        let mut walk = ChunkWalk::new(segments, series.series, series.last_chunk, sought.ts);
        let mut chunk = ChunkBytes::default();
        while let Some(read) = walk.next(&mut chunk) {
            match read {
                Ok(header) => {
                    if let Some(found) = sought.find_in(&chunk.stream, header.count, header.kind, damaged) {
                        return Some(found);
                    }
                }
                Err(_) => *damaged += 1,
            }
        }
        None
    }

    /// Looks among the late samples that are in no chunk yet.
    fn find_waiting(&self, slot: Slot, Sought { ts, value }: Sought<'_>) -> Option<bool> {
        if let Some(buffer) = self.late.get(&slot)
            && let Ok(at) = buffer.binary_search_by_key(&ts, |&(other, _)| other)
        {
            return Some(value.is_float(buffer[at].1));
        }
        let buffer = self.late_histograms.get(&slot)?;
        let at = buffer.binary_search_by_key(&ts, |(other, _)| *other).ok()?;
        Some(value.is_histogram(&buffer[at].1))
    }
}

/// A sample that may be there already.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) ts: TimestampMs,
    pub(super) value: SampleValue<'a>,
}

impl Sought<'_> {
    /// Whether the sample at its time is this one; `None` when there is none.
    fn find_in(self, stream: &[u8], count: u8, kind: ChunkKind, damaged: &mut u64) -> Option<bool> {
        if first_ts(stream).is_none_or(|first| first > self.ts) {
            return None;
        }
        let mut found = None;
        let result = match kind {
            ChunkKind::Float => decode(stream, count, |ts, value_bits| {
                if ts == self.ts {
                    found = Some(self.value.is_float(value_bits));
                }
            }),
            ChunkKind::Histogram => histogram::decode(stream, count, |ts, histogram, _| {
                if ts == self.ts {
                    found = Some(self.value.is_histogram(histogram));
                }
            }),
        };
        *damaged += u64::from(result.is_err());
        found
    }
}
