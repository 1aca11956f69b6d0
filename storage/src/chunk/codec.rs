//! The bit stream of a chunk.
//!
//! The first sample is raw: time, then the bits of the value. Each further one says how its step in time differs from
//! the step before, and how its value differs (XOR) from the value before. One bit says "same step, same value", which
//! is what most samples of most series are. Bits are filled from the highest of each byte; `docs/format/chunk.md` has
//! the table.

use pharos_model::TimestampMs;

use super::blocks::{BLOCK_PAYLOAD_BYTES, BlockId, BlockPool};
use crate::wire::{Malformed, unzigzag, zigzag};

/// Samples after which a chunk is cut.
pub const CHUNK_SAMPLES_MAX: u8 = 120;
/// Size of the stream after which a chunk is cut: bounds what a series of noise takes in memory.
pub const CHUNK_BYTES_MAX: usize = 5 * BLOCK_PAYLOAD_BYTES;

const BLOCK_BITS: u16 = (BLOCK_PAYLOAD_BYTES * 8) as u16;
const FIRST_SAMPLE_BITS: u32 = 128;
const LEADING_BITS: u32 = 5;
const LEADING_MAX: u32 = (1 << LEADING_BITS) - 1;
const SIGNIFICANT_BITS: u32 = 6;
/// What it costs to describe a new window of significant bits.
const WINDOW_BITS: u32 = LEADING_BITS + SIGNIFICANT_BITS;
/// Widths of the classes of the zigzag-coded change of step; the last one holds any that can occur.
const STEP_CLASSES: [u32; 4] = [7, 12, 17, 34];

/// The chunk of a series that still takes samples, and the newest sample of the series.
///
/// Owns a chain of blocks in the pool of its head: [`Self::clear`] gives it back, dropping does not.
#[derive(Clone, Copy, Debug)]
pub struct OpenChunk {
    newest_ts: TimestampMs,
    newest_bits: u64,
    step: u32,
    tail: BlockId,
    /// Length of the stream.
    bits: u16,
    count: u8,
    /// The window of the last XOR that described one: zero bits before it, and its width (0: none yet).
    leading: u8,
    significant: u8,
}

impl OpenChunk {
    /// No samples, now or before.
    pub const EMPTY: Self = Self {
        newest_ts: TimestampMs::MIN,
        newest_bits: 0,
        step: 0,
        tail: BlockId::NONE,
        bits: 0,
        count: 0,
        leading: 0,
        significant: 0,
    };

    /// Samples in the chunk.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Time of the newest sample that was appended, also after [`Self::clear`].
    pub fn newest_ts(&self) -> TimestampMs {
        self.newest_ts
    }

    /// Bits of the newest value that was appended, also after [`Self::clear`].
    pub fn newest_bits(&self) -> u64 {
        self.newest_bits
    }

    /// Notes that the series has a newer sample, which is no float. The chunk is empty.
    pub(crate) fn pass_newest(&mut self, ts: TimestampMs) {
        debug_assert!(self.count == 0 && ts > self.newest_ts, "floats and histograms follow each other");
        (self.newest_ts, self.newest_bits) = (ts, 0);
    }

    /// Appends a sample that is newer than all before. `false` when it does not fit: the caller cuts the chunk and
    /// tries again, an empty chunk takes any sample.
    #[inline]
    pub fn try_append(&mut self, pool: &mut BlockPool, ts: TimestampMs, value_bits: u64) -> bool {
        if self.count == 0 {
            let first = u128::from(ts as u64) << 64 | u128::from(value_bits);
            self.put(pool, first, FIRST_SAMPLE_BITS);
            self.step = 0;
            self.significant = 0;
        } else {
            debug_assert!(ts > self.newest_ts, "samples of an open chunk are in order");
            let step = ts.wrapping_sub(self.newest_ts) as u64;
            let Ok(step) = u32::try_from(step) else { return false };
            if self.count >= CHUNK_SAMPLES_MAX {
                return false;
            }
            let mut code = Code::default();
            let window = self.encode(&mut code, step, value_bits);
            if u32::from(self.bits) + code.len > (CHUNK_BYTES_MAX * 8) as u32 {
                return false;
            }
            self.put(pool, code.bits, code.len);
            self.step = step;
            (self.leading, self.significant) = window;
        }
        self.newest_ts = ts;
        self.newest_bits = value_bits;
        self.count += 1;
        true
    }

