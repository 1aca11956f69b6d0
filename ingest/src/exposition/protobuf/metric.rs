//! One `io.prometheus.client.Metric` as the points it stands for: a counter is one, a classic histogram has a count, a sum
//! and its buckets, a native one is one.
//!
//! Repeated occurrences of a submessage are merged, as protobuf demands. Native buckets are walked over unless
//! they are wanted.

use pharos_model::sample::NORMAL_NAN_BITS;
use pharos_model::{CounterResetHint, TimestampMs};

use crate::exposition::HistogramForms;
use crate::exposition::error::ParseErrorKind;
use crate::native_histogram::{Native, NativeParts, signed};
use crate::wire::{BYTES, FIXED64, Reader, Tag, VARINT};

/// `io.prometheus.client.MetricType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    pub(super) fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Summary,
            3 => Self::Untyped,
            4 => Self::Histogram,
            5 => Self::GaugeHistogram,
            _ => return None,
        })
    }
}

/// Which sample of its metric a point is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    Plain,
    Count,
    Sum,
    Bucket(f64),
    Quantile(f64),
    /// The whole native histogram.
    Native,
}

impl Point {
    /// What the sample's name has behind the family's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Plain | Self::Quantile(_) | Self::Native => "",
            Self::Count => "_count",
            Self::Sum => "_sum",
            Self::Bucket(_) => "_bucket",
        }
    }

    pub(super) fn bound(self) -> Option<f64> {
        match self {
            Self::Bucket(bound) | Self::Quantile(bound) => Some(bound),
            Self::Plain | Self::Count | Self::Sum | Self::Native => None,
        }
    }
}

/// An exemplar's scalars, and its message for the labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExemplarPlace<'a> {
    pub value: f64,
    pub ts: Option<TimestampMs>,
    pub message: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PointValue<'a> {
    pub kind: Point,
    pub value: f64,
    pub exemplar: Option<ExemplarPlace<'a>>,
}

/// The metric that was read last. Its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    /// The `LabelPair` fields, tags included, one after the other.
    pub labels: Vec<u8>,
    pub ts: Option<TimestampMs>,
    pub start: Option<TimestampMs>,
    points: Vec<PointValue<'a>>,
    plain: f64,
    exemplar: Option<ExemplarPlace<'a>>,
    count: u64,
    /// Counts of float histograms; 0 where the histogram has integer counts.
    count_float: f64,
    sum: f64,
    has_native_buckets: bool,
    is_native_only: bool,
    forms: HistogramForms,
    /// Beside `count` and `sum`; read only if native histograms are wanted.
    native: NativeParts,
    native_exemplars: Vec<ExemplarPlace<'a>>,
}

type Result<T> = std::result::Result<T, ParseErrorKind>;

/// Buckets or quantiles of one metric: an empty one takes two bytes of the body and 64 here.
const POINTS_MAX: usize = 100_000;

impl<'a> Metric<'a> {
    pub(super) fn new(forms: HistogramForms) -> Self {
        Self { forms, ..Self::default() }
    }

    pub(super) fn points(&self) -> &[PointValue<'a>] {
        &self.points
    }

    /// Whether it is a histogram with native buckets alone.
    pub(super) fn is_native_only(&self) -> bool {
        self.is_native_only
    }

    /// Whether a native histogram is told too.
    pub(super) fn has_native(&self) -> bool {
        self.forms.native && self.has_native_buckets
    }

    /// The native histogram. It can be taken once.
    pub(super) fn take_native(&mut self) -> Result<Native> {
        let mut parts = std::mem::take(&mut self.native);
        (parts.count.integer, parts.count.float, parts.sum) = (self.count, self.count_float, self.sum);
        let is_float = parts.count.float > 0.0 || parts.zero_count.float > 0.0;
        parts.finish(is_float).map_err(|reason| ParseErrorKind::Histogram(reason.to_string()))
    }

