//! Whether the answer at a step follows from the step alone, and from which samples.

use pharos_model::{TenantId, TimeRange, TimestampMs};
use pharos_promql::ast::{AtModifier, ExprKind};
use pharos_promql::duration::{DurationExpr, DurationExprKind, DurationValue};
use pharos_promql::{Expr, FunctionId};

use crate::exec::request_of;
use crate::functions::Grid;
use crate::plan::{Op, Param, Plan};

/// The samples that the answer at a step depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Around each step: times less that of the step.
    pub around: Option<TimeRange>,
    /// The same for all steps.
    pub pinned: Option<TimeRange>,
}

impl Reach {
    /// The last time at which a step only depends on samples at or before `until_ms`. `None` when no step does.
    pub fn settled_until(&self, until_ms: TimestampMs) -> Option<TimestampMs> {
        if self.pinned.is_some_and(|pinned| pinned.end_ms > until_ms) {
            return None;
        }
        Some(self.around.map_or(TimestampMs::MAX, |around| until_ms.saturating_sub(around.end_ms)))
    }

    /// The steps that depend on samples in a range.
    pub fn steps_of(&self, samples: TimeRange) -> Option<TimeRange> {
        if self.pinned.is_some_and(|pinned| pinned.overlaps(samples)) {
            return Some(TimeRange::ALL);
        }
        let around = self.around?;
        let start_ms = samples.start_ms.saturating_sub(around.end_ms);
        Some(TimeRange::new(start_ms, samples.end_ms.saturating_sub(around.start_ms)))
    }

    fn and(self, other: Self) -> Self {
        let union = |a: Option<TimeRange>, b: Option<TimeRange>| match (a, b) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (one, None) | (None, one) => one,
        };
        Self { around: union(self.around, other.around), pinned: union(self.pinned, other.pinned) }
    }
}

/// Whether an expression names nothing but its own step: neither the beginning nor the end of the query, nor how long it is. (The
/// width of a step is the same for all that are kept together.)
pub fn is_of_each_step(expr: &Expr) -> bool {
    let mut of_each_step = true;
    expr.walk(&mut |expr| {
        let names_query = match &expr.kind {
            ExprKind::Vector(selector) => names_ends(selector.at) || names_range(&selector.offset),
            ExprKind::Matrix(matrix) => {
                names_ends(matrix.selector.at) || names_range(&matrix.selector.offset) || names_range(&matrix.range)
            }
            ExprKind::Subquery(subquery) => {
                let durations = [Some(&subquery.range), subquery.step.as_ref(), Some(&subquery.offset)];
                names_ends(subquery.at) || durations.into_iter().flatten().any(names_range)
            }
            ExprKind::Call(call) => {
                matches!(call.function.id, FunctionId::Start | FunctionId::End | FunctionId::Range)
            }
            _ => false,
        };
        of_each_step &= !names_query;
    });
    of_each_step
}

fn names_ends(at: Option<AtModifier>) -> bool {
    matches!(at, Some(AtModifier::Start | AtModifier::End))
}

fn names_range(duration: &DurationValue) -> bool {
    fn names(expr: &DurationExpr) -> bool {
        match &expr.kind {
            DurationExprKind::Range => true,
            DurationExprKind::Number(_) | DurationExprKind::Step => false,
            DurationExprKind::Plus(inner) | DurationExprKind::Minus(inner) => names(inner),
            DurationExprKind::Binary { lhs, rhs, .. } => names(lhs) || names(rhs),
        }
    }
    match duration {
        DurationValue::Ms(_) => false,
        DurationValue::Expr(expr) => names(expr),
    }
}

/// The samples that a step of a plan depends on; `None` when it depends on more than samples around it, on the other steps that are
/// evaluated with it.
pub fn reach_of(plan: &Plan) -> Option<Reach> {
    let inputs = || plan.inputs.iter().try_fold(Reach::default(), |all, input| Some(all.and(reach_of(input)?)));
    match &plan.op {
        Op::Scan(scan) => {
            // Evaluated at zero, a selector asks for times that are counted from the step.
            let asked = request_of(scan, &Grid::instant(0), &TenantId::anonymous()).range;
            let own = match scan.selector.shift.is_pinned() {
                true => Reach { pinned: Some(asked), around: None },
                false => Reach { around: Some(asked), pinned: None },
            };
            Some(own.and(inputs()?))
        }
        Op::RangeOverSubquery { window, .. } => {
            let (inner, scalars) = plan.inputs.split_first()?;
            let inner = reach_of(inner)?;
            let end_ms = window.shift.reference(0);
            let steps = TimeRange::new(end_ms.saturating_sub(window.range_ms), end_ms);
            let seen = inner.around.map(|around| {
                let start_ms = steps.start_ms.saturating_add(around.start_ms);
                TimeRange::new(start_ms, steps.end_ms.saturating_add(around.end_ms))
            });
            let own = match window.shift.is_pinned() {
                true => Reach { pinned: seen, around: None },
                false => Reach { around: seen, pinned: None },
            };
            let own = own.and(Reach { pinned: inner.pinned, around: None });
            scalars.iter().try_fold(own, |all, scalar| Some(all.and(reach_of(scalar)?)))
        }
        // Looks at all rows whatever their steps.
        Op::Merge { strict: true } | Op::Info(_) => None,
        // Not made of steps, or of steps that are not known any more.
        Op::Raw { .. } | Op::Values(_) => None,
        // Whether any row is picked, and whether that is an error, is decided from the values at all steps.
        Op::AggregateK { k: Param::Input(_), .. } => None,
        Op::Constant(_)
        | Op::Time
        | Op::Empty
        | Op::Map { .. }
        | Op::Relabel(_)
        | Op::Merge { strict: false }
        | Op::ScalarBinary(_)
        | Op::ScalarOf
        | Op::VectorOf
        | Op::Aggregate { .. }
        | Op::AggregateK { .. }
        | Op::Quantile { .. }
        | Op::CountValues { .. }
        | Op::Match { .. }
        | Op::Set { .. }
        | Op::Histogram { .. }
        | Op::Absent { .. }
        | Op::Sort(_)
        | Op::Repeat
        | Op::Share(_) => inputs(),
    }
}

