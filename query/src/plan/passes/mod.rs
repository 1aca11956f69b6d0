//! Rewrites of a plan that do not change its answer, each in a file of its own, in the order they run.

mod fold;
mod step_invariant;

pub use fold::apply as apply_scalar;

use super::Plan;

/// Runs all passes.
pub fn rewrite(plan: Plan) -> Plan {
    step_invariant::mark(fold::fold(plan))
}
