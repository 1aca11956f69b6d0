//! The labels of a result.

use pharos_model::{LabelSet, LabelSetBuilder};
use pharos_promql::ast::{BinaryOp, Cardinality};

use crate::batch::Row;
use crate::plan::arithmetic::changes_meaning;
use crate::plan::names::is_metadata_label;
use crate::plan::{Grouping, Matching, NameRule};

pub(super) struct ResultLabels<'a> {
    op: BinaryOp,
    matching: &'a Matching,
    names: NameRule,
}

impl<'a> ResultLabels<'a> {
    pub(super) fn new(op: BinaryOp, matching: &'a Matching, names: NameRule) -> Self {
        Self { op, matching, names }
    }

    /// Labels and name mark of the result of two rows. Of a side that is filled in there are the labels that were
    /// matched on, taken from the other.
    pub(super) fn of(&self, many: Option<Row<'_>>, one: Option<Row<'_>>) -> (Vec<u8>, bool) {
        let labels = |row: Row<'_>| LabelSet::from_canonical_trusted(row.labels);
        let (many_labels, one_labels) = match (many, one) {
            (Some(many), Some(one)) => (labels(many), labels(one)),
            (Some(many), None) => (labels(many), self.matched(&labels(many))),
            (None, Some(one)) => (self.matched(&labels(one)), labels(one)),
            (None, None) => unreachable!("a result has at least one side"),
        };
        let mut builder = many_labels.to_builder();
        if changes_meaning(self.op) || self.names == NameRule::Drop {
            builder.retain(|label| !is_metadata_label(label.name));
        }
        if self.matching.card == Cardinality::OneToOne {
            self.keep_matched(&mut builder);
        }
        for name in &self.matching.include {
            builder.set(name, one_labels.get_or_empty(name));
        }
        let marked = self.names == NameRule::Mark || many.is_some_and(|many| many.drop_name);
        (builder.build().as_bytes().to_vec(), marked)
    }

    /// `on` keeps only what was matched on; `ignoring` leaves out what was ignored, but keeps the name.
    fn keep_matched(&self, builder: &mut LabelSetBuilder) {
        let Grouping { without, labels } = &self.matching.on;
        let listed = |name: &str| labels.binary_search_by(|label| label.as_str().cmp(name)).is_ok();
        builder.retain(|label| listed(label.name) != *without);
    }

    fn matched(&self, labels: &LabelSet) -> LabelSet {
        labels.filter(|name| self.matching.on.keeps(name))
    }
}
