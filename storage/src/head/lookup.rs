//! Walking the full chunks of a series, newest first, and finding the sample at one time.

use pharos_model::TimestampMs;

use super::Head;
use crate::chunk::codec::decode;
use crate::chunk::files::SegmentList;
use crate::chunk::segment::{ChunkDamage, ChunkHeader, ChunkPtr};
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

    /// Replaces `stream` by the next chunk's. `None` at the end.
    pub(super) fn next(&mut self, stream: &mut Vec<u8>) -> Option<Result<ChunkHeader, ChunkDamage>> {
        loop {
            let at = self.next;
            let header = match self.segments.read(at, stream)? {
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
    /// The value of a series at a time before its newest sample. A chunk that cannot be read counts as damaged and as
    /// not having it: a committed record must be applied, and readers get the error.
    pub(super) fn find_sample(
        &self,
        slot: Slot,
        ts: TimestampMs,
        segments: &SegmentList,
        damaged: &mut u64,
    ) -> Option<u64> {
        if let Some(buffer) = self.late.get(&slot)
            && let Ok(at) = buffer.binary_search_by_key(&ts, |&(other, _)| other)
        {
            return Some(buffer[at].1);
        }
        let series = &self.series[slot.0 as usize];
        let mut stream = Vec::new();
        series.chunk.copy_to(&self.pool, &mut stream);
        if let Some(found) = find_in_stream(&stream, series.chunk.count(), ts, damaged) {
            return Some(found);
        }
        let mut walk = ChunkWalk::new(segments, series.series, series.last_chunk, ts);
        while let Some(chunk) = walk.next(&mut stream) {
            match chunk {
                Ok(header) => {
                    if let Some(found) = find_in_stream(&stream, header.count, ts, damaged) {
                        return Some(found);
                    }
                }
                Err(_) => *damaged += 1,
            }
        }
        None
    }
}

fn find_in_stream(stream: &[u8], count: u8, ts: TimestampMs, damaged: &mut u64) -> Option<u64> {
    if first_ts(stream).is_none_or(|first| first > ts) {
        return None;
    }
    let mut found = None;
    let result = decode(stream, count, |other, value_bits| {
        if other == ts {
            found = Some(value_bits);
        }
    });
    *damaged += u64::from(result.is_err());
    found
}
