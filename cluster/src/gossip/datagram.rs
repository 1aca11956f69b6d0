//! A datagram: who sent it in the clear, what it says sealed. Layout: `docs/format/gossip.md`.

use std::borrow::Cow;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};

use super::keys::{KEY_ID_BYTES, KeyId};
use crate::peers::NodeId;

/// Most bytes of a datagram: what UDP carries over IPv4.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Of the format, and of nothing else that is sent to a port by chance.
const MAGIC: [u8; 3] = *b"PHG";
const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = MAGIC.len() + 1 + KEY_ID_BYTES + 3 * 8;
const TAG_BYTES: usize = 16;
/// A header, how the message is packed, and the seal.
const DATAGRAM_BYTES_MIN: usize = HEADER_BYTES + 1 + TAG_BYTES;

/// Messages from this size on are compressed; smaller ones fit into a packet anyway.
const COMPRESSED_BYTES_MIN: usize = 1024;
/// Most bytes of a message. A digest of all members of the largest cluster has about 64 KiB.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
const COMPRESSION_LEVEL: i32 = 1;
const AS_IT_IS: u8 = 0;
const ZSTD: u8 = 1;

/// Who sealed a datagram, with which key, and which of its datagrams it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub key: KeyId,
    pub node: NodeId,
    /// Drawn when the process started.
    pub process: u64,
    /// One more with each datagram of the process.
    pub counter: u64,
}

/// Why bytes are no datagram of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Foreign,
    Version(u8),
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3] = VERSION;
        bytes[4..8].copy_from_slice(&self.key);
        bytes[8..16].copy_from_slice(&self.node.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.process.to_le_bytes());
        bytes[24..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    pub(super) fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        if !datagram.starts_with(&MAGIC) || datagram.len() < DATAGRAM_BYTES_MIN {
            return Err(Malformed::Foreign);
        }
        if datagram[3] != VERSION {
            return Err(Malformed::Version(datagram[3]));
        }
        let number = |at: usize| u64::from_le_bytes(datagram[at..at + 8].try_into().expect("8 bytes"));
        let key = datagram[4..8].try_into().expect("4 bytes");
        Ok(Self { key, node: number(8), process: number(16), counter: number(24) })
    }

    fn nonce(&self) -> Nonce {
        let mut bytes = [0; NONCE_LEN];
        bytes[NONCE_LEN - 8..].copy_from_slice(&self.counter.to_le_bytes());
        Nonce::assume_unique_for_key(bytes)
    }
}

/// Writes a sealed message. `None` when it is larger than any datagram may be.
pub(super) fn seal(key: &LessSafeKey, header: &Header, message: &[u8]) -> Option<Vec<u8>> {
    let (packing, packed) = pack(message);
    let bytes = DATAGRAM_BYTES_MIN + packed.len();
    if bytes > DATAGRAM_BYTES_MAX {
        return None;
    }
    let mut datagram = Vec::with_capacity(bytes);
    datagram.extend_from_slice(&header.encode());
    datagram.push(packing);
    datagram.extend_from_slice(&packed);
    let (clear, sealed) = datagram.split_at_mut(HEADER_BYTES);
    let tag = key.seal_in_place_separate_tag(header.nonce(), Aad::from(clear), sealed).ok()?;
    datagram.extend_from_slice(tag.as_ref());
    Some(datagram)
}

/// What was sealed, if it was by this key and is whole. The datagram has to be one that [`Header::decode`] took.
pub(super) fn open<'a>(key: &LessSafeKey, header: &Header, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
    debug_assert_eq!(CHACHA20_POLY1305.tag_len(), TAG_BYTES);
    let (clear, sealed) = datagram.split_at_mut(HEADER_BYTES);
    let opened = key.open_in_place(header.nonce(), Aad::from(clear), sealed).ok()?;
    Some(opened)
}

fn pack(message: &[u8]) -> (u8, Cow<'_, [u8]>) {
    if message.len() >= COMPRESSED_BYTES_MIN
        && let Ok(compressed) = zstd::bulk::compress(message, COMPRESSION_LEVEL)
        && compressed.len() < message.len()
    {
        return (ZSTD, Cow::Owned(compressed));
    }
    (AS_IT_IS, Cow::Borrowed(message))
}

/// The message in what was opened.
pub(super) fn unpack(opened: &[u8]) -> Option<Cow<'_, [u8]>> {
    match opened.split_first()? {
        (&AS_IT_IS, message) => Some(Cow::Borrowed(message)),
        (&ZSTD, compressed) => zstd::bulk::decompress(compressed, MESSAGE_BYTES_MAX).ok().map(Cow::Owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::keys::{Keys, Secrets};

    fn key() -> (KeyId, LessSafeKey) {
        let keys = Keys::new(&Secrets::none(), "c");
        (keys.sealing().id, keys.sealing().of_process(1, 2))
    }

    #[test]
    fn every_size_comes_back_as_it_was() {
        let (id, key) = key();
        let mut random = fastrand::Rng::with_seed(1);
        for bytes in [0, 1, 100, 1023, 1024, 20_000, 65_000] {
            for message in [vec![7; bytes], std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()] {
                let header = Header { key: id, node: 1, process: 2, counter: bytes as u64 };
                let mut datagram = seal(&key, &header, &message).unwrap();
                assert!(datagram.len() <= bytes + DATAGRAM_BYTES_MIN);
                assert_eq!(Header::decode(&datagram), Ok(header));
                let opened = open(&key, &header, &mut datagram).unwrap();
                assert_eq!(unpack(opened).unwrap(), message);
            }
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(DATAGRAM_BYTES_MAX).collect();
        let header = Header { key: id, node: 1, process: 2, counter: 0 };
        assert_eq!(seal(&key, &header, &noise), None);
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_left_out() {
        let (id, key) = key();
        let header = Header { key: id, node: 1, process: 2, counter: 3 };
        let datagram = seal(&key, &header, b"hello").unwrap();
        let opens = |mut bytes: Vec<u8>| match Header::decode(&bytes) {
            Ok(header) => open(&key, &header, &mut bytes).is_some(),
            Err(_) => false,
        };
        assert!(opens(datagram.clone()));
        for bit in 0..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(changed), "bit {bit}");
        }
        for bytes in 0..datagram.len() {
            assert!(!opens(datagram[..bytes].to_vec()), "{bytes} bytes");
        }
        let mut longer = datagram.clone();
        longer.push(0);
        assert!(!opens(longer));
        let mut newer = datagram;
        newer[3] = 2;
        assert_eq!(Header::decode(&newer), Err(Malformed::Version(2)));
    }

    #[test]
    fn what_is_packed_cannot_grow_without_bound() {
        let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
        assert_eq!(unpack(&[&[ZSTD], &bomb[..]].concat()), None);
        assert_eq!(unpack(&[]), None);
        assert_eq!(unpack(&[9, 1]), None);
    }
}
