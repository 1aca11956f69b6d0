//! Brings the series of classic histograms together and tells them as native ones with custom buckets.
//!
//! The series of one histogram come one after the other. The first that is of another one ends it, and then it is told.
//! Series that make no histogram, because their counts contradict each other, are lost, as in Prometheus.

use pharos_model::histogram::classic::{ClassicHistogram, ClassicPart};
use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::number::parse_float_checked;
use pharos_model::{FloatHistogram, LabelSet, MetricType, TimestampMs};

use super::error::ParseError;
use super::{Event, Exemplar, ExemplarSource, Histogram, LabelSource, Sample};
use crate::label_limits::LabelLimits;

/// Begins the key of a gathered series: no text of a series does.
const KEY_PREFIX: u8 = 0xfe;

#[derive(Debug)]
pub(super) struct Gatherer {
    /// Whether the series are told as well.
    keep_parts: bool,
    /// The family that was declared last, if it is one of histograms.
    family: Option<String>,
    open: Option<Open>,
    /// What the last series has ended.
    done: Option<Done>,
    /// What was told last: its event borrows from here.
    told: Option<Told>,
}

/// A histogram whose series are still coming.
#[derive(Debug)]
struct Open {
    told: Told,
    histogram: ClassicHistogram,
}

#[derive(Debug)]
struct Done {
    told: Told,
    histogram: FloatHistogram,
}

#[derive(Debug)]
struct Told {
    key: Vec<u8>,
    labels: LabelSet,
    ts: Option<TimestampMs>,
    start: Option<TimestampMs>,
    exemplars: Vec<OwnExemplar>,
}

#[derive(Debug)]
struct OwnExemplar {
    labels: LabelSet,
    value: f64,
    ts: Option<TimestampMs>,
}

/// What a series says of its histogram.
struct Part {
    kind: ClassicPart,
    /// Of the histogram.
    labels: LabelSet,
    /// The bound of a bucket.
    le: f64,
}

impl Gatherer {
    pub(super) fn new(keep_parts: bool) -> Self {
        Self { keep_parts, family: None, open: None, done: None, told: None }
    }

    /// Whether [`Self::histogram`] has one to tell.
    pub(super) fn has_histogram(&self) -> bool {
        self.done.is_some()
    }

    /// # Panics Without one.
    pub(super) fn histogram(&mut self) -> Event<'_> {
        let Done { told, histogram } = self.done.take().expect("a histogram is there to be told");
        let told = &*self.told.insert(told);
        let exemplars = told.exemplars.iter().map(|exemplar| Exemplar {
            value: exemplar.value,
            ts: exemplar.ts,
            labels: ExemplarSource::Gathered(&exemplar.labels),
        });
        let sample = Sample {
            series: &told.key,
            ts: told.ts,
            value: 0.0,
            start: told.start,
            exemplar: None,
            beside_native: false,
            labels: LabelSource::Gathered(&told.labels),
        };
        Event::Histogram(Box::new(Histogram { sample, histogram, exemplars: exemplars.collect() }))
    }

    /// Takes what belongs to a histogram, and returns what is to be told now.
    pub(super) fn look_at<'p>(&'p mut self, event: Option<Event<'p>>) -> Result<Option<Event<'p>>, ParseError> {
        match event {
            Some(Event::Sample(sample)) => Ok(Some(if !self.take(&sample)? || self.keep_parts {
                Event::Sample(sample)
            } else {
                Event::HistogramPart
            })),
            Some(Event::Type { family, metric_type }) => {
                self.close();
                self.family = (metric_type == MetricType::Histogram).then(|| family.clone().into_owned());
                Ok(Some(Event::Type { family, metric_type }))
            }
            None => {
                self.close();
                Ok(if self.has_histogram() { Some(self.histogram()) } else { None })
            }
            other => Ok(other),
        }
    }

    /// Whether the sample is a series of a classic histogram; then it is taken.
    fn take(&mut self, sample: &Sample<'_>) -> Result<bool, ParseError> {
        let Some(family) = self.family.as_deref().filter(|_| !sample.beside_native) else { return Ok(false) };
        let Some(part) = part_of(sample, family)? else { return Ok(false) };
        if self.open.as_ref().is_none_or(|open| open.told.labels != part.labels) {
            self.close();
            let key = [&[KEY_PREFIX], part.labels.as_bytes()].concat();
            let told = Told { key, labels: part.labels, ts: sample.ts, start: sample.start, exemplars: Vec::new() };
            self.open = Some(Open { told, histogram: ClassicHistogram::default() });
        }
        let open = self.open.as_mut().expect("it was opened");
        // The first error stays with the histogram and shows when it ends.
        let _ = match part.kind {
            ClassicPart::Bucket => open.histogram.set_bucket(part.le, sample.value),
            ClassicPart::Sum => open.histogram.set_sum(sample.value),
            ClassicPart::Count => open.histogram.set_count(sample.value),
        };
        if let Some(exemplar) = &sample.exemplar {
            let labels = exemplar.labels(&LabelLimits::CEILING)?;
            open.told.exemplars.push(OwnExemplar { labels, value: exemplar.value, ts: exemplar.ts });
        }
        Ok(true)
    }

    /// Ends the histogram that is open.
    fn close(&mut self) {
        if let Some(Open { told, histogram }) = self.open.take()
            && let Ok(histogram) = histogram.to_native()
        {
            self.done = Some(Done { told, histogram });
        }
    }
}

fn part_of(sample: &Sample<'_>, family: &str) -> Result<Option<Part>, ParseError> {
    let mut labels = sample.labels(&LabelLimits::CEILING)?;
    let found = labels.get(METRIC_NAME).and_then(ClassicPart::of_name);
    let Some((kind, _)) = found.filter(|(_, base)| *base == family) else { return Ok(None) };
    let le = match kind {
        ClassicPart::Bucket => labels.get(BUCKET_LABEL).and_then(|le| parse_float_checked(le).ok()),
        ClassicPart::Sum | ClassicPart::Count => Some(0.0),
    };
    let Some(le) = le.filter(|le| !le.is_nan()) else { return Ok(None) };
    labels.set(METRIC_NAME, family);
    if kind == ClassicPart::Bucket {
        labels.remove(BUCKET_LABEL);
    }
    Ok(Some(Part { kind, labels: labels.build(), le }))
}
