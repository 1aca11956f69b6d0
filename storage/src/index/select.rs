//! From matchers to series: algebra on the postings.
//!
//! A matcher that an absent label cannot satisfy keeps the series of the pairs that satisfy it. One that an absent
//! label satisfies takes away the series of the pairs that do not. The first kind goes first, the cheapest of it
//! before the rest.

use std::collections::{BTreeSet, HashMap};

use pharos_model::{MatchOp, Matcher, Texts};
use roaring::RoaringBitmap;

use super::pairs::PairId;
use super::{Index, Slot};

impl Index {
    /// The series that satisfy all matchers.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let (mut keeping, removing): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
        keeping.sort_by_key(|matcher| selection_cost(matcher));
        let mut selected: Option<RoaringBitmap> = None;
        for matcher in keeping {
            let kept = match selected {
                None => self.union_of(matcher, true),
                Some(selected) => self.keep(selected, matcher),
            };
            if kept.is_empty() {
                return kept;
            }
            selected = Some(kept);
        }
        let mut selected = selected.unwrap_or_else(|| self.live.clone());
        for matcher in removing {
            self.remove_unsatisfied(&mut selected, matcher);
        }
        selected
    }

    /// Whether the table of values alone tells that no series satisfies all matchers. Takes a few look-ups.
    pub(crate) fn surely_has_none(&self, matchers: &[Matcher]) -> bool {
        let is_missing =
            |value: &str, name: &str| self.pairs.find(name, value).is_none_or(|pair| !self.has_series(pair, None));
        matchers.iter().any(|matcher| {
            !matcher.matches_empty() && single_value(matcher).is_some_and(|value| is_missing(value, &matcher.name))
        })
    }

    fn keep(&self, mut selected: RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        if let Some(value) = single_value(matcher) {
            match self.pairs.find(&matcher.name, value) {
                Some(pair) => self.postings[pair.0 as usize].intersect_into(&mut selected),
                None => selected.clear(),
            }
            return selected;
        }
        if self.is_cheaper_by_series(&selected, matcher) {
            return self.filter_by_series(&selected, matcher);
        }
        selected &= self.union_of(matcher, true);
        selected
    }

    fn remove_unsatisfied(&self, selected: &mut RoaringBitmap, matcher: &Matcher) {
        if self.is_cheaper_by_series(selected, matcher) {
            *selected = self.filter_by_series(selected, matcher);
        } else {
            *selected -= self.union_of(matcher, false);
        }
    }

    /// Looking at the label of each selected series costs about as much as looking at a value.
    fn is_cheaper_by_series(&self, selected: &RoaringBitmap, matcher: &Matcher) -> bool {
        let values = match literals(matcher) {
            Some(literals) => literals.len(),
            None => self.pairs.of_name(&matcher.name).len(),
        };
        selected.len() < values as u64
    }

    fn filter_by_series(&self, selected: &RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        let mut verdicts: HashMap<PairId, bool> = HashMap::new();
        let absent = matcher.matches_empty();
        selected
            .iter()
            .filter(|&slot| match self.pair_of(Slot(slot), &matcher.name) {
                None => absent,
                Some(pair) => *verdicts.entry(pair).or_insert_with(|| matcher.matches(self.pairs.value(pair))),
            })
            .collect()
    }

    /// All series that have the label with a value that satisfies the matcher, or with one that does not.
    fn union_of(&self, matcher: &Matcher, satisfied: bool) -> RoaringBitmap {
        let mut union = RoaringBitmap::new();
        let mut add = |pair: PairId| self.postings[pair.0 as usize].union_into(&mut union);
        let listed = literals(matcher);
        // `!=` and `!~` name the values that do not satisfy them.
        let names_satisfied = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
        match listed {
            Some(values) if names_satisfied == satisfied => {
                // A pattern may list a value twice.
                let values: BTreeSet<&str> = values.into_iter().collect();
                values.into_iter().filter_map(|value| self.pairs.find(&matcher.name, value)).for_each(&mut add);
            }
            _ => match (self.pairs.sorted_values(&matcher.name), matcher.regex()) {
                (Some(values), Some(pattern)) => {
                    values.matching(pattern, names_satisfied == satisfied).for_each(&mut add);
                }
                (Some(values), None) => {
                    values
                        .iter()
                        .filter(|(value, _)| matcher.matches(value) == satisfied)
                        .for_each(|(_, pair)| add(pair));
                }
                (None, _) => {}
            },
        }
        union
    }

    fn pair_of(&self, slot: Slot, name: &str) -> Option<PairId> {
        self.pairs_of(slot).find(|&pair| self.pairs.name(pair) == name)
    }

    /// Sorted names of the labels that any of the series has.
    pub(crate) fn label_names(&self, among: Option<&RoaringBitmap>) -> BTreeSet<&str> {
        match among {
            Some(slots) if (slots.len() as usize) < self.pairs.len() => {
                let pairs: BTreeSet<PairId> = slots.iter().flat_map(|slot| self.pairs_of(Slot(slot))).collect();
                pairs.into_iter().map(|pair| self.pairs.name(pair)).collect()
            }
            _ => {
                let any = |pairs: &[u32]| pairs.iter().any(|&pair| self.has_series(PairId(pair), among));
                self.pairs.names().filter(|(_, pairs)| any(pairs)).map(|(name, _)| name).collect()
            }
        }
    }

    /// Sorted values of one label among the series.
    pub(crate) fn label_values(&self, name: &str, among: Option<&RoaringBitmap>) -> Texts {
        if let Some(slots) = among.filter(|slots| (slots.len() as usize) < self.pairs.of_name(name).len()) {
            let pairs: BTreeSet<PairId> = slots.iter().filter_map(|slot| self.pair_of(Slot(slot), name)).collect();
            let values: BTreeSet<&str> = pairs.into_iter().map(|pair| self.pairs.value(pair)).collect();
            return values.into_iter().collect();
        }
        let Some(values) = self.pairs.sorted_values(name) else { return Texts::default() };
        values.iter().filter(|(_, pair)| self.has_series(*pair, among)).map(|(value, _)| value).collect()
    }

    fn has_series(&self, pair: PairId, among: Option<&RoaringBitmap>) -> bool {
        match among {
            Some(slots) => self.postings[pair.0 as usize].intersects(slots),
            None => self.pairs.has_series(pair),
        }
    }
}

/// Matchers that look a value up go before those that look through values.
fn selection_cost(matcher: &Matcher) -> usize {
    literals(matcher).filter(|_| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)).map_or(usize::MAX, |l| l.len())
}

/// The values that the matcher names, where it names them all.
fn literals(matcher: &Matcher) -> Option<Vec<&str>> {
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => Some(vec![&matcher.value]),
        MatchOp::Regex | MatchOp::NotRegex => {
            Some(matcher.regex()?.literal_set()?.iter().map(String::as_str).collect())
        }
    }
}

fn single_value(matcher: &Matcher) -> Option<&str> {
    let literals = literals(matcher).filter(|_| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex))?;
    if let [value] = literals[..] { Some(value) } else { None }
}
