//! The bytes of a checkpoint, and of the form of it that travels to other nodes. Layout:
//! `docs/format/head-snapshot.md`.

use bytes::Bytes;

use super::sections::{put_end, put_section, read_sections};
use super::state::State;
use crate::chunk::files::{Coverage, SegmentList};
use crate::head::refs::RefTable;
use crate::head::{Head, HeadOptions};
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

const CHECKPOINT_MAGIC: &[u8; 8] = b"PHHEAD01";
const SECTION_PARTITION: u8 = 1;
const SECTION_HEAD: u8 = 2;

const TRANSFER_MAGIC: &[u8; 8] = b"PHMOVE01";
const SECTION_CHECKPOINT: u8 = 1;
const SECTION_SEGMENT: u8 = 2;

/// A segment as a checkpoint names it.
#[derive(Clone, Debug)]
pub(super) struct SegmentRecord {
    pub(super) id: u32,
    /// Bytes that belong to the checkpoint.
    pub(super) len: usize,
    pub(super) coverage: Vec<Coverage>,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) raft_state: Bytes,
    /// Consecutive ids.
    pub(super) segments: Vec<SegmentRecord>,
    pub(super) next_segment: u32,
    pub(super) refs: RefTable,
    pub(super) heads: Vec<Head>,
}

pub(super) fn encode(state: &State, raft_state: &[u8]) -> Vec<u8> {
    let mut out = CHECKPOINT_MAGIC.to_vec();
    put_section(&mut out, SECTION_PARTITION, |out| {
        put_prefixed(out, raft_state);
        put_varint(out, u64::from(state.files.next_id()));
        put_varint(out, state.files.with_coverage().count() as u64);
        for (segment, coverage) in state.files.with_coverage() {
            put_varint(out, u64::from(segment.id()));
            put_varint(out, segment.len() as u64);
            put_varint(out, coverage.len() as u64);
            for part in coverage {
                put_varint(out, u64::from(part.head));
                put_signed(out, part.newest_ts);
                put_varint(out, u64::from(part.chunks));
            }
        }
        state.refs.encode(out);
    });
    for head in &state.heads {
        put_section(&mut out, SECTION_HEAD, |out| head.encode(out));
    }
    put_end(&mut out);
    out
}

pub(super) fn decode(bytes: &[u8], options: HeadOptions) -> Result<Decoded, Malformed> {
    let sections = read_sections(bytes, CHECKPOINT_MAGIC)?;
    let Some(((SECTION_PARTITION, partition), heads)) = sections.split_first().map(|(first, rest)| (*first, rest))
    else {
        return Err(Malformed("partition section"));
    };
    let mut reader = Reader::new(partition);
    let raft_state = Bytes::copy_from_slice(reader.prefixed("raft state")?);
    let next_segment = reader.varint32("next segment")?;
    let segments = decode_segments(&mut reader, heads.len())?;
    let consecutive = segments.windows(2).all(|pair| pair[0].id + 1 == pair[1].id);
    if !consecutive || segments.last().is_some_and(|last| last.id >= next_segment) || next_segment == 0 {
        return Err(Malformed("segment ids"));
    }
    let mut refs = RefTable::decode(&mut reader)?;
    let heads = heads
        .iter()
        .enumerate()
        .map(|(place, &(kind, payload))| {
            if kind != SECTION_HEAD {
                return Err(Malformed("section kind"));
            }
            let mut reader = Reader::new(payload);
            let head = Head::decode(&mut reader, place as u32, options, &mut refs)?;
            if reader.is_empty() { Ok(head) } else { Err(Malformed("end of a head")) }
        })
        .collect::<Result<_, _>>()?;
    Ok(Decoded { raft_state, segments, next_segment, refs, heads })
}

fn decode_segments(reader: &mut Reader<'_>, heads: usize) -> Result<Vec<SegmentRecord>, Malformed> {
    const FIELD: &str = "segment list";
    let count = reader.varint32(FIELD)? as usize;
    (0..count)
        .map(|_| {
            let id = reader.varint32(FIELD)?;
            let len = reader.varint32(FIELD)? as usize;
            let parts = reader.varint32(FIELD)?;
            let coverage = (0..parts)
                .map(|_| {
                    let head = reader.varint32(FIELD)?;
                    let newest_ts = reader.signed(FIELD)?;
                    let chunks = reader.varint32(FIELD)?;
                    if head as usize >= heads {
                        Err(Malformed(FIELD))
                    } else {
                        Ok(Coverage { head, newest_ts, chunks })
                    }
                })
                .collect::<Result<_, _>>()?;
            Ok(SegmentRecord { id, len, coverage })
        })
        .collect()
}

/// A checkpoint with all bytes of its segments, whose lengths at the time of the checkpoint are given beside them.
pub(super) fn encode_transfer(checkpoint: &[u8], segments: &SegmentList, lengths: &[usize]) -> Vec<u8> {
    let total: usize = lengths.iter().sum();
    let mut out = Vec::with_capacity(checkpoint.len() + total + 4096);
    out.extend_from_slice(TRANSFER_MAGIC);
    put_section(&mut out, SECTION_CHECKPOINT, |out| out.extend_from_slice(checkpoint));
    for (segment, &len) in segments.iter().zip(lengths) {
        put_section(&mut out, SECTION_SEGMENT, |out| segment.copy_prefix(len, out));
    }
    put_end(&mut out);
    out
}

/// The checkpoint, and the bytes of its segments in their order.
pub(super) fn decode_transfer(bytes: &[u8]) -> Result<(&[u8], Vec<&[u8]>), Malformed> {
    let sections = read_sections(bytes, TRANSFER_MAGIC)?;
    match sections.split_first() {
        Some((&(SECTION_CHECKPOINT, checkpoint), rest)) if rest.iter().all(|(kind, _)| *kind == SECTION_SEGMENT) => {
            Ok((checkpoint, rest.iter().map(|(_, payload)| *payload).collect()))
        }
        _ => Err(Malformed("sections of a transfer")),
    }
}
