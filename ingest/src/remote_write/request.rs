//! Walks a `prometheus.WriteRequest` in place. Samples may have the start timestamps of version 2.0.
//!
//! Reads samples and finds out where labels stand; leaves labels to [`super::labels`]. What it hands out borrows from the
//! body and from buffers that the next call reuses.

use pharos_model::{MetricType, Sample, TimestampMs};

use super::histogram::RequestHistogram;
use crate::wire::{BYTES, FIXED64, Reader, Tag, VARINT, WireError};

/// A cursor over a decompressed request.
#[derive(Debug)]
pub struct Walker<'a> {
    fields: Reader<'a>,
    samples: Vec<Sample>,
    /// Empty when no sample of the series has one.
    starts: Vec<TimestampMs>,
    /// The labels of a series whose label fields do not stand together.
    joined_labels: Vec<u8>,
}

/// One entry of a request.
#[derive(Clone, Copy, Debug)]
pub enum Item<'w> {
    Series(Series<'w>),
    Metadata(RequestMetadata<'w>),
}

/// A `prometheus.TimeSeries`.
#[derive(Clone, Copy, Debug)]
pub struct Series<'w> {
    /// Where its field starts in the body; [`Walker::series_at`] finds it again there.
    pub at: usize,
    /// The label fields as they were sent, tags included. Not checked: see [`super::labels`].
    pub labels: &'w [u8],
    /// In time order, whatever order they were sent in.
    pub samples: &'w [Sample],
    /// When the counter of each sample began, 0 where it is not said; empty where none is.
    pub starts: &'w [TimestampMs],
    /// Number of exemplars; [`Series::exemplars`] reads them.
    pub exemplars: usize,
    /// Number of histograms; [`Series::histograms`] reads them.
    pub histograms: usize,
    message: Reader<'w>,
}

/// A `prometheus.Exemplar`.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'w> {
    /// As [`Series::labels`].
    pub labels: &'w [u8],
    pub value: f64,
    pub ts: TimestampMs,
}

/// A `prometheus.MetricMetadata`. Strings are not checked to be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct RequestMetadata<'w> {
    pub metric_type: MetricType,
    pub family: &'w [u8],
    pub help: &'w [u8],
    pub unit: &'w [u8],
}

/// Fields of a request.
const TIMESERIES: u32 = 1;
const METADATA: u32 = 3;
/// A label of a series.
const LABELS: u32 = 1;

type Result<T> = std::result::Result<T, WireError>;

impl<'a> Walker<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { fields: Reader::new(body), samples: Vec::new(), starts: Vec::new(), joined_labels: Vec::new() }
    }

    /// Goes to a series that was found before, by its [`Series::at`].
    pub fn series_at(body: &'a [u8], at: usize) -> Self {
        Self { fields: Reader::within(body, at, body.len()), ..Self::new(body) }
    }

    /// The next series or metadata, `None` at the end of the request.
    #[expect(
        clippy::should_implement_trait,
        reason = "an item borrows the walker's buffers, which Iterator cannot say"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        while let Some(tag) = self.fields.tag()? {
            match tag.field {
                TIMESERIES => {
                    tag.expect(BYTES)?;
                    let message = self.fields.message(TIMESERIES)?;
                    return self.series(tag.at, message).map(|series| Some(Item::Series(series)));
                }
                METADATA => {
                    tag.expect(BYTES)?;
                    let message = self.fields.message(METADATA)?;
                    return metadata(message).map(|metadata| Some(Item::Metadata(metadata)));
                }
                _ => self.fields.skip(tag)?,
            }
        }
        Ok(None)
    }

    #[inline]
    fn series(&mut self, at: usize, message: Reader<'a>) -> Result<Series<'_>> {
        self.samples.clear();
        self.starts.clear();
        self.joined_labels.clear();
        let mut fields = message;
        // Nearly every series is its labels, then one sample.
        fields.skip_run(LABELS)?;
        let mut labels = message.position()..fields.position();
        let (mut exemplars, mut histograms) = (0, 0);
        while let Some(tag) = fields.tag()? {
            match tag.field {
                LABELS => {
                    tag.expect(BYTES)?;
                    fields.message(LABELS)?;
                    if tag.at != labels.end {
                        self.joined_labels.extend_from_slice(fields.slice(labels.start, labels.end));
                        labels.start = tag.at;
                    }
                    labels.end = fields.position();
                }
                2 => {
                    tag.expect(BYTES)?;
                    let (sample, start) = sample(fields.message(2)?)?;
                    if start != 0 {
                        self.starts.resize(self.samples.len(), 0);
                        self.starts.push(start);
                    }
                    self.samples.push(sample);
                }
                3 | 4 => {
                    tag.expect(BYTES)?;
                    fields.message(tag.field)?;
                    *(if tag.field == 3 { &mut exemplars } else { &mut histograms }) += 1;
                }
                _ => fields.skip(tag)?,
            }
        }
        if !self.starts.is_empty() {
            self.starts.resize(self.samples.len(), 0);
        }
        if !self.samples.is_sorted_by_key(|sample| sample.ts) {
            self.sort_samples();
        }
        let mut labels = fields.slice(labels.start, labels.end);
        if !self.joined_labels.is_empty() {
            self.joined_labels.extend_from_slice(labels);
            labels = &self.joined_labels;
        }
        Ok(Series { at, labels, samples: &self.samples, starts: &self.starts, exemplars, histograms, message })
    }

    #[cold]
    fn sort_samples(&mut self) {
        if self.starts.is_empty() {
            return self.samples.sort_by_key(|sample| sample.ts);
        }
        let mut started: Vec<_> = self.samples.drain(..).zip(self.starts.drain(..)).collect();
        started.sort_by_key(|(sample, _)| sample.ts);
        (self.samples, self.starts) = started.into_iter().unzip();
    }
}

