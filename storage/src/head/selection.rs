//! Reading a head: series that were selected together, and their samples.
//!
//! A selection copies under the partition's lock what can still change (labels, open chunks, late samples), which is a
//! few hundred bytes a series. Full chunks never change, so it only notes where they are. Decoding happens later,
//! without a lock.

mod copying;
mod decoding;

use std::collections::HashMap;

use pharos_model::{LabelSet, TimeRange, TimestampMs};

use super::histograms::LateHistograms;
use super::lookup::{ChunkWalk, first_ts};
use crate::chunk::files::SegmentList;
use crate::chunk::segment::{ChunkBytes, ChunkDamage, ChunkHeader, ChunkKind, ChunkPtr};
use crate::record::SeriesRef;
use crate::select::histograms::{self, Form, Wanted};
use crate::select::{Estimate, ReadError, SampleColumns, share_within};
use crate::starts;

use decoding::{Encoded, SelectedStarts, decode_into, push};

/// Series whose chunks are looked at for an estimate of all.
const ESTIMATED_FROM_MAX: usize = 32;
/// What a waiting late histogram is reckoned to take.
const LATE_HISTOGRAM_BYTES: usize = 512;

/// Series of one head that were selected together: labels, open samples and where the full chunks are, taken at one
/// moment. Owns all it needs: later appends, drops and checkpoints do not change what it reads. `Send + Sync`.
#[derive(Debug)]
pub struct HeadSelection {
    segments: SegmentList,
    range: TimeRange,
    /// Whether buckets may be left out.
    totals_only: bool,
    complete_from_ms: TimestampMs,
    series: Vec<SelectedSeries>,
    /// Canonical label bytes, open streams and waiting late samples, of all series.
    labels: Vec<u8>,
    streams: Vec<u8>,
    late: Vec<(TimestampMs, u64)>,
    late_histograms: HashMap<SeriesRef, LateHistograms>,
    starts: HashMap<SeriesRef, SelectedStarts>,
    /// Whether any sample may have a start timestamp that counts.
    has_starts: bool,
    tombstones: HashMap<SeriesRef, Vec<TimeRange>>,
}

#[derive(Clone, Copy, Debug)]
struct SelectedSeries {
    series: SeriesRef,
    last_chunk: ChunkPtr,
    labels_at: usize,
    stream_at: usize,
    late_at: usize,
    labels_len: u32,
    late_len: u16,
    stream_len: u16,
    open_count: u8,
    open_kind: ChunkKind,
}

impl HeadSelection {
    /// A selection of nothing from a head that has nothing.
    pub(crate) fn empty(range: TimeRange) -> Self {
        Self {
            segments: SegmentList::default(),
            range,
            totals_only: false,
            complete_from_ms: TimestampMs::MIN,
            series: Vec::new(),
            labels: Vec::new(),
            streams: Vec::new(),
            late: Vec::new(),
            late_histograms: HashMap::new(),
            starts: HashMap::new(),
            has_starts: false,
            tombstones: HashMap::new(),
        }
    }

