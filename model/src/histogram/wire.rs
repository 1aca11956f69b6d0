//! Bytes of a histogram, for logs, chunks and data files: whole, or as what changed since the one before it.
//!
//! The layout is in `docs/format/histogram.md`. Equal histograms have equal bytes. Reading is bounded by the bytes at
//! hand and refuses rather than panics. A whole histogram is valid when it is read; changes are not judged, because what carries
//! them has a checksum.

use std::sync::Arc;

use super::packed::{CountKind, HISTOGRAM_BYTES_MAX, Layout, PackedHistogram};
use super::{CounterResetHint, Span};

const HINT_MASK: u8 = 0b11;
const FLAG_FLOAT: u8 = 1 << 2;
const FLAG_ZERO_THRESHOLD: u8 = 1 << 3;
/// The layout is that of the histogram before; numbers are given as changes.
const FLAG_AFTER: u8 = 1 << 4;
/// With [`FLAG_AFTER`]: sum and numbers are those of the histogram before, too.
const FLAG_SAME: u8 = 1 << 5;
const FLAGS_WHOLE: u8 = HINT_MASK | FLAG_FLOAT | FLAG_ZERO_THRESHOLD;
const FLAGS_AFTER: u8 = HINT_MASK | FLAG_AFTER | FLAG_SAME;

const VARINT_BYTES_MAX: usize = 10;
const FLOAT_BYTES: usize = 8;

/// Why bytes are no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed histogram: {0}")]
pub struct MalformedHistogram(pub &'static str);

/// What [`put`] takes at most, reckoned without doing it.
pub(super) fn encoded_len_max(histogram: &PackedHistogram) -> usize {
    let Layout { positive_spans, negative_spans, custom_bound_bits, .. } = &*histogram.layout;
    let spans = positive_spans.len() + negative_spans.len();
    let numbers = match histogram.layout.counts {
        CountKind::Whole => histogram.numbers.iter().map(|number| varint_len(zigzag(*number as i64))).sum(),
        CountKind::Float => histogram.numbers.len() * FLOAT_BYTES,
    };
    // Flags, schema, zero threshold, three lengths and the sum.
    let fixed = 1 + 4 * VARINT_BYTES_MAX + 2 * FLOAT_BYTES;
    fixed + spans * VARINT_BYTES_MAX + custom_bound_bits.len() * FLOAT_BYTES + numbers
}

/// Appends a whole histogram.
pub fn put(out: &mut Vec<u8>, histogram: &PackedHistogram) {
    let layout = &*histogram.layout;
    let float = if layout.counts == CountKind::Float { FLAG_FLOAT } else { 0 };
    let threshold = if layout.zero_threshold_bits != 0 { FLAG_ZERO_THRESHOLD } else { 0 };
    out.push(hint_code(histogram.hint) | float | threshold);
    put_varint(out, zigzag(i64::from(layout.schema)));
    if layout.zero_threshold_bits != 0 {
        put_float(out, layout.zero_threshold_bits);
    }
    put_spans(out, &layout.positive_spans);
    put_spans(out, &layout.negative_spans);
    put_varint(out, layout.custom_bound_bits.len() as u64);
    layout.custom_bound_bits.iter().for_each(|bits| put_float(out, *bits));
    put_float(out, histogram.sum_bits);
    for &number in &histogram.numbers {
        match layout.counts {
            CountKind::Whole => put_varint(out, zigzag(number as i64)),
            CountKind::Float => put_float(out, number),
        }
    }
}

/// Appends what changed since `before`; a whole histogram if the layout did.
pub fn put_after(out: &mut Vec<u8>, histogram: &PackedHistogram, before: &PackedHistogram) {
    if histogram.layout != before.layout {
        return put(out, histogram);
    }
    let hint = hint_code(histogram.hint);
    if histogram.has_data_of(before) {
        return out.push(hint | FLAG_AFTER | FLAG_SAME);
    }
    out.push(hint | FLAG_AFTER);
    let kinds = kinds(histogram.layout.counts);
    let changes: Vec<u64> = values(histogram)
        .zip(values(before))
        .zip(kinds)
        .map(|((now, before), kind)| change(kind, now, before))
        .collect();
    for part in changes.chunks(8) {
        out.push(part.iter().rev().fold(0, |bits, change| bits << 1 | u8::from(*change != 0)));
    }
    changes.iter().filter(|change| **change != 0).for_each(|change| put_varint(out, *change));
}

/// The sum and the numbers, in the order in which changes are written.
fn values(histogram: &PackedHistogram) -> impl Iterator<Item = u64> {
    std::iter::once(histogram.sum_bits).chain(histogram.numbers.iter().copied())
}

fn kinds(numbers: CountKind) -> impl Iterator<Item = CountKind> {
    std::iter::once(CountKind::Float).chain(std::iter::repeat(numbers))
}

/// A small number if little changed. Floats that are near to each other differ in their low bits, those with few
/// digits in their high ones: of the difference, the more usual, low end becomes the high one.
fn change(kind: CountKind, now: u64, before: u64) -> u64 {
    match kind {
        CountKind::Whole => zigzag(now.wrapping_sub(before) as i64),
        CountKind::Float => (now ^ before).reverse_bits(),
    }
}

fn changed(kind: CountKind, before: u64, change: u64) -> u64 {
    match kind {
        CountKind::Whole => before.wrapping_add(unzigzag(change) as u64),
        CountKind::Float => before ^ change.reverse_bits(),
    }
}

/// Reads one histogram from the front of `bytes`, and returns what follows it. Without one before it only a whole
/// histogram can be read.
pub fn take<'a>(
    bytes: &'a [u8],
    before: Option<&PackedHistogram>,
) -> Result<(PackedHistogram, &'a [u8]), MalformedHistogram> {
    let mut reader = Reader { rest: bytes };
    let flags = reader.byte()?;
    let known = if flags & FLAG_AFTER != 0 { FLAGS_AFTER } else { FLAGS_WHOLE };
    if flags & !known != 0 {
        return Err(MalformedHistogram("flags"));
    }
    let hint = hint_of(flags);
    let histogram = match (flags & FLAG_AFTER != 0, before) {
        (false, _) => reader.whole(flags, hint)?,
        (true, None) => return Err(MalformedHistogram("changes to no histogram")),
        (true, Some(before)) if flags & FLAG_SAME != 0 => PackedHistogram { hint, ..before.clone() },
        (true, Some(before)) => reader.changed(hint, before)?,
    };
    Ok((histogram, reader.rest))
}

