//! Delimited `io.prometheus.client.MetricFamily` messages as the samples that a text format would have.
//!
//! Leaves the fields of one metric to [`metric`]. A sample's series bytes are the series name, the byte 0xff (which no
//! name has), the label fields as they were sent and the bits of the bucket bound or quantile.

use std::borrow::Cow;

use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::number::format_openmetrics;
use pharos_model::sample::stale_nan;
use pharos_model::{LabelSet, LabelSetBuilder, MetricType};

use super::error::{ParseError, ParseErrorKind, Position, lossy, quote_bytes};
use super::line::is_unit_suffix;
use super::series::{self, Pair, QUANTILE_LABEL};
use super::{Event, Exemplar, ExemplarSource, Histogram, HistogramForms, LabelSource, Sample, set_metadata_labels};
use crate::label_limits::LabelLimits;
use crate::native_histogram::Native;
use crate::wire::{BYTES, Reader, VARINT};

mod metric;

use metric::{ExemplarPlace, Kind, Metric, Point, PointValue};

/// Ends the name in a series key.
const KEY_SEPARATOR: u8 = 0xff;

/// What precedes the samples of a family, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Help,
    Unit,
    Type,
    Samples,
}

/// The family that is being read.
#[derive(Debug)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: Kind,
    /// The rest of the family's message; metrics are found in it.
    rest: Reader<'a>,
    stage: Stage,
}

#[derive(Debug)]
pub(super) struct Parser<'a> {
    body: &'a [u8],
    /// The families that are still to be read.
    families: Reader<'a>,
    family: Option<Family<'a>>,
    metric: Metric<'a>,
    /// The next of the metric's points.
    next_point: usize,
    key: Vec<u8>,
    native_only: usize,
    /// The histogram of the point that the parser stands on, if it is a native one.
    native: Option<Native>,
    /// Whether series get their metadata as labels.
    labels_metadata: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(body: &'a [u8], forms: HistogramForms) -> Self {
        Self {
            body,
            families: Reader::new(body),
            family: None,
            metric: Metric::new(forms),
            next_point: 0,
            key: Vec::new(),
            native_only: 0,
            native: None,
            labels_metadata: false,
        }
    }

    pub(super) fn label_metadata(&mut self) {
        self.labels_metadata = true;
    }

    pub(super) fn native_only_histograms(&self) -> usize {
        self.native_only
    }

    pub(super) fn next(&mut self) -> Result<Option<Event<'_>>, ParseError> {
        match self.advance() {
            Ok(Some(Stage::Samples)) => Ok(Some(self.sample_event())),
            Ok(Some(stage)) => Ok(self.family.as_ref().map(|family| family.metadata(stage))),
            Ok(None) => Ok(None),
            Err(kind) => {
                let at = Position::Byte(self.families.position());
                self.families = Reader::within(self.body, self.body.len(), self.body.len());
                self.family = None;
                Err(ParseError { kind, at })
            }
        }
    }

    /// Moves to the next thing to tell; for a sample `metric` and `next_point` then stand on it.
    fn advance(&mut self) -> Result<Option<Stage>, ParseErrorKind> {
        loop {
            let Some(family) = &mut self.family else {
                if self.families.is_at_end() {
                    return Ok(None);
                }
                let message = self.families.message(0)?;
                self.family = Family::read(message)?;
                continue;
            };
            if let Some(stage) = family.next_metadata() {
                return Ok(Some(stage));
            }
            if self.next_point < self.metric.points().len() {
                self.next_point += 1;
                let is_native = self.metric.points()[self.next_point - 1].kind == Point::Native;
                self.native = if is_native { Some(self.metric.take_native()?) } else { None };
                return Ok(Some(Stage::Samples));
            }
            self.next_point = 0;
            if self.metric.read_next(&mut family.rest, family.kind)? {
                self.native_only += usize::from(self.metric.is_native_only());
            } else {
                self.family = None;
            }
        }
    }

    fn sample_event(&mut self) -> Event<'_> {
        match self.native.take() {
            None => Event::Sample(self.sample()),
            Some(Native::StalenessMarker) => Event::Sample(Sample { value: stale_nan(), ..self.sample() }),
            Some(Native::Histogram(histogram)) => {
                self.set_key();
                let this = &*self;
                let exemplars = this.metric.native_exemplars().map(|exemplar| exemplar.open(this)).collect();
                Event::Histogram(Box::new(Histogram { sample: this.at_key(), histogram, exemplars }))
            }
        }
    }

    /// The sample that [`Self::advance`] stopped at.
    fn sample(&mut self) -> Sample<'_> {
        self.set_key();
        self.at_key()
    }

    fn set_key(&mut self) {
        let mut key = std::mem::take(&mut self.key);
        let (family, point) = self.current();
        key.clear();
        key.extend_from_slice(family.name.as_bytes());
        key.extend_from_slice(point.kind.suffix().as_bytes());
        key.push(KEY_SEPARATOR);
        key.extend_from_slice(&self.metric.labels);
        if let Some(bound) = point.kind.bound() {
            key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        self.key = key;
    }

    /// The sample, when its key is made.
    fn at_key(&self) -> Sample<'_> {
        let (_, point) = self.current();
        Sample {
            series: &self.key,
            ts: self.metric.ts,
            value: point.value,
            start: self.metric.start,
            exemplar: point.exemplar.map(|exemplar| Box::new(exemplar.open(self))),
            beside_native: self.metric.has_native(),
            labels: LabelSource::Protobuf(MetricLabels { parser: self }),
        }
    }

    /// What [`Self::advance`] stopped at, if it was a sample.
    fn current(&self) -> (&Family<'a>, &PointValue<'a>) {
        let family = self.family.as_ref().expect("a sample has a family");
        (family, &self.metric.points()[self.next_point - 1])
    }

    /// Where the metric that was read last ends.
    fn position(&self) -> Position {
        let rest = self.family.as_ref().map_or(self.families, |family| family.rest);
        Position::Byte(rest.position())
    }
}

