//! Type, help and unit of the metric families that one target exposes, for the API. Bounded, whatever the target sends.

use hashbrown::HashMap;
use pharos_model::{Metadata, MetricType};

/// Families of one target that are remembered; further ones are not.
pub const FAMILIES_MAX: usize = 10_000;
/// Longest help, unit or name that is remembered, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Scrapes that a family is remembered after it was last exposed.
const SCRAPES_KEPT: u64 = 10;

/// What one target said about its metrics.
#[derive(Debug, Default)]
pub struct MetadataCache {
    families: HashMap<String, Entry>,
    scrape: u64,
}

#[derive(Debug)]
struct Entry {
    metadata: Metadata,
    seen_in: u64,
}

impl MetadataCache {
    pub(super) fn set_type(&mut self, family: &str, metric_type: MetricType) {
        if let Some(metadata) = self.entry(family) {
            metadata.metric_type = metric_type;
        }
    }

    pub(super) fn set_help(&mut self, family: &str, help: &str) {
        if let Some(metadata) = self.entry(family) {
            replace(&mut metadata.help, help);
        }
    }

    pub(super) fn set_unit(&mut self, family: &str, unit: &str) {
        if let Some(metadata) = self.entry(family) {
            replace(&mut metadata.unit, unit);
        }
    }

    fn entry(&mut self, family: &str) -> Option<&mut Metadata> {
        if !self.families.contains_key(family) {
            if self.families.len() >= FAMILIES_MAX || family.len() > TEXT_BYTES_MAX {
                return None;
            }
            self.families.insert(family.to_owned(), Entry { metadata: Metadata::default(), seen_in: self.scrape });
        }
        let entry = self.families.get_mut(family)?;
        entry.seen_in = self.scrape;
        Some(&mut entry.metadata)
    }

    /// Ends a scrape that succeeded: forgets families that have not been exposed for long.
    pub(super) fn end_scrape(&mut self) {
        let oldest = self.scrape.saturating_sub(SCRAPES_KEPT);
        self.families.retain(|_, entry| entry.seen_in >= oldest);
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

/// Replaces a text, cut at a character below the limit, without allocating when nothing changed.
fn replace(slot: &mut String, text: &str) {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    if slot != text {
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
    }
}