    /// The same with all buckets of histograms.
    pub(crate) fn with_buckets(self) -> Self {
        Self { totals_only: false, ..self }
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Canonical label bytes of series `i`.
    pub fn label_bytes(&self, i: usize) -> &[u8] {
        let series = &self.series[i];
        &self.labels[series.labels_at..][..series.labels_len as usize]
    }

    pub fn labels(&self, i: usize) -> LabelSet {
        LabelSet::from_canonical_trusted(self.label_bytes(i))
    }

    /// The head holds every sample at or after this time; below it data files are the only source.
    pub fn complete_from_ms(&self) -> TimestampMs {
        self.complete_from_ms
    }

    /// Whether any sample may have a start timestamp that counts.
    pub fn has_starts(&self) -> bool {
        self.has_starts
    }

    /// Orders the series as label sets are ordered, which is what a data file wants.
    pub fn sort_by_labels(&mut self) {
        let labels = &self.labels;
        let of = |series: &SelectedSeries| {
            pharos_model::labels::iter_canonical(&labels[series.labels_at..][..series.labels_len as usize])
        };
        self.series.sort_unstable_by(|a, b| of(a).cmp(of(b)));
    }

    /// Bytes that the selection holds in memory, for the query's memory limit.
    pub fn memory_bytes(&self) -> usize {
        self.series.len() * size_of::<SelectedSeries>()
            + self.labels.len()
            + self.streams.len()
            + self.late.len() * size_of::<(TimestampMs, u64)>()
            + self.late_histograms.values().map(|late| late.len() * LATE_HISTOGRAM_BYTES).sum::<usize>()
            + self.starts.values().map(SelectedStarts::memory_bytes).sum::<usize>()
    }

    /// What reading all of it is reckoned to take, from the chunks of some series, evenly picked.
    pub fn estimate(&self) -> Estimate {
        let every = self.series.len().div_ceil(ESTIMATED_FROM_MAX).max(1);
        let mut seen = Estimate::default();
        for series in self.series.iter().step_by(every) {
            let (samples, bytes) = self.estimate_series(series);
            seen = Estimate { series: seen.series + 1, samples: seen.samples + samples, bytes: seen.bytes + bytes };
        }
        let all = self.series.len() as u64;
        let scaled = |figure: u64| figure.saturating_mul(all) / seen.series.max(1);
        Estimate { series: all, samples: scaled(seen.samples), bytes: scaled(seen.bytes) }
    }

    /// Samples and bytes. A damaged chunk ends the count: whoever reads it gets the error.
    fn estimate_series(&self, series: &SelectedSeries) -> (u64, u64) {
        // Files have what is before.
        let asked = TimeRange::new(self.range.start_ms.max(self.complete_from_ms), self.range.end_ms);
        let late_histograms = self.late_histograms.get(&series.series).map_or(0, Vec::len);
        let mut samples = u64::from(series.late_len) + late_histograms as u64;
        let mut bytes = u64::from(series.late_len) * size_of::<(TimestampMs, u64)>() as u64
            + (late_histograms * LATE_HISTOGRAM_BYTES) as u64;
        let open = &self.streams[series.stream_at..][..usize::from(series.stream_len)];
        let mut decoded = SampleColumns::default();
        let wanted = Wanted { range: asked, form: Form::Whole };
        if decode_into(open, series.open_count, series.open_kind, wanted, &mut decoded).is_ok() {
            samples += decoded.len() as u64;
            bytes += decoded.len() as u64 * u64::from(series.stream_len) / u64::from(series.open_count.max(1));
        }
        let mut found = ChunkBytes::default();
        let mut walk = ChunkWalk::new(&self.segments, series.series, series.last_chunk, asked.start_ms);
        while let Some(Ok(header)) = walk.next(&mut found) {
            let Some(first) = first_ts(&found.stream) else { break };
            let chunk = TimeRange::new(first, header.max_ts);
            samples += share_within(asked, chunk, u64::from(header.count));
            bytes += share_within(asked, chunk, found.stream.len() as u64);
        }
        (samples, bytes)
    }

    /// Replaces `out` by the samples of series `i` within `range` and the range that was selected: ascending, one for
    /// each timestamp, deleted ones left out. A damaged chunk is an error, and `out` is not to be used then.
    pub fn read(&self, i: usize, range: TimeRange, out: &mut SampleColumns) -> Result<(), ReadError> {
        out.clear();
        let start_ms = range.start_ms.max(self.range.start_ms).max(self.complete_from_ms);
        let range = TimeRange::new(start_ms, range.end_ms.min(self.range.end_ms));
        let series = &self.series[i];
        if range.is_empty() {
            return Ok(());
        }
        let mut late = self.read_full_chunks(series, range, out).map_err(|damage| self.damaged(i, damage))?;
        let starts = self.starts.get(&series.series);
        let open = Encoded {
            stream: &self.streams[series.stream_at..][..usize::from(series.stream_len)],
            starts: starts.map_or(&[], |starts| &starts.open),
            count: series.open_count,
            kind: series.open_kind,
        };
        let form = self.form(series, late);
        open.decode(Wanted { range, form }, out)
            .map_err(|reason| self.damaged(i, ChunkDamage { at: ChunkPtr::NONE, reason }))?;
        let before = (out.ts.len(), out.histogram_ts.len());
        late.floats |= self.read_late(series, range, out);
        late.histograms |= self.read_late_histograms(series, range, out);
        if let Some(starts) = starts {
            starts.read_late(before, out);
        }
        out.complete_starts();
        if late.floats && out.ts.len() > 1 {
            sort_columns(out);
        }
        if late.histograms && out.histogram_ts.len() > 1 {
            histograms::sort(out);
        }
        // What comes before is read from files, which may have lost it.
        if start_ms == self.complete_from_ms
            && let Some(first) = out.histograms.first_mut()
        {
            histograms::forget_before(first);
        }
        if let Some(deleted) = self.tombstones.get(&series.series) {
            remove_deleted(out, deleted);
        }
        Ok(())
    }

    /// What is read of the histograms of a series, whose full chunks are known.
    fn form(&self, series: &SelectedSeries, late: Late) -> Form {
        let in_order = !late.histograms && !self.late_histograms.contains_key(&series.series);
        let complete = !self.tombstones.contains_key(&series.series);
        if self.totals_only && in_order && complete { Form::Totals } else { Form::Whole }
    }

    /// Adds late floats that are in no chunk. Whether there were any.
    fn read_late(&self, series: &SelectedSeries, range: TimeRange, out: &mut SampleColumns) -> bool {
        let before = out.ts.len();
        for &(ts, bits) in &self.late[series.late_at..][..usize::from(series.late_len)] {
            if range.contains(ts) {
                push(out, ts, bits);
            }
        }
        out.ts.len() > before
    }

    /// As [`Self::read_late`], of histograms.
    fn read_late_histograms(&self, series: &SelectedSeries, range: TimeRange, out: &mut SampleColumns) -> bool {
        let before = out.histogram_ts.len();
        let waiting = self.late_histograms.get(&series.series).map_or(&[][..], Vec::as_slice);
        // One that is all there is has nothing to be compared with.
        let is_alone = waiting.len() == 1 && series.last_chunk == ChunkPtr::NONE && series.open_count == 0;
        let form = if self.totals_only && is_alone { Form::Totals } else { Form::Whole };
        for (ts, histogram) in waiting.iter().filter(|(ts, _)| range.contains(*ts)) {
            histograms::push(out, form, *ts, histogram);
        }
        out.histogram_ts.len() > before
    }

    /// Decodes the full chunks, oldest first. Whether any of them was late.
    fn read_full_chunks(
        &self,
        series: &SelectedSeries,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> Result<Late, ChunkDamage> {
        let mut late = Late::default();
        let (mut streams, mut starts) = (Vec::new(), Vec::new());
        let mut chunks = Vec::new();
        let mut found = ChunkBytes::default();
        let mut walk = ChunkWalk::new(&self.segments, series.series, series.last_chunk, range.start_ms);
        while let Some(header) = walk.next(&mut found) {
            let header = header?;
            if let Some(first) = first_ts(&found.stream).filter(|first| *first <= range.end_ms) {
                late.floats |= header.late && header.kind == ChunkKind::Float;
                late.histograms |= header.late && header.kind == ChunkKind::Histogram;
                let inside = range.start_ms <= first && header.max_ts <= range.end_ms;
                let range = if inside { TimeRange::ALL } else { range };
                let stream = streams.len()..streams.len() + found.stream.len();
                chunks.push((stream, starts.len()..starts.len() + found.starts.len(), header, range));
                streams.extend_from_slice(&found.stream);
                starts.extend_from_slice(&found.starts);
            }
        }
        let form = self.form(series, late);
        for (stream, starts_at, ChunkHeader { count, kind, .. }, range) in chunks.into_iter().rev() {
            let starts = if self.has_starts { &starts[starts_at] } else { &[] };
            let chunk = Encoded { stream: &streams[stream], starts, count, kind };
            chunk
                .decode(Wanted { range, form }, out)
                .map_err(|reason| ChunkDamage { at: series.last_chunk, reason })?;
        }
        Ok(late)
    }

    fn damaged(&self, i: usize, ChunkDamage { at, reason }: ChunkDamage) -> ReadError {
        let file = match self.segments.get(at.segment()) {
            Some(segment) => segment.path().display().to_string(),
            None if at == ChunkPtr::NONE => "memory".to_owned(),
            None => format!("chunk segment {}", at.segment()),
        };
        ReadError::DamagedChunk { series: self.labels(i).to_string(), file, offset: at.offset() as u64, reason }
    }
}

/// Whether samples of a kind are to be sorted, because some of them were late.
#[derive(Clone, Copy, Default)]
struct Late {
    floats: bool,
    histograms: bool,
}

/// Orders by time. Of samples at one time the one that was stored first stays: there are none unless a chunk was
/// damaged while a late sample came.
fn sort_columns(out: &mut SampleColumns) {
    let SampleColumns { ts, values, start_ts, .. } = out;
    starts::sort_by_time(ts, values, start_ts);
}

fn remove_deleted(out: &mut SampleColumns, deleted: &[TimeRange]) {
    let is_kept = |ts: TimestampMs| {
        let next = deleted.partition_point(|range| range.end_ms < ts);
        deleted.get(next).is_none_or(|range| !range.contains(ts))
    };
    histograms::retain(out, is_kept);
    let SampleColumns { ts, values, start_ts, .. } = out;
    if start_ts.is_empty() {
        retain(ts, values, is_kept);
    } else {
        starts::paired(values, start_ts, |pairs| retain(ts, pairs, is_kept));
    }
}

fn retain<V: Copy>(ts: &mut Vec<TimestampMs>, values: &mut Vec<V>, is_kept: impl Fn(TimestampMs) -> bool) {
    let mut kept = 0;
    for at in 0..ts.len() {
        let time = ts[at];
        if is_kept(time) {
            ts[kept] = time;
            values[kept] = values[at];
            kept += 1;
        }
    }
    ts.truncate(kept);
    values.truncate(kept);
}
