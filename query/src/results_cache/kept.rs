//! The extents that are kept, with a limit of their bytes. What was used longest ago goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use pharos_model::{Sample, TenantId, TimeRange};

use super::extents::{Extent, Steps};
use crate::distributed::Basis;
use crate::value::{HistogramSample, Series};

/// One entry takes at most this part of all room.
const ENTRY_SHARE: usize = 2;

/// All that an answer depends on besides data and time. What else an engine can be told stays the same as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: TenantId,
    /// In the one form in which it is printed.
    pub expr: String,
    pub step_ms: i64,
    /// Where steps lie: a time of one, modulo their width.
    pub phase_ms: i64,
    pub lookback_ms: i64,
    pub subquery_step_ms: i64,
}

/// The stretches of one query.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The state of the samples that they are right for.
    pub basis: Basis,
    /// Apart and ascending.
    pub extents: Vec<Extent>,
}

/// Entries by their keys.
#[derive(Debug)]
pub struct Kept {
    bytes_max: usize,
    bytes: usize,
    entries: HashMap<Key, Place>,
    /// Keys by when they were used last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

#[derive(Debug)]
struct Place {
    entry: Arc<Entry>,
    bytes: usize,
    used: u64,
}

impl Kept {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&mut self, key: &Key) -> Option<Arc<Entry>> {
        self.uses += 1;
        let place = self.entries.get_mut(key)?;
        let key = self.by_use.remove(&place.used).expect("each entry has a last use");
        place.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(&place.entry))
    }

    /// Replaces an entry. Returns how many others had to go.
    pub fn insert(&mut self, key: Key, entry: Entry) -> usize {
        self.remove(&key);
        let bytes = entry_bytes(&key, &entry);
        if entry.extents.is_empty() || bytes > self.bytes_max / ENTRY_SHARE {
            return 0;
        }
        let mut evicted = 0;
        while self.bytes + bytes > self.bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            let gone = self.entries.remove(&oldest).expect("each use is that of an entry");
            self.bytes -= gone.bytes;
            evicted += 1;
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Place { entry: Arc::new(entry), bytes, used: self.uses });
        evicted
    }

    fn remove(&mut self, key: &Key) {
        if let Some(place) = self.entries.remove(key) {
            self.by_use.remove(&place.used);
            self.bytes -= place.bytes;
        }
    }
}

fn entry_bytes(key: &Key, entry: &Entry) -> usize {
    // The key is there twice, by itself and by its use.
    let of_key = 2 * (size_of::<Key>() + key.expr.len() + key.tenant.as_str().len()) + size_of::<Place>();
    let extents = entry.extents.iter().map(|extent| {
        size_of::<Extent>()
            + extent.series.capacity() * size_of::<Series>()
            + extent.series.iter().map(series_bytes).sum::<usize>()
    });
    of_key + entry.basis.memory_bytes() + extents.sum::<usize>()
}

fn series_bytes(series: &Series) -> usize {
    let histograms: usize = series.histograms.iter().map(|sample| sample.histogram.size_bytes()).sum();
    series.labels.as_bytes().len()
        + series.samples.capacity() * size_of::<Sample>()
        + series.histograms.capacity() * size_of::<HistogramSample>()
        + histograms
}

/// The steps that are kept beside those that a query asked for: as much again before and after them, so that a window that moves
/// finds what it left, and no entry grows for ever.
pub fn kept_around(asked: Steps) -> TimeRange {
    let width_ms = asked.last_ms.saturating_sub(asked.first_ms);
    TimeRange::new(asked.first_ms.saturating_sub(width_ms), asked.last_ms.saturating_add(width_ms))
}

#[cfg(test)]
mod tests {
    use pharos_model::LabelSet;

    use super::*;
    use crate::source::Revision;

    fn key(expr: &str) -> Key {
        let expr = expr.to_owned();
        let tenant = TenantId::anonymous();
        Key { tenant, expr, step_ms: 10, phase_ms: 0, lookback_ms: 300_000, subquery_step_ms: 60_000 }
    }

    fn entry(samples: usize) -> Entry {
        let samples = (0..samples as i64).map(|at| Sample { ts: at * 10, value: 1.0 }).collect();
        let series = vec![Series { labels: LabelSet::empty(), samples, histograms: Vec::new() }];
        let steps = Steps { first_ms: 0, last_ms: 10, step_ms: 10 };
        Entry { basis: Basis::Here(Revision::Whole(0)), extents: vec![Extent { steps, series: Arc::new(series) }] }
    }

    #[test]
    fn the_longest_unused_goes_when_there_is_no_room() {
        let one = entry_bytes(&key("a"), &entry(100));
        let mut kept = Kept::new(3 * one);
        assert_eq!(["a", "b", "c"].map(|expr| kept.insert(key(expr), entry(100))), [0, 0, 0]);
        assert!(kept.get(&key("a")).is_some());
        assert_eq!(kept.insert(key("d"), entry(100)), 1);
        assert_eq!(["a", "b", "c", "d"].map(|expr| kept.get(&key(expr)).is_some()), [true, false, true, true]);
        assert_eq!(kept.bytes(), 3 * one);
        // In its own place it needs no other's.
        assert_eq!(kept.insert(key("c"), entry(100)), 0);
        assert_eq!((kept.bytes(), kept.by_use.len()), (3 * one, 3));
    }

    #[test]
    fn what_is_too_large_or_empty_is_not_kept_and_its_old_self_goes() {
        let mut kept = Kept::new(4 * entry_bytes(&key("a"), &entry(100)));
        kept.insert(key("a"), entry(100));
        assert_eq!(kept.insert(key("a"), entry(1000)), 0);
        assert!(kept.get(&key("a")).is_none() && kept.bytes() == 0);
        kept.insert(key("a"), entry(100));
        kept.insert(key("a"), Entry { extents: Vec::new(), ..entry(0) });
        assert!(kept.get(&key("a")).is_none() && kept.bytes() == 0);
    }

    #[test]
    fn as_much_is_kept_around_a_query_as_it_asks_for() {
        let asked = |first_ms, last_ms| Steps { first_ms, last_ms, step_ms: 10 };
        assert_eq!(kept_around(asked(1000, 1600)), TimeRange::new(400, 2200));
        assert_eq!(kept_around(asked(i64::MIN, i64::MAX)), TimeRange::ALL);
    }
}
