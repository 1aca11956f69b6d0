//! Applying an append record: the verdict on each sample, and where an accepted one goes.
//!
//! The verdict is a function of the head and the record alone. Bounds come from the head as it was before the record,
//! so that a batch of history is not refused because of its own newest samples.

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{LabelSet, TimestampMs};

use super::lookup::Sought;
use super::{CELL_MS, Head, Series, Shared};
use crate::chunk::codec::OpenChunk;
use crate::chunk::files::ChunkFiles;
use crate::chunk::segment::ChunkPtr;
use crate::index::{Slot, push_tight};
use crate::record::{AppendAnswer, AppendLimits, AppendRecord, Place, Refusal, Refused, SeriesRef};

/// A sample that is in order for its series may be this far behind the head's newest one even where late samples are
/// not taken.
pub(super) const IN_ORDER_SLACK_MS: i64 = 3_600_000;

/// What a record did, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppendCounts {
    /// Late ones included.
    pub(crate) samples: u64,
    pub(crate) late_samples: u64,
    pub(crate) series_created: u64,
    pub(crate) exemplars: u64,
    pub(crate) exemplars_refused: u64,
    /// Chunks that could not be read while looking for a late sample.
    pub(crate) damaged_chunks: u64,
}

/// From when on samples are taken while one record is applied.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    in_order_from: TimestampMs,
    /// Late samples too; `None` takes none.
    late_from: Option<TimestampMs>,
    newest_allowed: TimestampMs,
}

/// One record on its way in.
#[derive(Debug)]
struct Round<'a, 'b> {
    bounds: Bounds,
    series_max: usize,
    counts: AppendCounts,
    shared: &'a mut Shared<'b>,
}

/// What is to be stored at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum SampleValue<'a> {
    Float(u64),
    Histogram(&'a PackedHistogram),
}

/// A sample on its way in.
#[derive(Clone, Copy, Debug)]
struct Incoming<'a> {
    ts: TimestampMs,
    value: SampleValue<'a>,
    /// When its counter began, 0 if that is not to be stored.
    start_ts: TimestampMs,
}

impl SampleValue<'_> {
    pub(super) fn is_float(self, bits: u64) -> bool {
        matches!(self, Self::Float(own) if own == bits)
    }

    pub(super) fn is_histogram(self, other: &PackedHistogram) -> bool {
        matches!(self, Self::Histogram(own) if own.has_data_of(other))
    }
}

/// The values of a record, asked for in the order of its samples.
struct Values<'a> {
    histograms: std::slice::Iter<'a, (u32, PackedHistogram)>,
    next: Option<&'a (u32, PackedHistogram)>,
}

impl<'a> Values<'a> {
    fn of(record: &'a AppendRecord) -> Self {
        let mut histograms = record.histograms.iter();
        let next = histograms.next();
        Self { histograms, next }
    }

    /// The value at a position, if it is a float of these bits.
    #[inline]
    fn at(&mut self, position: usize, bits: u64) -> SampleValue<'a> {
        match self.next {
            Some((at, histogram)) if *at as usize == position => {
                self.next = self.histograms.next();
                SampleValue::Histogram(histogram)
            }
            _ => SampleValue::Float(bits),
        }
    }
}

/// The start timestamps of a record that are to be looked at, each list empty when none is.
struct Starts<'a> {
    stored: &'a [TimestampMs],
    zero_samples: &'a [TimestampMs],
}

impl<'a> Starts<'a> {
    fn of(record: &'a AppendRecord) -> Self {
        Self { stored: record.starts.stored(), zero_samples: record.starts.zero_samples() }
    }

    #[inline]
    fn stored(&self, position: usize) -> TimestampMs {
        self.stored.get(position).copied().unwrap_or(0)
    }

    /// Where a sample of value 0 is wanted before the one at a position.
    #[inline]
    fn zero_sample(&self, position: usize) -> Option<TimestampMs> {
        self.zero_samples.get(position).copied().filter(|start| *start != 0)
    }
}

/// Where a sample belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    InOrder,
    /// At the time of the newest sample.
    Newest,
    Late,
}

/// What became of a sample that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    InOrder,
    Late,
    Duplicate,
}

impl Bounds {
    fn new(head: &Head, limits: &AppendLimits) -> Self {
        let floor = head.sealed_until_ms.max(head.dropped_until_ms);
        let window = limits.out_of_order_window_ms.max(0);
        let behind = |ms: i64| head.max_ts.map_or(TimestampMs::MIN, |max_ts| max_ts.saturating_sub(ms)).max(floor);
        Self {
            in_order_from: behind(window.max(IN_ORDER_SLACK_MS)),
            late_from: (window > 0).then(|| behind(window)),
            newest_allowed: limits.newest_allowed_ms,
        }
    }

