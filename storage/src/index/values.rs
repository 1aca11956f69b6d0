//! The values of one label name in order, so that they need not be sorted for each answer, and a pattern need not look at each.

use std::sync::Arc;

use memchr::memmem;
use parking_lot::Mutex;
use pharos_model::Texts;
use pharos_model::regex::LabelRegex;

use super::pairs::PairId;

/// The pairs of one name.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// In the order of their numbers; pairs without series included.
    pub(super) pairs: Vec<u32>,
    /// Made when they are asked for; pairs that came since are added then.
    sorted: Mutex<Arc<SortedValues>>,
}

/// Values in order, and whose they are. Pairs without series are among them.
#[derive(Debug, Default)]
pub(super) struct SortedValues {
    texts: Texts,
    pairs: Vec<u32>,
}

impl Named {
    pub(super) fn new(first: u32) -> Self {
        Self { pairs: vec![first], sorted: Mutex::default() }
    }

    /// `value_of` tells the value of a pair.
    pub(super) fn sorted<'a>(&self, value_of: impl Fn(PairId) -> &'a str) -> Arc<SortedValues> {
        let mut sorted = self.sorted.lock();
        let new = &self.pairs[sorted.pairs.len()..];
        if !new.is_empty() {
            *sorted = Arc::new(sorted.with(new, value_of));
        }
        Arc::clone(&sorted)
    }
}

impl SortedValues {
    fn with<'a>(&self, new: &[u32], value_of: impl Fn(PairId) -> &'a str) -> Self {
        let mut new: Vec<(&str, u32)> = new.iter().map(|&pair| (value_of(PairId(pair)), pair)).collect();
        new.sort_unstable();
        let mut old = self.iter().map(|(value, pair)| (value, pair.0)).peekable();
        let mut new = new.into_iter().peekable();
        let mut merged = Self::default();
        while let Some((value, pair)) = match (old.peek(), new.peek()) {
            (Some(o), Some(n)) if n < o => new.next(),
            (Some(_), _) => old.next(),
            (None, _) => new.next(),
        } {
            merged.texts.push(value);
            merged.pairs.push(pair);
        }
        merged
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, PairId)> {
        self.texts.iter().zip(self.pairs.iter().map(|&pair| PairId(pair)))
    }

    /// Pairs whose values match the pattern, or those whose values do not.
    pub(super) fn matching(&self, pattern: &LabelRegex, wanted: bool) -> impl Iterator<Item = PairId> {
        let matching = self.places(pattern);
        let mut left = matching.iter().copied().peekable();
        let places = (0..self.pairs.len()).filter(move |place| left.next_if_eq(place).is_none());
        let wanted: Vec<usize> = if wanted { matching } else { places.collect() };
        wanted.into_iter().map(|place| PairId(self.pairs[place]))
    }

    /// Places of the values that match, ascending.
    fn places(&self, pattern: &LabelRegex) -> Vec<usize> {
        let prefix = pattern.prefix();
        let start = self.end_of(0, |value| value < prefix);
        let end = self.end_of(start, |value| value.starts_with(prefix));
        let is_match = |place: &usize| pattern.is_match(self.texts.get(*place));
        match pattern.inner_literal().filter(|literal| literal.len() > prefix.len()) {
            Some(literal) => self.containing(literal, start..end).into_iter().filter(is_match).collect(),
            None => (start..end).filter(is_match).collect(),
        }
    }

    /// Where the values from `start` on that satisfy a condition end, which none does after the first that does not.
    fn end_of(&self, start: usize, holds: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (start, self.pairs.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.texts.get(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Places in a range whose values contain a literal: one search through the text of all.
    fn containing(&self, literal: &str, range: std::ops::Range<usize>) -> Vec<usize> {
        let mut found = Vec::new();
        if range.is_empty() {
            return found;
        }
        let (mut at, end) = (self.texts.range(range.start).start, self.texts.range(range.end - 1).end);
        let finder = memmem::Finder::new(literal);
        while let Some(hit) = finder.find(&self.texts.text().as_bytes()[at..end]) {
            let place = self.texts.at(at + hit);
            let value_end = self.texts.range(place).end;
            if at + hit + literal.len() <= value_end {
                found.push(place);
                at = value_end;
            } else {
                // It began in one value and ended in another.
                at += hit + 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values_of(named: &mut Named, values: &[&str], seen: usize) -> Arc<SortedValues> {
        named.pairs = (0..seen as u32).collect();
        named.sorted(|pair| values[pair.0 as usize])
    }

    proptest! {
        #[test]
        fn values_come_in_order_and_patterns_find_what_matches(
            values in prop::collection::btree_set("(ab|b|é){0,4}", 1..30),
            shuffled in any::<prop::sample::Index>(),
            first in any::<prop::sample::Index>(),
        ) {
            let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
            let at = shuffled.index(values.len());
            values.rotate_left(at);
            let mut named = Named::default();
            values_of(&mut named, &values, first.index(values.len()));
            let sorted = values_of(&mut named, &values, values.len());
            let listed: Vec<(&str, usize)> = sorted.iter().map(|(value, pair)| (value, pair.0 as usize)).collect();
            prop_assert!(listed.is_sorted() && listed.len() == values.len());
            prop_assert!(listed.iter().all(|(value, pair)| values[*pair] == *value));
            for pattern in [".*ba.*", "a.*", "ab.*ab", ".*", ".+", ".*é", "b|.*ab", "[ab]+", "(ab)+é?", ".*bab.*"] {
                let regex = LabelRegex::new(pattern).unwrap();
                for wanted in [true, false] {
                    let expected: Vec<usize> = listed.iter().filter(|of| regex.is_match(of.0) == wanted).map(|of| of.1).collect();
                    let found: Vec<usize> = sorted.matching(&regex, wanted).map(|pair| pair.0 as usize).collect();
                    prop_assert_eq!(found, expected, "{}", pattern);
                }
            }
        }
    }
}
