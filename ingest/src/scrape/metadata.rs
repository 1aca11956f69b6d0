//! Type, help and unit of the metric families that one target exposes, for the API. Bounded, whatever the target sends.

use hashbrown::HashMap;
use pharos_model::{Metadata, MetricType};

/// Families of one target that are remembered; further ones are not.
pub const FAMILIES_MAX: usize = 10_000;
/// Names and texts of one target that are remembered, in bytes.
const BYTES_MAX: usize = 2 << 20;
/// Longest help, unit or name that is remembered, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Scrapes that a family is remembered after it was last exposed.
const SCRAPES_KEPT: u64 = 10;

/// What one target said about its metrics.
#[derive(Debug, Default)]
pub struct MetadataCache {
    families: HashMap<String, Entry>,
    /// Of names, helps and units.
    bytes: usize,
    scrape: u64,
}

#[derive(Debug)]
struct Entry {
    metadata: Metadata,
    seen_in: u64,
}

impl Entry {
    fn text_bytes(&self) -> usize {
        self.metadata.help.len() + self.metadata.unit.len()
    }
}

impl MetadataCache {
    pub(super) fn set_type(&mut self, family: &str, metric_type: MetricType) {
        if self.has_or_takes(family) {
            self.change(family, |metadata, _| metadata.metric_type = metric_type);
        }
    }

    pub(super) fn set_help(&mut self, family: &str, help: &str) {
        if self.has_or_takes(family) {
            self.change(family, |metadata, left| replace(&mut metadata.help, help, left));
        }
    }

    pub(super) fn set_unit(&mut self, family: &str, unit: &str) {
        if self.has_or_takes(family) {
            self.change(family, |metadata, left| replace(&mut metadata.unit, unit, left));
        }
    }

    /// Whether the family is remembered from now on.
    fn has_or_takes(&mut self, family: &str) -> bool {
        if self.families.contains_key(family) {
            return true;
        }
        let has_room = self.families.len() < FAMILIES_MAX && self.bytes + family.len() <= BYTES_MAX;
        if !has_room || family.len() > TEXT_BYTES_MAX {
            return false;
        }
        self.bytes += family.len();
        self.families.insert(family.to_owned(), Entry { metadata: Metadata::default(), seen_in: self.scrape });
        true
    }

    /// Changes a family that is remembered; the closure is told how many bytes its texts may grow by.
    fn change(&mut self, family: &str, change: impl FnOnce(&mut Metadata, usize)) {
        let Some(entry) = self.families.get_mut(family) else { return };
        entry.seen_in = self.scrape;
        let others = self.bytes - entry.text_bytes();
        change(&mut entry.metadata, BYTES_MAX - self.bytes);
        self.bytes = others + entry.text_bytes();
    }

    /// Ends a scrape that succeeded: forgets families that have not been exposed for long.
    pub(super) fn end_scrape(&mut self) {
        let oldest = self.scrape.saturating_sub(SCRAPES_KEPT);
        let bytes = &mut self.bytes;
        self.families.retain(|family, entry| {
            let stays = entry.seen_in >= oldest;
            if !stays {
                *bytes -= family.len() + entry.text_bytes();
            }
            stays
        });
        self.scrape += 1;
    }

    /// What is known of one family.
    pub fn get(&self, family: &str) -> Option<&Metadata> {
        self.families.get(family).map(|entry| &entry.metadata)
    }

    /// All families, sorted by name.
    pub fn list(&self) -> Vec<(&str, &Metadata)> {
        let mut list: Vec<_> = self.families.iter().map(|(name, entry)| (name.as_str(), &entry.metadata)).collect();
        list.sort_unstable_by_key(|(name, _)| *name);
        list
    }

    pub fn len(&self) -> usize {
        self.families.len()
    }

    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// Bytes of help and unit, as Prometheus counts them.
    pub fn text_bytes(&self) -> usize {
        let texts = self.families.values().map(|entry| &entry.metadata);
        texts.map(|m| m.help.len() + m.unit.len() + m.metric_type.as_str().len()).sum()
    }
}

/// Replaces a text, cut at a character below the limit, without allocating when nothing changed. The old one stays when the new one
/// is longer by more than `growth_max`.
fn replace(slot: &mut String, text: &str, growth_max: usize) {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    if slot != text && text.len() <= slot.len() + growth_max {
        text.clone_into(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_forgotten_ten_scrapes_after_they_vanish() {
        let mut cache = MetadataCache::default();
        cache.set_help("a", "Help.");
        cache.set_type("a", MetricType::Counter);
        for _ in 0..=SCRAPES_KEPT {
            cache.end_scrape();
            assert_eq!(cache.get("a").map(|m| (m.metric_type, m.help.as_str())), Some((MetricType::Counter, "Help.")));
        }
        cache.end_scrape();
        assert!(cache.is_empty());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn a_target_cannot_fill_the_memory_with_metadata() {
        let mut cache = MetadataCache::default();
        for i in 0..FAMILIES_MAX + 10 {
            cache.set_type(&format!("f{i}"), MetricType::Gauge);
        }
        assert_eq!(cache.len(), FAMILIES_MAX);
        cache.set_help("f1", &"ü".repeat(10_000));
        assert!(cache.get("f1").unwrap().help.len() <= TEXT_BYTES_MAX);
        for i in 0..FAMILIES_MAX {
            cache.set_help(&format!("f{i}"), &"x".repeat(TEXT_BYTES_MAX));
        }
        assert!((BYTES_MAX - TEXT_BYTES_MAX..=BYTES_MAX).contains(&cache.bytes), "{}", cache.bytes);
        cache.set_help("f0", "short");
        assert_eq!(cache.get("f0").unwrap().help, "short");
    }
}
