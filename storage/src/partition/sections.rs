//! Files of sections: a magic number, then sections of kind, length, checksum and payload, then an end section.
//!
//! The checksum covers kind and length as well. A file without its end section was cut off.

use crate::wire::{Malformed, Reader};

const END: u8 = 0;
const HEADER_BYTES: usize = 1 + 8 + 4;

/// Appends one section whose payload `fill` writes.
pub(super) fn put_section(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    fill(out);
    let len = (out.len() - start - HEADER_BYTES) as u64;
    out[start] = kind;
    out[start + 1..start + 9].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(kind, len, &out[start + HEADER_BYTES..]);
    out[start + 9..start + HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

pub(super) fn put_end(out: &mut Vec<u8>) {
    put_section(out, END, |_| {});
}

fn checksum(kind: u8, len: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Kind and payload of every section before the end section.
pub(super) fn read_sections<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Vec<(u8, &'a [u8])>, Malformed> {
    let mut reader = Reader::new(bytes.strip_prefix(magic).ok_or(Malformed("magic number"))?);
    let mut sections = Vec::new();
    loop {
        let kind = reader.u8("section kind")?;
        let len = reader.u64("section length")?;
        let crc = reader.u32("section checksum")?;
        let len_here = usize::try_from(len).map_err(|_| Malformed("section length"))?;
        let payload = reader.bytes(len_here, "section length")?;
        if checksum(kind, len, payload) != crc {
            return Err(Malformed("section: its checksum does not match"));
        }
        match (kind, reader.is_empty()) {
            (END, true) => return Ok(sections),
            (END, false) => return Err(Malformed("end of file")),
            _ => sections.push((kind, payload)),
        }
    }
}
