//! Any body of an index object opens or fails, and an index that opens keeps its promises: canonical label sets, rows within
//! bounds, selections that agree with the labels. The input is the body; the envelope, compression and checksum are put around it
//! here, for no random bytes have the right checksum. Inputs that begin with `r` are taken as a whole object.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, MatchOp, Matcher, TimeRange};
use pharos_storage::datafile::Index;

/// Rows of an index that are looked at one by one.
const ROWS_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let opened = match input.split_first() {
        Some((b'r', object)) => Index::open(object),
        _ => Index::open(&envelope(input)),
    };
    if let Ok(index) = opened {
        check(&index);
    }
});

/// Magic, length, compressed body, checksum of all before: `docs/format/index-object.md`.
fn envelope(body: &[u8]) -> Vec<u8> {
    let mut object = b"PHARIDX1".to_vec();
    object.extend_from_slice(&(body.len() as u64).to_le_bytes());
    object.extend_from_slice(&zstd::bulk::compress(body, 1).expect("compressing into memory has no way to fail"));
    object.extend_from_slice(&crc32fast::hash(&object).to_le_bytes());
    object
}

fn check(index: &Index) {
    let rows: Vec<u32> = (0..index.len().min(ROWS_MAX) as u32).collect();
    let mut bytes = Vec::new();
    let sets: Vec<LabelSet> = rows
        .iter()
        .map(|row| {
            index.label_bytes(*row, &mut bytes);
            let range = index.row_range(*row);
            assert!(!range.is_empty(), "row {row} ends before it starts: {range:?}");
            index.row_samples(*row);
            LabelSet::from_canonical(&bytes).expect("labels of a row are a canonical set")
        })
        .collect();
    let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
    index.names_of(&rows, &mut names);
    for name in names.iter().take(2) {
        index.values_of(name, &rows, &mut values);
        for value in values.iter().take(2) {
            for op in [MatchOp::Equal, MatchOp::NotEqual] {
                let matchers = [Matcher::new(op, name.as_str(), value.as_str()).expect("no pattern to compile")];
                let selected = index.select(&matchers, TimeRange::ALL);
                let selected: Vec<u32> = selected.into_iter().filter(|row| (*row as usize) < sets.len()).collect();
                let matching = |row: &u32| all_match(&matchers, &sets[*row as usize]);
                assert_eq!(selected, rows.iter().copied().filter(matching).collect::<Vec<_>>());
            }
        }
        values.clear();
    }
}
