use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, MatchOp, Matcher, TimeRange};
use proptest::prelude::*;

use super::*;

fn facts(row: usize) -> RowFacts {
    let first_ts = 1_000 + row as i64 % 50;
    let layout = RowLayout {
        scale: (!row.is_multiple_of(3)).then_some((row % 20) as u8),
        doubles: row.is_multiple_of(3),
        histograms: row.is_multiple_of(5),
        starts: row.is_multiple_of(2),
    };
    RowFacts { first_ts, last_ts: first_ts + row as i64 % 7, samples: 1 + row as u32 % 5, layout }
}

pub(super) fn build(rows: &[LabelSet]) -> Index {
    let mut builder = IndexBuilder::default();
    for (i, labels) in rows.iter().enumerate() {
        builder.push_row(labels, facts(i));
    }
    if !rows.is_empty() {
        for column in SampleColumn::ALL {
            builder.push_page(column, PageMark { offset: 4, len: 90, rows: rows.len() as u32, crc: 9 });
        }
    }
    builder.finish(FileFacts { bytes: 100, crc: 7, samples: 8 })
}

/// Label sets of a few names and values, so that they meet; one name sorts before `__name__`, one is no identifier.
fn label_sets() -> impl Strategy<Value = Vec<LabelSet>> {
    let name = prop::sample::select(vec!["__name__", "job", "Zone", "a.b", "le"]);
    let value = prop_oneof![Just(String::new()), "[a-c]{1,2}", "[0-9]{1,3}", Just("ü\n".to_owned())];
    let set = prop::collection::vec((name, value), 0..5).prop_map(LabelSet::from_pairs);
    prop::collection::btree_set(set, 0..60).prop_map(|sets| sets.into_iter().collect())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["__name__", "job", "Zone", "a.b", "le", "nowhere"]);
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value = prop::sample::select(vec!["", "a", "aa", "b", "7", "a|b|", "a.*", ".+", ".*", "[0-9]+", "(?i)A"]);
    (name, op, value).prop_map(|(name, op, value)| Matcher::new(op, name, value).unwrap())
}

proptest! {
    #[test]
    fn selecting_is_matching_every_row(
        rows in label_sets(),
        matchers in prop::collection::vec(matcher(), 0..4),
        start in 990_i64..1_060,
        len in 0_i64..40,
    ) {
        let index = Index::open(&build(&rows).encode()).unwrap();
        let range = TimeRange::new(start, start + len);
        let expected: Vec<u32> = (0..rows.len())
            .filter(|row| all_match(&matchers, &rows[*row]) && index.row_range(*row as u32).overlaps(range))
            .map(|row| row as u32)
            .collect();
        prop_assert_eq!(index.select(&matchers, range), expected);
    }

    #[test]
    fn rows_come_back_as_they_were(rows in label_sets()) {
        let index = Index::open(&build(&rows).encode()).unwrap();
        prop_assert_eq!(index.len(), rows.len());
        let mut bytes = Vec::new();
        for (i, labels) in rows.iter().enumerate() {
            index.label_bytes(i as u32, &mut bytes);
            prop_assert_eq!(&LabelSet::from_canonical(&bytes).unwrap(), labels);
            let facts = facts(i);
            prop_assert_eq!(index.row_range(i as u32), TimeRange::new(facts.first_ts, facts.last_ts));
            prop_assert_eq!(index.row_samples(i as u32), facts.samples);
            prop_assert_eq!(index.row_layout(i as u32), facts.layout);
        }
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let mut names = std::collections::BTreeSet::new();
        index.names_of(&all, &mut names);
        let expected: std::collections::BTreeSet<String> =
            rows.iter().flatten().map(|label| label.name.to_owned()).collect();
        prop_assert_eq!(&names, &expected);
        for name in expected {
            let mut values = std::collections::BTreeSet::new();
            index.values_of(&name, &all, &mut values);
            let expected = rows.iter().filter_map(|labels| labels.get(&name).map(str::to_owned)).collect();
            prop_assert_eq!(values, expected);
        }
    }

    /// With the checksum made right again, so that what is behind it is tried.
    #[test]
    fn hostile_bodies_are_refused_or_harmless(rows in label_sets(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = build(&rows).encode();
        let (magic, mut body) = codec::open_envelope(&good).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(index) = Index::open(&codec::seal_envelope(&magic, &body)) {
            let mut bytes = Vec::new();
            for row in index.select(&[Matcher::new(MatchOp::Regex, "job", ".*").unwrap()], TimeRange::ALL) {
                index.label_bytes(row, &mut bytes);
                LabelSet::from_canonical(&bytes).unwrap();
            }
        }
    }

    #[test]
    fn any_damage_is_noticed(rows in label_sets(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = build(&rows).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Index::open(&bytes).is_err());
        prop_assert!(Index::open(&bytes[..at]).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Index::open(&bytes).is_err());
    }
}

/// The budget of the design is 100 bytes; posting lists took three times this.
#[test]
fn ten_thousand_series_take_less_than_sixteen_bytes_each() {
    let mut rows: Vec<_> = (0..10_000)
        .map(|i| {
            LabelSet::from_pairs([
                ("__name__", format!("node_metric_number_{}_total", i % 500)),
                ("instance", format!("host-{:03}.example.org:9100", i / 500)),
                ("job", "node".to_owned()),
                ("device", if i % 4 == 0 { format!("eth{}", i % 3) } else { String::new() }),
            ])
        })
        .collect();
    rows.sort();
    let per_series = build(&rows).encode().len() as f64 / rows.len() as f64;
    println!("{per_series:.2} B a series");
    assert!(per_series < 16.0);
}
