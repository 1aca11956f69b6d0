use std::collections::BTreeMap;

use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, MatchOp, Matcher};
use proptest::prelude::*;

use super::*;

fn names() -> impl Strategy<Value = String> {
    "[a-d]".prop_map(|name| name)
}

fn label_sets() -> impl Strategy<Value = LabelSet> {
    prop::collection::btree_map(names(), "[xyz]{0,3}", 0..4).prop_map(LabelSet::from_pairs)
}

fn matchers() -> impl Strategy<Value = Matcher> {
    let patterns = prop_oneof![
        "[xyz]{0,2}",
        Just("x.*".to_owned()),
        Just("x|y|zz|x".to_owned()),
        Just(".+".to_owned()),
        Just("|y".to_owned())
    ];
    let ops = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    (ops, names(), patterns).prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

fn labels_of(index: &Index, slot: Slot) -> LabelSet {
    let mut bytes = Vec::new();
    index.copy_labels(slot, &mut bytes);
    LabelSet::from_canonical(&bytes).unwrap()
}

/// An index and the naive map it must agree with, after inserts and removals.
fn build(steps: Vec<(bool, LabelSet)>) -> (Index, BTreeMap<LabelSet, Slot>) {
    let mut index = Index::new(7);
    let mut model = BTreeMap::new();
    for (add, labels) in steps {
        let found = index.find(labels.as_bytes());
        assert_eq!(found, model.get(&labels).copied());
        match (add, found) {
            (true, None) => drop(model.insert(labels.clone(), index.insert(labels.as_bytes()))),
            (false, Some(slot)) => {
                index.remove(slot);
                model.remove(&labels);
            }
            _ => {}
        }
    }
    (index, model)
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_label_sets(
        steps in prop::collection::vec((prop::bool::weighted(0.7), label_sets()), 0..120),
        matchers in prop::collection::vec(matchers(), 0..4),
        name in names(),
    ) {
        let (mut index, model) = build(steps);
        index.optimize();
        prop_assert_eq!(index.len(), model.len());
        for (labels, &slot) in &model {
            prop_assert_eq!(&labels_of(&index, slot), labels);
        }
        let selected = index.select(&matchers);
        let expected: Vec<_> = model.iter().filter(|(labels, _)| all_match(&matchers, labels)).collect();
        let mut found: Vec<_> = selected.iter().map(|slot| labels_of(&index, Slot(slot))).collect();
        found.sort();
        prop_assert_eq!(found, expected.iter().map(|(labels, _)| (*labels).clone()).collect::<Vec<_>>());
        prop_assert!(selected.is_empty() || !index.surely_has_none(&matchers));

        for among in [Some(&selected), None] {
            let of: Vec<_> = if among.is_some() { expected.iter().map(|e| e.0).collect() } else { model.keys().collect() };
            let expected_names: std::collections::BTreeSet<_> = of.iter().flat_map(|l| l.iter().map(|label| label.name)).collect();
            prop_assert_eq!(index.label_names(among), expected_names);
            let expected_values: std::collections::BTreeSet<_> = of.iter().filter_map(|l| l.get(&name)).collect();
            prop_assert_eq!(index.label_values(&name, among), expected_values.into_iter().collect());
        }
    }
}

#[test]
fn long_and_empty_label_sets_are_series_too() {
    let long = "v".repeat(70_000);
    let mut index = Index::new(1);
    let sets =
        [LabelSet::empty(), LabelSet::from_pairs([("a", long.as_str())]), LabelSet::from_pairs([("a", &long[1..])])];
    let slots: Vec<_> = sets.iter().map(|set| index.insert(set.as_bytes())).collect();
    for (set, slot) in sets.iter().zip(slots) {
        assert_eq!(index.find(set.as_bytes()), Some(slot));
        assert_eq!(&labels_of(&index, slot), set);
    }
}

#[test]
fn a_value_that_no_series_has_any_more_is_seen_at_a_glance() {
    let mut index = Index::new(1);
    let slot = index.insert(LabelSet::from_pairs([("a", "x"), ("b", "y")]).as_bytes());
    let has_none = |index: &Index, op, name: &str, value: &str| {
        index.surely_has_none(&[Matcher::equal("b", "y"), Matcher::new(op, name, value).unwrap()])
    };
    assert!(has_none(&index, MatchOp::Equal, "a", "z") && has_none(&index, MatchOp::Regex, "c", "x"));
    assert!(!has_none(&index, MatchOp::Equal, "a", "x") && !has_none(&index, MatchOp::Equal, "c", ""));
    assert!(!has_none(&index, MatchOp::NotEqual, "a", "z"));
    index.remove(slot);
    assert!(has_none(&index, MatchOp::Equal, "a", "x"));
}

#[test]
fn stats_name_the_largest_first() {
    let mut index = Index::new(1);
    for i in 0..5 {
        let set = LabelSet::from_pairs([
            ("__name__", if i < 3 { "big" } else { "small" }.to_owned()),
            ("i", format!("{i:03}")),
        ]);
        index.insert(set.as_bytes());
    }
    let gone = LabelSet::from_pairs([("__name__", "gone")]);
    let slot = index.insert(gone.as_bytes());
    index.remove(slot);
    let stats = index.stats(2);
    assert_eq!((stats.series, stats.label_pairs), (5, 7));
    assert_eq!(stats.series_by_metric, [("big".into(), 3), ("small".into(), 2)]);
    assert_eq!(stats.values_by_label, [("i".into(), 5), ("__name__".into(), 2)]);
    assert_eq!(stats.value_bytes_by_label, [("__name__".into(), 19), ("i".into(), 15)]);
    assert_eq!(stats.series_by_pair[0], ("__name__=big".into(), 3));
}

#[test]
fn an_index_of_removed_series_asks_to_be_rebuilt() {
    let mut index = Index::new(1);
    let slots: Vec<_> =
        (0..100).map(|i| index.insert(LabelSet::from_pairs([("i", i.to_string())]).as_bytes())).collect();
    assert!(!index.is_mostly_dead());
    for slot in slots.into_iter().take(60) {
        index.remove(slot);
    }
    assert!(index.is_mostly_dead());
}
