//! The frame of one record: magic, checksum, length, group, kind. Layout in `docs/format/log.md`.
//!
//! The checksum also covers the segment's sequence number and the record's offset, which are not stored in the frame: what a
//! recycled segment held before, and a copy of a record inside another one's payload, can never be taken for a record.
//! What a payload means is [`super::body`]'s.

use std::ops::Range;

use super::entry::GroupId;

/// Records begin at multiples of this, so that looking for the next one after damage is quick.
pub const RECORD_ALIGN: usize = 8;
/// Bytes before the payload.
pub const FRAME_BYTES: usize = 24;
const MAGIC: u32 = u32::from_le_bytes(*b"PhR1");

const CHECKSUM: Range<usize> = 4..8;
const LENGTH: Range<usize> = 8..12;
const BATCH: Range<usize> = 12..16;
const GROUP: Range<usize> = 16..20;
const KIND: usize = 20;
const CHECKED_FROM: usize = 8;

/// What a record says about its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Entry = 1,
    Vote = 2,
    Committed = 3,
    Truncate = 4,
    Purge = 5,
    /// All of a group's [`super::entry::HardState`], repeated where a segment begins so that older ones may go.
    Base = 6,
    /// The last record of a segment that is followed by another.
    Seal = 7,
    /// The group is gone from this node, but for its vote.
    Drop = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Entry,
            2 => Self::Vote,
            3 => Self::Committed,
            4 => Self::Truncate,
            5 => Self::Purge,
            6 => Self::Base,
            7 => Self::Seal,
            8 => Self::Drop,
            _ => return None,
        })
    }
}

/// A record read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub group: GroupId,
    pub kind: Kind,
    /// Where the batch of this record begins: everything before was on disk before this record was written.
    pub batch_start: u32,
    pub payload: &'a [u8],
    /// Bytes to the next record.
    pub len: usize,
}

/// Bytes of a record with so much payload.
pub const fn record_len(payload: usize) -> usize {
    (FRAME_BYTES + payload).next_multiple_of(RECORD_ALIGN)
}

/// Where a record goes and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub segment: u64,
    /// Offset of the record in the segment.
    pub offset: u32,
    pub batch_start: u32,
    pub group: GroupId,
    pub kind: Kind,
}

/// Appends a record to `out`; `payload` writes the payload behind the frame.
pub fn encode(out: &mut Vec<u8>, frame: Frame, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + FRAME_BYTES, 0);
    payload(out);
    let payload_len = out.len() - start - FRAME_BYTES;
    out.resize(start + record_len(payload_len), 0);

    let bytes = &mut out[start..];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    let payload_len = u32::try_from(payload_len).expect("a payload is bounded by the segment's size");
    bytes[LENGTH].copy_from_slice(&payload_len.to_le_bytes());
    bytes[BATCH].copy_from_slice(&frame.batch_start.to_le_bytes());
    bytes[GROUP].copy_from_slice(&frame.group.0.to_le_bytes());
    bytes[KIND] = frame.kind as u8;
    let checksum = checksum(frame.segment, frame.offset, &bytes[CHECKED_FROM..]);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

/// The record at `offset` of a segment's bytes, or `None` when there is no valid one.
pub fn decode(segment_bytes: &[u8], offset: usize, segment: u64) -> Option<Record<'_>> {
    let bytes = segment_bytes.get(offset..)?;
    decode_alone(bytes, u32::try_from(offset).ok()?, segment)
}

/// As [`decode`], of bytes that begin with the record and were read from `offset`.
pub fn decode_alone(bytes: &[u8], offset: u32, segment: u64) -> Option<Record<'_>> {
    let frame = bytes.get(..FRAME_BYTES)?;
    if frame[..4] != MAGIC.to_le_bytes() {
        return None;
    }
    let payload_len = read_u32(&frame[LENGTH]) as usize;
    let len = record_len(payload_len);
    let record = bytes.get(..len)?;
    if read_u32(&frame[CHECKSUM]) != checksum(segment, offset, &record[CHECKED_FROM..]) {
        return None;
    }
    let batch_start = read_u32(&frame[BATCH]);
    if batch_start > offset {
        return None;
    }
    Some(Record {
        group: GroupId(read_u32(&frame[GROUP])),
        kind: Kind::from_byte(frame[KIND])?,
        batch_start,
        payload: &record[FRAME_BYTES..FRAME_BYTES + payload_len],
        len,
    })
}

/// Whether a record may begin here; cheap enough to ask at every place of a segment.
pub fn looks_like_record(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

fn checksum(segment: u64, offset: u32, checked: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(checked);
    hasher.finalize()
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