    /// Those with a time: its own, or else those of the classic buckets.
    pub(super) fn native_exemplars(&self) -> impl Iterator<Item = ExemplarPlace<'a>> {
        self.native_exemplars.iter().copied().filter(|exemplar| exemplar.ts.is_some())
    }

    /// Reads the next metric of a family; false at the family's end.
    pub(super) fn read_next(&mut self, family: &mut Reader<'a>, kind: Kind) -> Result<bool> {
        self.clear();
        while let Some(tag) = family.tag()? {
            if tag.field == 4 {
                tag.expect(BYTES)?;
                self.read(family.message(tag.field)?, kind)?;
                return Ok(true);
            }
            family.skip(tag)?;
        }
        Ok(false)
    }

    fn clear(&mut self) {
        let (mut labels, mut points) = (std::mem::take(&mut self.labels), std::mem::take(&mut self.points));
        labels.clear();
        points.clear();
        *self = Self { labels, points, forms: self.forms, ..Self::default() };
    }

    fn read(&mut self, mut fields: Reader<'a>, kind: Kind) -> Result<()> {
        while let Some(tag) = fields.tag()? {
            match tag.field {
                1 => {
                    tag.expect(BYTES)?;
                    fields.bytes(1)?;
                    self.labels.extend_from_slice(fields.slice(tag.at, fields.position()));
                }
                2 | 3 | 4 | 5 | 7 => {
                    tag.expect(BYTES)?;
                    let message = fields.message(tag.field)?;
                    if is_value_of(kind, tag.field) {
                        self.read_value(message, kind)?;
                    }
                }
                6 => {
                    tag.expect(VARINT)?;
                    // Prometheus takes 0 for no timestamp: proto3 cannot tell them apart.
                    self.ts = Some(fields.varint()? as TimestampMs).filter(|ts| *ts != 0);
                }
                _ => fields.skip(tag)?,
            }
        }
        self.finish(kind);
        Ok(())
    }

    fn read_value(&mut self, mut fields: Reader<'a>, kind: Kind) -> Result<()> {
        while let Some(tag) = fields.tag()? {
            match kind {
                Kind::Counter => self.counter_field(&mut fields, tag)?,
                Kind::Gauge | Kind::Untyped if tag.field == 1 => self.plain = double(&mut fields, tag)?,
                Kind::Gauge | Kind::Untyped => fields.skip(tag)?,
                Kind::Summary => self.summary_field(&mut fields, tag)?,
                Kind::Histogram | Kind::GaugeHistogram => self.histogram_field(&mut fields, tag)?,
            }
        }
        Ok(())
    }

    fn counter_field(&mut self, fields: &mut Reader<'a>, tag: Tag) -> Result<()> {
        match tag.field {
            1 => self.plain = double(fields, tag)?,
            2 => self.exemplar = Some(exemplar(fields, tag)?),
            3 => self.start = start(fields, tag)?,
            _ => fields.skip(tag)?,
        }
        Ok(())
    }

    fn summary_field(&mut self, fields: &mut Reader<'a>, tag: Tag) -> Result<()> {
        match tag.field {
            1 => self.count = integer(fields, tag)?,
            2 => self.sum = double(fields, tag)?,
            3 => {
                tag.expect(BYTES)?;
                let (mut quantile, mut value) = (0.0, 0.0);
                let mut fields = fields.message(3)?;
                while let Some(tag) = fields.tag()? {
                    match tag.field {
                        1 => quantile = double(&mut fields, tag)?,
                        2 => value = double(&mut fields, tag)?,
                        _ => fields.skip(tag)?,
                    }
                }
                self.push_repeated(Point::Quantile(quantile), value, None)?;
            }
            4 => self.start = start(fields, tag)?,
            _ => fields.skip(tag)?,
        }
        Ok(())
    }

    fn histogram_field(&mut self, fields: &mut Reader<'a>, tag: Tag) -> Result<()> {
        match tag.field {
            1 => self.count = integer(fields, tag)?,
            2 => self.sum = double(fields, tag)?,
            3 => self.bucket(fields, tag)?,
            4 => self.count_float = double(fields, tag)?,
            15 => self.start = start(fields, tag)?,
            5..=14 | 16 if self.forms.native => self.native_field(fields, tag)?,
            6 => self.has_native_buckets |= double(fields, tag)? > 0.0,
            7 => self.has_native_buckets |= integer(fields, tag)? > 0,
            9 | 12 => {
                self.has_native_buckets = true;
                fields.skip(tag)?;
            }
            _ => fields.skip(tag)?,
        }
        Ok(())
    }

    fn native_field(&mut self, fields: &mut Reader<'a>, tag: Tag) -> Result<()> {
        let native = &mut self.native;
        match tag.field {
            5 => native.schema = signed(fields, tag)? as i32,
            6 => native.zero_threshold = double(fields, tag)?,
            7 => native.zero_count.integer = integer(fields, tag)?,
            8 => native.zero_count.float = double(fields, tag)?,
            9 => native.negative.read_span(fields, tag)?,
            10 => native.negative.read_deltas(fields, tag)?,
            11 => native.negative.read_counts(fields, tag)?,
            12 => native.positive.read_span(fields, tag)?,
            13 => native.positive.read_deltas(fields, tag)?,
            14 => native.positive.read_counts(fields, tag)?,
            _ => self.native_exemplars.push(exemplar(fields, tag)?),
        }
        self.has_native_buckets = self.native.is_any();
        Ok(())
    }

    fn bucket(&mut self, fields: &mut Reader<'a>, tag: Tag) -> Result<()> {
        tag.expect(BYTES)?;
        let mut fields = fields.message(tag.field)?;
        let (mut bound, mut count, mut count_float, mut place) = (0.0, 0, 0.0, None);
        while let Some(tag) = fields.tag()? {
            match tag.field {
                1 => count = integer(&mut fields, tag)?,
                2 => bound = double(&mut fields, tag)?,
                3 => place = Some(exemplar(&mut fields, tag)?),
                4 => count_float = double(&mut fields, tag)?,
                _ => fields.skip(tag)?,
            }
        }
        self.push_repeated(Point::Bucket(bound), either_count(count_float, count), place)
    }

    fn push(&mut self, kind: Point, value: f64, exemplar: Option<ExemplarPlace<'a>>) {
        self.points.push(PointValue { kind, value, exemplar });
    }

    /// Adds a bucket or quantile, of which a body may have any number.
    fn push_repeated(&mut self, kind: Point, value: f64, exemplar: Option<ExemplarPlace<'a>>) -> Result<()> {
        if self.points.len() == POINTS_MAX {
            return Err(ParseErrorKind::Points { limit: POINTS_MAX });
        }
        self.push(kind, value, exemplar);
        Ok(())
    }

    /// Adds the points that are not repeated fields: in front of quantiles and buckets, where Prometheus has them.
    fn finish(&mut self, kind: Kind) {
        let count = either_count(self.count_float, self.count);
        match kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped => self.push(Point::Plain, self.plain, self.exemplar),
            Kind::Summary | Kind::Histogram | Kind::GaugeHistogram => {
                let is_histogram = kind != Kind::Summary;
                self.is_native_only = is_histogram && self.has_native_buckets && self.points.is_empty();
                if is_histogram {
                    self.end_with_infinity(count);
                }
                let head = [(Point::Count, count), (Point::Sum, self.sum)];
                self.points.splice(0..0, head.map(|(kind, value)| PointValue { kind, value, exemplar: None }));
                if is_histogram && self.has_native() {
                    self.put_native(kind);
                }
            }
        }
    }

    /// Puts the native histogram before the classic one, or in its place.
    fn put_native(&mut self, kind: Kind) {
        if kind == Kind::GaugeHistogram {
            self.native.hint = CounterResetHint::Gauge;
        }
        if self.native_exemplars.is_empty() {
            self.native_exemplars = self.points.iter().filter_map(|point| point.exemplar).collect();
        }
        if self.is_native_only || !self.forms.always_classic {
            self.points.clear();
        }
        self.points.insert(0, PointValue { kind: Point::Native, value: 0.0, exemplar: None });
    }

    /// The last bucket is the one without a bound; what follows an explicit one is ignored.
    fn end_with_infinity(&mut self, count: f64) {
        let infinite = |point: &PointValue<'_>| point.kind == Point::Bucket(f64::INFINITY);
        match self.points.iter().position(infinite) {
            Some(at) => self.points.truncate(at + 1),
            None => self.push(Point::Bucket(f64::INFINITY), count, None),
        }
    }
}

