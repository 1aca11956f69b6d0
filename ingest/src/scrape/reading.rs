//! Reads a body against the series that the target is known to expose.
//! Pure work on bytes: no clock, no store. A line whose series is known costs a hash and a number; only the others have
//! their labels parsed, joined with the target's and relabelled.

use std::collections::HashSet;

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::labels::METRIC_NAME;
use pharos_model::{Exemplar, FloatHistogram, LabelSet, LabelSetBuilder, Sample as Point, TimestampMs};

use super::histogram_limits::HistogramLimits;
use super::metadata::MetadataCache;
use super::target::Target;
use super::{AHEAD_MAX, ScrapeError, ScrapeFeatures};
use crate::config::ScrapeConfig;
use crate::exposition::cache::{Found, LineCache, Lookup, Slot};
use crate::exposition::negotiation::Format;
use crate::exposition::{self, Event, Histogram, HistogramForms, Parser, Sample};
use crate::label_limits::LabelLimits;
use crate::relabel;
use crate::sink::{BatchHistograms, BatchStarts, FreshSample, KnownSample, SeriesExemplar, SeriesHandle};

const EXPORTED_PREFIX: &str = "exported_";

/// How a job's configuration turns exposed lines into samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) target: &'a Target,
    pub(super) config: &'a ScrapeConfig,
    pub(super) features: ScrapeFeatures,
}

/// What a body holds. Places in `known` and `slots`, and in `fresh` and `fresh_slots`, belong together.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) known: Vec<KnownSample>,
    pub(super) slots: Vec<Slot>,
    pub(super) fresh: Vec<FreshSample>,
    pub(super) fresh_slots: Vec<Slot>,
    pub(super) exemplars: Vec<SeriesExemplar>,
    pub(super) histograms: BatchHistograms,
    pub(super) starts: BatchStarts,
    /// Samples in the body.
    pub(super) scraped: usize,
    /// Samples that relabelling kept.
    pub(super) kept: usize,
    /// Samples too far ahead of the clock, which are left out.
    pub(super) ahead: usize,
    /// Samples without a time of their own whose series the body had before, which are left out.
    pub(super) repeated: usize,
    /// Exemplars with labels that cannot be kept, which are left out.
    pub(super) exemplars_refused: usize,
    /// Series that the target had not exposed before.
    pub(super) added: usize,
}

/// The series of a line that is kept.
enum Series {
    Known { handle: SeriesHandle, slot: Slot },
    Fresh { labels: LabelSet, slot: Slot, is_new: bool },
}

/// What is stored of a line, but for its series.
struct Value {
    point: Point,
    start: Option<TimestampMs>,
    /// In place of the point's value.
    histogram: Option<PackedHistogram>,
}

impl Reading {
    fn push(&mut self, series: Series, Value { point, start, histogram }: Value) {
        match series {
            Series::Known { handle, slot } => {
                self.starts.known.extend(start.map(|start| (self.known.len(), start)));
                self.histograms.known.extend(histogram.map(|histogram| (self.known.len(), histogram)));
                self.known.push(KnownSample { series: handle, ts: point.ts, value: point.value });
                self.slots.push(slot);
            }
            Series::Fresh { labels, slot, is_new } => {
                self.added += usize::from(is_new);
                self.starts.fresh.extend(start.map(|start| (self.fresh.len(), start)));
                self.histograms.fresh.extend(histogram.map(|histogram| (self.fresh.len(), histogram)));
                self.fresh.push(FreshSample { labels, sample: point });
                self.fresh_slots.push(slot);
            }
        }
    }
}

/// One sample of a body.
struct Line<'l, 'p> {
    sample: &'l Sample<'p>,
    /// In place of the value.
    histogram: Option<PackedHistogram>,
    exemplars: &'l [exposition::Exemplar<'p>],
}

impl<'l, 'p> Line<'l, 'p> {
    fn of_float(sample: &'l Sample<'p>) -> Self {
        let exemplars = sample.exemplar.as_deref().map_or(&[][..], std::slice::from_ref);
        Self { sample, histogram: None, exemplars }
    }
}

/// Type and unit that are declared of the series to come, as one text.
struct Declared {
    text: String,
    format: Format,
}

impl Declared {
    fn begin(format: Format, cache: &mut LineCache) -> Self {
        cache.set_context(&[]);
        Self { text: String::new(), format }
    }

