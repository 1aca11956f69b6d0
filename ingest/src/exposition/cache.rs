//! What one target exposed last time, so that a steady target's lines are never parsed again.
//!
//! Remembers for each series text its keyed hash, the store's handle and whether it was there in the last scrape:
//! about 40 bytes, no label sets. Lines that come in the order of the last scrape are found without a table probe.
//! Leaves relabelling, appending and staleness markers to the scrape loop.
//!
//! One scrape, in calls:
//! 1. [`LineCache::look_up`] each sample. For [`Lookup::Fresh`] parse the labels (`Sample::labels`), relabel, and
//!    either [`LineCache::drop_series`] or append the sample with labels.
//! 2. After the append [`LineCache::learn`] the handles of the fresh samples; for places in `outcome.stale`
//!    [`LineCache::forget`] their slots and go over the same body once more: exactly the forgotten ones come back as fresh.
//! 3. Send staleness markers to [`LineCache::vanished`], then [`LineCache::commit`].
//!
//! When a scrape fails: [`LineCache::abort`] if lookups were made, markers to [`LineCache::vanished`] (then: every
//! series of the scrape before), and [`LineCache::commit`]. When the target goes away: markers to [`LineCache::exposed`].
//! When its labels or relabelling change: the markers too, then [`LineCache::clear`].
//!
//! Invariant: between `commit` and the next `look_up` no entry is marked as seen in the current scrape.

use std::collections::HashSet;

use hashbrown::HashTable;

use crate::series_hash::SeriesHasher;
use crate::sink::SeriesHandle;

/// Scrapes that a series may miss before its entry goes.
const MISSED_SCRAPES_MAX: u8 = 10;
/// Entries that missed a scrape are swept out once they are more than this and more than the rest.
const MISSED_ENTRIES_MIN: usize = 1000;

/// Between scrapes an eighth more room is kept than there are entries.
const SPARE_PART: usize = 8;

/// The place of a series in the cache. Valid until [`LineCache::commit`] or [`LineCache::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// What the cache knows of a series text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The store knows it: append by handle.
    Known { handle: SeriesHandle, slot: Slot },
    /// Relabelling drops it: nothing to append.
    Dropped,
    /// Parse and relabel it, then [`LineCache::learn`] or [`LineCache::drop_series`].
    Fresh(Slot),
}

/// What [`LineCache::look_up`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub lookup: Lookup,
    /// The current scrape had a sample of this series text before.
    pub again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Known,
    Dropped,
}

#[derive(Debug)]
struct Entry {
    hash: u128,
    handle: SeriesHandle,
    state: State,
    /// Seen with a staleness-tracked sample in the last committed scrape, in the current one.
    tracked_before: bool,
    tracked_now: bool,
    seen_now: bool,
    /// No committed scrape has had it yet.
    is_new: bool,
    missed_scrapes: u8,
}

impl Entry {
    /// What the entry at a place says.
    fn lookup(&self, at: usize) -> Lookup {
        match self.state {
            State::Known => Lookup::Known { handle: self.handle, slot: Slot(at as u32) },
            State::Dropped => Lookup::Dropped,
            State::Fresh => Lookup::Fresh(Slot(at as u32)),
        }
    }
}

/// The line cache of one target. See the module for the order of calls.
#[derive(Debug)]
pub struct LineCache {
    hasher: SeriesHasher,
    /// In the order of first appearance, which is the order of later scrapes for nearly every exporter.
    entries: Vec<Entry>,
    by_hash: HashTable<u32>,
    /// The entry that the next line will most likely hit.
    expected: usize,
    /// Tells series of one text apart: see [`Self::set_context`].
    context: u128,
}

impl LineCache {
    /// All caches of a process may share one hasher.
    pub fn new(hasher: SeriesHasher) -> Self {
        Self { hasher, entries: Vec::new(), by_hash: HashTable::new(), expected: 0, context: 0 }
    }

    /// Tells which series the texts to come stand for, where the same text can stand for several. No bytes are what a scrape
    /// begins with.
    pub fn set_context(&mut self, context: &[u8]) {
        self.context = if context.is_empty() { 0 } else { self.hasher.hash(context) };
    }

