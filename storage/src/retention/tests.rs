use pharos_model::{BlockSpan, PartitionId, TenantId};

use super::*;
use crate::manifest::{Edit, FileEntry, Owner};

/// Files of 100 ms and 10 bytes each, the first at 0.
fn manifest(files: i64) -> Manifest {
    let empty = Manifest::empty(&TenantId::anonymous(), PartitionId(0));
    (0..files).fold(empty, |manifest, i| {
        let span = BlockSpan::new(i * 100, i * 100 + 100);
        let entry = FileEntry {
            key: i.to_string(),
            start_ms: span.start_ms,
            end_ms: span.end_ms,
            min_ts: span.start_ms,
            max_ts: span.end_ms - 1,
            level: 0,
            rows: 1,
            samples: 1,
            bytes: 8,
            index_bytes: 2,
            crc: 0,
            owner: Owner { node: 1, term: 1 },
            read_at_version: 0,
        };
        manifest.apply(&Edit::AddFile(entry), 0).unwrap()
    })
}

#[test]
fn what_is_dropped_follows_from_the_newest_data_and_the_sizes() {
    for (time_ms, bytes, newest_ms, other_bytes, expected) in [
        (None, None, 1_000_000, 0, vec![]),
        // Files end at 100, 200, 300.
        (Some(200), None, 0, 0, vec!["0"]),
        (Some(201), None, 0, 0, vec![]),
        (Some(200), None, 400, 0, vec!["1", "0"]),
        (Some(200), None, 10_000, 0, vec!["2", "1", "0"]),
        (None, Some(30), 0, 0, vec![]),
        (None, Some(29), 0, 0, vec!["0"]),
        (None, Some(30), 0, 5, vec!["0"]),
        (None, Some(0), 0, 0, vec!["2", "1", "0"]),
        (Some(200), Some(15), 0, 0, vec!["1", "0"]),
    ] {
        let rule = RetentionRule { time_ms, bytes };
        let found = expired(&manifest(3), &rule, newest_ms, other_bytes);
        assert_eq!(found, expected, "{rule:?}, newest {newest_ms}, other {other_bytes}");
    }
}

#[test]
fn dropping_twice_drops_nothing_more() {
    let rule = RetentionRule { time_ms: Some(200), bytes: None };
    let before = manifest(3);
    let after = before.apply(&Edit::RemoveFiles(expired(&before, &rule, 0, 0)), 0).unwrap();
    assert_eq!(expired(&after, &rule, 0, 0), Vec::<String>::new());
}
