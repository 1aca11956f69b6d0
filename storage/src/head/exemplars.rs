//! Exemplars: the newest ones of a tenant, in a ring.

use std::collections::{HashMap, VecDeque};

use pharos_model::{Exemplar, LabelSet, Matcher, TimeRange};
use roaring::RoaringBitmap;

use super::Head;
use super::refs::RefTable;
use crate::index::Slot;
use crate::record::{SeriesExemplar, SeriesRef};

/// Longest labels of an exemplar, names and values together, in characters; as Prometheus.
const EXEMPLAR_LABEL_CHARS_MAX: usize = 128;

/// Exemplars of one series, ascending by time.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    pub labels: LabelSet,
    pub exemplars: Vec<Exemplar>,
}

#[derive(Debug)]
pub(crate) struct ExemplarRing {
    max: usize,
    /// In the order of arrival.
    ring: VecDeque<(SeriesRef, Exemplar)>,
    /// Exemplars that have left the front; the one at `ring[i]` has number `evicted + i`.
    evicted: u64,
    /// Number of the newest exemplar of each series that has any.
    newest: HashMap<SeriesRef, u64>,
}

impl ExemplarRing {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ring: VecDeque::new(), evicted: 0, newest: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(SeriesRef, Exemplar)> {
        self.ring.iter()
    }

    /// Adds an exemplar unless it is too long, the same as the newest of its series, or older than it.
    pub(super) fn push(&mut self, series: SeriesRef, exemplar: &Exemplar) -> bool {
        let chars: usize = exemplar.labels.iter().map(|l| l.name.chars().count() + l.value.chars().count()).sum();
        let newest = self.newest.get(&series).map(|number| &self.ring[(number - self.evicted) as usize].1);
        if self.max == 0 || chars > EXEMPLAR_LABEL_CHARS_MAX || newest.is_some_and(|newest| newest.ts >= exemplar.ts) {
            return false;
        }
        self.restore(series, exemplar.clone());
        true
    }

    /// Adds an exemplar that was in a ring before.
    pub(super) fn restore(&mut self, series: SeriesRef, exemplar: Exemplar) {
        if self.max == 0 {
            return;
        }
        if self.ring.len() == self.max {
            self.evict();
        }
        self.newest.insert(series, self.evicted + self.ring.len() as u64);
        self.ring.push_back((series, exemplar));
    }

    fn evict(&mut self) {
        if let Some((series, _)) = self.ring.pop_front() {
            if self.newest.get(&series) == Some(&self.evicted) {
                self.newest.remove(&series);
            }
            self.evicted += 1;
        }
    }

    /// Keeps the exemplars of the series that `is_live` names.
    pub(super) fn retain(&mut self, is_live: impl Fn(SeriesRef) -> bool) {
        if self.newest.keys().all(|&series| is_live(series)) {
            return;
        }
        let kept: Vec<_> = self.ring.drain(..).filter(|(series, _)| is_live(*series)).collect();
        self.newest.clear();
        self.evicted = 0;
        for (series, exemplar) in kept {
            self.restore(series, exemplar);
        }
    }
}

impl Head {
    /// Keeps an exemplar of a series that is in the head.
    pub(super) fn append_exemplar(&mut self, exemplar: &SeriesExemplar) -> bool {
        match self.index.find(exemplar.series.as_bytes()) {
            Some(slot) => self.exemplars.push(self.series_at(slot), &exemplar.exemplar),
            None => false,
        }
    }

    /// Exemplars in the range of the series that satisfy all matchers of any of the sets, ordered by labels.
    pub(crate) fn select_exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        refs: &RefTable,
    ) -> Vec<SeriesExemplars> {
        let mut slots = RoaringBitmap::new();
        for matchers in matcher_sets {
            slots |= self.index.select(matchers);
        }
        let mut found: HashMap<Slot, Vec<Exemplar>> = HashMap::new();
        for (series, exemplar) in self.exemplars.iter().filter(|(_, exemplar)| range.contains(exemplar.ts)) {
            if let Some(slot) = refs.resolve(self.place, *series).filter(|slot| slots.contains(slot.0)) {
                found.entry(slot).or_default().push(exemplar.clone());
            }
        }
        let labels = |slot| {
            let mut bytes = Vec::new();
            self.index.copy_labels(slot, &mut bytes);
            LabelSet::from_canonical_trusted(&bytes)
        };
        let mut found: Vec<_> =
            found.into_iter().map(|(slot, exemplars)| SeriesExemplars { labels: labels(slot), exemplars }).collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(ts: i64) -> Exemplar {
        Exemplar { labels: LabelSet::from_pairs([("trace_id", ts.to_string())]), value: 1.0, ts }
    }

    fn times(ring: &ExemplarRing) -> Vec<(u32, i64)> {
        ring.iter().map(|(series, exemplar)| (series.0, exemplar.ts)).collect()
    }

    #[test]
    fn keeps_the_newest_and_refuses_older_ones_of_a_series() {
        let mut ring = ExemplarRing::new(3);
        for (series, ts, kept) in [
            (1, 5, true),
            (1, 5, false),
            (1, 4, false),
            (2, 4, true),
            (1, 6, true),
            (1, 7, true),
            (2, 3, false),
            (2, 9, true),
        ] {
            assert_eq!(ring.push(SeriesRef(series), &exemplar(ts)), kept, "{series} at {ts}");
        }
        assert_eq!(times(&ring), [(1, 6), (1, 7), (2, 9)]);
        ring.retain(|series| series != SeriesRef(1));
        assert_eq!(times(&ring), [(2, 9)]);
        assert!(ring.push(SeriesRef(1), &exemplar(1)), "a removed series starts anew");
        assert!(!ring.push(SeriesRef(2), &exemplar(9)));
    }

    #[test]
    fn long_labels_are_refused() {
        let mut ring = ExemplarRing::new(3);
        let labels = LabelSet::from_pairs([("a", "ä".repeat(128))]);
        assert!(!ring.push(SeriesRef(1), &Exemplar { labels, value: 1.0, ts: 1 }));
        let labels = LabelSet::from_pairs([("a", "ä".repeat(127))]);
        assert!(ring.push(SeriesRef(1), &Exemplar { labels, value: 1.0, ts: 1 }));
    }
}
