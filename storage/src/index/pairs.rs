//! Label pairs, each stored once, and the pairs of each label name.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use pharos_model::labels::push_label;
use twox_hash::XxHash3_64;

use super::values::{Named, SortedValues};
use super::{labels, push_tight};

/// A label pair by its number. Numbers are given in order and stay until the index is built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PairId(pub(super) u32);

#[derive(Debug)]
pub(super) struct Pairs {
    seed: u64,
    /// Canonical pieces, one behind the other in the order of their numbers.
    text: Vec<u8>,
    /// By pair number: where its piece ends.
    ends: Vec<u32>,
    table: HashTable<u32>,
    by_name: BTreeMap<Box<str>, Named>,
    dead_bytes: usize,
    /// A bit for each pair number: whether it has series. Far smaller than their sets, which lie all over the memory.
    has_series: Vec<u64>,
}

impl Pairs {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            text: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            by_name: BTreeMap::new(),
            dead_bytes: 0,
            has_series: Vec::new(),
        }
    }

    /// Pairs, those without series included.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn live_bytes(&self) -> usize {
        self.text.len() - self.dead_bytes
    }

    pub(super) fn dead_bytes(&self) -> usize {
        self.dead_bytes
    }

    pub(super) fn text(&self, pair: PairId) -> &[u8] {
        let at = pair.0 as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    pub(super) fn value(&self, pair: PairId) -> &str {
        labels::parse(self.text(pair)).value
    }

    pub(super) fn name(&self, pair: PairId) -> &str {
        labels::parse(self.text(pair)).name
    }

    fn hash(seed: u64, piece: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_seed(seed, piece)
    }

    fn find_piece(&self, piece: &[u8]) -> Option<PairId> {
        self.table
            .find(Self::hash(self.seed, piece), |&pair| self.text(PairId(pair)) == piece)
            .map(|&pair| PairId(pair))
    }

    pub(super) fn find(&self, name: &str, value: &str) -> Option<PairId> {
        let mut piece = Vec::with_capacity(name.len() + value.len() + 8);
        push_label(&mut piece, name, value);
        self.find_piece(&piece)
    }

    /// The number of a piece. A new pair counts as dead until [`Self::revive`].
    pub(super) fn intern(&mut self, piece: &[u8]) -> PairId {
        if let Some(found) = self.find_piece(piece) {
            return found;
        }
        let pair = self.ends.len() as u32;
        let text_grow = (self.text.len() / 8).max(4096);
        if self.text.capacity() - self.text.len() < piece.len() {
            self.text.reserve_exact(text_grow.max(piece.len()));
        }
        self.text.extend_from_slice(piece);
        self.dead_bytes += piece.len();
        push_tight(&mut self.ends, self.text.len() as u32);
        self.has_series.resize(self.ends.len().div_ceil(64), 0);
        let (seed, text, ends) = (self.seed, &self.text, &self.ends);
        let rehash = |&other: &u32| {
            let start = if other == 0 { 0 } else { ends[other as usize - 1] as usize };
            Self::hash(seed, &text[start..ends[other as usize] as usize])
        };
        self.table.insert_unique(Self::hash(seed, piece), pair, rehash);
        let name = labels::parse(piece).name;
        match self.by_name.get_mut(name) {
            Some(named) => push_tight(&mut named.pairs, pair),
            None => drop(self.by_name.insert(name.into(), Named::new(pair))),
        }
        PairId(pair)
    }

    /// The pair has its first series.
    pub(super) fn revive(&mut self, pair: PairId) {
        self.dead_bytes -= self.text(pair).len();
        self.has_series[pair.0 as usize / 64] |= 1 << (pair.0 % 64);
    }

    /// The pair has lost its last series.
    pub(super) fn bury(&mut self, pair: PairId) {
        self.dead_bytes += self.text(pair).len();
        self.has_series[pair.0 as usize / 64] &= !(1 << (pair.0 % 64));
    }

    /// Whether the pair has any series.
    pub(super) fn has_series(&self, pair: PairId) -> bool {
        self.has_series[pair.0 as usize / 64] & (1 << (pair.0 % 64)) != 0
    }

    /// Pairs of one name, those without series included.
    pub(super) fn of_name(&self, name: &str) -> &[u32] {
        self.by_name.get(name).map_or(&[], |named| &named.pairs)
    }

    /// Values of one name in order, with their pairs, those without series included.
    pub(super) fn sorted_values(&self, name: &str) -> Option<Arc<SortedValues>> {
        self.by_name.get(name).map(|named| named.sorted(|pair| self.value(pair)))
    }

    /// Names in order, with their pairs.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &[u32])> {
        self.by_name.iter().map(|(name, named)| (&**name, &*named.pairs))
    }
}