impl<'a> Family<'a> {
    /// Reads everything but the metrics; `None` for a family without any.
    fn read(message: Reader<'a>) -> Result<Option<Self>, ParseErrorKind> {
        let (mut name, mut help, mut unit, mut number, mut has_metrics) = (&b""[..], &b""[..], &b""[..], 0, false);
        let mut fields = message;
        while let Some(tag) = fields.tag()? {
            match tag.field {
                1 | 2 | 4 | 5 => {
                    tag.expect(BYTES)?;
                    let bytes = fields.bytes(tag.field)?;
                    match tag.field {
                        1 => name = bytes,
                        2 => help = bytes,
                        5 => unit = bytes,
                        _ => has_metrics = true,
                    }
                }
                3 => {
                    tag.expect(VARINT)?;
                    number = fields.varint()?;
                }
                _ => fields.skip(tag)?,
            }
        }
        if !has_metrics {
            return Ok(None);
        }
        let name = match std::str::from_utf8(name) {
            Ok(text) if !text.is_empty() => text,
            _ => return Err(ParseErrorKind::MetricName(lossy(name))),
        };
        let help = std::str::from_utf8(help)
            .map_err(|_| ParseErrorKind::Help { metric: quote_bytes(name.as_bytes()), help: lossy(help) })?;
        let kind = Kind::from_number(number)
            .ok_or_else(|| ParseErrorKind::MetricTypeNumber { metric: quote_bytes(name.as_bytes()), number })?;
        let unit = check_unit(name, unit, kind)?;
        Ok(Some(Self { name, help, unit, kind, rest: message, stage: Stage::Help }))
    }

    /// The next of help, unit and type, while there is one.
    fn next_metadata(&mut self) -> Option<Stage> {
        let stage = self.stage;
        self.stage = match stage {
            Stage::Help if !self.unit.is_empty() => Stage::Unit,
            Stage::Help | Stage::Unit => Stage::Type,
            Stage::Type | Stage::Samples => Stage::Samples,
        };
        (stage != Stage::Samples).then_some(stage)
    }

    fn metadata(&self, stage: Stage) -> Event<'a> {
        let family = Cow::Borrowed(self.name);
        match stage {
            Stage::Help => Event::Help { family, text: Cow::Borrowed(self.help) },
            Stage::Unit => Event::Unit { family, unit: Cow::Borrowed(self.unit) },
            Stage::Type | Stage::Samples => Event::Type { family, metric_type: self.kind.metric_type() },
        }
    }
}

/// A counter's unit may stand before `_total`.
fn check_unit<'a>(name: &str, unit: &'a [u8], kind: Kind) -> Result<&'a str, ParseErrorKind> {
    let quoted = || (quote_bytes(unit), quote_bytes(name.as_bytes()));
    let stem = name.strip_suffix("_total").filter(|_| kind == Kind::Counter);
    if !unit.is_empty() && !is_unit_suffix(stem.unwrap_or(name).as_bytes(), unit) {
        let (unit, metric) = quoted();
        return Err(match stem {
            Some(_) => ParseErrorKind::CounterUnit { unit, metric },
            None => ParseErrorKind::Unit { unit, metric },
        });
    }
    std::str::from_utf8(unit).map_err(|_| {
        let (unit, metric) = quoted();
        ParseErrorKind::Unit { unit, metric }
    })
}

