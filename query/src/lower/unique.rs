//! Whether the rows of a plan stay apart when their names go.
//!
//! Dropping names at once may leave two rows with the same labels, which is an error that is found only where all rows
//! meet. Most plans cannot get there, and those keep their partitions apart.

use pharos_model::labels::METRIC_NAME;
use pharos_model::{MatchOp, Matcher};

use super::Lowering;
use crate::plan::{NameRule, Op, Plan, Selector, SetOp};

impl Lowering<'_> {
    /// Whether all series of a selector have the same name, and nothing else that goes with the name.
    pub(super) fn selects_one_name(&self, selector: &Selector) -> bool {
        let names_one = |m: &Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty();
        selector.matchers.iter().any(names_one) && !self.settings.type_and_unit_labels
    }

    /// Whether no two rows of a plan, whose [`Op::Merge`]s are all in place, are equal without their names.
    pub(super) fn is_unique_without_names(&self, plan: &Plan) -> bool {
        let input = |i: usize| self.is_unique_without_names(&plan.inputs[i]);
        match &plan.op {
            Op::Scan(scan) => scan.names == NameRule::Drop || self.selects_one_name(&scan.selector),
            Op::Map { names, .. } | Op::RangeOverSubquery { names, .. } | Op::Histogram { names, .. } => {
                *names == NameRule::Drop || input(0)
            }
            Op::Merge { .. } => !matches!(plan.inputs[0].op, Op::Relabel(_)) && input(0),
            Op::Aggregate { grouping, .. } | Op::Quantile { grouping, .. } | Op::CountValues { grouping, .. } => {
                !grouping.keeps(METRIC_NAME)
            }
            Op::AggregateK { .. } | Op::Sort(_) | Op::Repeat | Op::Share(_) => input(0),
            Op::Set { op, .. } => *op != SetOp::Or && input(0),
            Op::Match { names, .. } => *names == NameRule::Drop,
            Op::Raw { .. } | Op::Relabel(_) | Op::Info(_) => false,
            Op::Constant(_)
            | Op::Time
            | Op::Values(_)
            | Op::Empty
            | Op::ScalarBinary(_)
            | Op::ScalarOf
            | Op::VectorOf
            | Op::Absent { .. } => true,
        }
    }
}
