//! Selectors and subqueries.

use pharos_promql::Span;
use pharos_promql::ast::{AtModifier, MatrixSelector, Subquery, VectorSelector};
use pharos_promql::duration::DurationValue;

use super::duration::{offset_ms, positive_ms};
use super::{Buckets, Lowering};
use crate::error::QueryError;
use crate::functions::Selection;
use crate::plan::{NameRule, Op, Plan, Query, RawRange, Read, Scan, Selector, SubqueryWindow, TimeShift};

impl Lowering<'_> {
    pub(super) fn instant_selector(&self, selector: &VectorSelector, span: Span) -> Result<Plan, QueryError> {
        let lookback_ms = self.settings.lookback_ms;
        let read = if selector.smoothed { Read::Smoothed { lookback_ms } } else { Read::Instant { lookback_ms } };
        let scan = self.scan(self.selector(selector)?, read, NameRule::Keep);
        Ok(Plan::vector(Op::Scan(scan), Vec::new(), span))
    }

    pub(super) fn scan(&self, selector: Selector, read: Read, names: NameRule) -> Scan {
        Scan { selector, read, names, totals_only: self.buckets == Buckets::Unused }
    }

    pub(super) fn selector(&self, selector: &VectorSelector) -> Result<Selector, QueryError> {
        let shift = self.shift(&selector.offset, selector.at)?;
        Ok(Selector { matchers: selector.matchers.clone(), shift })
    }

    pub(super) fn shift(&self, offset: &DurationValue, at: Option<AtModifier>) -> Result<TimeShift, QueryError> {
        let at = at.map(|at| match at {
            AtModifier::Timestamp(ts) => ts,
            AtModifier::Start => self.settings.start_ms,
            AtModifier::End => self.settings.end_ms,
        });
        Ok(TimeShift { offset_ms: offset_ms(offset, self.settings)?, at })
    }

    pub(super) fn range(&self, matrix: &MatrixSelector) -> Result<RawRange, QueryError> {
        let selection = match (matrix.selector.anchored, matrix.selector.smoothed) {
            (true, _) => Selection::Anchored,
            (_, true) => Selection::Smoothed,
            _ => Selection::Plain,
        };
        let range_ms = positive_ms(&matrix.range, self.settings)?;
        Ok(RawRange { range_ms, selection, lookback_ms: self.settings.lookback_ms })
    }

    pub(super) fn raw(&self, matrix: &MatrixSelector, span: Span) -> Result<Query, QueryError> {
        Ok(Query::Raw { selector: self.selector(&matrix.selector)?, range: self.range(matrix)?, span })
    }

    pub(super) fn subquery(&mut self, subquery: &Subquery) -> Result<(SubqueryWindow, Plan), QueryError> {
        let step_ms = match &subquery.step {
            None | Some(DurationValue::Ms(0)) => self.settings.subquery_step_ms,
            // A duration expression may come out below a millisecond.
            Some(step) => positive_ms(step, self.settings)?.max(1),
        };
        let window = SubqueryWindow {
            range_ms: positive_ms(&subquery.range, self.settings)?,
            step_ms,
            shift: self.shift(&subquery.offset, subquery.at)?,
        };
        // Counter resets between the steps of a subquery show in the buckets.
        Ok((window, self.with_buckets(Buckets::Needed, |lowering| lowering.plan(&subquery.expr))?))
    }
}
