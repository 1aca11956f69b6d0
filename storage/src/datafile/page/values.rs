//! The values of a page, decoded as rows ask for them: what is held of a page is its bytes.

use std::ops::Range;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};

use crate::wire::{Reader, unzigzag};

/// Values of a page in an encoding of its own.
pub(crate) trait Values: Sized {
    type Value;
    /// Takes the bytes of so many values.
    fn open(bytes: Bytes, len: usize) -> Result<Self>;
    /// Appends some values. Cheapest where ranges ascend.
    fn read(&mut self, range: Range<usize>, out: &mut Vec<Self::Value>) -> Result<()>;
    fn memory_bytes(&self) -> usize;
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(format!("damaged {what}"))
}

/// Integers by the place of their bytes: the first bytes of all, then the second ones (`BYTE_STREAM_SPLIT`).
#[derive(Debug)]
pub(crate) struct ByBytes {
    bytes: Bytes,
    len: usize,
}

impl Values for ByBytes {
    type Value = i64;

    fn open(bytes: Bytes, len: usize) -> Result<Self> {
        if len.checked_mul(8) == Some(bytes.len()) { Ok(Self { bytes, len }) } else { Err(damaged("integers")) }
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<i64>) -> Result<()> {
        let before = out.len();
        let place = |place: usize| &self.bytes[place * self.len..][range.clone()];
        out.extend(place(0).iter().map(|byte| i64::from(*byte)));
        let read = &mut out[before..];
        // Most numbers are small: bytes of some places are zero throughout.
        for at in (1..8).filter(|at| place(*at).iter().any(|byte| *byte != 0)) {
            read.iter_mut().zip(place(at)).for_each(|(value, byte)| *value |= i64::from(*byte) << (8 * at));
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Doubles one after the other (`PLAIN`).
#[derive(Debug)]
pub(crate) struct Doubles(Bytes);

impl Values for Doubles {
    type Value = f64;

    fn open(bytes: Bytes, len: usize) -> Result<Self> {
        if len.checked_mul(8) == Some(bytes.len()) { Ok(Self(bytes)) } else { Err(damaged("doubles")) }
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<f64>) -> Result<()> {
        out.extend(self.0.as_chunks().0[range].iter().map(|bytes| f64::from_le_bytes(*bytes)));
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Integers by their distance to the one before (`DELTA_BINARY_PACKED`), read from the front on.
#[derive(Debug)]
pub(crate) struct Deltas {
    bytes: Bytes,
    len: usize,
    blocks: Blocks,
    front: Place,
    at: Place,
    /// Values of the miniblock under way, the last ones of which come next.
    block: Vec<i64>,
    padded: Vec<u8>,
}

/// How blocks are made up.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    miniblocks: usize,
    /// Values of a miniblock.
    values: usize,
}

/// How far a list is read.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Values that were handed out or passed over.
    read: usize,
    /// Values of the miniblock that were.
    of_block: usize,
    /// The next miniblock of the block; behind the last one, a block begins.
    miniblock: usize,
    offset: usize,
    /// Where the widths of the block's miniblocks are.
    widths: usize,
    smallest: i64,
    last: i64,
}

/// Values of a miniblock, which bounds the memory of reading one.
const MINIBLOCK_VALUES_MAX: usize = 1 << 12;
const MINIBLOCKS_MAX: usize = 64;

impl Deltas {
    /// Opens a list, which may be followed by something else.
    fn new(bytes: Bytes, len: usize) -> Result<Self> {
        let wrong = |_| damaged("head of a list of deltas");
        let mut reader = Reader::new(&bytes);
        let size = reader.varint("block").map_err(wrong)? as usize;
        let miniblocks = reader.varint("miniblocks").map_err(wrong)? as usize;
        let count = reader.varint("count").map_err(wrong)?;
        let first = unzigzag(reader.varint("first value").map_err(wrong)?);
        if !(1..=MINIBLOCKS_MAX).contains(&miniblocks) || !size.is_multiple_of(miniblocks) || count != len as u64 {
            return Err(damaged("head of a list of deltas"));
        }
        let blocks = Blocks { miniblocks, values: size / miniblocks };
        if !(1..=MINIBLOCK_VALUES_MAX).contains(&blocks.values) || !blocks.values.is_multiple_of(8) {
            return Err(damaged("miniblock"));
        }
        let start = bytes.len() - reader.rest().len();
        let front =
            Place { read: 0, of_block: 0, miniblock: miniblocks, offset: start, widths: 0, smallest: 0, last: first };
        let mut deltas = Self { bytes, len, blocks, front, at: front, block: Vec::new(), padded: Vec::new() };
        deltas.rewind();
        Ok(deltas)
    }

    fn rewind(&mut self) {
        self.at = self.front;
        // The first value is not among the blocks.
        self.block.clear();
        self.block.extend((self.len > 0).then_some(self.front.last));
    }

    fn begin_block(&mut self) -> Result<()> {
        let mut reader = Reader::new(&self.bytes[self.at.offset..]);
        self.at.smallest = unzigzag(reader.varint("smallest delta").map_err(|_| damaged("block of deltas"))?);
        self.at.widths = self.bytes.len() - reader.rest().len();
        reader.bytes(self.blocks.miniblocks, "widths").map_err(|_| damaged("block of deltas"))?;
        self.at.offset = self.at.widths + self.blocks.miniblocks;
        self.at.miniblock = 0;
        Ok(())
    }

    /// Decodes the next miniblock. There are more values.
    fn next_miniblock(&mut self) -> Result<()> {
        if self.at.miniblock == self.blocks.miniblocks {
            self.begin_block()?;
        }
        let width = usize::from(self.bytes[self.at.widths + self.at.miniblock]);
        let taken = self.blocks.values / 8 * width;
        let packed = self.bytes.get(self.at.offset..self.at.offset + taken).filter(|_| width <= 64);
        let packed = packed.ok_or_else(|| damaged("miniblock"))?;
        let count = self.blocks.values.min(self.len - self.at.read);
        let (mut last, smallest) = (self.at.last, self.at.smallest);
        self.block.clear();
        if width == 0 {
            self.block.extend((0..count).map(|_| {
                last = last.wrapping_add(smallest);
                last
            }));
        } else {
            self.padded.clear();
            self.padded.extend_from_slice(packed);
            self.padded.resize(taken + size_of::<u128>(), 0);
            let padded = &self.padded[..];
            let mask = u64::MAX >> (64 - width);
            let delta_at = |bit: usize| -> u64 {
                let word = &padded[bit / 8..bit / 8 + 16];
                if width <= 56 {
                    u64::from_le_bytes(word[..8].try_into().expect("eight bytes")) >> (bit % 8) & mask
                } else {
                    (u128::from_le_bytes(word.try_into().expect("sixteen bytes")) >> (bit % 8)) as u64 & mask
                }
            };
            self.block.extend((0..count).map(|i| {
                last = last.wrapping_add(smallest).wrapping_add(delta_at(i * width) as i64);
                last
            }));
        }
        self.at.last = last;
        self.at.of_block = 0;
        self.at.offset += taken;
        self.at.miniblock += 1;
        Ok(())
    }

    /// Goes on by `count` values, which are there, and lets `take` see them.
    fn pass(&mut self, mut count: usize, mut take: impl FnMut(&[i64])) -> Result<()> {
        while count > 0 {
            if self.at.of_block == self.block.len() {
                self.next_miniblock()?;
            }
            let ready = &self.block[self.at.of_block..];
            let taken = ready.len().min(count);
            take(&ready[..taken]);
            self.at.of_block += taken;
            self.at.read += taken;
            count -= taken;
        }
        Ok(())
    }
}

impl Values for Deltas {
    type Value = i64;

    fn open(bytes: Bytes, len: usize) -> Result<Self> {
        Self::new(bytes, len)
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<i64>) -> Result<()> {
        if range.end > self.len {
            return Err(damaged("list of deltas"));
        }
        if range.start < self.at.read {
            self.rewind();
        }
        self.pass(range.start - self.at.read, |_| {})?;
        self.pass(range.len(), |values| out.extend_from_slice(values))
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.block.capacity() * 8 + self.padded.capacity()
    }
}

/// Byte strings: their lengths as deltas, then all of them (`DELTA_LENGTH_BYTE_ARRAY`).
#[derive(Debug)]
pub(crate) struct Strings {
    bytes: Bytes,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Values for Strings {
    type Value = Bytes;

    fn open(bytes: Bytes, len: usize) -> Result<Self> {
        let mut lengths = Deltas::new(bytes.clone(), len)?;
        let (mut ends, mut end) = (Vec::new(), 0_usize);
        let mut all_fit = true;
        lengths.pass(len, |lengths| {
            for length in lengths {
                let next = usize::try_from(*length).ok().and_then(|length| end.checked_add(length));
                all_fit &= next.is_some_and(|next| next <= bytes.len());
                end = next.unwrap_or(end);
                ends.push(end);
            }
        })?;
        // All miniblocks that have a value are read; the strings are behind them.
        let start = bytes.len().checked_sub(end).filter(|start| all_fit && *start == lengths.at.offset);
        let start = start.ok_or_else(|| damaged("lengths of byte strings"))?;
        Ok(Self { bytes: bytes.slice(start..), ends })
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<Bytes>) -> Result<()> {
        let mut start = if range.start == 0 { 0 } else { self.ends[range.start - 1] };
        for end in &self.ends[range] {
            out.push(self.bytes.slice(start..*end));
            start = *end;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{put_varint, zigzag};

    const MINIBLOCKS: usize = 4;
    const MINIBLOCK_VALUES: usize = 32;

    /// As the format says, bit by bit.
    fn encode(values: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        for head in [MINIBLOCKS * MINIBLOCK_VALUES, MINIBLOCKS, values.len()] {
            put_varint(&mut out, head as u64);
        }
        put_varint(&mut out, zigzag(values[0]));
        let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        for block in deltas.chunks(MINIBLOCKS * MINIBLOCK_VALUES) {
            let smallest = *block.iter().min().unwrap();
            put_varint(&mut out, zigzag(smallest));
            let above: Vec<u64> = block.iter().map(|delta| delta.wrapping_sub(smallest) as u64).collect();
            let width = |mini: &[u64]| mini.iter().map(|delta| 64 - delta.leading_zeros()).max().unwrap_or(0);
            let mut widths: Vec<u8> = above.chunks(MINIBLOCK_VALUES).map(|mini| width(mini) as u8).collect();
            widths.resize(MINIBLOCKS, 0);
            out.extend_from_slice(&widths);
            for mini in above.chunks(MINIBLOCK_VALUES) {
                let width = width(mini) as usize;
                let mut packed = vec![0_u8; MINIBLOCK_VALUES * width / 8];
                for (i, delta) in mini.iter().enumerate() {
                    for bit in (0..width).filter(|bit| delta >> bit & 1 == 1) {
                        packed[(i * width + bit) / 8] |= 1 << ((i * width + bit) % 8);
                    }
                }
                out.extend(packed);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn deltas_are_read_from_anywhere(
            steps in prop::collection::vec(prop_oneof![8 => Just(60_000), 2 => -5_i64..5, 1 => any::<i64>()], 1..700),
            places in prop::collection::vec((any::<prop::sample::Index>(), 0..90_usize), 1..12),
        ) {
            let values: Vec<i64> = steps.iter().scan(0_i64, |at, step| { *at = at.wrapping_add(*step); Some(*at) }).collect();
            let mut deltas = Deltas::open(encode(&values).into(), values.len()).unwrap();
            for (place, len) in places {
                let start = place.index(values.len());
                let range = start..values.len().min(start + len);
                let mut read = vec![7];
                deltas.read(range.clone(), &mut read).unwrap();
                prop_assert_eq!(&read[1..], &values[range]);
            }
        }

        #[test]
        fn any_bytes_are_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..90), len in 0..200_usize) {
            let bytes = Bytes::from(bytes);
            if let Ok(mut deltas) = Deltas::open(bytes.clone(), len) {
                let _ = deltas.read(0..len, &mut Vec::new());
            }
            if let Ok(mut strings) = Strings::open(bytes.clone(), len) {
                let mut read = Vec::new();
                strings.read(0..len, &mut read).unwrap();
                prop_assert_eq!(read.len(), len);
            }
            prop_assert_eq!(ByBytes::open(bytes.clone(), len).is_ok(), bytes.len() == 8 * len);
            prop_assert_eq!(Doubles::open(bytes.clone(), len).is_ok(), bytes.len() == 8 * len);
        }
    }
}
