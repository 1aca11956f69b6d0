//! Many strings in one buffer: names and values of labels, as indexes answer with them.

/// Strings one behind the other: two allocations, however many they are. At most 4 GiB of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each string ends.
    ends: Vec<u32>,
}

impl Texts {
    /// Appends a string. Panics beyond 4 GiB of text.
    pub fn push(&mut self, string: &str) {
        self.text.push_str(string);
        self.ends.push(u32::try_from(self.text.len()).expect("less than 4 GiB of text"));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Panics when there is no string `i`.
    pub fn get(&self, i: usize) -> &str {
        &self.text[self.start(i)..self.ends[i] as usize]
    }

    fn bytes(&self, i: usize) -> &[u8] {
        &self.text.as_bytes()[self.range(i)]
    }

    fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// The strings without anything between them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The string that has byte `at` of the text.
    pub fn at(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= at)
    }

    /// Where string `i` lies in the text.
    pub fn range(&self, i: usize) -> std::ops::Range<usize> {
        self.start(i)..self.ends[i] as usize
    }

    /// Keeps the first strings.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.text.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// The first `limit` strings of sorted lists, each once, in order.
    pub fn merge(lists: &[Self], limit: usize) -> Self {
        let shared = shared_prefix(lists);
        let mut places: Vec<Place> = Vec::with_capacity(lists.iter().map(Self::len).sum());
        for (list, texts) in lists.iter().enumerate() {
            places.extend((0..texts.len()).map(|at| {
                let rest = &texts.bytes(at)[shared..];
                Place { key: key(rest), list: list as u32, at: at as u32 }
            }));
        }
        let text = |place: &Place| lists[place.list as usize].bytes(place.at as usize);
        // The lists are sorted stretches, which a stable sort merges. Eight bytes decide nearly always.
        places.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| text(a).cmp(text(b))));
        let mut merged = Self {
            text: String::with_capacity(lists.iter().map(|list| list.text.len()).sum()),
            ends: Vec::with_capacity(places.len()),
        };
        let mut last: Option<&Place> = None;
        for place in &places {
            if merged.len() == limit {
                break;
            }
            if !last.is_some_and(|last| last.key == place.key && text(last) == text(place)) {
                merged.push(lists[place.list as usize].get(place.at as usize));
            }
            last = Some(place);
        }
        merged
    }
}

/// A string of some list, with the bytes behind what all have in common.
struct Place {
    key: u64,
    list: u32,
    at: u32,
}

/// Bytes at the front that all strings of sorted lists have in common.
fn shared_prefix(lists: &[Texts]) -> usize {
    let mut ends =
        lists.iter().filter(|list| !list.is_empty()).flat_map(|list| [list.get(0), list.get(list.len() - 1)]);
    let Some(first) = ends.next() else { return 0 };
    ends.fold(first.len(), |shared, other| {
        first.bytes().zip(other.bytes()).take(shared).take_while(|(a, b)| a == b).count()
    })
}

/// The first eight bytes as a number that sorts as they do; zeros where there are fewer.
fn key(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => bytes.iter().enumerate().fold(0, |key, (at, byte)| key | u64::from(*byte) << (56 - 8 * at)),
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(strings: I) -> Self {
        let mut texts = Self::default();
        strings.into_iter().for_each(|string| texts.push(string));
        texts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_in_the_text_belongs_to_one_string() {
        let texts = Texts::from_iter(["ab", "", "c"]);
        assert_eq!((texts.at(0), texts.at(1), texts.at(2)), (0, 0, 2));
        assert_eq!(texts.range(1), 2..2);
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["ab", "", "c"]);
    }

    proptest! {
        #[test]
        fn merging_is_the_union_in_order(
            lists in prop::collection::vec(prop::collection::btree_set("(pod-)?[ab\0é]{0,12}", 0..20), 0..5),
            limit in 0usize..40,
        ) {
            let texts: Vec<Texts> = lists.iter().map(|list| list.iter().map(String::as_str).collect()).collect();
            let union: BTreeSet<&str> = lists.iter().flatten().map(String::as_str).collect();
            let merged = Texts::merge(&texts, limit);
            prop_assert_eq!(merged.iter().collect::<Vec<_>>(), union.into_iter().take(limit).collect::<Vec<_>>());
        }
    }
}
