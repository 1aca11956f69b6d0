//! Reads protobuf's wire format in place, and writes a little of it, for the two messages that arrive in bulk: remote-write requests and
//! delimited metric families.
//!
//! Knows no message. Never recurses and never allocates: a nested message is a [`Reader`] over part of the same body.
//! Groups, which no sender of these messages has used since proto2, are refused.

/// Why bytes are not the message they claim to be. Positions count from the start of the decompressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("protobuf: unexpected end of data at byte {at}")]
    Truncated { at: usize },
    #[error("protobuf: varint longer than 64 bits at byte {at}")]
    Varint { at: usize },
    #[error("protobuf: invalid tag {tag} at byte {at}")]
    Tag { tag: u64, at: usize },
    #[error("protobuf: field {field} ends at byte {end}, beyond its message, which ends at byte {message_end}")]
    Overrun { field: u32, end: usize, message_end: usize },
    #[error("protobuf: field {field} has wire type {found}, not {expected}, at byte {at}")]
    WireType { field: u32, found: u8, expected: u8, at: usize },
}

pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// A field's number and wire type, before its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub field: u32,
    pub wire_type: u8,
    /// Where the tag starts in the body.
    pub at: usize,
}

/// A cursor over one message inside a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    body: &'a [u8],
    pos: usize,
    /// Where the message ends; at most the length of the body.
    end: usize,
}

impl<'a> Reader<'a> {
    /// The whole body as one message.
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, pos: 0, end: body.len() }
    }

    /// The message at a place that an earlier walk found.
    pub(crate) fn within(body: &'a [u8], start: usize, end: usize) -> Self {
        Self { body, pos: start, end }
    }

    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.pos >= self.end
    }

    /// Bytes of the body between two positions.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        &self.body[start..end]
    }

    /// The next tag, `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<Tag>, WireError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let at = self.pos;
        let tag = match self.body[at] {
            byte @ 0..0x80 => {
                self.pos += 1;
                u64::from(byte)
            }
            _ => self.varint()?,
        };
        let (field, wire_type) = (tag >> 3, (tag & 7) as u8);
        match u32::try_from(field) {
            Ok(field) if field > 0 && tag <= u64::from(u32::MAX) => Ok(Some(Tag { field, wire_type, at })),
            _ => Err(WireError::Tag { tag, at }),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.body.get(self.pos) {
            Some(byte @ 0..0x80) if self.pos < self.end => {
                self.pos += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let (at, mut value) = (self.pos, 0);
        for (i, byte) in self.body[at..self.end].iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                if i == 9 && *byte > 1 {
                    return Err(WireError::Varint { at });
                }
                self.pos = at + i + 1;
                return Ok(value);
            }
        }
        Err(if self.end - at >= 10 { WireError::Varint { at } } else { WireError::Truncated { at: self.end } })
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        match self.body[self.pos..self.end].first_chunk() {
            Some(bytes) => {
                self.pos += 8;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(WireError::Truncated { at: self.end }),
        }
    }

    /// The value of a length-delimited field as a message of its own.
    #[inline]
    pub(crate) fn message(&mut self, field: u32) -> Result<Reader<'a>, WireError> {
        let length = self.varint()?;
        let start = self.pos;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).unwrap_or(usize::MAX);
        if end > self.end {
            return Err(WireError::Overrun { field, end, message_end: self.end });
        }
        self.pos = end;
        Ok(Reader { body: self.body, pos: start, end })
    }

    /// The value of a length-delimited field.
    #[inline]
    pub(crate) fn bytes(&mut self, field: u32) -> Result<&'a [u8], WireError> {
        let message = self.message(field)?;
        Ok(&self.body[message.pos..message.end])
    }

    /// Passes over length-delimited fields while they have this field number, at most 15.
    #[inline]
    pub(crate) fn skip_run(&mut self, field: u32) -> Result<(), WireError> {
        debug_assert!(field <= 15, "the tag is one byte");
        let tag = (field << 3) as u8 | BYTES;
        while !self.is_at_end() && self.body[self.pos] == tag {
            self.pos += 1;
            self.message(field)?;
        }
        Ok(())
    }

    /// Passes over the value of a field that is of no interest.
    pub(crate) fn skip(&mut self, tag: Tag) -> Result<(), WireError> {
        match tag.wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            BYTES => self.message(tag.field).map(drop),
            FIXED32 if self.end - self.pos >= 4 => {
                self.pos += 4;
                Ok(())
            }
            FIXED32 => Err(WireError::Truncated { at: self.end }),
            _ => Err(WireError::Tag { tag: u64::from(tag.field) << 3 | u64::from(tag.wire_type), at: tag.at }),
        }
    }
}

impl Tag {
    /// Refuses a known field that comes with the wrong wire type.
    #[inline]
    pub(crate) fn expect(self, expected: u8) -> Result<(), WireError> {
        if self.wire_type == expected {
            Ok(())
        } else {
            Err(WireError::WireType { field: self.field, found: self.wire_type, expected, at: self.at })
        }
    }
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_number(out, u64::from(field) << 3 | u64::from(BYTES));
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field that is a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, field: u32, number: u64) {
    put_number(out, u64::from(field) << 3 | u64::from(VARINT));
    put_number(out, number);
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.tag().and_then(|tag| tag.map(|tag| reader.skip(tag)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => return "none".into(),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn broken_bytes_are_refused_with_their_position() {
        for (bytes, text) in [
            (&[][..], "none"),
            (&[0x08, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 1, 9, 0x25, 1, 2, 3, 4], "none"),
            (&[0x08], "protobuf: unexpected end of data at byte 1"),
            (&[0x08, 0x80], "protobuf: unexpected end of data at byte 2"),
            (&[0x11, 1, 2], "protobuf: unexpected end of data at byte 3"),
            (&[0x25, 1, 2], "protobuf: unexpected end of data at byte 3"),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "none"),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], "protobuf: varint longer than 64 bits at byte 1"),
            (
                &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                "protobuf: varint longer than 64 bits at byte 1",
            ),
            (&[0x00], "protobuf: invalid tag 0 at byte 0"),
            (&[0x0b], "protobuf: invalid tag 11 at byte 0"),
            (&[0x0a, 2, 9], "protobuf: field 1 ends at byte 4, beyond its message, which ends at byte 3"),
            (
                &[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                "protobuf: field 1 ends at byte 18446744073709551615, beyond its message, which ends at byte 11",
            ),
        ] {
            assert_eq!(error(bytes), text, "{bytes:?}");
        }
    }
}