    fn hash(&self, series: &[u8]) -> u128 {
        self.hasher.hash(series) ^ self.context
    }

    /// Finds the series of a sample by its text ([`super::Sample::series`]) and marks it as seen in the current scrape.
    /// `tracked` says whether it gets a staleness marker when it vanishes: no for samples with an explicit timestamp
    /// unless `track_timestamps_staleness` is on.
    pub fn look_up(&mut self, series: &[u8], tracked: bool) -> Found {
        let hash = self.hash(series);
        let at = match self.entries.get(self.expected) {
            Some(entry) if entry.hash == hash => self.expected,
            _ => self.find_or_insert(hash),
        };
        self.expected = at + 1;
        let entry = &mut self.entries[at];
        let again = std::mem::replace(&mut entry.seen_now, true);
        entry.tracked_now |= tracked;
        Found { lookup: entry.lookup(at), again }
    }

    /// What is known of a series text, `None` when it was never looked up. Remembers nothing.
    pub fn peek(&self, series: &[u8]) -> Option<Lookup> {
        let at = self.find(self.hash(series))?;
        Some(self.entries[at].lookup(at))
    }

    /// Whether no committed scrape has had this series.
    pub fn is_new(&self, slot: Slot) -> bool {
        self.entries[slot.0 as usize].is_new
    }

    fn find(&self, hash: u128) -> Option<usize> {
        let found = self.by_hash.find(hash as u64, |at| self.entries[*at as usize].hash == hash);
        found.map(|at| *at as usize)
    }

    fn find_or_insert(&mut self, hash: u128) -> usize {
        if let Some(at) = self.find(hash) {
            return at;
        }
        let entries = &mut self.entries;
        let at = u32::try_from(entries.len()).expect("a body is smaller than 4 GiB, so it has fewer lines");
        entries.push(Entry {
            hash,
            handle: SeriesHandle(0),
            state: State::Fresh,
            tracked_before: false,
            tracked_now: false,
            seen_now: false,
            is_new: true,
            missed_scrapes: 0,
        });
        self.by_hash.insert_unique(hash as u64, at, |at| entries[*at as usize].hash as u64);
        at as usize
    }

    /// The store gave a fresh series its handle.
    pub fn learn(&mut self, slot: Slot, handle: SeriesHandle) {
        let entry = &mut self.entries[slot.0 as usize];
        entry.state = State::Known;
        entry.handle = handle;
    }

    /// Relabelling dropped a fresh series; it will be [`Lookup::Dropped`] from now on.
    pub fn drop_series(&mut self, slot: Slot) {
        self.entries[slot.0 as usize].state = State::Dropped;
    }

    /// The store no longer takes the handle: the series is [`Lookup::Fresh`] again.
    pub fn forget(&mut self, slot: Slot) {
        self.entries[slot.0 as usize].state = State::Fresh;
    }

    /// Handles of the series that were exposed in the last committed scrape and are not in the current one. A series
    /// whose text changed while its labels did not (labels in another order) has not vanished.
    pub fn vanished(&self) -> Vec<SeriesHandle> {
        let known = || self.entries.iter().filter(|entry| entry.state == State::Known);
        let gone: HashSet<SeriesHandle> =
            known().filter(|entry| entry.tracked_before && !entry.tracked_now).map(|entry| entry.handle).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let alive: HashSet<SeriesHandle> = known()
            .filter(|entry| entry.tracked_now && gone.contains(&entry.handle))
            .map(|entry| entry.handle)
            .collect();
        let mut gone: Vec<_> = gone.difference(&alive).copied().collect();
        gone.sort_unstable_by_key(|handle| handle.0);
        gone
    }

    /// Handles of all tracked series of the last committed scrape, each once.
    pub fn exposed(&self) -> Vec<SeriesHandle> {
        let tracked = self.entries.iter().filter(|entry| entry.state == State::Known && entry.tracked_before);
        let mut handles: Vec<_> = tracked.map(|entry| entry.handle).collect();
        handles.sort_unstable_by_key(|handle| handle.0);
        handles.dedup();
        handles
    }

