//! Integers and byte strings as records, answers and snapshots carry them: LEB128 varints, zigzag for signed ones,
//! little-endian for fixed widths. Reading is bounded by the bytes at hand and never panics.

use thiserror::Error;

/// Why bytes are not what they should be. The text names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// A cursor over bytes that may come from a disk or a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(Malformed(field))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed(field))?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        self.array(field).map(i64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, Malformed> {
        if let [byte @ 0..0x80, tail @ ..] = self.rest {
            self.rest = tail;
            return Ok(u64::from(*byte));
        }
        self.long_varint(field)
    }

    fn long_varint(&mut self, field: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed(field))
    }

    /// A varint that must fit 32 bits.
    #[inline]
    pub(crate) fn varint32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.varint(field)?).map_err(|_| Malformed(field))
    }

    #[inline]
    pub(crate) fn signed(&mut self, field: &'static str) -> Result<i64, Malformed> {
        self.varint(field).map(unzigzag)
    }

    /// A byte string with its length in front.
    pub(crate) fn prefixed(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint(field)?).map_err(|_| Malformed(field))?;
        self.bytes(len, field)
    }

    pub(crate) fn prefixed_str(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.prefixed(field)?).map_err(|_| Malformed(field))
    }
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Small magnitudes of either sign become small numbers.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_size_round_trip() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_signed(&mut bytes, value as i64);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint("v"), Ok(value));
            assert_eq!(reader.signed("v"), Ok(value as i64));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn endless_and_cut_varints_are_refused() {
        assert_eq!(Reader::new(&[0x80; 11]).varint("x"), Err(Malformed("x")));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint("x"),
            Err(Malformed("x"))
        );
        assert_eq!(Reader::new(&[0x80]).varint("x"), Err(Malformed("x")));
        assert_eq!(Reader::new(&[5, 1]).prefixed("x"), Err(Malformed("x")));
    }
}
