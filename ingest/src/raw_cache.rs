//! Which series the raw label bytes of a remote-write sender mean, for a million series at about 35 bytes each.
//!
//! Keeps the keyed hash of the bytes and the store's handle, nothing else: a hit costs one probe and no label parsing.
//! Leaves hashing to [`crate::series_hash`]. A handle may be stale; the store says so, and a later
//! [`RawCache::learn`] replaces it.
//!
//! A batch is resolved shard by shard under a read lock, in a loop that does nothing but probe, so that the memory
//! accesses of neighbouring probes overlap: at a million series each of them misses the CPU's caches.
//!
//! Invariants: a slot with generation 0 is empty; a shard's table is never full, so every probe ends.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::sink::SeriesHandle;

/// Shards of a cache; a batch takes each lock once.
const SHARDS: usize = 16;
/// Slots of a shard that has seen its first series.
const SLOTS_MIN: usize = 64;
/// Bits of a slot's first word that hold the generation; the hash keeps 120 of its 128.
const GENERATION_BITS: u32 = 8;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// The table of all senders of a node. Keys have to mix in the tenant.
#[derive(Debug)]
pub struct RawCache {
    shards: Box<[RwLock<Shard>]>,
    slots_per_shard_max: usize,
    /// 1..=255, then 1 again.
    generation: AtomicU8,
    /// The shard that [`Self::maintain`] looks at next.
    next_to_sweep: AtomicU32,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Box<[Slot]>,
    used: usize,
    /// The generation in which entries were last swept out.
    swept_in: u8,
}

#[derive(Debug, Default)]
struct Slot {
    /// The upper part of the key's high half and the generation of the last use.
    tag_and_generation: AtomicU64,
    low: u64,
    handle: u64,
}

impl RawCache {
    /// Holds at most `bytes_max`; series that find no room are sent with their labels each time.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            slots_per_shard_max: bytes_max / SHARDS / size_of::<Slot>(),
            generation: AtomicU8::new(1),
            next_to_sweep: AtomicU32::new(0),
        }
    }

    /// Looks up a batch: `handles[i]` becomes what `keys[i]` means. Entries that are found count as used.
    pub fn resolve(&self, keys: &[u128], handles: &mut Vec<Option<SeriesHandle>>) {
        handles.clear();
        handles.resize(keys.len(), None);
        let generation = self.generation.load(Ordering::Relaxed);
        let order = order_by_shard(keys);
        let mut from = 0;
        for (shard, to) in self.shards.iter().zip(order.ends) {
            let shard = shard.read();
            for at in &order.places[from..to] {
                handles[*at as usize] = shard.find(keys[*at as usize], generation);
            }
            from = to;
        }
    }

    /// Remembers what keys mean from now on.
    pub fn learn(&self, entries: &[(u128, SeriesHandle)]) {
        let generation = self.generation.load(Ordering::Relaxed);
        let keys: Vec<u128> = entries.iter().map(|(key, _)| *key).collect();
        let order = order_by_shard(&keys);
        let mut from = 0;
        for (shard, to) in self.shards.iter().zip(order.ends) {
            if from < to {
                let mut shard = shard.write();
                for at in &order.places[from..to] {
                    let (key, handle) = entries[*at as usize];
                    shard.put(key, handle.0, generation, self.slots_per_shard_max);
                }
            }
            from = to;
        }
    }

    /// Begins a new generation. What has not been used in the one before is swept out by [`Self::maintain`].
    pub fn advance_generation(&self) {
        let next = |generation: u8| Some(generation.checked_add(1).unwrap_or(1));
        self.generation.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).expect("the closure always answers");
    }

    /// Sweeps one shard if it is due, so that no single caller waits for the whole cache.
    pub fn maintain(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        let shard = self.next_to_sweep.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
        if self.shards[shard].read().swept_in != generation {
            self.shards[shard].write().sweep(generation);
        }
    }

    /// Number of remembered series.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().used).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().slots.len() * size_of::<Slot>()).sum()
    }
}

/// Places of a batch in the order of their shards.
struct Order {
    places: Vec<u32>,
    /// Where the places of each shard end.
    ends: [usize; SHARDS],
}

