//! What targets expose, read in place: Prometheus text 0.0.4 and 1.0.0, OpenMetrics 1.0, delimited protobuf.
//!
//! [`Parser`] yields one [`Event`] after the other and copies nothing. A sample's labels are parsed only when asked for
//! ([`Sample::labels`]): a steady target is served by the hash of [`Sample::series`] alone, see [`cache::LineCache`].
//! Because of that a malformed label is reported by `labels`, not by `next`; nobody may append a sample of a series
//! text whose labels were never parsed.
//!
//! Series names, labels and error texts are those of Prometheus 3. Leaves to the scrape loop: target labels,
//! relabelling, limits on samples, time of scrape. What becomes of histograms, [`HistogramForms`] says.

pub mod cache;
pub mod negotiation;

mod created;
mod error;
mod fast;
mod gather;
mod lexer;
mod line;
mod protobuf;
mod series;
mod text;
mod value;

use std::borrow::Cow;

use pharos_model::labels::{TYPE_LABEL, UNIT_LABEL};
use pharos_model::{FloatHistogram, LabelSet, LabelSetBuilder, MetricType, TimestampMs};

pub use error::{ParseError, ParseErrorKind, Position};
pub use lexer::Token;
pub use negotiation::{Format, ScrapeProtocol};
pub use value::FloatError;

use crate::label_limits::LabelLimits;
use gather::Gatherer;

/// Reads one scraped body.
#[derive(Debug)]
pub struct Parser<'a> {
    inner: Inner<'a>,
    /// Boxed because it is rare.
    gatherer: Option<Box<Gatherer>>,
}

/// In which forms histograms are told. By default as classic ones alone, whatever the target exposes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramForms {
    /// Native histograms, where the target exposes them, in place of classic ones.
    pub native: bool,
    /// Classic histograms as native ones with custom buckets, where the target exposes no native one.
    pub classic_as_native: bool,
    /// Classic histograms even where a native one is told in their place.
    pub always_classic: bool,
}

#[derive(Debug)]
enum Inner<'a> {
    Text(Box<text::Parser<'a>>),
    Protobuf(Box<protobuf::Parser<'a>>),
}

/// One entry of an exposition. Names of metric families are as exposed, without quotes and escapes.
#[derive(Debug)]
pub enum Event<'p> {
    Sample(Sample<'p>),
    Histogram(Box<Histogram<'p>>),
    /// A series of a classic histogram that is told as a native one.
    HistogramPart,
    Type {
        family: Cow<'p, str>,
        metric_type: MetricType,
    },
    Help {
        family: Cow<'p, str>,
        text: Cow<'p, str>,
    },
    Unit {
        family: Cow<'p, str>,
        unit: Cow<'p, str>,
    },
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
    /// When the counter began, where that is said: in protobuf by the sample itself, in OpenMetrics by a line behind it, if the
    /// parser is [`Parser::reading_starts`].
    pub start: Option<TimestampMs>,
    /// Boxed because it is rare: samples are moved by the million.
    pub exemplar: Option<Box<Exemplar<'p>>>,
    /// It is part of a classic histogram that is told as a native one too.
    beside_native: bool,
    labels: LabelSource<'p>,
}

/// A native histogram of one series. The value and the exemplar of the sample mean nothing.
#[derive(Debug)]
pub struct Histogram<'p> {
    pub sample: Sample<'p>,
    /// Valid.
    pub histogram: FloatHistogram,
    pub exemplars: Vec<Exemplar<'p>>,
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
    Gathered(&'p LabelSet),
}

#[derive(Debug)]
enum ExemplarSource<'p> {
    Text(text::ExemplarText<'p>),
    Protobuf(protobuf::ExemplarLabels<'p>),
    Gathered(&'p LabelSet),
}

impl<'a> Parser<'a> {
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Self::with_histograms(body, format, HistogramForms::default())
    }

    pub fn with_histograms(body: &'a [u8], format: Format, forms: HistogramForms) -> Self {
        let inner = match format {
            Format::Text => Inner::Text(Box::new(text::Parser::new(body, lexer::Dialect::Text))),
            Format::OpenMetrics => Inner::Text(Box::new(text::Parser::new(body, lexer::Dialect::OpenMetrics))),
            Format::Protobuf => Inner::Protobuf(Box::new(protobuf::Parser::new(body, forms))),
        };
        Self { inner, gatherer: forms.classic_as_native.then(|| Box::new(Gatherer::new(forms.always_classic))) }
    }

    /// Takes the `_created` lines of OpenMetrics for what they are about: when the counters of other series began. They are
    /// no samples of their own then. To find them costs a second look at every series of a counter, histogram or summary.
    pub fn reading_starts(mut self) -> Self {
        if let Inner::Text(parser) = &mut self.inner {
            parser.read_starts();
        }
        self
    }

    /// Gives each series the type and the unit that are declared when it comes as labels, in place of labels of the same names.
    /// [`Sample::series`] stays as it is, so the same text may then be one series or another.
    pub fn with_metadata_labels(mut self) -> Self {
        match &mut self.inner {
            Inner::Text(parser) => parser.label_metadata(),
            Inner::Protobuf(parser) => parser.label_metadata(),
        }
        self
    }

    /// The next entry, `None` at the end of a complete body. After an error the parser is at its end.
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry borrows the parser's buffers, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, ParseError> {
        if self.gatherer.as_mut().is_some_and(|gatherer| gatherer.has_histogram()) {
            return Ok(self.gatherer.as_mut().map(|gatherer| gatherer.histogram()));
        }
        let event = match &mut self.inner {
            Inner::Text(parser) => parser.next(),
            Inner::Protobuf(parser) => parser.next(),
        };
        match &mut self.gatherer {
            None => event,
            Some(gatherer) => gatherer.look_at(event?),
        }
    }

    /// Histograms so far that had native buckets and no classic ones: of them only `_count`, `_sum` and the `+Inf`
    /// bucket are exposed.
    pub fn native_only_histograms(&self) -> usize {
        match &self.inner {
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
            LabelSource::Gathered(labels) => Ok(labels.to_builder()),
        }
    }
}

impl Exemplar<'_> {
    /// Parses and checks the exemplar's own labels.
    pub fn labels(&self, limits: &LabelLimits) -> Result<LabelSet, ParseError> {
        match &self.labels {
            ExemplarSource::Text(text) => text.labels(limits),
            ExemplarSource::Protobuf(labels) => labels.labels(limits),
            ExemplarSource::Gathered(labels) => Ok((*labels).clone()),
        }
    }
}

/// Sets what is known of a series' metadata as labels.
fn set_metadata_labels(labels: &mut LabelSetBuilder, metric_type: MetricType, unit: &str) {
    if metric_type != MetricType::Unknown {
        labels.set(TYPE_LABEL, metric_type.as_str());
    }
    if !unit.is_empty() {
        labels.set(UNIT_LABEL, unit);
    }
}

#[cfg(test)]
mod tests;
