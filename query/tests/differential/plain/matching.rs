//! How elements of two vectors find each other, and what labels their result has.

use pharos_model::LabelSet;
use pharos_model::labels::METRIC_NAME;
use pharos_promql::ast::{Binary, Cardinality, VectorMatching};

use super::binary::Outcome;
use super::rows::{Element, without_metadata};
use super::{Plain, Refusal, Result, SAME_LABELSET, both};

/// `on (...)` or `ignoring (...)`, with what `group_left` and `group_right` add.
pub(super) struct Matcher<'a>(pub &'a VectorMatching);

impl Matcher<'_> {
    fn is_listed(&self, name: &str) -> bool {
        self.0.labels.iter().any(|listed| listed == name)
    }

    /// The labels that must be equal on both sides.
    pub(super) fn signature(&self, labels: &LabelSet) -> LabelSet {
        match self.0.on {
            true => labels.filter(|name| self.is_listed(name)),
            false => labels.filter(|name| !self.is_listed(name) && name != METRIC_NAME),
        }
    }

    /// The labels of the result: those of the "many" side, with some of the "one" side.
    fn result(&self, many: &LabelSet, one: &LabelSet, keeps_name: bool) -> LabelSet {
        let mut labels = if keeps_name { many.clone() } else { without_metadata(many) };
        if self.0.card == Cardinality::OneToOne {
            labels = labels.filter(|name| self.is_listed(name) == self.0.on);
        }
        let mut builder = labels.to_builder();
        for name in &self.0.include {
            builder.set(name, one.get_or_empty(name));
        }
        builder.build()
    }
}

impl Plain<'_> {
    /// `apply` says what comes of left and right, if anything does.
    pub(super) fn match_vectors<V: Clone + From<f64>>(
        &self,
        binary: &Binary,
        (left, right): (Vec<Element<V>>, Vec<Element<V>>),
        matcher: &Matcher<'_>,
        apply: impl Fn(&V, &V) -> Option<Outcome<V>>,
    ) -> Result<Vec<Element<V>>> {
        let matching = matcher.0;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (left.is_empty() || right.is_empty()) && (!fills || left.is_empty() && right.is_empty()) {
            return Ok(Vec::new());
        }
        let one_is_left = matching.card == Cardinality::OneToMany;
        let (many, one) = if one_is_left { (right, left) } else { (left, right) };
        let keeps_name = binary.op.is_comparison();
        // A match without an answer is none.
        let pairs: Vec<Pair<V>> = pairs(&many, &one, matcher)
            .into_iter()
            .filter_map(|(signature, many, one)| {
                let mut labels = matcher.result(&many.labels, &one.labels, keeps_name);
                if binary.return_bool && !self.settings.delayed_names {
                    labels = without_metadata(&labels);
                }
                let values = if one_is_left { (one.value, many.value) } else { (many.value, one.value) };
                let outcome = apply(&values.0, &values.1)?;
                Some(Pair { signature, labels, drop_name: many.drop_name, left: values.0, outcome })
            })
            .collect();
        if let Err(Refusal(mut reasons)) =
            both(refuse_duplicates(&one, matcher), refuse_second_matches(&pairs, matching))
        {
            // Which the engine may find first.
            if (1..pairs.len()).any(|i| pairs[..i].iter().any(|other| other.labels == pairs[i].labels)) {
                reasons.push(SAME_LABELSET.into());
            }
            return Err(Refusal(reasons));
        }
        Ok(pairs.into_iter().filter_map(|pair| self.pair_result(binary, pair)).collect())
    }

    fn pair_result<V>(&self, binary: &Binary, pair: Pair<V>) -> Option<Element<V>> {
        let labels = pair.labels;
        match pair.outcome {
            Outcome::Filtered(true) => {
                // Upstream forgets here, and here alone, that a name is to be dropped.
                if pair.drop_name {
                    self.leave_open();
                }
                Some(Element { labels, drop_name: pair.drop_name, value: pair.left })
            }
            Outcome::Filtered(false) => None,
            Outcome::Value(value) => Some(Element { labels, drop_name: binary.return_bool, value }),
        }
    }
}

/// Two elements that found each other.
struct Pair<V> {
    signature: LabelSet,
    /// Of the result.
    labels: LabelSet,
    /// Whether the name of the "many" side is to be dropped.
    drop_name: bool,
    /// What is left of the operator.
    left: V,
    outcome: Outcome<V>,
}

/// Elements that belong together and their signature, a value to fill in where one is missing.
fn pairs<V: Clone + From<f64>>(
    many: &[Element<V>],
    one: &[Element<V>],
    matcher: &Matcher<'_>,
) -> Vec<(LabelSet, Element<V>, Element<V>)> {
    let matching = matcher.0;
    // Whichever side is written first: `fill_right` is for the "one" side.
    let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
    let filled =
        |labels: &LabelSet, value: f64| Element { labels: labels.clone(), drop_name: false, value: V::from(value) };
    let mut pairs = Vec::new();
    for element in many {
        let signature = matcher.signature(&element.labels);
        let partner = one.iter().find(|other| matcher.signature(&other.labels) == signature).cloned();
        if let Some(partner) = partner.or_else(|| Some(filled(&signature, fill_one?))) {
            pairs.push((signature, element.clone(), partner));
        }
    }
    for element in one {
        let signature = matcher.signature(&element.labels);
        let is_matched = many.iter().any(|other| matcher.signature(&other.labels) == signature);
        if let (false, Some(value)) = (is_matched, fill_many) {
            let partner = filled(&signature, value);
            pairs.push((signature, partner, element.clone()));
        }
    }
    pairs
}

/// The "one" side has one element for each match group.
fn refuse_duplicates<V>(one: &[Element<V>], matcher: &Matcher<'_>) -> Result<()> {
    let signatures: Vec<LabelSet> = one.iter().map(|element| matcher.signature(&element.labels)).collect();
    match (1..signatures.len()).any(|i| signatures[..i].contains(&signatures[i])) {
        true => Err(Refusal::new("found duplicate series for the match group")),
        false => Ok(()),
    }
}

/// A match group has one result, or with grouping several that differ in their labels. One that a filter drops counts.
fn refuse_second_matches<V>(pairs: &[Pair<V>], matching: &VectorMatching) -> Result<()> {
    let is_one_to_one = matching.card == Cardinality::OneToOne;
    let is_second = |(i, pair): (usize, &Pair<V>)| {
        let mut group = pairs[..i].iter().filter(|other| other.signature == pair.signature);
        group.any(|other| is_one_to_one || other.labels == pair.labels)
    };
    match (pairs.iter().enumerate().any(is_second), is_one_to_one) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::new(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        )),
        (true, false) => Err(Refusal::new("multiple matches for labels: grouping labels must ensure unique matches")),
    }
}
