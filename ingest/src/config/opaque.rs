//! Sections that are kept and printed but not used: any YAML, with secrets masked.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::error::{MASK, is_secret_key};

/// A YAML value whose scalars are strings; values of secret keys are masked when they are read, so they are nowhere kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Opaque {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpaqueVisitor)
    }
}

struct OpaqueVisitor;

impl<'de> Visitor<'de> for OpaqueVisitor {
    type Value = Opaque;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Opaque, E> {
        Ok(Opaque::Null)
    }

    fn visit_none<E>(self) -> Result<Opaque, E> {
        Ok(Opaque::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Opaque, D::Error> {
        Opaque::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Opaque, E> {
        Ok(Opaque::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Opaque, E> {
        Ok(Opaque::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Opaque, E> {
        Ok(Opaque::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Opaque, E> {
        Ok(Opaque::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Opaque, E> {
        Ok(Opaque::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Opaque, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Opaque::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Opaque, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Opaque>()? {
            let masked = if is_secret_key(&key) { Opaque::Text(MASK.to_owned()) } else { value };
            entries.push((key, masked));
        }
        Ok(Opaque::Map(entries))
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                serializer.serialize_i64(*value as i64)
            }
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}
