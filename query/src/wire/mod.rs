//! Plans and remarks as bytes, for a peer that runs a part of a query.
//!
//! Compact and closed: every type says here how it is written, an enum by a tag of its own that never changes its meaning, so a
//! variant that is added without one does not compile. Integers are variable-length, floats their bits. Nothing that is read is trusted: a
//! length is checked against what is left, and what has invariants is made by its own constructor.

mod message;
mod plan;

/// What was read is not what [`Wire::put`] writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the bytes end within {0}")]
    Short(&'static str),
    #[error("{tag} does not name a {kind}")]
    Tag { kind: &'static str, tag: u64 },
    #[error("{kind}: {reason}")]
    Invalid { kind: &'static str, reason: String },
    #[error("{0} bytes are left over")]
    Rest(usize),
}

/// A value that travels.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value from the front of `bytes`.
    fn take(bytes: &mut &[u8]) -> Result<Self, WireError>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// The value that all of `bytes` are.
    fn from_bytes(mut bytes: &[u8]) -> Result<Self, WireError> {
        let value = Self::take(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(WireError::Rest(bytes.len())) }
    }
}

/// A struct is its fields one after the other.
macro_rules! wire_struct {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, $crate::wire::WireError> {
                Ok(Self { $($field: $crate::wire::Wire::take(bytes)?),* })
            }
        }
    };
}

/// An enum is a tag and the fields of the variant.
macro_rules! wire_enum {
    ($type:ident { $($tag:literal = $variant:ident $(($($part:ident),*))? $({$($field:ident),*})?),* $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($($part),*))? $({$($field),*})? => {
                        out.push($tag);
                        $($($part.put(out);)*)?
                        $($($field.put(out);)*)?
                    })*
                }
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, $crate::wire::WireError> {
                Ok(match <u8 as $crate::wire::Wire>::take(bytes)? {
                    $($tag => {
                        $($(let $part = $crate::wire::Wire::take(bytes)?;)*)?
                        $($(let $field = $crate::wire::Wire::take(bytes)?;)*)?
                        Self::$variant $(($($part),*))? $({$($field),*})?
                    })*
                    tag => {
                        let tag = u64::from(tag);
                        return Err($crate::wire::WireError::Tag { kind: stringify!($type), tag });
                    }
                })
            }
        }
    };
}

pub(crate) use {wire_enum, wire_struct};

fn split<'a>(bytes: &mut &'a [u8], length: usize, kind: &'static str) -> Result<&'a [u8], WireError> {
    let (own, rest) = bytes.split_at_checked(length).ok_or(WireError::Short(kind))?;
    *bytes = rest;
    Ok(own)
}

impl Wire for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        Ok(split(bytes, 1, "a byte")?[0])
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        match u8::take(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(WireError::Tag { kind: "bool", tag: u64::from(tag) }),
        }
    }
}

/// Seven bits at a time, the lowest first; the last byte has its high bit clear.
impl Wire for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = u8::take(bytes)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Invalid { kind: "integer", reason: "it has more than 64 bits".into() })
    }
}

/// The sign in the lowest bit, so that small numbers of both signs are short.
impl Wire for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let value = u64::take(bytes)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

macro_rules! wire_narrow {
    ($($type:ident as $wide:ident),*) => {$(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as $wide).put(out);
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
                let out_of_range = |_| WireError::Invalid { kind: stringify!($type), reason: "out of range".into() };
                Self::try_from($wide::take(bytes)?).map_err(out_of_range)
            }
        }
    )*};
}

wire_narrow!(u16 as u64, u32 as u64, usize as u64, i32 as i64);

impl Wire for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let bits = split(bytes, 8, "a float")?;
        Ok(Self::from_bits(u64::from_le_bytes(bits.try_into().expect("eight bytes"))))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let length = usize::take(bytes)?;
        let text = std::str::from_utf8(split(bytes, length, "a text")?);
        text.map(str::to_owned).map_err(|error| WireError::Invalid { kind: "text", reason: error.to_string() })
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        Ok(if bool::take(bytes)? { Some(T::take(bytes)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let length = usize::take(bytes)?;
        // A damaged length reserves no more memory than there are bytes.
        let mut list = Vec::with_capacity(length.min(bytes.len() / size_of::<T>().max(1)));
        for _ in 0..length {
            list.push(T::take(bytes)?);
        }
        Ok(list)
    }
}

impl<T: Wire> Wire for std::sync::Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        T::take(bytes).map(Self::new)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        Ok((A::take(bytes)?, B::take(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Everything = (Vec<(u64, i64)>, (Option<String>, (Vec<bool>, Vec<(u32, i32)>)));

    proptest! {
        #[test]
        fn values_come_back_and_nothing_is_left(value: Everything) {
            prop_assert_eq!(Everything::from_bytes(&value.to_bytes()).unwrap(), value);
        }

        #[test]
        fn floats_come_back_to_the_bit(bits: u64) {
            let float = f64::from_bits(bits);
            prop_assert_eq!(f64::from_bytes(&float.to_bytes()).unwrap().to_bits(), bits);
        }

        #[test]
        fn bytes_that_end_early_are_refused(value: Everything) {
            let bytes = value.to_bytes();
            for end in 0..bytes.len() {
                prop_assert!(Everything::from_bytes(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn an_integer_of_more_than_64_bits_is_refused() {
        assert_eq!(u64::from_bytes(&u64::MAX.to_bytes()), Ok(u64::MAX));
        assert!(u64::from_bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).is_err());
        assert_eq!(u32::from_bytes(&(1u64 << 32).to_bytes()).unwrap_err().to_string(), "u32: out of range");
    }

    #[test]
    fn a_length_without_a_list_reserves_no_memory() {
        assert_eq!(Vec::<f64>::from_bytes(&u64::MAX.to_bytes()), Err(WireError::Short("a float")));
    }
}