/// Reads bytes that are one whole histogram.
pub fn decode(bytes: &[u8]) -> Result<PackedHistogram, MalformedHistogram> {
    match take(bytes, None)? {
        (histogram, []) => Ok(histogram),
        _ => Err(MalformedHistogram("end")),
    }
}

fn hint_code(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

fn hint_of(flags: u8) -> CounterResetHint {
    match flags & HINT_MASK {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        _ => CounterResetHint::Gauge,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

const CUT_OFF: MalformedHistogram = MalformedHistogram("cut off");

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, MalformedHistogram> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn float(&mut self) -> Result<u64, MalformedHistogram> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn varint(&mut self) -> Result<u64, MalformedHistogram> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(MalformedHistogram("varint"))
    }

    fn signed32(&mut self) -> Result<i32, MalformedHistogram> {
        i32::try_from(unzigzag(self.varint()?)).map_err(|_| MalformedHistogram("number of 32 bits"))
    }

    /// A count of items that take at least so many bytes each.
    fn count(&mut self, item_bytes: usize) -> Result<usize, MalformedHistogram> {
        let count = self.varint()?;
        if count > (self.rest.len() / item_bytes) as u64 {
            Err(MalformedHistogram("count"))
        } else {
            Ok(count as usize)
        }
    }

    fn spans(&mut self) -> Result<Vec<Span>, MalformedHistogram> {
        let count = self.count(2)?;
        let span = |_| {
            let offset = self.signed32()?;
            let length = u32::try_from(self.varint()?).map_err(|_| MalformedHistogram("span"))?;
            Ok(Span { offset, length })
        };
        (0..count).map(span).collect()
    }

    fn whole(&mut self, flags: u8, hint: CounterResetHint) -> Result<PackedHistogram, MalformedHistogram> {
        let counts = if flags & FLAG_FLOAT != 0 { CountKind::Float } else { CountKind::Whole };
        let schema = self.signed32()?;
        let zero_threshold_bits = if flags & FLAG_ZERO_THRESHOLD != 0 { self.float()? } else { 0 };
        if flags & FLAG_ZERO_THRESHOLD != 0 && zero_threshold_bits == 0 {
            return Err(MalformedHistogram("zero threshold"));
        }
        let (positive_spans, negative_spans) = (self.spans()?, self.spans()?);
        let bounds = self.count(FLOAT_BYTES)?;
        let custom_bound_bits = (0..bounds).map(|_| self.float()).collect::<Result<_, _>>()?;
        let layout = Layout { counts, schema, zero_threshold_bits, positive_spans, negative_spans, custom_bound_bits };
        let sum_bits = self.float()?;
        // Each number takes a byte at least, which bounds what is allocated.
        if layout.number_count() > self.rest.len() as u64 {
            return Err(CUT_OFF);
        }
        let number = |_| match counts {
            CountKind::Whole => self.varint().map(|coded| unzigzag(coded) as u64),
            CountKind::Float => self.float(),
        };
        let numbers = (0..layout.number_count()).map(number).collect::<Result<_, _>>()?;
        let histogram = PackedHistogram { hint, layout: Arc::new(layout), sum_bits, numbers };
        let valid = histogram.to_float().validate().is_ok() && encoded_len_max(&histogram) <= HISTOGRAM_BYTES_MAX;
        if valid { Ok(histogram) } else { Err(MalformedHistogram("invalid")) }
    }

    fn changed(
        &mut self,
        hint: CounterResetHint,
        before: &PackedHistogram,
    ) -> Result<PackedHistogram, MalformedHistogram> {
        let count = 1 + before.numbers.len();
        let (bitmap, rest) = self.rest.split_at_checked(count.div_ceil(8)).ok_or(CUT_OFF)?;
        self.rest = rest;
        let mut now = Vec::with_capacity(count);
        for ((at, before), kind) in values(before).enumerate().zip(kinds(before.layout.counts)) {
            let is_changed = bitmap[at / 8] >> (at % 8) & 1 == 1;
            now.push(if is_changed { changed(kind, before, self.varint()?) } else { before });
        }
        let sum_bits = now.remove(0);
        Ok(PackedHistogram { hint, layout: Arc::clone(&before.layout), sum_bits, numbers: now })
    }
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_varint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, zigzag(i64::from(span.offset)));
        put_varint(out, u64::from(span.length));
    }
}

fn put_float(out: &mut Vec<u8>, bits: u64) {
    out.extend_from_slice(&bits.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests;