    /// Whether it has changed.
    fn take_in(&mut self, event: &Event<'_>) -> bool {
        let (metric_type, unit) = self.text.split_once(' ').unwrap_or_default();
        let next = match event {
            Event::Type { metric_type, .. } => format!("{metric_type} {unit}"),
            Event::Unit { unit, .. } => format!("{metric_type} {unit}"),
            // With which every family begins; in text a unit holds until the next one.
            Event::Help { .. } if self.format == Format::Protobuf => format!("{metric_type} "),
            _ => return false,
        };
        let has_changed = next != self.text;
        self.text = next;
        has_changed
    }
}

/// What one reading is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) format: Format,
    /// The time of samples that bring none.
    pub(super) scraped_at: TimestampMs,
    pub(super) now: TimestampMs,
    /// Samples after which reading stops, unless `sample_limit` allows more.
    pub(super) samples_max: usize,
}

impl Rules<'_> {
    /// Reads the whole body. After an error the numbers of samples are those up to it, and the cache wants
    /// [`LineCache::abort`].
    pub(super) fn read(
        self,
        body: Body<'_>,
        cache: &mut LineCache,
        metadata: &mut MetadataCache,
    ) -> (Reading, Result<(), ScrapeError>) {
        // A steady target exposes what it exposed before.
        let (known, slots) = (Vec::with_capacity(cache.len()), Vec::with_capacity(cache.len()));
        let mut reading = Reading { known, slots, ..Reading::default() };
        let outcome = self.read_events(body, cache, metadata, &mut reading);
        let outcome = match outcome {
            Ok(()) if self.is_beyond_limit(&reading) => Err(ScrapeError::SampleLimit),
            other => other,
        };
        (reading, outcome)
    }

    fn is_beyond_limit(self, reading: &Reading) -> bool {
        let limit = self.config.sample_limit;
        limit > 0 && (reading.kept - reading.repeated) as u64 > limit
    }

    fn read_events(
        self,
        body: Body<'_>,
        cache: &mut LineCache,
        metadata: &mut MetadataCache,
        reading: &mut Reading,
    ) -> Result<(), ScrapeError> {
        let mut parser = self.parser(body);
        let mut declared = Declared::begin(body.format, cache);
        while let Some(event) = parser.next()? {
            self.declare(&event, &mut declared, cache);
            match event {
                Event::Sample(sample) => self.read_line(Line::of_float(&sample), body, cache, reading)?,
                Event::Histogram(histogram) => {
                    let Histogram { sample, histogram, exemplars } = *histogram;
                    let histogram = Some(self.pack(histogram)?);
                    self.read_line(Line { sample: &sample, histogram, exemplars: &exemplars }, body, cache, reading)?;
                }
                Event::HistogramPart => {}
                Event::Type { family, metric_type } => metadata.set_type(&family, metric_type),
                Event::Help { family, text } => metadata.set_help(&family, &text),
                Event::Unit { family, unit } => metadata.set_unit(&family, &unit),
                Event::Comment(_) => {}
            }
        }
        Ok(())
    }

    fn parser(self, body: Body<'_>) -> Parser<'_> {
        let parser = Parser::with_histograms(body.bytes, body.format, self.histogram_forms());
        let parser = if self.features.start_timestamps { parser.reading_starts() } else { parser };
        if self.features.type_and_unit_labels { parser.with_metadata_labels() } else { parser }
    }

    /// Where type and unit are labels, what is declared tells which series a text stands for.
    fn declare(self, event: &Event<'_>, declared: &mut Declared, cache: &mut LineCache) {
        if self.features.type_and_unit_labels && declared.take_in(event) {
            cache.set_context(declared.text.as_bytes());
        }
    }

    /// When the counter of a sample began, if anybody wants to know.
    fn start(self, sample: &Sample<'_>) -> Option<TimestampMs> {
        sample.start.filter(|_| self.features.start_timestamps)
    }

    fn histogram_forms(self) -> HistogramForms {
        HistogramForms {
            native: self.config.scrape_native_histograms == Some(true),
            classic_as_native: self.config.convert_classic_histograms_to_nhcb == Some(true),
            always_classic: self.config.always_scrape_classic_histograms == Some(true),
        }
    }

    fn pack(self, mut histogram: FloatHistogram) -> Result<PackedHistogram, ScrapeError> {
        HistogramLimits::of(self.config).apply(&mut histogram)?;
        Ok(PackedHistogram::try_from(&histogram)?)
    }

    fn read_line(
        self,
        line: Line<'_, '_>,
        body: Body<'_>,
        cache: &mut LineCache,
        reading: &mut Reading,
    ) -> Result<(), ScrapeError> {
        let sample = line.sample;
        reading.scraped += 1;
        if reading.scraped > body.samples_max && reading.scraped as u64 > self.config.sample_limit {
            return Err(ScrapeError::SampleLimit);
        }
        if self.is_beyond_limit(reading) {
            return self.count_sample(sample, cache, reading);
        }
        let exposed_at = sample.ts.filter(|_| self.config.honor_timestamps);
        let tracked = exposed_at.is_none() || self.config.track_timestamps_staleness;
        let point = Point { ts: exposed_at.unwrap_or(body.scraped_at), value: sample.value };
        let Found { lookup, again } = cache.look_up(sample.series, tracked);
        let series = match lookup {
            Lookup::Dropped => return Ok(()),
            Lookup::Known { handle, slot } => Series::Known { handle, slot },
            Lookup::Fresh(slot) => match self.labels(sample)? {
                Some(labels) => Series::Fresh { labels, slot, is_new: !again && cache.is_new(slot) },
                None => {
                    cache.drop_series(slot);
                    return Ok(());
                }
            },
        };
        reading.kept += 1;
        if again && exposed_at.is_none() {
            reading.repeated += 1;
        } else if point.ts > body.now.saturating_add(AHEAD_MAX.as_millis() as i64) {
            reading.ahead += 1;
        } else {
            self.read_exemplars(&line, &series, point.ts, reading)?;
            let (start, histogram) = (self.start(sample), line.histogram);
            reading.push(series, Value { point, start, histogram });
        }
        Ok(())
    }

    /// Counts a sample of a scrape of which nothing will be stored, and remembers nothing of it.
    fn count_sample(self, sample: &Sample<'_>, cache: &LineCache, reading: &mut Reading) -> Result<(), ScrapeError> {
        let is_kept = match cache.peek(sample.series) {
            Some(Lookup::Dropped) => false,
            Some(Lookup::Known { .. }) => true,
            Some(Lookup::Fresh(_)) | None => self.labels(sample)?.is_some(),
        };
        reading.kept += usize::from(is_kept);
        Ok(())
    }

    /// Exemplars are rare, so a known series parses its labels again for one. One whose labels cannot be kept is left out, and
    /// its sample is not.
    fn read_exemplars(
        self,
        line: &Line<'_, '_>,
        series: &Series,
        ts: TimestampMs,
        reading: &mut Reading,
    ) -> Result<(), ScrapeError> {
        if line.exemplars.is_empty() {
            return Ok(());
        }
        let series = match series {
            Series::Fresh { labels, .. } => Some(labels.clone()),
            Series::Known { .. } => self.labels(line.sample)?,
        };
        let Some(series) = series else { return Ok(()) };
        for exemplar in line.exemplars {
            match exemplar.labels(&LabelLimits::CEILING) {
                Ok(labels) => {
                    let exemplar = Exemplar { labels, value: exemplar.value, ts: exemplar.ts.unwrap_or(ts) };
                    reading.exemplars.push(SeriesExemplar { series: series.clone(), exemplar });
                }
                Err(error) if error.kind.is_about_labels() => reading.exemplars_refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Goes over a body once more for lines whose series the store no longer knew by handle.
    pub(super) fn read_forgotten(self, body: Body<'_>, cache: &mut LineCache) -> Reading {
        let mut reading = Reading::default();
        let mut seen = HashSet::new();
        let mut parser = self.parser(body);
        let mut declared = Declared::begin(body.format, cache);
        // The first pass found neither a parse error nor a label or histogram that is refused.
        while let Ok(Some(event)) = parser.next() {
            self.declare(&event, &mut declared, cache);
            let (sample, histogram) = match event {
                Event::Sample(sample) => (sample, None),
                Event::Histogram(histogram) => (histogram.sample, self.pack(histogram.histogram).ok()),
                _ => continue,
            };
            let exposed_at = sample.ts.filter(|_| self.config.honor_timestamps);
            let tracked = exposed_at.is_none() || self.config.track_timestamps_staleness;
            if let Lookup::Fresh(slot) = cache.look_up(sample.series, tracked).lookup
                && (seen.insert(slot) || exposed_at.is_some())
                && let Ok(Some(labels)) = self.labels(&sample)
            {
                let point = Point { ts: exposed_at.unwrap_or(body.scraped_at), value: sample.value };
                let value = Value { point, start: self.start(&sample), histogram };
                reading.push(Series::Fresh { labels, slot, is_new: false }, value);
            }
        }
        reading
    }

    /// The labels of a line's series as stored; `None` when relabelling drops it.
    fn labels(self, sample: &Sample<'_>) -> Result<Option<LabelSet>, ScrapeError> {
        let mut labels = sample.labels(&LabelLimits::CEILING)?;
        add_target_labels(&mut labels, &self.target.labels, self.config.honor_labels);
        let validation = self.config.validation();
        if !relabel::process(&mut labels, &self.config.metric_relabel_configs, validation) || labels.is_empty() {
            return Ok(None);
        }
        let name = labels.get(METRIC_NAME).ok_or(ScrapeError::NoName)?;
        let valid = validation.is_metric_name(name)
            && labels.iter().all(|label| label.name == METRIC_NAME || validation.is_label_name(label.name));
        if !valid {
            return Err(ScrapeError::Names(labels.build().to_string()));
        }
        let bound = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let limits = LabelLimits {
            labels_max: bound(self.config.label_limit),
            name_bytes_max: bound(self.config.label_name_length_limit),
            value_bytes_max: bound(self.config.label_value_length_limit),
            set_bytes_max: 0,
        };
        let labels = labels.build();
        // The ceiling a second time, because relabelling can make much out of little.
        limits.within_ceiling().check(labels.iter().map(|label| (label.name, label.value)))?;
        Ok(Some(labels))
    }
}

/// Joins the target's labels with those of a line. Where both have one, `honor` decides which stays; the line's is
/// renamed to `exported_…` otherwise.
fn add_target_labels(labels: &mut LabelSetBuilder, target: &LabelSet, honor: bool) {
    let mut conflicts = Vec::new();
    for label in target {
        match labels.get(label.name) {
            Some(_) if honor => continue,
            Some(exposed) => conflicts.push((label.name, exposed.to_owned())),
            None => {}
        }
        labels.set(label.name, label.value);
    }
    // Shorter names first, so that `exported_a` that was exposed beside `a` does not depend on the order of labels.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, exposed) in conflicts {
        let mut renamed = format!("{EXPORTED_PREFIX}{name}");
        while labels.get(&renamed).is_some() {
            renamed.insert_str(0, EXPORTED_PREFIX);
        }
        labels.set(&renamed, &exposed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::{Made, targets_of};
    use super::super::tests::job;
    use super::*;
    use crate::config::TargetGroup;
    use crate::series_hash::SeriesHasher;

    #[test]
    fn target_labels_win_or_yield() {
        for (exposed, target, honor, expected) in [
            ("a=1", "b=2", false, "a=1 b=2"),
            ("a=1", "a=2", false, "a=2 exported_a=1"),
            ("a=1", "a=2", true, "a=1"),
            ("a=1 exported_a=x", "a=2", false, "a=2 exported_a=x exported_exported_a=1"),
            (
                "a=1 exported_a=x",
                "a=2 exported_a=y",
                false,
                "a=2 exported_a=y exported_exported_a=1 exported_exported_exported_a=x",
            ),
        ] {
            let set = |text: &str| LabelSet::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')));
            let mut labels = set(exposed).to_builder();
            add_target_labels(&mut labels, &set(target), honor);
            assert_eq!(labels.build(), set(expected), "{exposed} on {target}");
        }
    }

    /// Reads so many series of a new target.
    fn read(keys: &str, series: usize, samples_max: usize) -> (Reading, Result<(), ScrapeError>, LineCache) {
        let config = job("j", keys);
        let group = TargetGroup { targets: vec!["h:1".into()], ..TargetGroup::default() };
        let Ok(Made::Target(target)) = targets_of(&group, &config).remove(0) else { panic!("one target") };
        let text: String = (0..series).map(|i| format!("m{i} 1\n")).collect();
        let body = Body { bytes: text.as_bytes(), format: Format::Text, scraped_at: 0, now: 0, samples_max };
        let mut cache = LineCache::new(SeriesHasher::new(1));
        let rules = Rules { target: &target, config: &config, features: ScrapeFeatures::default() };
        let (reading, outcome) = rules.read(body, &mut cache, &mut MetadataCache::default());
        (reading, outcome, cache)
    }

    #[test]
    fn samples_beyond_the_limit_are_counted_and_not_remembered() {
        let (reading, outcome, cache) = read("sample_limit: 10", 1000, 5000);
        assert_eq!(outcome, Err(ScrapeError::SampleLimit));
        assert_eq!((reading.scraped, reading.kept, cache.len()), (1000, 1000, 11));
    }

    #[test]
    fn reading_stops_at_the_ceiling_unless_more_is_configured() {
        for (keys, scraped) in [("", 101), ("sample_limit: 10", 101), ("sample_limit: 500", 501)] {
            let (reading, outcome, _) = read(keys, 1000, 100);
            assert_eq!((reading.scraped, outcome), (scraped, Err(ScrapeError::SampleLimit)), "{keys}");
        }
        assert_eq!(read("sample_limit: 1000", 1000, 100).1, Ok(()));
    }
}
