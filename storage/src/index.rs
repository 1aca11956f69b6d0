//! The series index of one head: from labels to series, from matchers to series, from series to labels.
//!
//! Every label pair is stored once, as the canonical bytes it has in a label set, so a series' label set is the pieces
//! of its pairs joined. A series is a list of pair numbers; a pair has the bitmap of its series. There is no heap
//! object for a series. Removing a series leaves its pieces behind; the head rebuilds the index when too much of it is
//! dead.

mod labels;
mod pairs;
mod postings;
mod select;
pub mod stats;
mod values;

use hashbrown::HashTable;
use roaring::RoaringBitmap;
use twox_hash::XxHash3_64;

use pairs::{PairId, Pairs};
use postings::Postings;

/// Bytes of label text that a head takes. Above it no series is created: places in the text are 32 bits.
const LABEL_TEXT_BYTES_MAX: usize = 1 << 30;
/// Most labels of a series; requests are limited far below.
pub(crate) const LABELS_MAX: usize = u16::MAX as usize;

/// A series by its place in the index. Used again after the series is removed: never leaves the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the pair numbers start in `label_pairs`.
    labels_at: u32,
    hash: u32,
    labels: u16,
    live: bool,
}

/// The index of one head.
#[derive(Debug)]
pub(crate) struct Index {
    seed: u64,
    pairs: Pairs,
    /// By pair number.
    postings: Vec<Postings>,
    /// The pair numbers of every series, one list behind the other.
    label_pairs: Vec<u32>,
    /// By slot.
    entries: Vec<Entry>,
    free_slots: Vec<Slot>,
    by_labels: HashTable<u32>,
    live: RoaringBitmap,
    /// Entries of `label_pairs` that no live series has.
    dead_labels: usize,
    /// Series inserted since the bitmaps were packed.
    unpacked: usize,
}