    /// Ends the current scrape: what it exposed is what the next one is compared with.
    pub fn commit(&mut self) {
        let mut missed = 0;
        for entry in &mut self.entries {
            entry.missed_scrapes = if entry.seen_now { 0 } else { entry.missed_scrapes.saturating_add(1) };
            missed += usize::from(!entry.seen_now);
            entry.is_new &= !entry.seen_now;
            entry.tracked_before = entry.tracked_now;
            (entry.tracked_now, entry.seen_now) = (false, false);
        }
        self.expected = 0;
        self.entries.shrink_to(self.entries.len() + self.entries.len() / SPARE_PART);
        if missed > MISSED_ENTRIES_MIN.max(self.entries.len() - missed) {
            self.keep(|entry| entry.missed_scrapes == 0);
        } else if missed > 0 {
            self.keep(|entry| entry.missed_scrapes <= MISSED_SCRAPES_MAX);
        }
    }

    /// Takes back the lookups since the last [`Self::commit`], as if the current scrape had exposed nothing.
    pub fn abort(&mut self) {
        for entry in &mut self.entries {
            (entry.tracked_now, entry.seen_now) = (false, false);
        }
        self.expected = 0;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries = Vec::new();
        self.by_hash = HashTable::new();
        self.expected = 0;
    }

