//! What targets expose, read in place: Prometheus text 0.0.4 and 1.0.0, OpenMetrics 1.0, delimited protobuf.
//!
//! [`Parser`] yields one [`Event`] after the other and copies nothing. A sample's labels are parsed only when asked for
//! ([`Sample::labels`]): a steady target is served by the hash of [`Sample::series`] alone, see [`cache::LineCache`].
//! Because of that a malformed label is reported by `labels`, not by `next`; nobody may append a sample of a series
//! text whose labels were never parsed.
//!
//! Series names, labels and error texts are those of Prometheus 3. Leaves to the scrape loop: target labels,
//! relabelling, limits on samples, time of scrape. Native histograms are passed over: what they have of a classic
//! histogram is exposed, as Prometheus does where `scrape_native_histograms` is off.

pub mod cache;
pub mod negotiation;

mod error;
mod fast;
mod lexer;
mod line;
mod protobuf;
mod series;
mod text;
mod value;

use std::borrow::Cow;

use pharos_model::{LabelSet, LabelSetBuilder, MetricType, TimestampMs};

pub use error::{ParseError, ParseErrorKind, Position};
pub use lexer::Token;
pub use negotiation::{Format, ScrapeProtocol};
pub use value::FloatError;

use crate::label_limits::LabelLimits;

/// Reads one scraped body.
#[derive(Debug)]
pub struct Parser<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Text(Box<text::Parser<'a>>),
    Protobuf(Box<protobuf::Parser<'a>>),
}

/// One entry of an exposition. Names of metric families are as exposed, without quotes and escapes.
#[derive(Debug)]
pub enum Event<'p> {
    Sample(Sample<'p>),
    Type { family: Cow<'p, str>, metric_type: MetricType },
    Help { family: Cow<'p, str>, text: Cow<'p, str> },
    Unit { family: Cow<'p, str>, unit: Cow<'p, str> },
    Comment(&'p [u8]),
}

/// A float sample of one series.
#[derive(Debug)]
pub struct Sample<'p> {
    /// Identifies the series among those of one target and format: the text of name and labels, or for protobuf bytes
    /// made of them. Two different ones may be the same series.
    pub series: &'p [u8],
    /// The exposed time, if any.
    pub ts: Option<TimestampMs>,
    /// Every NaN but a staleness marker is the canonical one; targets cannot expose markers as text.
    pub value: f64,
    /// When the series began, where the format says so in the sample itself (protobuf).
    pub created: Option<TimestampMs>,
    /// Boxed because it is rare: samples are moved by the million.
    pub exemplar: Option<Box<Exemplar<'p>>>,
    labels: LabelSource<'p>,
}

/// An exemplar that came with a sample.
#[derive(Debug)]
pub struct Exemplar<'p> {
    pub value: f64,
    pub ts: Option<TimestampMs>,
    labels: ExemplarSource<'p>,
}

#[derive(Debug)]
enum LabelSource<'p> {
    Text(text::SeriesText<'p>),
    Protobuf(protobuf::MetricLabels<'p>),
}

#[derive(Debug)]
enum ExemplarSource<'p> {
    Text(text::ExemplarText<'p>),
    Protobuf(protobuf::ExemplarLabels<'p>),
}

impl<'a> Parser<'a> {
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Self(match format {
            Format::Text => Inner::Text(Box::new(text::Parser::new(body, lexer::Dialect::Text))),
            Format::OpenMetrics => Inner::Text(Box::new(text::Parser::new(body, lexer::Dialect::OpenMetrics))),
            Format::Protobuf => Inner::Protobuf(Box::new(protobuf::Parser::new(body))),
        })
    }

    /// The next entry, `None` at the end of a complete body. After an error the parser is at its end.
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry borrows the parser's buffers, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, ParseError> {
        match &mut self.0 {
            Inner::Text(parser) => parser.next(),
            Inner::Protobuf(parser) => parser.next(),
        }
    }

    /// Histograms so far that had native buckets and no classic ones: of them only `_count`, `_sum` and the `+Inf`
    /// bucket are exposed.
    pub fn native_only_histograms(&self) -> usize {
        match &self.0 {
            Inner::Text(_) => 0,
            Inner::Protobuf(parser) => parser.native_only_histograms(),
        }
    }
}

impl Sample<'_> {
    /// Parses and checks the labels, the metric name among them. Labels with empty values are left out.
    pub fn labels(&self, limits: &LabelLimits) -> Result<LabelSetBuilder, ParseError> {
        match &self.labels {
            LabelSource::Text(text) => text.labels(limits),
            LabelSource::Protobuf(labels) => labels.labels(limits),
        }
    }
}

impl Exemplar<'_> {
    /// Parses and checks the exemplar's own labels.
    pub fn labels(&self, limits: &LabelLimits) -> Result<LabelSet, ParseError> {
        match &self.labels {
            ExemplarSource::Text(text) => text.labels(limits),
            ExemplarSource::Protobuf(labels) => labels.labels(limits),
        }
    }
}

#[cfg(test)]
mod tests;
