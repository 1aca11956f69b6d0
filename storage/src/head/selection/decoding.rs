//! Chunks of a selection as samples in columns, with their start timestamps.

use pharos_model::{TimeRange, TimestampMs};

use super::super::starts::LateStarts;
use crate::chunk::codec::decode;
use crate::chunk::histogram;
use crate::chunk::segment::ChunkKind;
use crate::select::SampleColumns;
use crate::select::histograms::{Run, Wanted};
use crate::starts;
use crate::wire::Malformed;

/// A chunk as it was stored.
#[derive(Clone, Copy)]
pub(super) struct Encoded<'a> {
    pub(super) stream: &'a [u8],
    /// Empty when no sample has a start timestamp.
    pub(super) starts: &'a [u8],
    pub(super) count: u8,
    pub(super) kind: ChunkKind,
}

impl Encoded<'_> {
    pub(super) fn decode(self, wanted: Wanted, out: &mut SampleColumns) -> Result<(), &'static str> {
        let (floats, histograms) = (out.ts.len(), out.histogram_ts.len());
        decode_into(self.stream, self.count, self.kind, wanted, out)?;
        if self.starts.is_empty() {
            return Ok(());
        }
        let starts = starts::decode(self.starts, self.count.into()).map_err(|malformed| malformed.0)?;
        let skipped = self.samples_before(wanted.range)?;
        match self.kind {
            ChunkKind::Float => {
                let taken = out.ts.len() - floats;
                starts::append(&mut out.start_ts, floats, &starts[skipped..skipped + taken]);
            }
            ChunkKind::Histogram => {
                let taken = out.histogram_ts.len() - histograms;
                starts::append(&mut out.histogram_start_ts, histograms, &starts[skipped..skipped + taken]);
            }
        }
        Ok(())
    }

    /// How many of the samples are older than a range. The stream was decoded before.
    fn samples_before(self, range: TimeRange) -> Result<usize, &'static str> {
        let mut before = 0;
        let mut count = |ts: TimestampMs| before += usize::from(ts < range.start_ms);
        let decoded = match self.kind {
            _ if range == TimeRange::ALL => Ok(()),
            ChunkKind::Float => decode(self.stream, self.count, |ts, _| count(ts)),
            ChunkKind::Histogram => histogram::decode(self.stream, self.count, |ts, _, _| count(ts)),
        };
        decoded.map(|()| before).map_err(|malformed| malformed.0)
    }
}

pub(super) fn decode_into(
    stream: &[u8],
    count: u8,
    kind: ChunkKind,
    wanted: Wanted,
    out: &mut SampleColumns,
) -> Result<(), &'static str> {
    let decoded = match kind {
        ChunkKind::Float => decode_floats(stream, count, wanted.range, out),
        ChunkKind::Histogram => {
            let (mut run, mut left) = (Run::new(wanted, out), count);
            histogram::decode(stream, count, |ts, histogram, before| {
                left -= 1;
                run.push(ts, histogram, before, left == 0);
            })
        }
    };
    decoded.map_err(|malformed| malformed.0)
}

fn decode_floats(stream: &[u8], count: u8, range: TimeRange, out: &mut SampleColumns) -> Result<(), Malformed> {
    out.ts.reserve(usize::from(count));
    out.values.reserve(usize::from(count));
    if range == TimeRange::ALL {
        // Most chunks lie inside of what is asked for: no test for each of their samples.
        return decode(stream, count, |ts, bits| push(out, ts, bits));
    }
    let add = |ts, bits| {
        if range.contains(ts) {
            push(out, ts, bits);
        }
    };
    decode(stream, count, add)
}

#[inline]
pub(super) fn push(out: &mut SampleColumns, ts: TimestampMs, bits: u64) {
    out.ts.push(ts);
    out.values.push(f64::from_bits(bits));
}

/// Start timestamps of a series' samples that are in no full chunk.
#[derive(Debug, Default)]
pub(super) struct SelectedStarts {
    pub(super) open: Vec<u8>,
    pub(super) late: LateStarts,
}

impl SelectedStarts {
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.open.len() + self.late.len() * 2 * size_of::<TimestampMs>()
    }

    /// Adds the starts of the waiting late samples, which were read after so many floats and histograms.
    pub(super) fn read_late(&self, (floats, histograms): (usize, usize), out: &mut SampleColumns) {
        let of = |times: &[TimestampMs]| -> Vec<_> {
            times.iter().map(|ts| self.late.get(ts).copied().unwrap_or(0)).collect()
        };
        starts::append(&mut out.start_ts, floats, &of(&out.ts[floats..]));
        starts::append(&mut out.histogram_start_ts, histograms, &of(&out.histogram_ts[histograms..]));
    }
}
