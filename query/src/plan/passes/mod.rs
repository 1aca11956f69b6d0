//! Rewrites of a plan that do not change its answer, each in a file of its own, in the order they run.

mod fold;
mod matchers;
mod step_invariant;

mod share;

pub use fold::apply as apply_scalar;

use super::Plan;

/// Runs all passes.
pub fn rewrite(plan: Plan) -> Plan {
    share::share(&step_invariant::mark(matchers::hand_over(fold::fold(plan))))
}
