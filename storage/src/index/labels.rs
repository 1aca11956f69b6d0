//! Cutting canonical label bytes into the pieces that belong to one label each.

use pharos_model::labels::{Label, iter_canonical};

/// Names and values of this many bytes or more have four bytes of length in front, shorter ones have one.
const LONG_BYTES: usize = 255;

/// The pieces of valid canonical bytes, in order.
pub(super) fn split(mut labels: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let label = iter_canonical(labels).next()?;
        let (piece, rest) = labels.split_at(encoded_len(label.name) + encoded_len(label.value));
        labels = rest;
        Some(piece)
    })
}

/// Name and value of one piece.
pub(super) fn parse(piece: &[u8]) -> Label<'_> {
    iter_canonical(piece).next().expect("a piece holds a label")
}

fn encoded_len(text: &str) -> usize {
    text.len() + if text.len() < LONG_BYTES { 1 } else { 4 }
}
