//! Has one side of a binary operator read only what the other side can match.
//!
//! `a{x="1"} and on (x) b` asks for no `b` with another `x`. Two rows that meet have the same values of the labels they are
//! matched on, so what a matcher says of such a label on one side holds for the other side too.
//!
//! The answer stays the same, and so does what is said besides. A matcher is therefore handed over only
//! - where series that are left out cannot have made the query fail. Prometheus refuses two rows of one match group on the "one"
//!   side even when nothing belongs to that group on the other, unless the other is empty: so the "one" side must be one
//!   where no group has two, and otherwise neither side is touched;
//! - to what has nothing to say of a series, whatever its samples: `rate` may have to warn of native histograms, and a
//!   warning about a series that matches nothing is shown nevertheless;
//! - not where a fill value stands in for a side, which is for rows that match nothing.
//!
//! Fewer samples are read, which statistics show.

mod properties;

use pharos_model::Matcher;
use pharos_promql::ast::Cardinality;

use self::properties::{holds, is_unique_on, takes};
use crate::plan::names::is_metadata_label;
use crate::plan::{Grouping, Matching, Op, Plan, SetOp};

/// Hands matchers over, bottom up.
pub(super) fn hand_over(mut plan: Plan) -> Plan {
    plan.inputs = plan.inputs.into_iter().map(hand_over).collect();
    match &plan.op {
        Op::Match { matching, .. } if may_meet_fewer(matching, &plan.inputs) => {
            let on = matching.on.clone();
            exchange(&mut plan.inputs, &on, [true, true]);
        }
        Op::Set { op, grouping } => {
            let on = grouping.clone();
            let to = match op {
                SetOp::And => [true, true],
                SetOp::Unless => [false, true],
                SetOp::Or => [false, false],
            };
            exchange(&mut plan.inputs, &on, to);
        }
        _ => {}
    }
    plan
}

/// Whether rows may be left out whose match group is on one side only.
fn may_meet_fewer(matching: &Matching, inputs: &[Plan]) -> bool {
    let one = if matching.card == Cardinality::OneToMany { &inputs[0] } else { &inputs[1] };
    matching.fill_left.is_none() && matching.fill_right.is_none() && is_unique_on(one, &matching.on)
}

/// Restricts each side that is in `to` by what holds for the other.
fn exchange(inputs: &mut [Plan], on: &Grouping, to: [bool; 2]) {
    let of_side = [holds(&inputs[0]), holds(&inputs[1])];
    for (side, input) in inputs.iter_mut().enumerate().filter(|(side, _)| to[*side]) {
        let others = of_side[1 - side].iter().filter(|matcher| on.keeps(&matcher.name));
        // A type or unit goes with the name, at any operator on the way.
        for matcher in others.filter(|matcher| !is_metadata_label(&matcher.name)) {
            if takes(input, &matcher.name) {
                restrict(input, matcher);
            }
        }
    }
}

/// Leaves out rows that do not match, of a plan that [`takes`] the matcher's label.
fn restrict(plan: &mut Plan, matcher: &Matcher) {
    match &mut plan.op {
        Op::Scan(scan) => {
            if !scan.selector.matchers.contains(matcher) {
                scan.selector.matchers.push(matcher.clone());
            }
        }
        // The right side of a set operator decides about rows of the left, so it may stay as it is.
        _ => restrict(&mut plan.inputs[0], matcher),
    }
}

#[cfg(test)]
mod tests;
