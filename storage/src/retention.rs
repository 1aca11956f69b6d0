//! Which data files fall out of retention. Decides only; the change is [`crate::manifest::Edit::RemoveFiles`].

use pharos_model::TimestampMs;

use crate::manifest::Manifest;

/// How long and how much is kept. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionRule {
    /// Counted back from the newest data, not from the clock, as Prometheus does: a store that gets nothing loses nothing.
    pub time_ms: Option<i64>,
    /// Of data files and their indexes.
    pub bytes: Option<u64>,
}

/// Keys of the data files that are out of retention, newest first. `newest_ms` is the newest sample of the tenant,
/// `other_bytes` what counts against the size besides data files (the head).
pub fn expired(manifest: &Manifest, rule: &RetentionRule, newest_ms: TimestampMs, other_bytes: u64) -> Vec<String> {
    let newest_ms = manifest.files.iter().map(|file| file.end_ms).fold(newest_ms, TimestampMs::max);
    let too_old = |end_ms: TimestampMs| rule.time_ms.is_some_and(|keep_ms| newest_ms.saturating_sub(end_ms) >= keep_ms);
    let mut newest_first: Vec<_> = manifest.files.iter().collect();
    newest_first.sort_by_key(|file| std::cmp::Reverse(file.end_ms));
    let mut bytes = other_bytes;
    let mut full = false;
    let mut keys = Vec::new();
    for file in newest_first {
        bytes = bytes.saturating_add(file.bytes + file.index_bytes);
        // Once one file is too much, all older ones go: never a hole in the middle.
        full |= rule.bytes.is_some_and(|limit| bytes > limit);
        if full || too_old(file.end_ms) {
            keys.push(file.key.clone());
        }
    }
    keys
}

#[cfg(test)]
mod tests;