    fn route(&self, ts: TimestampMs, newest: Option<TimestampMs>) -> Result<Route, Refusal> {
        // The smallest time stands for "no sample" in an open chunk.
        if ts > self.newest_allowed || ts == TimestampMs::MIN {
            return Err(Refusal::OutOfBounds);
        }
        if newest == Some(ts) {
            return Ok(Route::Newest);
        }
        if ts >= self.in_order_from && newest.is_none_or(|newest| ts > newest) {
            return Ok(Route::InOrder);
        }
        match self.late_from {
            Some(late_from) if ts >= late_from => Ok(Route::Late),
            Some(_) => Err(Refusal::TooOld),
            None if ts < self.in_order_from => Err(Refusal::OutOfBounds),
            None => Err(Refusal::OutOfOrder),
        }
    }
}

impl Head {
    /// Applies a record of this tenant.
    pub(crate) fn append(&mut self, record: &AppendRecord, shared: &mut Shared<'_>) -> (AppendAnswer, AppendCounts) {
        let bounds = Bounds::new(self, &record.limits);
        let series_max = record.limits.series_max as usize;
        let mut round = Round { bounds, series_max, counts: AppendCounts::default(), shared };
        let mut answer = AppendAnswer::default();
        let mut values = Values::of(record);
        let starts = Starts::of(record);
        for (at, &series) in record.known_refs.iter().enumerate() {
            let value = values.at(at, record.known_value_bits[at]);
            let Some(slot) = round.shared.refs.resolve(self.place, series) else {
                answer.stale.push(at as u32);
                continue;
            };
            let sample = Incoming { ts: record.known_ts[at], value, start_ts: starts.stored(at) };
            if let Some(start) = starts.zero_sample(at) {
                self.take_zero(slot, start, sample, &mut round);
            }
            let taken = self.take(slot, sample, &mut round);
            note(taken, Place::Known(at as u32), &mut answer, &mut round.counts);
        }
        let mut last: Option<(&LabelSet, Slot)> = None;
        for (at, fresh) in record.fresh.iter().enumerate() {
            let position = record.known_refs.len() + at;
            let value = values.at(position, fresh.value_bits);
            let sample = Incoming { ts: fresh.ts, value, start_ts: starts.stored(position) };
            // The samples of one series come together: its labels are looked up once.
            let known = last.filter(|(labels, _)| **labels == fresh.labels).map(|(_, slot)| Ok(slot));
            let found = known.unwrap_or_else(|| self.find_or_create(fresh.labels.as_bytes(), fresh.ts, &mut round));
            let taken = match found {
                Ok(slot) => {
                    last = Some((&fresh.labels, slot));
                    answer.fresh.push(Some(self.series[slot.0 as usize].series));
                    if let Some(start) = starts.zero_sample(position) {
                        self.take_zero(slot, start, sample, &mut round);
                    }
                    self.take(slot, sample, &mut round)
                }
                Err(refusal) => {
                    answer.fresh.push(None);
                    Err(refusal)
                }
            };
            note(taken, Place::Fresh(at as u32), &mut answer, &mut round.counts);
        }
        for exemplar in &record.exemplars {
            match self.append_exemplar(exemplar) {
                true => round.counts.exemplars += 1,
                false => round.counts.exemplars_refused += 1,
            }
        }
        (answer, round.counts)
    }

    /// The series of a fresh sample. It is not created for a sample that would be refused.
    fn find_or_create(&mut self, labels: &[u8], ts: TimestampMs, round: &mut Round<'_, '_>) -> Result<Slot, Refusal> {
        if let Some(slot) = self.index.find(labels) {
            return Ok(slot);
        }
        round.bounds.route(ts, None)?;
        if self.index.len() >= round.series_max || !self.index.has_room_for(labels) {
            return Err(Refusal::SeriesLimit);
        }
        let slot = self.index.insert(labels);
        let Some(series) = round.shared.refs.assign(self.place, slot) else {
            self.index.remove(slot);
            return Err(Refusal::SeriesLimit);
        };
        self.place_series(slot, Series { chunk: OpenChunk::EMPTY, last_chunk: ChunkPtr::NONE, series });
        round.counts.series_created += 1;
        Ok(slot)
    }

    pub(super) fn place_series(&mut self, slot: Slot, series: Series) {
        if slot.0 as usize == self.series.len() {
            push_tight(&mut self.series, series);
        } else {
            self.series[slot.0 as usize] = series;
        }
    }

