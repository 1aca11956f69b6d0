//! What a head loses: sealed slices that take no more samples, slices that data files hold, deleted samples.

use pharos_model::{TimeRange, TimestampMs};

use super::{CELL_MS, Head, Shared};
use crate::index::Slot;
use crate::record::DeleteCommand;

impl Head {
    /// Refuses samples before `until_ms` from now on.
    pub(crate) fn seal_floor(&mut self, until_ms: TimestampMs) {
        self.sealed_until_ms = self.sealed_until_ms.max(until_ms);
    }

    /// Forgets samples before `until_ms`, and series without later ones. Returns how many series went. Full chunks go
    /// with their segments, which the partition forgets; until then reading leaves out what is too old.
    pub(crate) fn drop_covered(&mut self, until_ms: TimestampMs, shared: &mut Shared<'_>) -> u64 {
        if until_ms <= self.dropped_until_ms {
            return 0;
        }
        self.dropped_until_ms = until_ms;
        self.seal_floor(until_ms);
        // A series' late samples are older than its newest one, so that one decides.
        let empty = |slot: &Slot| self.series[slot.0 as usize].chunk.newest_ts() < until_ms;
        let gone: Vec<Slot> = self.index.live_slots().iter().map(Slot).filter(empty).collect();
        for &slot in &gone {
            self.remove_series(slot, shared);
        }
        let (place, refs) = (self.place, &*shared.refs);
        self.exemplars.retain(|series| refs.resolve(place, series).is_some());
        self.late.retain(|_, buffer| {
            buffer.retain(|&(ts, _)| ts >= until_ms);
            !buffer.is_empty()
        });
        self.late_histograms.retain(|_, buffer| {
            buffer.retain(|(ts, _)| *ts >= until_ms);
            !buffer.is_empty()
        });
        self.starts.drop_late_before(until_ms);
        self.tombstones.retain(|_, ranges| {
            ranges.retain(|range| range.end_ms >= until_ms);
            !ranges.is_empty()
        });
        self.occupied = self.occupied.split_off(&until_ms.div_euclid(CELL_MS));
        self.last_cell = None;
        let first_cell = self.occupied.first().map(|cell| cell.saturating_mul(CELL_MS));
        self.min_ts = self.min_ts.max(Some(until_ms)).max(first_cell);
        gone.len() as u64
    }

    fn remove_series(&mut self, slot: Slot, shared: &mut Shared<'_>) {
        let series = &mut self.series[slot.0 as usize];
        self.open_chunks -= usize::from(series.chunk.count() > 0);
        series.chunk.clear(&mut self.pool);
        self.late.remove(&slot);
        self.open_chunks -= usize::from(self.histograms.remove(&slot).is_some());
        self.late_histograms.remove(&slot);
        self.starts.remove(slot);
        self.tombstones.remove(&series.series);
        shared.refs.release(series.series);
        self.index.remove(slot);
    }

    /// Hides samples that the series have now. Returns how many series were touched.
    pub(crate) fn delete(&mut self, command: &DeleteCommand) -> u64 {
        let mut touched = 0;
        for slot in self.index.select(&command.matchers) {
            let series = &self.series[slot as usize];
            // Samples that are still to come are not deleted.
            let end_ms = command.range.end_ms.min(series.chunk.newest_ts());
            let range = TimeRange::new(command.range.start_ms, end_ms);
            if !range.is_empty() {
                add_range(self.tombstones.entry(series.series).or_default(), range);
                touched += 1;
            }
        }
        touched
    }

    /// Whether so much of the memory is left over from removed series that the head should be built anew.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        let (live, held) = self.pool.bytes();
        const POOL_SLACK_BYTES: usize = 1 << 20;
        self.index.is_mostly_dead() || held > live + POOL_SLACK_BYTES
    }
}

/// Adds a range to ranges that are apart and ascending.
fn add_range(ranges: &mut Vec<TimeRange>, range: TimeRange) {
    let from = ranges.partition_point(|other| other.end_ms < range.start_ms.saturating_sub(1));
    let to = ranges.partition_point(|other| other.start_ms <= range.end_ms.saturating_add(1));
    let joined = ranges[from..to].iter().fold(range, |all, other| all.union(*other));
    ranges.splice(from..to, [joined]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_ranges_stay_apart_and_ascending() {
        let mut ranges = Vec::new();
        for (start, end, expected) in [
            (10, 20, vec![(10, 20)]),
            (30, 40, vec![(10, 20), (30, 40)]),
            (5, 8, vec![(5, 8), (10, 20), (30, 40)]),
            (9, 9, vec![(5, 20), (30, 40)]),
            (18, 31, vec![(5, 40)]),
            (41, i64::MAX, vec![(5, i64::MAX)]),
            (i64::MIN, 0, vec![(i64::MIN, 0), (5, i64::MAX)]),
        ] {
            add_range(&mut ranges, TimeRange::new(start, end));
            assert_eq!(ranges, expected.into_iter().map(|(s, e)| TimeRange::new(s, e)).collect::<Vec<_>>());
        }
    }
}