    /// Number of remembered series texts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.by_hash.allocation_size()
    }

    fn keep(&mut self, keep: impl Fn(&Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain(keep);
        if self.entries.len() == before {
            return;
        }
        self.entries.shrink_to_fit();
        self.by_hash = HashTable::with_capacity(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            self.by_hash.insert_unique(entry.hash as u64, at as u32, |at| self.entries[*at as usize].hash as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> LineCache {
        LineCache::new(SeriesHasher::new(7))
    }

    /// One scrape of `texts`: gives every fresh series the handle of its first byte, and returns what vanished.
    fn scrape(cache: &mut LineCache, texts: &[&str]) -> Vec<u64> {
        for text in texts {
            if let Lookup::Fresh(slot) = cache.look_up(text.as_bytes(), true).lookup {
                cache.learn(slot, SeriesHandle(u64::from(text.as_bytes()[0])));
            }
        }
        let vanished = cache.vanished().iter().map(|handle| handle.0).collect();
        cache.commit();
        vanished
    }

    fn handles(texts: &[&str]) -> Vec<u64> {
        texts.iter().map(|text| u64::from(text.as_bytes()[0])).collect()
    }

    #[test]
    fn a_steady_target_is_known_and_nothing_vanishes() {
        let mut cache = cache();
        assert_eq!(scrape(&mut cache, &["a", "b", "c"]), handles(&[]));
        assert_eq!(cache.look_up(b"a", true).lookup, Lookup::Known { handle: SeriesHandle(97), slot: Slot(0) });
        assert_eq!(cache.look_up(b"c", true).lookup, Lookup::Known { handle: SeriesHandle(99), slot: Slot(2) });
        assert_eq!(cache.look_up(b"b", true).lookup, Lookup::Known { handle: SeriesHandle(98), slot: Slot(1) });
        assert_eq!(cache.vanished(), []);
    }

    #[test]
    fn a_series_vanishes_once_and_may_come_back() {
        let mut cache = cache();
        scrape(&mut cache, &["a", "b", "c"]);
        assert_eq!(scrape(&mut cache, &["c", "a"]), handles(&["b"]));
        assert_eq!(scrape(&mut cache, &["a", "c"]), handles(&[]));
        assert_eq!(scrape(&mut cache, &["a", "b", "c"]), handles(&[]));
        assert_eq!(scrape(&mut cache, &[]), handles(&["a", "b", "c"]));
        assert_eq!(scrape(&mut cache, &[]), handles(&[]));
    }

    #[test]
    fn another_text_of_the_same_series_is_no_vanishing() {
        let mut cache = cache();
        scrape(&mut cache, &["a1", "b"]);
        assert_eq!(scrape(&mut cache, &["a2", "b"]), handles(&[]));
        assert_eq!(scrape(&mut cache, &["b"]), handles(&["a"]));
    }

    #[test]
    fn samples_with_their_own_time_are_not_tracked() {
        let mut cache = cache();
        let Lookup::Fresh(slot) = cache.look_up(b"a", false).lookup else { panic!("a is fresh") };
        cache.learn(slot, SeriesHandle(1));
        cache.commit();
        assert_eq!(cache.vanished(), []);
        assert_eq!(cache.exposed(), []);
    }

    #[test]
    fn a_failed_scrape_ends_the_series_of_the_one_before() {
        let mut cache = cache();
        scrape(&mut cache, &["a", "b"]);
        cache.look_up(b"a", true);
        cache.look_up(b"x", true);
        cache.abort();
        assert_eq!(cache.vanished(), [SeriesHandle(97), SeriesHandle(98)]);
        cache.commit();
        assert_eq!(cache.exposed(), []);
    }

    #[test]
    fn only_forgotten_series_are_fresh_on_the_second_pass() {
        let mut cache = cache();
        scrape(&mut cache, &["a", "b"]);
        let Lookup::Known { slot, .. } = cache.look_up(b"b", true).lookup else { panic!("b is known") };
        cache.forget(slot);
        assert!(matches!(cache.look_up(b"a", true).lookup, Lookup::Known { .. }));
        assert_eq!(cache.look_up(b"b", true).lookup, Lookup::Fresh(slot));
        cache.learn(slot, SeriesHandle(5));
        assert_eq!(cache.look_up(b"b", true).lookup, Lookup::Known { handle: SeriesHandle(5), slot });
        assert_eq!(cache.vanished(), []);
    }

    #[test]
    fn dropped_series_stay_dropped_and_get_no_marker() {
        let mut cache = cache();
        let Lookup::Fresh(slot) = cache.look_up(b"a", true).lookup else { panic!("a is fresh") };
        cache.drop_series(slot);
        assert_eq!(cache.look_up(b"a", true).lookup, Lookup::Dropped);
        cache.commit();
        assert_eq!(cache.look_up(b"a", true).lookup, Lookup::Dropped);
        cache.abort();
        assert_eq!(cache.vanished(), []);
    }

    #[test]
    fn a_series_is_new_until_a_scrape_with_it_is_committed() {
        let mut cache = cache();
        for _ in 0..2 {
            let Lookup::Fresh(slot) = cache.look_up(b"a", true).lookup else { panic!("a is fresh") };
            assert!(cache.is_new(slot));
            cache.abort();
            cache.commit();
        }
        let Lookup::Fresh(slot) = cache.look_up(b"a", true).lookup else { panic!("a is fresh") };
        cache.commit();
        assert!(!cache.is_new(slot));
    }

    #[test]
    fn a_second_sample_of_a_scrape_is_told_from_the_first() {
        let mut cache = cache();
        for _ in 0..2 {
            assert!(!cache.look_up(b"a", true).again);
            assert!(cache.look_up(b"a", true).again);
            cache.commit();
        }
    }

    #[test]
    fn a_peek_remembers_nothing() {
        let mut cache = cache();
        scrape(&mut cache, &["a"]);
        assert_eq!(cache.peek(b"a"), Some(Lookup::Known { handle: SeriesHandle(97), slot: Slot(0) }));
        assert_eq!((cache.peek(b"b"), cache.len()), (None, 1));
    }

    #[test]
    fn texts_that_never_repeat_do_not_pile_up() {
        let mut cache = cache();
        for round in 0..40 {
            let texts: Vec<String> = (0..500).map(|i| format!("{round} {i}")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            scrape(&mut cache, &texts);
        }
        assert!(cache.len() <= 500 + MISSED_ENTRIES_MIN, "{} entries", cache.len());
    }

    #[test]
    fn an_entry_is_about_forty_bytes() {
        let mut cache = cache();
        let texts: Vec<String> = (0..10_000).map(|i| format!("metric_{i}")).collect();
        scrape(&mut cache, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(size_of::<Entry>() <= 32);
        assert!(cache.memory_bytes() <= 45 * cache.len(), "{}", cache.memory_bytes() / cache.len());
    }
}
