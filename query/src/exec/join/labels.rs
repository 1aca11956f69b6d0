//! The labels of a result.

use pharos_model::LabelSet;
use pharos_model::labels::{iter_canonical, push_label};
use pharos_promql::ast::{BinaryOp, Cardinality};

use crate::batch::Row;
use crate::plan::arithmetic::changes_meaning;
use crate::plan::names::is_metadata_label;
use crate::plan::{Matching, NameRule};

pub(super) struct ResultLabels<'a> {
    matching: &'a Matching,
    names: NameRule,
    /// Whether the labels that describe the metric go.
    drops_metadata: bool,
    /// The labels made last.
    bytes: Vec<u8>,
}

impl<'a> ResultLabels<'a> {
    pub(super) fn new(op: BinaryOp, matching: &'a Matching, names: NameRule) -> Self {
        let drops_metadata = changes_meaning(op) || names == NameRule::Drop;
        Self { matching, names, drops_metadata, bytes: Vec::new() }
    }

    /// Labels and name mark of the result of two rows. Of a side that is filled in there are the labels that were
    /// matched on, taken from the other.
    pub(super) fn of(&mut self, many: Option<Row<'_>>, one: Option<Row<'_>>) -> (&[u8], bool) {
        let marked = self.names == NameRule::Mark || many.is_some_and(|many| many.drop_name);
        match self.matching.card {
            Cardinality::OneToOne => self.matched_labels(many, one),
            _ => self.many_labels(many, one),
        }
        (&self.bytes, marked)
    }

    /// `on` keeps only what was matched on; `ignoring` leaves out what was ignored, but keeps the name unless it is that of a
    /// stand-in.
    fn matched_labels(&mut self, many: Option<Row<'_>>, one: Option<Row<'_>>) {
        let on = &self.matching.on;
        let source = many.or(one).expect("a result has at least one side");
        let listed = |name: &str| on.labels.binary_search_by(|label| label.as_str().cmp(name)).is_ok();
        self.bytes.clear();
        for label in iter_canonical(source.labels) {
            let goes = self.drops_metadata && is_metadata_label(label.name);
            let fits = if many.is_some() { listed(label.name) != on.without } else { on.keeps(label.name) };
            if fits && !goes {
                push_label(&mut self.bytes, label.name, label.value);
            }
        }
    }

    /// The labels of the "many" side, and those that are copied from the "one" side.
    fn many_labels(&mut self, many: Option<Row<'_>>, one: Option<Row<'_>>) {
        let labels = |row: Row<'_>| LabelSet::from_canonical_trusted(row.labels);
        let (many_labels, one_labels) = match (many, one) {
            (Some(many), Some(one)) => (labels(many), labels(one)),
            (Some(many), None) => (labels(many), self.matched(&labels(many))),
            (None, Some(one)) => (self.matched(&labels(one)), labels(one)),
            (None, None) => unreachable!("a result has at least one side"),
        };
        let mut builder = many_labels.to_builder();
        if self.drops_metadata {
            builder.retain(|label| !is_metadata_label(label.name));
        }
        for name in &self.matching.include {
            builder.set(name, one_labels.get_or_empty(name));
        }
        self.bytes.clear();
        builder.iter().for_each(|label| push_label(&mut self.bytes, label.name, label.value));
    }

    fn matched(&self, labels: &LabelSet) -> LabelSet {
        labels.filter(|name| self.matching.on.keeps(name))
    }
}
