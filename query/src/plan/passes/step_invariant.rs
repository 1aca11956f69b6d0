//! Finds the parts of a plan that are the same at each step, such as `sum(x @ 10)`, and has them evaluated once.

use crate::functions::RangeFunction;
use crate::plan::{MapFunction, Op, Plan, Read};

/// Puts an [`Op::Repeat`] above each largest subtree that does not depend on the evaluation time.
pub(super) fn mark(plan: Plan) -> Plan {
    if is_invariant(&plan) {
        return repeat(plan);
    }
    descend(plan)
}

fn descend(mut plan: Plan) -> Plan {
    plan.inputs = plan.inputs.into_iter().map(mark).collect();
    plan
}

fn repeat(plan: Plan) -> Plan {
    // A constant is cheaper than its copy.
    if matches!(plan.op, Op::Constant(_) | Op::Empty) {
        return plan;
    }
    let (shape, span) = (plan.shape, plan.span);
    // Below, a subquery has more steps again.
    let inner = descend_into_subqueries(plan);
    Plan { op: Op::Repeat, inputs: vec![inner], shape, span }
}

fn descend_into_subqueries(mut plan: Plan) -> Plan {
    let below = match plan.op {
        Op::RangeOverSubquery { .. } => mark,
        _ => descend_into_subqueries,
    };
    let mut inputs = plan.inputs.into_iter();
    plan.inputs = inputs.next().map(below).into_iter().chain(inputs.map(descend_into_subqueries)).collect();
    plan
}

/// Whether a node and all below it give the same at each step of their grid.
fn is_invariant(plan: &Plan) -> bool {
    match &plan.op {
        Op::Time => false,
        Op::Map { function: MapFunction::EvaluationTime, .. } => false,
        Op::Scan(scan) => {
            let at_time =
                matches!(&scan.read, Read::Range { call, .. } if call.function == RangeFunction::PredictLinear);
            scan.selector.shift.is_pinned() && !at_time && plan.inputs.iter().all(is_invariant)
        }
        // The inner plan has a grid of its own, which depends on the window alone.
        Op::RangeOverSubquery { window, call, .. } => {
            window.shift.is_pinned()
                && call.function != RangeFunction::PredictLinear
                && plan.inputs[1..].iter().all(is_invariant)
        }
        _ => plan.inputs.iter().all(is_invariant),
    }
}
