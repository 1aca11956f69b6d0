//! The histograms of an append record: a column beside the values, for the few samples that are one.

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::histogram::wire;

use super::RecordError;
use crate::wire::{Malformed, Reader, put_prefixed, put_varint};

/// Histograms by the positions of their samples, ascending.
#[derive(Debug, Default)]
pub(super) struct HistogramColumn {
    positions: Vec<u32>,
    /// Each with its length in front.
    bytes: Vec<u8>,
}

impl HistogramColumn {
    pub(super) fn push(&mut self, position: usize, histogram: &PackedHistogram) {
        let mut bytes = Vec::new();
        wire::put(&mut bytes, histogram);
        self.positions.push(position as u32);
        put_prefixed(&mut self.bytes, &bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len() + self.len() * size_of::<u32>()
    }

    /// Appends the positions, of which the first sample has `first`, as steps from `next`, which moves behind the last one.
    pub(super) fn put_positions(&self, out: &mut Vec<u8>, first: usize, next: &mut u64) {
        for &position in &self.positions {
            let position = first as u64 + u64::from(position);
            put_varint(out, position - *next);
            *next = position + 1;
        }
    }

    pub(super) fn put_histograms(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// Reads `count` histograms and their positions, all below `samples`.
pub(super) fn decode(
    body: &mut Reader<'_>,
    count: usize,
    samples: usize,
) -> Result<Vec<(u32, PackedHistogram)>, RecordError> {
    const POSITION: Malformed = Malformed("position of a histogram");
    let mut next = 0_u64;
    let mut positions = Vec::with_capacity(count);
    for _ in 0..count {
        let position = next.checked_add(body.varint(POSITION.0)?).filter(|position| *position < samples as u64);
        let position = position.ok_or(POSITION)?;
        positions.push(position as u32);
        next = position + 1;
    }
    let histogram = |position| {
        let bytes = body.prefixed("histogram")?;
        Ok((position, wire::decode(bytes).map_err(|_| Malformed("histogram"))?))
    };
    positions.into_iter().map(histogram).collect()
}