impl<'w> Series<'w> {
    /// Floats and histograms.
    pub fn sample_count(&self) -> usize {
        self.samples.len() + self.histograms
    }

    /// Reads the histograms, in time order.
    pub fn histograms(&self) -> Result<Vec<RequestHistogram>> {
        let (mut histograms, mut fields) = (Vec::with_capacity(self.histograms), self.message);
        while let Some(tag) = fields.tag()? {
            if tag.field == 4 {
                histograms.push(RequestHistogram::read(fields.message(4)?)?);
            } else {
                fields.skip(tag)?;
            }
        }
        histograms.sort_by_key(|histogram| histogram.ts);
        Ok(histograms)
    }

    /// Reads the exemplars.
    pub fn exemplars(&self) -> Result<Vec<Exemplar<'w>>> {
        let (mut exemplars, mut fields) = (Vec::with_capacity(self.exemplars), self.message);
        while let Some(tag) = fields.tag()? {
            if tag.field == 3 {
                exemplars.push(exemplar(fields.message(3)?)?);
            } else {
                fields.skip(tag)?;
            }
        }
        Ok(exemplars)
    }
}

/// A sample, and when its counter began.
#[inline]
fn sample(mut fields: Reader<'_>) -> Result<(Sample, TimestampMs)> {
    let (mut sample, mut start) = (Sample { ts: 0, value: 0.0 }, 0);
    while let Some(tag) = fields.tag()? {
        match tag.field {
            1 => sample.value = double(&mut fields, tag)?,
            2 => sample.ts = timestamp(&mut fields, tag)?,
            3 => start = timestamp(&mut fields, tag)?,
            _ => fields.skip(tag)?,
        }
    }
    Ok((sample, start))
}

/// The labels are the part of the message that holds them: nearly always all but the scalars behind.
fn exemplar(message: Reader<'_>) -> Result<Exemplar<'_>> {
    let mut fields = message;
    let mut exemplar = Exemplar { labels: message.slice(message.position(), message.end()), value: 0.0, ts: 0 };
    while let Some(tag) = fields.tag()? {
        match tag.field {
            2 => exemplar.value = double(&mut fields, tag)?,
            3 => exemplar.ts = timestamp(&mut fields, tag)?,
            _ => fields.skip(tag)?,
        }
    }
    Ok(exemplar)
}

fn metadata(mut fields: Reader<'_>) -> Result<RequestMetadata<'_>> {
    let mut metadata = RequestMetadata { metric_type: MetricType::Unknown, family: b"", help: b"", unit: b"" };
    while let Some(tag) = fields.tag()? {
        match tag.field {
            1 => {
                tag.expect(VARINT)?;
                metadata.metric_type = metric_type(fields.varint()?);
            }
            2 | 4 | 5 => {
                tag.expect(BYTES)?;
                let bytes = fields.bytes(tag.field)?;
                *match tag.field {
                    2 => &mut metadata.family,
                    4 => &mut metadata.help,
                    _ => &mut metadata.unit,
                } = bytes;
            }
            _ => fields.skip(tag)?,
        }
    }
    Ok(metadata)
}

#[inline]
fn double(fields: &mut Reader<'_>, tag: Tag) -> Result<f64> {
    tag.expect(FIXED64)?;
    fields.fixed64().map(f64::from_bits)
}

#[inline]
fn timestamp(fields: &mut Reader<'_>, tag: Tag) -> Result<TimestampMs> {
    tag.expect(VARINT)?;
    fields.varint().map(|bits| bits as TimestampMs)
}

/// `prometheus.MetricMetadata.MetricType`, the same in version 2.0; numbers to come are unknown.
pub(super) fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
