//! Which exposition format a target is asked for, and which one it answered with.

use std::fmt;
use std::str::FromStr;

/// An entry of `scrape_protocols`, and the value of `fallback_scrape_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    PrometheusProto,
    PrometheusText0_0_4,
    PrometheusText1_0_0,
    OpenMetricsText0_0_1,
    OpenMetricsText1_0_0,
}

/// The word is no scrape protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scrape protocol {0}, supported: \
     [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]"
)]
pub struct UnknownProtocol(pub String);

/// What Prometheus asks for unless told otherwise.
pub const DEFAULT_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText1_0_0,
    ScrapeProtocol::OpenMetricsText0_0_1,
    ScrapeProtocol::PrometheusText1_0_0,
    ScrapeProtocol::PrometheusText0_0_4,
];

/// Number of protocols there are; weights in the Accept header start one above.
const PROTOCOLS: usize = 5;

impl ScrapeProtocol {
    /// The word of the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media type with the parameters that name the format.
    fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// Whether targets that speak it understand the `escaping` parameter.
    fn has_escaping(self) -> bool {
        matches!(self, Self::PrometheusText1_0_0 | Self::OpenMetricsText1_0_0)
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ScrapeProtocol {
    type Err = UnknownProtocol;

    fn from_str(word: &str) -> Result<Self, UnknownProtocol> {
        let all = [
            Self::PrometheusProto,
            Self::PrometheusText0_0_4,
            Self::PrometheusText1_0_0,
            Self::OpenMetricsText0_0_1,
            Self::OpenMetricsText1_0_0,
        ];
        all.into_iter().find(|protocol| protocol.as_str() == word).ok_or_else(|| UnknownProtocol(word.to_owned()))
    }
}

/// How names outside the legacy character set are to be written, `metric_name_escaping_scheme`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    #[default]
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

impl EscapingScheme {
    /// The word of the configuration file and of the Accept header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// The Accept header for `scrape_protocols`, most wanted first.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut header = String::new();
    let mut weight = PROTOCOLS + 1;
    for protocol in protocols {
        header.push_str(protocol.media_type());
        if protocol.has_escaping() {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight = weight.saturating_sub(1);
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

/// A syntax that [`super::Parser`] reads. The text format has one parser for its versions 0.0.4 and 1.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

/// Why a Content-Type gives no format of its own. Texts are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    #[error("cannot parse Content-Type {} and no fallback_scrape_protocol for target", pharos_model::labels::quote(.0))]
    Malformed(String),
    #[error(
        "received unsupported Content-Type {} and no fallback_scrape_protocol specified for target",
        pharos_model::labels::quote(.0)
    )]
    Unsupported(String),
}

/// The format to parse with, and whether it is the fallback because the target's own header is of no use (worth a
/// warning to the operator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub format: Format,
    pub is_fallback: bool,
}

impl From<ScrapeProtocol> for Format {
    fn from(protocol: ScrapeProtocol) -> Self {
        match protocol {
            ScrapeProtocol::PrometheusProto => Self::Protobuf,
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Self::Text,
            ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => Self::OpenMetrics,
        }
    }
}

impl Format {
    /// Reads the Content-Type of an answer; `None` is a missing header.
    pub fn from_content_type(
        content_type: Option<&str>,
        fallback: Option<ScrapeProtocol>,
    ) -> Result<Negotiated, FormatError> {
        match Self::declared(content_type.unwrap_or_default()) {
            Ok(format) => Ok(Negotiated { format, is_fallback: false }),
            Err(error) => match fallback {
                Some(protocol) => Ok(Negotiated { format: protocol.into(), is_fallback: true }),
                None => Err(error),
            },
        }
    }

    fn declared(content_type: &str) -> Result<Self, FormatError> {
        if content_type.is_empty() {
            return Err(FormatError::Blank);
        }
        let media_type = media_type(content_type).ok_or_else(|| FormatError::Malformed(content_type.to_owned()))?;
        match media_type.as_str() {
            "text/plain" => Ok(Self::Text),
            "application/openmetrics-text" => Ok(Self::OpenMetrics),
            "application/vnd.google.protobuf" => Ok(Self::Protobuf),
            _ => Err(FormatError::Unsupported(content_type.to_owned())),
        }
    }
}

/// The lower-case media type of a Content-Type whose parameters are well formed, as Go's `mime.ParseMediaType` has it.
fn media_type(content_type: &str) -> Option<String> {
    let mut parts = split_parameters(content_type);
    let media_type = parts.next()?.trim().to_ascii_lowercase();
    let mut halves = media_type.split('/');
    let is_valid = halves.next().is_some_and(is_token) && halves.next().is_none_or(is_token) && halves.next().is_none();
    let mut names = Vec::new();
    for parameter in parts.map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        if !is_token(&name) || !(quoted || is_token(value)) || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    is_valid.then_some(media_type)
}

/// Splits at semicolons outside quotes.
fn split_parameters(header: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut escaped) = (false, false);
    header.split(move |c| {
        let is_end = c == ';' && !in_quotes;
        in_quotes ^= c == '"' && !escaped;
        escaped = c == '\\' && in_quotes && !escaped;
        is_end
    })
}

/// RFC 9110's `token`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_accept_header_is_that_of_prometheus() {
        assert_eq!(
            accept_header(&DEFAULT_PROTOCOLS, EscapingScheme::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept_header(&[ScrapeProtocol::PrometheusProto], EscapingScheme::Underscores),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.5"
        );
    }

    #[test]
    fn content_types_choose_the_parser() {
        for (header, format) in [
            ("text/plain", Format::Text),
            ("text/plain; version=0.0.4; charset=utf-8", Format::Text),
            ("TEXT/PLAIN;charset=\"utf-8;x\"", Format::Text),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores", Format::OpenMetrics),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Format::Protobuf,
            ),
        ] {
            let found = Format::from_content_type(Some(header), Some(ScrapeProtocol::PrometheusProto));
            assert_eq!(found, Ok(Negotiated { format, is_fallback: false }), "{header}");
        }
    }

    #[test]
    fn a_useless_content_type_needs_a_fallback() {
        let blank = "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target";
        let unsupported =
            r#"received unsupported Content-Type "text/html" and no fallback_scrape_protocol specified for target"#;
        let malformed = r#"cannot parse Content-Type "text/plain; charset" and no fallback_scrape_protocol for target"#;
        for (header, error) in [
            (None, blank),
            (Some(""), blank),
            (Some("text/html"), unsupported),
            (Some("text/plain; charset"), malformed),
        ] {
            assert_eq!(Format::from_content_type(header, None).unwrap_err().to_string(), error);
            assert_eq!(
                Format::from_content_type(header, Some(ScrapeProtocol::PrometheusText0_0_4)),
                Ok(Negotiated { format: Format::Text, is_fallback: true })
            );
        }
    }

    #[test]
    fn protocol_words_read_and_print() {
        for protocol in DEFAULT_PROTOCOLS {
            assert_eq!(protocol.as_str().parse(), Ok(protocol));
        }
        assert_eq!(
            "Text".parse::<ScrapeProtocol>().unwrap_err().to_string(),
            "unknown scrape protocol Text, supported: \
             [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]"
        );
    }
}
