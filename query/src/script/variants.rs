//! Other ways to run an instant evaluation that must give the same answer: with `@` on every selector at other
//! evaluation times, and as the middle step of a range.

use pharos_model::TimestampMs;
use pharos_promql::ast::AtModifier;
use pharos_promql::{Expr, ExprKind, FunctionId};

/// The expression with `@ at` on each selector and subquery that has none, selectors inside of subqueries left alone, and
/// the times to evaluate it at. `None` when a function in it depends on the evaluation time itself.
pub(super) fn pinned(expr: &Expr, at: TimestampMs) -> Option<(Expr, Vec<TimestampMs>)> {
    let mut pinned = expr.clone();
    if !pin(&mut pinned, at) {
        return None;
    }
    let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    Some((pinned, times))
}

/// Whether the expression means the same when evaluated over a range around its time.
pub(super) fn means_the_same_over_a_range(text: &str) -> bool {
    !["start()", "end()", "range()", "step()"].iter().any(|call| text.contains(call))
}

/// Pins the selectors below a node; false when a function depends on the evaluation time.
fn pin(expr: &mut Expr, at: TimestampMs) -> bool {
    if let ExprKind::Subquery(subquery) = &mut expr.kind {
        // What is inside is evaluated at the subquery's own times.
        subquery.at.get_or_insert(AtModifier::Timestamp(at));
        return true;
    }
    if let Some(selector) = expr.selector_mut() {
        selector.at.get_or_insert(AtModifier::Timestamp(at));
        return true;
    }
    let depends = matches!(&expr.kind, ExprKind::Call(call) if depends_on_time(call.function.id));
    !depends && expr.children_mut().into_iter().all(|child| pin(child, at))
}

/// Functions whose result may differ with the evaluation time though their arguments do not.
fn depends_on_time(id: FunctionId) -> bool {
    use FunctionId as F;
    matches!(
        id,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::End
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Range
            | F::Start
            | F::Step
            | F::Time
            | F::Timestamp
    )
}