    #[inline]
    fn take(&mut self, slot: Slot, sample: Incoming<'_>, round: &mut Round<'_, '_>) -> Result<Taken, Refusal> {
        let Incoming { ts, value, .. } = sample;
        match round.bounds.route(ts, self.newest_ts(slot))? {
            Route::InOrder => {
                self.append_in_order(slot, sample, round.shared.files);
                Ok(Taken::InOrder)
            }
            Route::Newest if self.newest_is(slot, value) => Ok(Taken::Duplicate),
            Route::Newest => Err(Refusal::DuplicateTimestamp),
            Route::Late => {
                let sought = Sought { ts, value };
                match self.find_sample(slot, sought, round.shared.files.list(), &mut round.counts.damaged_chunks) {
                    Some(true) => Ok(Taken::Duplicate),
                    Some(false) => Err(Refusal::DuplicateTimestamp),
                    None => {
                        self.append_out_of_order(slot, sample, round.shared.files);
                        Ok(Taken::Late)
                    }
                }
            }
        }
    }

    /// Adds a sample of value 0 where the counter of `sample` began, if that is newer than everything of the series. Mostly it is not:
    /// the same start comes with every sample.
    fn take_zero(&mut self, slot: Slot, start: TimestampMs, sample: Incoming<'_>, round: &mut Round<'_, '_>) {
        let in_order = start < sample.ts && round.bounds.route(start, self.newest_ts(slot)) == Ok(Route::InOrder);
        if !in_order {
            return;
        }
        let zero;
        let value = match sample.value {
            SampleValue::Float(_) => SampleValue::Float(0.0_f64.to_bits()),
            SampleValue::Histogram(histogram) => {
                zero = histogram.emptied();
                SampleValue::Histogram(&zero)
            }
        };
        self.append_in_order(slot, Incoming { ts: start, value, start_ts: 0 }, round.shared.files);
        round.counts.samples += 1;
    }

    #[inline]
    fn newest_ts(&self, slot: Slot) -> Option<TimestampMs> {
        Some(self.series[slot.0 as usize].chunk.newest_ts()).filter(|&newest| newest != TimestampMs::MIN)
    }

    #[inline]
    fn append_in_order(&mut self, slot: Slot, sample: Incoming<'_>, files: &mut ChunkFiles) {
        let Incoming { ts, value, start_ts } = sample;
        match value {
            SampleValue::Float(bits) => self.append_float(slot, ts, bits, files),
            SampleValue::Histogram(histogram) => self.append_histogram(slot, ts, histogram, files),
        }
        if start_ts != 0 {
            let count = self.open_count(slot);
            self.starts.note(slot, usize::from(count) - 1, start_ts);
        }
        self.widen(ts);
    }

    fn append_out_of_order(&mut self, slot: Slot, sample: Incoming<'_>, files: &mut ChunkFiles) {
        let Incoming { ts, value, start_ts } = sample;
        if start_ts != 0 {
            self.starts.note_late(slot, ts, start_ts);
        }
        match value {
            SampleValue::Float(bits) => self.append_late(slot, ts, bits, files),
            SampleValue::Histogram(histogram) => self.append_late_histogram(slot, ts, histogram, files),
        }
        self.widen(ts);
    }

    /// Samples in the open chunk of a series.
    pub(super) fn open_count(&self, slot: Slot) -> u8 {
        match self.series[slot.0 as usize].chunk.count() {
            0 => self.histograms.get(&slot).map_or(0, |open| open.count()),
            count => count,
        }
    }

    #[inline]
    fn append_float(&mut self, slot: Slot, ts: TimestampMs, value_bits: u64, files: &mut ChunkFiles) {
        let at = slot.0 as usize;
        if self.series[at].chunk.count() == 0 && !self.histograms.is_empty() {
            self.cut_histograms(slot, files);
        }
        if !self.series[at].chunk.try_append(&mut self.pool, ts, value_bits) {
            self.cut(slot, files);
            let stored = self.series[at].chunk.try_append(&mut self.pool, ts, value_bits);
            assert!(stored, "an empty chunk takes any sample");
        }
        self.open_chunks += usize::from(self.series[at].chunk.count() == 1);
    }

    #[inline]
    fn widen(&mut self, ts: TimestampMs) {
        self.min_ts = Some(self.min_ts.map_or(ts, |min_ts| min_ts.min(ts)));
        self.max_ts = Some(self.max_ts.map_or(ts, |max_ts| max_ts.max(ts)));
        let cell = ts.div_euclid(CELL_MS);
        if self.last_cell != Some(cell) {
            self.last_cell = Some(cell);
            self.occupied.insert(cell);
        }
    }

    /// The live series of a reference.
    pub(super) fn series_at(&self, slot: Slot) -> SeriesRef {
        self.series[slot.0 as usize].series
    }
}

#[inline]
fn note(taken: Result<Taken, Refusal>, place: Place, answer: &mut AppendAnswer, counts: &mut AppendCounts) {
    match taken {
        Ok(Taken::InOrder) => counts.samples += 1,
        Ok(Taken::Late) => {
            counts.samples += 1;
            counts.late_samples += 1;
        }
        Ok(Taken::Duplicate) => answer.duplicates = answer.duplicates.saturating_add(1),
        Err(refusal) => answer.refused.push(Refused { place, refusal }),
    }
}
