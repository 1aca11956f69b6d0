//! Which parts that a query says more than once are evaluated more than once, because their series are on workers.
//!
//! A shared part is evaluated for all of its places where the query is, so that its rows cross the boundary, once. Where every
//! place wants but what an aggregation makes of the rows, it is far less to let the first half of each run on the workers:
//! `sum(x) / count(x)` brings the states of two aggregations, and reads `x` twice where it lies. A place that wants the rows brings
//! them anyway, and then all places use them.

use hashbrown::HashSet;

use super::boundary::Reach;
use crate::plan::{Op, Plan};

/// Takes the [`Op::Share`] from above each part whose places all reduce it on the workers.
pub(crate) fn unshare(plan: Plan) -> Plan {
    let mut apart = HashSet::new();
    ids(&plan, &mut apart);
    // What is below a part that stays shared is not reduced on workers, so one may keep another.
    while !apart.is_empty() {
        let mut kept = HashSet::new();
        keep(&plan, false, &apart, &mut kept);
        if kept.is_empty() {
            return without(plan, &apart);
        }
        apart.retain(|id| !kept.contains(id));
    }
    plan
}

fn ids(plan: &Plan, found: &mut HashSet<u32>) {
    if let Op::Share(share) = plan.op {
        found.insert(share.id);
    }
    plan.inputs.iter().for_each(|input| ids(input, found));
}

/// Finds those of `apart` that have a place where rows are wanted. `is_reduced` says that the rows of a node go one by one into the
/// first half of an aggregation.
fn keep(plan: &Plan, is_reduced: bool, apart: &HashSet<u32>, kept: &mut HashSet<u32>) {
    let first_is_reduced = match (Reach::of(&plan.op), &plan.op) {
        (Reach::Parts, _) => true,
        (Reach::Each, _) => is_reduced,
        (_, Op::Share(share)) if apart.contains(&share.id) => {
            let splits = is_reduced && is_spread(&plan.inputs[0], apart);
            if !splits {
                kept.insert(share.id);
            }
            splits
        }
        _ => false,
    };
    for (at, input) in plan.inputs.iter().enumerate() {
        keep(input, at == 0 && first_is_reduced, apart, kept);
    }
}

/// Whether the rows of a node are on workers once the parts in `apart` are no more shared.
fn is_spread(plan: &Plan, apart: &HashSet<u32>) -> bool {
    match (Reach::of(&plan.op), &plan.op) {
        (Reach::Leaf, _) => true,
        (Reach::Each, _) => is_spread(&plan.inputs[0], apart),
        (_, Op::Share(share)) => apart.contains(&share.id) && is_spread(&plan.inputs[0], apart),
        _ => false,
    }
}

fn without(mut plan: Plan, apart: &HashSet<u32>) -> Plan {
    if matches!(plan.op, Op::Share(share) if apart.contains(&share.id)) {
        return without(plan.inputs.swap_remove(0), apart);
    }
    plan.inputs = plan.inputs.into_iter().map(|input| without(input, apart)).collect();
    plan
}

#[cfg(test)]
mod tests {
    use pharos_promql::{ParserOptions, parse_expr};

    use super::*;
    use crate::lower::{Settings, lower};
    use crate::plan::{Query, passes};

    const SETTINGS: Settings = Settings {
        start_ms: 0,
        end_ms: 90_000,
        step_ms: Some(10_000),
        lookback_ms: 300_000,
        subquery_step_ms: 60_000,
        delayed_names: false,
        type_and_unit_labels: false,
        use_start_timestamps: false,
    };

    fn places(plan: &Plan) -> usize {
        usize::from(matches!(plan.op, Op::Share(_))) + plan.inputs.iter().map(places).sum::<usize>()
    }

    /// Places that share something, and those that do when series are on workers.
    fn check(text: &str, before: usize, after: usize) {
        let parsed = parse_expr(text, &ParserOptions::ALL).unwrap();
        let Query::Rows(plan) = lower(&parsed, &SETTINGS).unwrap().query else { panic!("{text} has rows") };
        let plan = passes::rewrite(plan);
        assert_eq!(places(&plan), before, "{text}");
        let apart = unshare(plan);
        assert_eq!(places(&apart), after, "{text}");
        // Nothing else becomes possible by it.
        assert_eq!(unshare(apart.clone()), apart, "{text}");
    }

    #[test]
    fn what_all_places_reduce_is_reduced_where_it_lies() {
        check("sum(x) / count(x)", 2, 0);
        check("sum by (a) (rate(x[5m])) / on (a) group_left () stddev by (a) (rate(x[5m]))", 2, 0);
        check("sum(abs(x)) / count(abs(x))", 2, 0);
        check("sum(abs(x)) / count(x * 2)", 2, 0);
        check("topk(3, x) or bottomk(3, x)", 2, 0);
        check("sum(x) unless absent(x)", 2, 0);
        check("topk(scalar(count(x)), x)", 2, 0);
        check("max(max_over_time(x[5m:1m])) - min(max_over_time(x[5m:1m]))", 2, 0);
    }

    #[test]
    fn rows_that_one_place_wants_are_brought_once_for_all() {
        check("sum(x) / x", 2, 2);
        check("x + x", 2, 2);
        check("sum(x) / quantile(0.5, x)", 2, 2);
        check("sum(x) / count(x) + on () group_right () x", 3, 3);
        // Without the rows of `x` the other places cannot have `abs(x)` there.
        check("sum(abs(x)) / count(abs(x)) + on () group_right () x", 5, 5);
        // A part apart from that is none the worse.
        check("sum(x) / x + on () group_left () (sum(y) / count(y))", 4, 2);
    }

    #[test]
    fn what_is_not_on_workers_stays_shared() {
        check("max(sum by (a) (x)) / min(sum by (a) (x))", 2, 2);
        check("max(x + y) / min(x + y)", 2, 2);
        check("sum(x) + sum(x)", 2, 2);
    }
}