/// The low bits choose the shard, the low half from the top the place in its table.
fn shard_of(key: u128) -> usize {
    key as usize % SHARDS
}

fn order_by_shard(keys: &[u128]) -> Order {
    let mut ends = [0; SHARDS];
    for key in keys {
        ends[shard_of(*key)] += 1;
    }
    let mut start = 0;
    for end in &mut ends {
        (start, *end) = (start + *end, start);
    }
    let mut places = vec![0; keys.len()];
    for (at, key) in keys.iter().enumerate() {
        let end = &mut ends[shard_of(*key)];
        places[*end] = at as u32;
        *end += 1;
    }
    Order { places, ends }
}

impl Shard {
    #[inline]
    fn find(&self, key: u128, generation: u8) -> Option<SeriesHandle> {
        if self.slots.is_empty() {
            return None;
        }
        let (tag, low) = split(key);
        let mut at = first_slot(low, self.slots.len());
        loop {
            let slot = &self.slots[at];
            let word = slot.tag_and_generation.load(Ordering::Relaxed);
            if word == 0 {
                return None;
            }
            if slot.low == low && word & !GENERATION_MASK == tag {
                if word & GENERATION_MASK != u64::from(generation) {
                    slot.tag_and_generation.store(tag | u64::from(generation), Ordering::Relaxed);
                }
                return Some(SeriesHandle(slot.handle));
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    fn put(&mut self, key: u128, handle: u64, generation: u8, slots_max: usize) {
        let (tag, low) = split(key);
        let slot = Slot { tag_and_generation: AtomicU64::new(tag | u64::from(generation)), low, handle };
        if self.slots.is_empty() || (self.find(key, generation).is_none() && self.is_crowded(self.used + 1)) {
            let grown = (self.slots.len() / 4 * 5).max(SLOTS_MIN).min(slots_max);
            if grown <= self.slots.len() {
                return;
            }
            self.rebuild(grown, |_| true);
        }
        self.used += usize::from(self.place(slot));
    }

    /// Four fifths full: then a lookup takes three probes on average.
    fn is_crowded(&self, used: usize) -> bool {
        used * 5 > self.slots.len() * 4
    }

    /// Puts a slot where its key belongs; true if the key is new.
    fn place(&mut self, slot: Slot) -> bool {
        let tag = slot.tag_and_generation.load(Ordering::Relaxed) & !GENERATION_MASK;
        let mut at = first_slot(slot.low, self.slots.len());
        loop {
            let present = &mut self.slots[at];
            let word = *present.tag_and_generation.get_mut();
            let is_new = word == 0;
            if is_new || (present.low == slot.low && word & !GENERATION_MASK == tag) {
                *present = slot;
                return is_new;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    fn rebuild(&mut self, slots: usize, keep: impl Fn(u8) -> bool) {
        let fresh = std::iter::repeat_with(Slot::default).take(slots).collect();
        let old = std::mem::replace(&mut self.slots, fresh);
        self.used = 0;
        for slot in old {
            let generation = (slot.tag_and_generation.load(Ordering::Relaxed) & GENERATION_MASK) as u8;
            if generation != 0 && keep(generation) {
                self.used += usize::from(self.place(slot));
            }
        }
    }

    /// Keeps what was used in this generation or the one before, and gives back the room of the rest.
    fn sweep(&mut self, generation: u8) {
        let before = if generation == 1 { u8::MAX } else { generation - 1 };
        let is_recent = |used_in: u8| used_in == generation || used_in == before;
        let used_in = |slot: &mut Slot| (*slot.tag_and_generation.get_mut() & GENERATION_MASK) as u8;
        let recent = self.slots.iter_mut().map(used_in).filter(|used_in| is_recent(*used_in)).count();
        if recent < self.used {
            let slots = (recent / 2 * 3).max(SLOTS_MIN).min(self.slots.len());
            self.rebuild(slots, is_recent);
        }
        self.swept_in = generation;
    }
}

/// The part of the high half that a slot keeps, and the low half.
fn split(key: u128) -> (u64, u64) {
    ((key >> 64) as u64 & !GENERATION_MASK, key as u64)
}

/// Spreads the low half over any number of slots without a division.
fn first_slot(low: u64, slots: usize) -> usize {
    ((u128::from(low) * slots as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series_hash::SeriesHasher;

    fn keys(from: u32, to: u32) -> Vec<u128> {
        let hasher = SeriesHasher::new(3);
        (from..to).map(|i| hasher.hash(&i.to_le_bytes())).collect()
    }

    fn learn(cache: &RawCache, keys: &[u128]) {
        let entries: Vec<_> = keys.iter().map(|key| (*key, SeriesHandle((*key >> 5) as u64))).collect();
        cache.learn(&entries);
    }

    fn found(cache: &RawCache, keys: &[u128]) -> usize {
        let mut handles = Vec::new();
        cache.resolve(keys, &mut handles);
        assert_eq!(handles.len(), keys.len());
        for (key, handle) in keys.iter().zip(&handles) {
            assert!(handle.is_none_or(|handle| handle.0 == (*key >> 5) as u64));
        }
        handles.iter().flatten().count()
    }

    fn sweep_all(cache: &RawCache) {
        (0..SHARDS).for_each(|_| cache.maintain());
    }

    #[test]
    fn what_is_learnt_is_found_and_nothing_else() {
        let cache = RawCache::new(16 << 20);
        let (known, unknown) = (keys(0, 50_000), keys(50_000, 60_000));
        assert_eq!(found(&cache, &known), 0);
        learn(&cache, &known);
        assert_eq!(found(&cache, &known), known.len());
        assert_eq!(found(&cache, &unknown), 0);
        assert_eq!(cache.len(), known.len());
    }

    #[test]
    fn a_new_handle_replaces_the_stale_one() {
        let cache = RawCache::new(1 << 20);
        cache.learn(&[(7, SeriesHandle(1)), (7, SeriesHandle(2))]);
        let mut handles = Vec::new();
        cache.resolve(&[7], &mut handles);
        assert_eq!(handles, [Some(SeriesHandle(2))]);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_series_takes_less_than_forty_bytes() {
        let cache = RawCache::new(64 << 20);
        for upper in [10_000, 100_000, 150_000, 200_000] {
            learn(&cache, &keys(0, upper));
            let bytes = cache.memory_bytes() as f64 / f64::from(upper);
            assert!((28.0..40.0).contains(&bytes), "{bytes} at {upper}");
        }
    }

    #[test]
    fn memory_stays_under_its_limit_and_old_series_stay_known() {
        let cache = RawCache::new(1 << 20);
        let (first, later) = (keys(0, 20_000), keys(20_000, 100_000));
        learn(&cache, &first);
        learn(&cache, &later);
        assert!(cache.memory_bytes() <= 1 << 20);
        assert_eq!(found(&cache, &first), first.len());
        assert!(found(&cache, &later) > 5_000);
    }

    #[test]
    fn unused_series_go_after_a_whole_generation() {
        let cache = RawCache::new(16 << 20);
        let (used, unused) = (keys(0, 1_000), keys(1_000, 50_000));
        learn(&cache, &used);
        learn(&cache, &unused);
        cache.advance_generation();
        sweep_all(&cache);
        assert_eq!(found(&cache, &used), used.len());
        assert_eq!(cache.len(), 50_000);
        cache.advance_generation();
        sweep_all(&cache);
        assert_eq!(found(&cache, &used), used.len());
        assert_eq!(found(&cache, &unused), 0);
        assert_eq!(cache.len(), 1_000);
        assert!(cache.memory_bytes() < 64 * 1024, "{}", cache.memory_bytes());
    }

    #[test]
    fn generations_wrap_without_losing_what_is_used() {
        let cache = RawCache::new(1 << 20);
        let used = keys(0, 100);
        learn(&cache, &used);
        for _ in 0..600 {
            cache.advance_generation();
            assert_eq!(found(&cache, &used), used.len());
            sweep_all(&cache);
        }
        assert_eq!(cache.len(), used.len());
    }

    #[test]
    fn a_cache_without_room_knows_nothing() {
        let cache = RawCache::new(0);
        learn(&cache, &keys(0, 100));
        assert_eq!(found(&cache, &keys(0, 100)), 0);
        assert_eq!(cache.memory_bytes(), 0);
    }
}
