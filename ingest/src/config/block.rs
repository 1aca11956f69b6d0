//! One definition for each section of the configuration file: its keys, their types, and how it is read and printed.
//!
//! Serde's own `flatten` buffers values and loses where they stood in the file, yet Prometheus' sections share keys
//! (`basic_auth`, `tls_config`, ... stand beside a job's own keys). So [`block!`] reads a section key by key, hands keys
//! it does not know to the sections laid inside it, and refuses the rest at their line and column.
//!
//! As in Prometheus, a key without a value keeps its default, and a key with the zero value of its type is not printed
//! unless it is marked `always`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;

use super::error::Invalid;

/// Whether a value is what Go calls the zero value of its type.
pub trait Zero {
    fn is_zero(&self) -> bool;
}

/// A section that [`block!`] defines.
pub trait Block: Default {
    /// Takes the value of `key` when the section has that key; otherwise leaves it and answers `false`.
    fn set<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error>;
    /// Prints the section's keys in their order.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// What has to hold between the keys of a section, and defaults that depend on other keys.
pub trait Check {
    fn check(&mut self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// Reads a section and checks it.
pub fn read<'de, B: Block + Check, D: Deserializer<'de>>(deserializer: D) -> Result<B, D::Error> {
    deserializer.deserialize_map(BlockVisitor(PhantomData))
}

struct BlockVisitor<B>(PhantomData<B>);

impl<'de, B: Block + Check> Visitor<'de> for BlockVisitor<B> {
    type Value = B;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<B, M::Error> {
        let mut block = B::default();
        while let Some(key) = map.next_key::<String>()? {
            if !block.set(&key, &mut map)? {
                return Err(M::Error::unknown_field(&key, &[]));
            }
        }
        block.check().map_err(M::Error::custom)?;
        Ok(block)
    }
}

impl Zero for bool {
    fn is_zero(&self) -> bool {
        !self
    }
}

impl Zero for u64 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Zero for i64 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Zero for f64 {
    fn is_zero(&self) -> bool {
        *self == 0.0
    }
}

impl Zero for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Zero for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Zero for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<K, V> Zero for BTreeMap<K, V> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Defines a section: the struct, and its [`Block`], [`Zero`], `Deserialize` and `Serialize`. `Default` and [`Check`]
/// are written beside it. Groups of `keys` are printed in order, with the `inline` section between them.
macro_rules! block {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                keys { $( $(#[$kmeta:meta])* $key:ident $([$($opt:tt)*])? : $ty:ty, )* }
                $( inline { $( $(#[$imeta:meta])* $inner:ident : $inner_ty:ty, )* } )?
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $( $(#[$kmeta])* pub $key: $ty, )*
                $( $( $(#[$imeta])* pub $inner: $inner_ty, )* )?
            )+
        }

        impl $crate::config::block::Block for $name {
            fn set<'de, M: ::serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
                $( $(
                    if key == block!(@name $key [$($($opt)*)?]) {
                        if let Some(value) = map.next_value::<Option<$ty>>()? {
                            self.$key = value;
                        }
                        return Ok(true);
                    }
                )* )+
                $( $( $(
                    if $crate::config::block::Block::set(&mut self.$inner, key, map)? {
                        return Ok(true);
                    }
                )* )? )+
                Ok(false)
            }

            fn write<M: ::serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(
                    $(
                        if block!(@always [$($($opt)*)?]) || !$crate::config::block::Zero::is_zero(&self.$key) {
                            map.serialize_entry(block!(@name $key [$($($opt)*)?]), &self.$key)?;
                        }
                    )*
                    $( $( $crate::config::block::Block::write(&self.$inner, map)?; )* )?
                )+
                Ok(())
            }
        }

        impl $crate::config::block::Zero for $name {
            fn is_zero(&self) -> bool {
                true
                $(
                    $( && $crate::config::block::Zero::is_zero(&self.$key) )*
                    $( $( && $crate::config::block::Zero::is_zero(&self.$inner) )* )?
                )+
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::block::read(deserializer)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $crate::config::block::Block::write(self, &mut map)?;
                ::serde::ser::SerializeMap::end(map)
            }
        }
    };
    (@name $key:ident [always key $name:literal]) => { $name };
    (@name $key:ident [key $name:literal]) => { $name };
    (@name $key:ident [$($opt:tt)*]) => { stringify!($key) };
    (@always [always $($opt:tt)*]) => { true };
    (@always [$($opt:tt)*]) => { false };
}

pub(crate) use block;