impl Index {
    /// An empty index. The seed keeps others from choosing labels that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            pairs: Pairs::new(seed),
            postings: Vec::new(),
            label_pairs: Vec::new(),
            entries: Vec::new(),
            free_slots: Vec::new(),
            by_labels: HashTable::new(),
            live: RoaringBitmap::new(),
            dead_labels: 0,
            unpacked: 0,
        }
    }

    /// Series in the index.
    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    pub(crate) fn live_slots(&self) -> &RoaringBitmap {
        &self.live
    }

    /// The series with these canonical label bytes.
    pub(crate) fn find(&self, labels: &[u8]) -> Option<Slot> {
        let hash = self.hash(labels);
        self.by_labels
            .find(spread(hash), |&slot| self.entries[slot as usize].hash == hash && self.has_labels(Slot(slot), labels))
            .map(|&slot| Slot(slot))
    }

    /// Whether a series with these labels can be added.
    pub(crate) fn has_room_for(&self, labels: &[u8]) -> bool {
        self.pairs.live_bytes() + labels.len() <= LABEL_TEXT_BYTES_MAX && labels::split(labels).count() <= LABELS_MAX
    }

    /// Adds a series that [`Self::find`] did not find and that [`Self::has_room_for`] has room for.
    pub(crate) fn insert(&mut self, labels: &[u8]) -> Slot {
        let labels_at = self.label_pairs.len();
        for label in labels::split(labels) {
            let pair = self.intern(label);
            push_tight(&mut self.label_pairs, pair);
        }
        self.attach(labels_at, self.hash(labels))
    }

    /// The number of a label's canonical piece, for [`Self::insert_pairs`].
    pub(crate) fn intern(&mut self, piece: &[u8]) -> u32 {
        let pair = self.pairs.intern(piece);
        if pair.0 as usize == self.postings.len() {
            push_tight(&mut self.postings, Postings::default());
        }
        pair.0
    }

    /// Adds a series by numbers that [`Self::intern`] gave, in the order of their names. `scratch` is overwritten.
    pub(crate) fn insert_pairs(&mut self, pairs: &[u32], scratch: &mut Vec<u8>) -> Slot {
        let labels_at = self.label_pairs.len();
        scratch.clear();
        for &pair in pairs {
            scratch.extend_from_slice(self.pairs.text(PairId(pair)));
            push_tight(&mut self.label_pairs, pair);
        }
        self.attach(labels_at, self.hash(scratch))
    }

    /// Makes a series of the pairs at the end of `label_pairs`.
    fn attach(&mut self, labels_at: usize, hash: u32) -> Slot {
        let slot = self.free_slots.pop().unwrap_or(Slot(self.entries.len() as u32));
        for &pair in &self.label_pairs[labels_at..] {
            let postings = &mut self.postings[pair as usize];
            if postings.is_empty() {
                self.pairs.revive(PairId(pair));
            }
            postings.insert(slot.0);
        }
        let labels = (self.label_pairs.len() - labels_at) as u16;
        let entry = Entry { labels_at: labels_at as u32, hash, labels, live: true };
        if slot.0 as usize == self.entries.len() {
            push_tight(&mut self.entries, entry);
        } else {
            self.entries[slot.0 as usize] = entry;
        }
        self.live.insert(slot.0);
        self.unpacked += 1;
        let entries = &self.entries;
        self.by_labels.insert_unique(spread(hash), slot.0, |&slot| spread(entries[slot as usize].hash));
        slot
    }

    /// Removes a series. Its slot may be given to another one from now on.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let entry = self.entries[slot.0 as usize];
        assert!(entry.live, "slot {} is removed twice", slot.0);
        for at in entry.range() {
            let pair = self.label_pairs[at];
            let postings = &mut self.postings[pair as usize];
            postings.remove(slot.0);
            if postings.is_empty() {
                self.pairs.bury(PairId(pair));
            }
        }
        match self.by_labels.find_entry(spread(entry.hash), |&other| other == slot.0) {
            Ok(found) => drop(found.remove()),
            Err(_) => unreachable!("a live series is in the table"),
        }
        self.live.remove(slot.0);
        self.dead_labels += usize::from(entry.labels);
        self.entries[slot.0 as usize].live = false;
        self.free_slots.push(slot);
    }

    /// Whether so much belongs to removed series that building the index anew pays.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        let dead_slots = self.free_slots.len();
        self.dead_labels > self.label_pairs.len() / 2
            || dead_slots > self.entries.len() / 2
            || self.pairs.dead_bytes() > self.pairs.live_bytes()
    }

    /// Appends the canonical label bytes of a series to `out`.
    pub(crate) fn copy_labels(&self, slot: Slot, out: &mut Vec<u8>) {
        for pair in self.pairs_of(slot) {
            out.extend_from_slice(self.pairs.text(pair));
        }
    }

    /// Numbers of a series' pairs, in the order of their names.
    pub(crate) fn pair_numbers(&self, slot: Slot) -> &[u32] {
        &self.label_pairs[self.entries[slot.0 as usize].range()]
    }

    /// The canonical piece of a pair.
    pub(crate) fn piece(&self, pair: u32) -> &[u8] {
        self.pairs.text(PairId(pair))
    }

    /// One above the largest pair number.
    pub(crate) fn pair_limit(&self) -> usize {
        self.pairs.len()
    }

    fn pairs_of(&self, slot: Slot) -> impl Iterator<Item = PairId> + '_ {
        self.pair_numbers(slot).iter().map(|&pair| PairId(pair))
    }

    fn has_labels(&self, slot: Slot, mut labels: &[u8]) -> bool {
        for pair in self.pairs_of(slot) {
            match labels.strip_prefix(self.pairs.text(pair)) {
                Some(rest) => labels = rest,
                None => return false,
            }
        }
        labels.is_empty()
    }

    /// Packs the bitmaps, which are built by insertion, when enough was inserted since the last time.
    pub(crate) fn optimize(&mut self) {
        if self.unpacked <= self.len() / 8 {
            return;
        }
        self.unpacked = 0;
        self.live.optimize();
        for postings in &mut self.postings {
            postings.optimize();
        }
    }

    fn hash(&self, labels: &[u8]) -> u32 {
        (XxHash3_64::oneshot_with_seed(self.seed, labels) >> 32) as u32
    }
}

impl Entry {
    fn range(&self) -> std::ops::Range<usize> {
        self.labels_at as usize..self.labels_at as usize + usize::from(self.labels)
    }
}

/// The hash table takes its bucket and its tag from different ends of 64 bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Pushes, growing by an eighth rather than to the double: these columns are most of what a head holds.
pub(crate) fn push_tight<T>(column: &mut Vec<T>, item: T) {
    const GROW_MIN: usize = 64;
    if column.len() == column.capacity() {
        column.reserve_exact((column.len() / 8).max(GROW_MIN));
    }
    column.push(item);
}

#[cfg(test)]
mod tests;