/// The labels of the sample that the parser stands on. It does not move on while it is borrowed here.
#[derive(Debug)]
pub(super) struct MetricLabels<'p> {
    parser: &'p Parser<'p>,
}

impl MetricLabels<'_> {
    pub(super) fn labels(&self, limits: &LabelLimits) -> Result<LabelSetBuilder, ParseError> {
        self.build(limits).map_err(|kind| ParseError { kind, at: self.parser.position() })
    }

    fn build(&self, limits: &LabelLimits) -> Result<LabelSetBuilder, ParseErrorKind> {
        let (family, point) = self.parser.current();
        let name = format!("{}{}", family.name, point.kind.suffix());
        let mut pairs = pairs(&self.parser.metric.labels, limits, &name)?;
        match point.kind {
            Point::Bucket(bound) => pairs.push((Cow::Borrowed(BUCKET_LABEL), Cow::Owned(format_openmetrics(bound)))),
            Point::Quantile(quantile) => {
                pairs.push((Cow::Borrowed(QUANTILE_LABEL), Cow::Owned(format_openmetrics(quantile))));
            }
            Point::Plain | Point::Count | Point::Sum | Point::Native => {}
        }
        pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Owned(name.clone())));
        let mut labels = series::build(pairs, limits, name.as_bytes())?;
        if self.parser.labels_metadata {
            set_metadata_labels(&mut labels, family.kind.metric_type(), family.unit);
        }
        Ok(labels)
    }
}

/// The label fields of an exemplar.
#[derive(Debug)]
pub(super) struct ExemplarLabels<'p> {
    parser: &'p Parser<'p>,
    message: &'p [u8],
}

impl ExemplarLabels<'_> {
    pub(super) fn labels(&self, limits: &LabelLimits) -> Result<LabelSet, ParseError> {
        pairs(self.message, limits, "")
            .and_then(|mut pairs| series::build_without_name(&mut pairs, limits))
            .map(|builder| builder.build())
            .map_err(|kind| ParseError { kind, at: self.parser.position() })
    }
}

impl<'p> ExemplarPlace<'p> {
    fn open(self, parser: &'p Parser<'p>) -> Exemplar<'p> {
        let labels = ExemplarSource::Protobuf(ExemplarLabels { parser, message: self.message });
        Exemplar { value: self.value, ts: self.ts, labels }
    }
}

/// The `LabelPair`s of a metric or an exemplar, field 1 in both. Those beyond the limit are counted and not kept.
fn pairs<'m>(message: &'m [u8], limits: &LabelLimits, metric: &str) -> Result<Vec<Pair<'m>>, ParseErrorKind> {
    let (mut pairs, mut count) = (Vec::new(), 0);
    let mut fields = Reader::new(message);
    while let Some(tag) = fields.tag()? {
        if tag.field == 1 {
            tag.expect(BYTES)?;
            let pair = pair(fields.message(1)?)?;
            count += 1;
            if limits.allows_labels(count) {
                pairs.push(pair);
            }
        } else {
            fields.skip(tag)?;
        }
    }
    limits.check_count(count, || metric)?;
    Ok(pairs)
}

fn pair(mut fields: Reader<'_>) -> Result<Pair<'_>, ParseErrorKind> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    while let Some(tag) = fields.tag()? {
        match tag.field {
            1 | 2 => {
                tag.expect(BYTES)?;
                let bytes = fields.bytes(tag.field)?;
                *(if tag.field == 1 { &mut name } else { &mut value }) = bytes;
            }
            _ => fields.skip(tag)?,
        }
    }
    let name = match std::str::from_utf8(name) {
        Ok(text) if !text.is_empty() => text,
        _ => return Err(ParseErrorKind::LabelName(lossy(name))),
    };
    let value = std::str::from_utf8(value).map_err(|_| ParseErrorKind::LabelValue(lossy(value)))?;
    Ok((Cow::Borrowed(name), Cow::Borrowed(value)))
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Summary => MetricType::Summary,
            Self::Untyped => MetricType::Unknown,
            Self::Histogram => MetricType::Histogram,
            Self::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }
}
