//! Values of single keys: durations, sizes, secrets, URLs, names of a closed set.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use pharos_model::{byte_size, duration};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::block::Zero;
use super::error::{Invalid, MASK};

/// A duration as Prometheus writes it (`1m30s`), in milliseconds. Zero where a key is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromDuration(pub i64);

impl PromDuration {
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1000)
    }

    pub fn as_std(self) -> Duration {
        Duration::from_millis(self.0.max(0) as u64)
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::format_ms(self.0))
    }
}

impl Zero for PromDuration {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        duration::parse_ms(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes: `512B`, `10MB`, `1MiB512KiB`. Units are powers of 1024 with or without the `i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&byte_size::format(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl Zero for ByteSize {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = byte_size::parse(&text).map_err(D::Error::custom)?;
        u64::try_from(bytes).map(Self).map_err(|_| D::Error::custom(format!("size {text} is negative")))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A string that is never printed: `Debug`, `Display` and `Serialize` show `<secret>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { MASK })
    }
}

impl Zero for Secret {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The library's own message may quote what it found.
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("a secret has to be a string"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A URL that is checked when it is read and printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactedUrl(reqwest::Url);

impl RedactedUrl {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // The text is not repeated: it may hold a password.
        reqwest::Url::parse(text).map(Self).map_err(|e| Invalid::new(format!("parse URL: {e}")))
    }

    /// The URL itself, password included.
    pub fn expose(&self) -> &reqwest::Url {
        &self.0
    }
}

impl From<reqwest::Url> for RedactedUrl {
    fn from(url: reqwest::Url) -> Self {
        Self(url)
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.password().is_none() {
            return f.write_str(self.0.as_str());
        }
        let mut shown = self.0.clone();
        // Fails for URLs without a host only, and those have no password.
        let _ = shown.set_password(Some("xxxxx"));
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for RedactedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for RedactedUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Makes a closed set of names: the enum, its text form, reading and printing. `$bad` makes the error text from the name read.
macro_rules! names {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )* }
        bad = $bad:expr;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$vmeta])* $variant, )* }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// A name that is set is never the zero value.
        impl $crate::config::block::Zero for $name {
            fn is_zero(&self) -> bool {
                false
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                match text.as_str() {
                    $( $text => Ok(Self::$variant), )*
                    _ => Err(<D::Error as ::serde::de::Error>::custom($bad(&text))),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

pub(crate) use names;

/// A path of the file made relative to the file's folder; empty and absolute paths stay.
pub fn join_dir(dir: &Path, path: &mut String) {
    if !path.is_empty() && !Path::new(path.as_str()).is_absolute() {
        *path = dir.join(&*path).to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_passwords_of_urls_are_not_printed() {
        let secret = Secret::new("hunter2");
        let url = RedactedUrl::parse("http://user:hunter2@proxy:3128/").unwrap();
        let shown = format!("{secret} {secret:?} {} {url} {url:?}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(url.to_string(), "http://user:xxxxx@proxy:3128/");
    }
}
