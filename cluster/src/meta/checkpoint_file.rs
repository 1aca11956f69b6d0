//! The file of a metadata checkpoint: content and position under one checksum. Layout in `docs/format/metadata.md`.

use std::io;
use std::path::Path;

use bytes::{Buf, Bytes};

use crate::fs::{Fs, read_all, replace};
use crate::state_machine::CheckpointError;

const MAGIC: &[u8; 8] = b"PHARMETA";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub raft_state: Bytes,
    pub content: Bytes,
}

/// Replaces the checkpoint in one step, and reads it back: what it covers is dropped from the log next.
pub(super) fn write(fs: &dyn Fs, path: &Path, raft_state: &[u8], content: &[u8]) -> Result<(), CheckpointError> {
    replace(fs, path, &encode(raft_state, content))?;
    match read(fs, path)? {
        Some(found) if found.raft_state == raft_state && found.content == content => Ok(()),
        _ => Err(CheckpointError::Damaged { reason: "it reads back differently".to_owned() }),
    }
}

/// `None` when there is no checkpoint.
pub(super) fn read(fs: &dyn Fs, path: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
    let file = match fs.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = Bytes::from(read_all(&*file)?);
    let reason = || format!("{} has a wrong checksum or version", path.display());
    decode(bytes).map(Some).ok_or_else(|| CheckpointError::Damaged { reason: reason() })
}

fn encode(raft_state: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + raft_state.len() + content.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(raft_state.len() as u32).to_le_bytes());
    out.extend_from_slice(raft_state);
    out.extend_from_slice(content);
    let checksum = crc32fast::hash(&out);
    out[12..16].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn decode(bytes: Bytes) -> Option<Checkpoint> {
    let head = bytes.get(..HEAD_BYTES)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..12]);
    hasher.update(&[0; 4]);
    hasher.update(&bytes[16..]);
    let mut numbers = &head[8..];
    let (version, checksum, len) = (numbers.get_u32_le(), numbers.get_u32_le(), numbers.get_u32_le() as usize);
    if &head[..8] != MAGIC || version != VERSION || checksum != hasher.finalize() {
        return None;
    }
    let mut rest = bytes.slice(HEAD_BYTES..);
    if len > rest.len() {
        return None;
    }
    let raft_state = rest.split_to(len);
    Some(Checkpoint { raft_state, content: rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        let found = decode(Bytes::from(encode(b"position", b"content"))).unwrap();
        assert_eq!(found, Checkpoint { raft_state: Bytes::from("position"), content: Bytes::from("content") });
    }

    #[test]
    fn a_flipped_bit_or_a_cut_anywhere_is_noticed() {
        let whole = encode(b"position", b"content");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(Bytes::from(damaged)), None, "bit {bit} of byte {at}");
            }
            assert_eq!(decode(Bytes::copy_from_slice(&whole[..at])), None, "cut at {at}");
        }
    }
}
