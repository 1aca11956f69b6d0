//! Copies what a selection needs of a head, under the partition's lock.

use super::super::starts::LateStarts;
use super::super::{Head, Series};
use super::decoding::SelectedStarts;
use super::{HeadSelection, SelectedSeries};
use crate::chunk::files::SegmentList;
use crate::chunk::segment::{ChunkKind, ChunkPtr};
use crate::index::Slot;
use crate::select::SelectRequest;

impl Head {
    /// Series that satisfy the matchers, without those that have ended before the range.
    pub(crate) fn select(&self, request: &SelectRequest, segments: &SegmentList) -> HeadSelection {
        let mut selection = HeadSelection {
            segments: segments.clone(),
            totals_only: request.totals_only,
            complete_from_ms: self.dropped_until_ms,
            has_starts: request.starts && self.starts.any,
            ..HeadSelection::empty(request.range)
        };
        for slot in self.index.select(&request.matchers) {
            let series = &self.series[slot as usize];
            let newest_ts = series.chunk.newest_ts();
            if newest_ts < request.range.start_ms {
                continue;
            }
            let untouched = !self.tombstones.contains_key(&series.series);
            if request.newest_only && newest_ts <= request.range.end_ms && untouched {
                self.copy_newest(Slot(slot), series, &mut selection);
            } else {
                self.copy_series(Slot(slot), series, &mut selection);
            }
        }
        selection
    }

    /// The newest sample alone, where late samples have their place: nothing to decode.
    fn copy_newest(&self, slot: Slot, series: &Series, selection: &mut HeadSelection) {
        let labels_at = selection.labels.len();
        self.index.copy_labels(slot, &mut selection.labels);
        let late_at = selection.late.len();
        if selection.has_starts {
            let newest = self.starts.newest(slot, self.open_count(slot));
            let late = LateStarts::from([(series.chunk.newest_ts(), newest)]);
            selection.starts.insert(series.series, SelectedStarts { open: Vec::new(), late });
        }
        match self.histograms.get(&slot) {
            Some(open) => {
                let newest = vec![(open.newest_ts(), open.newest().clone())];
                selection.late_histograms.insert(series.series, newest);
            }
            None => selection.late.push((series.chunk.newest_ts(), series.chunk.newest_bits())),
        }
        selection.series.push(SelectedSeries {
            series: series.series,
            last_chunk: ChunkPtr::NONE,
            labels_at,
            stream_at: 0,
            late_at,
            labels_len: (selection.labels.len() - labels_at) as u32,
            late_len: (selection.late.len() - late_at) as u16,
            stream_len: 0,
            open_count: 0,
            open_kind: ChunkKind::Float,
        });
    }

    fn copy_series(&self, slot: Slot, series: &Series, selection: &mut HeadSelection) {
        let labels_at = selection.labels.len();
        self.index.copy_labels(slot, &mut selection.labels);
        let stream_at = selection.streams.len();
        let open = self.histograms.get(&slot);
        match open {
            Some(chunk) => selection.streams.extend_from_slice(chunk.stream()),
            None => series.chunk.copy_to(&self.pool, &mut selection.streams),
        }
        let late_at = selection.late.len();
        if let Some(buffer) = self.late.get(&slot) {
            selection.late.extend_from_slice(buffer);
        }
        if let Some(late) = self.late_histograms.get(&slot) {
            selection.late_histograms.insert(series.series, late.clone());
        }
        if selection.has_starts {
            selection.starts.extend(self.copy_starts(slot).map(|starts| (series.series, starts)));
        }
        if let Some(deleted) = self.tombstones.get(&series.series) {
            selection.tombstones.insert(series.series, deleted.clone());
        }
        selection.series.push(SelectedSeries {
            series: series.series,
            last_chunk: series.last_chunk,
            labels_at,
            stream_at,
            late_at,
            labels_len: (selection.labels.len() - labels_at) as u32,
            late_len: (selection.late.len() - late_at) as u16,
            stream_len: (selection.streams.len() - stream_at) as u16,
            open_count: open.map_or(series.chunk.count(), |chunk| chunk.count()),
            open_kind: if open.is_some() { ChunkKind::Histogram } else { ChunkKind::Float },
        });
    }

    fn copy_starts(&self, slot: Slot) -> Option<SelectedStarts> {
        let (open, late) = (self.starts.open.get(&slot), self.starts.late.get(&slot));
        (open.is_some() || late.is_some()).then(|| SelectedStarts {
            open: open.map_or_else(Vec::new, |column| column.clone().into_bytes(self.open_count(slot).into())),
            late: late.cloned().unwrap_or_default(),
        })
    }
}