#[cfg(test)]
mod tests {
    use pharos_promql::{ParserOptions, parse_expr};

    use super::*;
    use crate::lower::{Settings, lower};
    use crate::plan::{Query, passes};

    const SETTINGS: Settings = Settings {
        start_ms: 1_000_000,
        end_ms: 2_000_000,
        step_ms: Some(15_000),
        lookback_ms: 300_000,
        subquery_step_ms: 60_000,
        delayed_names: false,
        type_and_unit_labels: false,
        use_start_timestamps: false,
    };

    fn reach(text: &str) -> Option<Reach> {
        let expr = parse_expr(text, &ParserOptions::ALL).unwrap();
        let Query::Rows(plan) = lower(&expr, &SETTINGS).unwrap().query else { panic!("{text} has rows") };
        is_of_each_step(&expr).then(|| reach_of(&passes::rewrite(plan))).flatten()
    }

    #[test]
    fn what_depends_on_more_than_its_step_is_not_kept() {
        for text in [
            "x @ start()",
            "sum(rate(x[5m] @ end()))",
            "max_over_time(x[5m:1m] @ end())",
            "x + start()",
            "x * end()",
            "x / range()",
            "rate(x[range()])",
            "x offset (range() * 2)",
            "max_over_time(x[1h:range()])",
            "info(x)",
            "topk(scalar(k), x)",
            "rate({__name__=~\"a|b\"}[5m])",
        ] {
            assert_eq!(reach(text), None, "{text}");
        }
    }

    #[test]
    fn the_reach_of_a_step_is_all_that_its_selectors_read() {
        // The oldest sample of a window, and of a lookback, is a millisecond inside.
        let inside = |start: i64, end: i64| Some(TimeRange::new(start * 1000 + 1, end * 1000));
        for (text, want, pinned) in [
            ("x", inside(-300, 0), None),
            ("time()", None, None),
            ("1 + step()", None, None),
            ("rate(x[10m])", inside(-600, 0), None),
            ("rate(x[10m] offset 1h)", inside(-4200, -3600), None),
            ("rate(x[10m] offset -1h)", inside(3000, 3600), None),
            ("rate(x[step() * 4])", inside(-60, 0), None),
            ("x smoothed", inside(-300, 300), None),
            ("increase(x[10m] anchored)", inside(-900, 0), None),
            ("increase(x[10m] smoothed)", inside(-900, 300), None),
            ("x / y offset 20m", inside(-1500, 0), None),
            ("sort(x)", inside(-300, 0), None),
            ("x @ 5000", None, inside(4700, 5000)),
            ("rate(x[10m] @ 5000 offset 10s) + y", inside(-300, 0), inside(4390, 4990)),
            ("max_over_time(x[30m:1m])", inside(-2100, 0), None),
            ("max_over_time(x[30m:1m] offset 10m)", inside(-2700, -600), None),
            ("max_over_time(rate(x[5m] offset -5m)[30m:1m] offset 1m)", inside(-1860, 240), None),
            ("max_over_time(x[30m:1m] @ 9000)", None, inside(6900, 9000)),
            ("max_over_time((x @ 9000)[30m:1m])", None, inside(8700, 9000)),
            ("quantile_over_time(scalar(y offset 1h), x[1m])", inside(-3900, 0), None),
            ("sum by (a) (topk(3, x)) or label_replace(x, \"a\", \"b\", \"c\", \"d\")", inside(-300, 0), None),
        ] {
            assert_eq!(reach(text), Some(Reach { around: want, pinned }), "{text}");
        }
    }

    #[test]
    fn a_step_is_settled_once_all_it_depends_on_is() {
        let around = |start_ms, end_ms| Reach { around: Some(TimeRange::new(start_ms, end_ms)), pinned: None };
        assert_eq!(around(-300, 0).settled_until(1000), Some(1000));
        assert_eq!(around(-300, 50).settled_until(1000), Some(950));
        assert_eq!(around(-900, -600).settled_until(1000), Some(1600));
        assert_eq!(Reach::default().settled_until(1000), Some(TimestampMs::MAX));
        let pinned = Reach { pinned: Some(TimeRange::new(700, 900)), ..around(-300, 0) };
        assert_eq!((pinned.settled_until(899), pinned.settled_until(900)), (None, Some(900)));
    }

    #[test]
    fn a_change_reaches_the_steps_that_see_it() {
        let reach = Reach { around: Some(TimeRange::new(-300, 50)), pinned: None };
        assert_eq!(reach.steps_of(TimeRange::new(1000, 1100)), Some(TimeRange::new(950, 1400)));
        assert_eq!(reach.steps_of(TimeRange::ALL), Some(TimeRange::ALL));
        let pinned = Reach { around: None, pinned: Some(TimeRange::new(700, 900)) };
        assert_eq!(pinned.steps_of(TimeRange::new(900, 950)), Some(TimeRange::ALL));
        assert_eq!(pinned.steps_of(TimeRange::new(901, 950)), None);
    }
}
