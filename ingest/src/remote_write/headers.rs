//! What a sender has to say about its body, and what it may leave out.

use super::WriteError;

/// The media type of both versions of remote write.
const MEDIA_TYPE: &str = "application/x-protobuf";
/// The message of version 1.0, also meant when none is named.
const V1: &str = "prometheus.WriteRequest";
/// The message of version 2.0.
const V2: &str = "io.prometheus.write.v2.Request";

/// Header values of a write request; `None` for headers that are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHeaders<'h> {
    pub content_type: Option<&'h str>,
    pub content_encoding: Option<&'h str>,
}

/// The version of a request's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl RequestHeaders<'_> {
    /// Refuses what is not compressed with snappy. Version 1.0 and snappy are assumed where a header is missing.
    pub fn check(&self) -> Result<Version, WriteError> {
        let version = match self.content_type.map(str::trim).filter(|value| !value.is_empty()) {
            Some(content_type) if message_name(content_type)? == V2 => Version::Two,
            _ => Version::One,
        };
        match self.content_encoding.filter(|value| !value.is_empty()) {
            Some(encoding) if !encoding.eq_ignore_ascii_case("snappy") => Err(WriteError::MediaType(format!(
                "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
            ))),
            _ => Ok(version),
        }
    }
}

fn message_name(content_type: &str) -> Result<&str, WriteError> {
    let mut parts = content_type.split(';').map(str::trim);
    if parts.next() != Some(MEDIA_TYPE) {
        return Err(WriteError::MediaType(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        )));
    }
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(WriteError::MediaType(format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                 got {parameter} in {content_type} content-type"
            )));
        };
        if name == "proto" {
            return if value == V1 || value == V2 {
                Ok(value)
            } else {
                Err(WriteError::MediaType(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {value}, \
                     supported: {V1}, {V2}"
                )))
            };
        }
    }
    Ok(V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_taken_compressed_with_snappy() {
        for (content_type, content_encoding, found) in [
            (None, None, "One"),
            (Some("application/x-protobuf"), Some("snappy"), "One"),
            (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some("Snappy"), "One"),
            (Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), Some("snappy"), "Two"),
            (
                Some("application/json"),
                None,
                "expected application/x-protobuf as the first (media) part, got application/json content-type",
            ),
            (
                Some("application/x-protobuf;proto=x.Y"),
                None,
                "got application/x-protobuf;proto=x.Y content type; unknown type for remote write protobuf message x.Y, \
                 supported: prometheus.WriteRequest, io.prometheus.write.v2.Request",
            ),
            (
                None,
                Some("zstd"),
                "zstd encoding (compression) is not accepted by this server; only snappy is acceptable",
            ),
        ] {
            let checked = RequestHeaders { content_type, content_encoding }.check();
            assert_eq!(checked.map_or_else(|error| error.to_string(), |version| format!("{version:?}")), found);
        }
    }
}
