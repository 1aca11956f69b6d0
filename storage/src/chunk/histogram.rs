//! Chunks of native histograms: up to 120 samples of one series in one byte stream.
//!
//! The first sample is its time as in float chunks, then the whole histogram. Each further one says how its step in time
//! differs from the step before, and what changed in the histogram; when the layout did, the whole histogram again. So
//! a new bucket, a reset or another schema needs no new chunk. Layout: `docs/format/chunk.md`.
//!
//! Invariant: what is read has the bits that were appended, but for the hint: see [`PackedHistogram::hint_after`].

use pharos_model::TimestampMs;
use pharos_model::histogram::packed::{HISTOGRAM_BYTES_MAX, PackedHistogram};
use pharos_model::histogram::wire;

use super::codec::CHUNK_SAMPLES_MAX;
use crate::wire::{Malformed, Reader, put_signed};

/// Size of the stream after which a chunk is cut, if it has [`SAMPLES_MIN`].
const CHUNK_BYTES_FULL: usize = 1024;
/// Samples that a chunk of large histograms has at least, so that most of them are stored as changes.
const SAMPLES_MIN: u8 = 10;
/// No stream is longer.
pub const HISTOGRAM_CHUNK_BYTES_MAX: usize = (1 << 16) - 1;
const FIRST_TS_BYTES: usize = 8;
// The first sample fits always.
const _: () = assert!(FIRST_TS_BYTES + HISTOGRAM_BYTES_MAX <= HISTOGRAM_CHUNK_BYTES_MAX);

/// The chunk of a series that still takes histograms. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenHistogramChunk {
    stream: Vec<u8>,
    count: u8,
    newest_ts: TimestampMs,
    step: i64,
    newest: PackedHistogram,
}

impl OpenHistogramChunk {
    /// A chunk of one sample.
    pub fn new(ts: TimestampMs, histogram: &PackedHistogram) -> Self {
        let newest = PackedHistogram { hint: histogram.hint_alone(), ..histogram.clone() };
        let mut stream = ts.to_be_bytes().to_vec();
        wire::put(&mut stream, &newest);
        Self { stream, count: 1, newest_ts: ts, step: 0, newest }
    }

    /// Appends a sample that is newer than all before. `false` when it does not fit: a new chunk takes it.
    pub fn try_append(&mut self, ts: TimestampMs, histogram: &PackedHistogram) -> bool {
        debug_assert!(ts > self.newest_ts, "samples of an open chunk are in order");
        let is_full = self.count >= SAMPLES_MIN && self.stream.len() >= CHUNK_BYTES_FULL;
        if is_full || self.count >= CHUNK_SAMPLES_MAX {
            return false;
        }
        let newest = PackedHistogram { hint: histogram.hint_after(&self.newest), ..histogram.clone() };
        let (len, step) = (self.stream.len(), ts.wrapping_sub(self.newest_ts));
        put_signed(&mut self.stream, step.wrapping_sub(self.step));
        wire::put_after(&mut self.stream, &newest, &self.newest);
        if self.stream.len() > HISTOGRAM_CHUNK_BYTES_MAX {
            self.stream.truncate(len);
            return false;
        }
        *self = Self { stream: std::mem::take(&mut self.stream), count: self.count + 1, newest_ts: ts, step, newest };
        true
    }

    /// Samples in the chunk.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// The newest sample, with the hint that readers get.
    pub fn newest(&self) -> &PackedHistogram {
        &self.newest
    }

    pub fn newest_ts(&self) -> TimestampMs {
        self.newest_ts
    }

    pub fn stream(&self) -> &[u8] {
        &self.stream
    }

    /// The chunk that `stream` was taken from.
    pub fn restore(stream: &[u8], count: u8) -> Result<Self, Malformed> {
        let mut walk = Walk::new(stream)?;
        if stream.len() > HISTOGRAM_CHUNK_BYTES_MAX || count > CHUNK_SAMPLES_MAX {
            return Err(MALFORMED);
        }
        (1..count).try_for_each(|_| walk.step().map(drop))?;
        let Walk { reader, ts, step, histogram } = walk;
        if count == 0 || !reader.is_empty() {
            return Err(MALFORMED);
        }
        Ok(Self { stream: stream.to_vec(), count, newest_ts: ts, step, newest: histogram })
    }
}

const MALFORMED: Malformed = Malformed("chunk of histograms");

/// Hands every sample of a stream to `sample`, oldest first, with the one before it. An error says that the stream ended early or is none; samples
/// that were handed out before are not to be used then.
pub fn decode(
    stream: &[u8],
    count: u8,
    mut sample: impl FnMut(TimestampMs, &PackedHistogram, Option<&PackedHistogram>),
) -> Result<(), Malformed> {
    if count == 0 {
        return Ok(());
    }
    let mut walk = Walk::new(stream)?;
    sample(walk.ts, &walk.histogram, None);
    for _ in 1..count {
        let before = walk.step()?;
        sample(walk.ts, &walk.histogram, Some(&before));
    }
    Ok(())
}

/// One sample of a stream, and what follows it.
struct Walk<'a> {
    reader: Reader<'a>,
    ts: TimestampMs,
    step: i64,
    histogram: PackedHistogram,
}

impl<'a> Walk<'a> {
    fn new(stream: &'a [u8]) -> Result<Self, Malformed> {
        let (ts, rest) = stream.split_first_chunk::<FIRST_TS_BYTES>().ok_or(MALFORMED)?;
        let (histogram, rest) = wire::take(rest, None).map_err(|_| MALFORMED)?;
        Ok(Self { reader: Reader::new(rest), ts: i64::from_be_bytes(*ts), step: 0, histogram })
    }

    /// Goes on to the next sample, and returns the one before it.
    fn step(&mut self) -> Result<PackedHistogram, Malformed> {
        self.step = self.step.wrapping_add(self.reader.signed("step of a chunk of histograms")?);
        self.ts = self.ts.wrapping_add(self.step);
        let (histogram, rest) = wire::take(self.reader.rest(), Some(&self.histogram)).map_err(|_| MALFORMED)?;
        self.reader = Reader::new(rest);
        Ok(std::mem::replace(&mut self.histogram, histogram))
    }
}

#[cfg(test)]
mod tests;