    /// The code of one more sample, and the window that is in force after it.
    #[inline]
    fn encode(&self, code: &mut Code, step: u32, value_bits: u64) -> (u8, u8) {
        let step_change = i64::from(step) - i64::from(self.step);
        let xor = value_bits ^ self.newest_bits;
        match (step_change, xor) {
            (0, 0) => code.push(0, 1),
            (0, _) => code.push(0b10, 2),
            (_, 0) => {
                code.push(0b11, 2);
                code.push_step(step_change);
                code.push(0, 1);
            }
            _ => {
                code.push(0b11, 2);
                code.push_step(step_change);
                code.push(1, 1);
            }
        }
        if xor == 0 { (self.leading, self.significant) } else { self.encode_xor(code, xor) }
    }

    #[inline]
    fn encode_xor(&self, code: &mut Code, xor: u64) -> (u8, u8) {
        let leading = xor.leading_zeros().min(LEADING_MAX);
        let significant = 64 - leading - xor.trailing_zeros();
        let (kept_leading, kept) = (u32::from(self.leading), u32::from(self.significant));
        let fits = kept > 0 && leading >= kept_leading && leading + significant <= kept_leading + kept;
        // A window that has become too wide costs its slack with every sample; a new one is described once.
        if fits && kept <= significant + WINDOW_BITS {
            code.push(0, 1);
            code.push(xor >> (64 - kept_leading - kept), kept);
            return (self.leading, self.significant);
        }
        code.push(1, 1);
        code.push(u64::from(leading), LEADING_BITS);
        code.push(u64::from(significant - 1), SIGNIFICANT_BITS);
        code.push(xor >> (64 - leading - significant), significant);
        (leading as u8, significant as u8)
    }

    #[inline]
    fn put(&mut self, pool: &mut BlockPool, bits: u128, mut len: u32) {
        let mut left = bits << (128 - len);
        while len > 0 {
            let at = self.bits % BLOCK_BITS;
            if at == 0 {
                self.tail = pool.extend(self.tail);
            }
            let block = pool.payload_mut(self.tail);
            let mut at = u32::from(at);
            let before = at;
            while len > 0 && at < u32::from(BLOCK_BITS) {
                block[at as usize / 8] |= ((left >> 120) as u8) >> (at % 8);
                let taken = (8 - at % 8).min(len);
                left <<= taken;
                len -= taken;
                at += taken;
            }
            self.bits += (at - before) as u16;
        }
    }

    /// Length of the stream in bytes.
    pub fn byte_len(&self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }

    /// Appends the stream to `out`.
    pub fn copy_to(&self, pool: &BlockPool, out: &mut Vec<u8>) {
        pool.copy_chain(self.tail, self.byte_len(), out);
    }

    /// Empties the chunk and gives its memory back. The newest sample stays known.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        pool.release(self.tail, usize::from(self.bits).div_ceil(usize::from(BLOCK_BITS)));
        *self = Self { newest_ts: self.newest_ts, newest_bits: self.newest_bits, ..Self::EMPTY };
    }

    /// What [`Self::restore`] needs beside the stream.
    pub(crate) fn state(&self) -> OpenChunkState {
        OpenChunkState {
            newest_ts: self.newest_ts,
            newest_bits: self.newest_bits,
            step: self.step,
            bits: self.bits,
            count: self.count,
            leading: self.leading,
            significant: self.significant,
        }
    }

    /// The chunk that `state` and `stream` were taken from.
    pub(crate) fn restore(pool: &mut BlockPool, state: OpenChunkState, stream: &[u8]) -> Result<Self, Malformed> {
        let valid = usize::from(state.bits).div_ceil(8) == stream.len()
            && stream.len() <= CHUNK_BYTES_MAX
            && state.count <= CHUNK_SAMPLES_MAX
            && (state.count == 0) == (state.bits == 0)
            && u32::from(state.leading) <= LEADING_MAX
            && u32::from(state.leading) + u32::from(state.significant) <= 64;
        if !valid {
            return Err(Malformed("open chunk"));
        }
        let OpenChunkState { newest_ts, newest_bits, step, bits, count, leading, significant } = state;
        let tail = pool.store_chain(stream);
        Ok(Self { newest_ts, newest_bits, step, tail, bits, count, leading, significant })
    }
}

