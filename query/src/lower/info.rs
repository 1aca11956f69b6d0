//! `info()`: the second selection, of info metrics, is read at the time the first argument looks at.

use pharos_model::labels::METRIC_NAME;
use pharos_model::{MatchOp, Matcher};
use pharos_promql::ast::{Call, ExprKind};
use pharos_promql::{Expr, Span};

use super::Lowering;
use crate::error::QueryError;
use crate::plan::{InfoCall, NameRule, Op, Plan, Read, Selector, TimeShift};

/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";

impl Lowering<'_> {
    pub(super) fn info(&mut self, call: &Call, span: Span) -> Result<Plan, QueryError> {
        let base = self.plan(&call.args[0])?;
        let given = call.args.get(1).and_then(|arg| arg.without_parens().selector());
        let target_info = || Matcher::equal(METRIC_NAME, TARGET_INFO);
        let (mut names, labels): (Vec<Matcher>, Vec<Matcher>) = match given {
            Some(selector) => selector.matchers.iter().cloned().partition(|matcher| matcher.name == METRIC_NAME),
            None => (vec![target_info()], Vec::new()),
        };
        if !names.is_empty() && names.iter().all(|name| matches!(name.op, MatchOp::NotEqual | MatchOp::NotRegex)) {
            // Matchers that only exclude names choose among all info metrics.
            let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").expect("a constant that compiles");
            names.push(any_info);
        }
        let mut matchers = labels.clone();
        if names.is_empty() {
            matchers.push(target_info());
        } else {
            matchers.extend_from_slice(&names);
        }
        let shift = self.shift_of_first_selector(&call.args[0], &[])?.unwrap_or_default();
        let read = Read::FloatTime { lookback_ms: self.settings.lookback_ms };
        let scan = Op::Scan(self.scan(Selector { matchers, shift }, read, NameRule::Keep));
        let infos = Plan::vector(scan, Vec::new(), span);
        Ok(Plan::vector(Op::Info(InfoCall { names, labels }), vec![base, infos], span))
    }

    /// The time the first selector of an expression looks at: offsets add up through subqueries (`outer`, outermost first), and the
    /// innermost `@` counts, with the offsets from there on.
    fn shift_of_first_selector(&self, expr: &Expr, outer: &[TimeShift]) -> Result<Option<TimeShift>, QueryError> {
        if let Some(selector) = expr.selector() {
            let own = self.shift(&selector.offset, selector.at)?;
            return Ok(Some(outer.iter().chain([&own]).fold(TimeShift::default(), |sum, next| match next.at {
                Some(_) => *next,
                None => TimeShift { at: sum.at, offset_ms: sum.offset_ms.saturating_add(next.offset_ms) },
            })));
        }
        let mut below = outer.to_vec();
        if let ExprKind::Subquery(subquery) = &expr.kind {
            below.push(self.shift(&subquery.offset, subquery.at)?);
        }
        for child in expr.children() {
            if let Some(found) = self.shift_of_first_selector(child, &below)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