/// Whether `field` of a metric carries the value of its kind; other ones are ignored.
fn is_value_of(kind: Kind, field: u32) -> bool {
    field
        == match kind {
            Kind::Gauge => 2,
            Kind::Counter => 3,
            Kind::Summary => 4,
            Kind::Untyped => 5,
            Kind::Histogram | Kind::GaugeHistogram => 7,
        }
}

/// Float histograms leave the integer at 0 and the other way round.
fn either_count(float: f64, integer: u64) -> f64 {
    if float == 0.0 { integer as f64 } else { float }
}

fn double(fields: &mut Reader<'_>, tag: Tag) -> Result<f64> {
    tag.expect(FIXED64)?;
    let value = f64::from_bits(fields.fixed64()?);
    Ok(if value.is_nan() && !pharos_model::sample::is_stale(value) { f64::from_bits(NORMAL_NAN_BITS) } else { value })
}

fn integer(fields: &mut Reader<'_>, tag: Tag) -> Result<u64> {
    tag.expect(VARINT)?;
    Ok(fields.varint()?)
}

/// When a counter began. Prometheus takes 0 for not known.
fn start(fields: &mut Reader<'_>, tag: Tag) -> Result<Option<TimestampMs>> {
    Ok(Some(timestamp(fields, tag)?).filter(|start| *start != 0))
}

/// `google.protobuf.Timestamp` in milliseconds.
fn timestamp(fields: &mut Reader<'_>, tag: Tag) -> Result<TimestampMs> {
    tag.expect(BYTES)?;
    let mut fields = fields.message(tag.field)?;
    let (mut seconds, mut nanos) = (0i64, 0i32);
    while let Some(tag) = fields.tag()? {
        match tag.field {
            1 => seconds = integer(&mut fields, tag)? as i64,
            2 => nanos = integer(&mut fields, tag)? as i32,
            _ => fields.skip(tag)?,
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000)))
}

fn exemplar<'a>(fields: &mut Reader<'a>, tag: Tag) -> Result<ExemplarPlace<'a>> {
    tag.expect(BYTES)?;
    let mut fields = fields.message(tag.field)?;
    let message = fields.slice(fields.position(), fields.end());
    let mut place = ExemplarPlace { value: 0.0, ts: None, message };
    while let Some(tag) = fields.tag()? {
        match tag.field {
            2 => place.value = double(&mut fields, tag)?,
            3 => place.ts = Some(timestamp(&mut fields, tag)?),
            _ => fields.skip(tag)?,
        }
    }
    Ok(place)
}