/// The fields of an [`OpenChunk`] without its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenChunkState {
    pub(crate) newest_ts: TimestampMs,
    pub(crate) newest_bits: u64,
    pub(crate) step: u32,
    pub(crate) bits: u16,
    pub(crate) count: u8,
    pub(crate) leading: u8,
    pub(crate) significant: u8,
}

/// Up to 128 bits that belong together: the longest code of a sample has 116.
#[derive(Default)]
struct Code {
    bits: u128,
    len: u32,
}

impl Code {
    #[inline]
    fn push(&mut self, bits: u64, len: u32) {
        self.bits = self.bits << len | u128::from(bits);
        self.len += len;
    }

    /// The class in unary, then the zigzag-coded change.
    #[inline]
    fn push_step(&mut self, change: i64) {
        let coded = zigzag(change);
        let class = STEP_CLASSES.iter().position(|width| coded >> width == 0).expect("steps are 32 bits wide");
        match class {
            0 => self.push(0, 1),
            1 => self.push(0b10, 2),
            2 => self.push(0b110, 3),
            _ => self.push(0b111, 3),
        }
        self.push(coded, STEP_CLASSES[class]);
    }
}

/// Hands every sample of a stream to `sample`, oldest first. The stream may come from a damaged disk: an error says
/// that it ended early or is no stream, samples that were handed out before are not to be used then.
#[inline]
pub fn decode(stream: &[u8], count: u8, mut sample: impl FnMut(TimestampMs, u64)) -> Result<(), Malformed> {
    if count == 0 {
        return Ok(());
    }
    let mut reader = BitReader { bytes: stream, at: 0 };
    let mut ts = reader.take(64)? as i64;
    let mut value = reader.take(64)?;
    let mut step = 0_i64;
    let (mut leading, mut significant) = (0_u32, 0_u32);
    sample(ts, value);
    for _ in 1..count {
        let mut changed = false;
        if reader.bit()? {
            changed = true;
            if reader.bit()? {
                step = step.wrapping_add(reader.step_change()?);
                changed = reader.bit()?;
            }
        }
        if changed {
            if reader.bit()? {
                leading = reader.take(LEADING_BITS)? as u32;
                significant = reader.take(SIGNIFICANT_BITS)? as u32 + 1;
            }
            if significant == 0 || leading + significant > 64 {
                return Err(Malformed("window of a chunk"));
            }
            value ^= reader.take(significant)? << (64 - leading - significant);
        }
        ts = ts.wrapping_add(step);
        sample(ts, value);
    }
    Ok(())
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    #[inline]
    fn bit(&mut self) -> Result<bool, Malformed> {
        let byte = *self.bytes.get(self.at / 8).ok_or(END)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// The next `len` bits, 1 to 64 of them.
    #[inline]
    fn take(&mut self, len: u32) -> Result<u64, Malformed> {
        let end = self.at + len as usize;
        if end > self.bytes.len() * 8 {
            return Err(END);
        }
        let (byte, skipped) = (self.at / 8, (self.at % 8) as u32);
        self.at = end;
        let word = self.word(byte) << skipped;
        let missing = (skipped + len).saturating_sub(64);
        let value = word >> (64 - len);
        if missing == 0 {
            return Ok(value);
        }
        Ok(value | u64::from(self.bytes[byte + 8]) >> (8 - missing))
    }

    /// Eight bytes from `byte` on, zeros where the stream has ended.
    #[inline]
    fn word(&self, byte: usize) -> u64 {
        if let Some(chunk) = self.bytes[byte..].first_chunk::<8>() {
            return u64::from_be_bytes(*chunk);
        }
        let mut padded = [0; 8];
        let rest = &self.bytes[byte..];
        padded[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(padded)
    }

    #[inline]
    fn step_change(&mut self) -> Result<i64, Malformed> {
        let mut class = 0;
        while class < STEP_CLASSES.len() - 1 && self.bit()? {
            class += 1;
        }
        self.take(STEP_CLASSES[class]).map(unzigzag)
    }
}

const END: Malformed = Malformed("end of a chunk");
