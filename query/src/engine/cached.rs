//! Answers range queries from the results cache as far as it goes, evaluates the rest, and keeps what will not change.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{TimeRange, TimestampMs};
use pharos_promql::Expr;

use super::run::Run;
use crate::error::QueryError;
use crate::exec::QueryContext;
use crate::plan::{Plan, Query, passes};
use crate::results_cache::kept::kept_around;
use crate::results_cache::{Entry, Extent, Kept, Key, Outcome, Reach, Steps, extents, is_of_each_step, reach_of};
use crate::value::Value;

/// Samples younger than this are not relied on: they are still coming in. Answers are right without it, since changes are noted however
/// late they come, and whatever the out-of-order window; but each takes what is kept of its time.
const SETTLED_AFTER_MS: i64 = 5 * 60_000;
/// Nobody's dashboard looks farther from the epoch, and up to here sums with times do not overflow.
const TIME_MAX_MS: i64 = i64::MAX / 4;
/// Stretches that are evaluated one by one; where more are missing, everything from the first to the last is.
const GAPS_MAX: usize = 2;

/// What is kept, by whom it is asked for. The lock is held for look-ups alone.
#[derive(Debug)]
pub(super) struct ResultsCache {
    kept: Mutex<Kept>,
}

impl ResultsCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: Mutex::new(Kept::new(bytes_max)) }
    }
}

/// A query whose answer may be kept step by step.
struct Keepable {
    key: Key,
    /// Rewritten.
    plan: Plan,
    reach: Reach,
    steps: Steps,
    /// Up to which time samples are relied on.
    until_ms: TimestampMs,
    /// The steps that depend on no others.
    settled: Steps,
}

impl Run<'_> {
    /// The answer, and how long putting it in order took.
    pub(super) async fn answer(
        &self,
        tree: &Expr,
        query: Query,
        context: &Arc<QueryContext>,
    ) -> Result<(Value, Duration), QueryError> {
        if let Some(cache) = &self.engine.results_cache
            && self.times.step_ms.is_some()
        {
            if let Some(keepable) = self.keepable(tree, &query) {
                return self.answer_with(cache, keepable, context).await;
            }
            self.engine.metrics.results_cache.asked(Outcome::Bypass);
        }
        self.value(&self.prepare(query, context).await?, context).await
    }

    fn keepable(&self, tree: &Expr, query: &Query) -> Option<Keepable> {
        let Query::Rows(plan) = query else { return None };
        // What `step()` is depends on whether there is more than one step.
        let has_steps = self.times.start_ms < self.times.end_ms;
        if self.options.bypass_cache || self.options.per_step_stats || !has_steps || !is_of_each_step(tree) {
            return None;
        }
        let plan = passes::rewrite(plan.clone());
        let reach = reach_of(&plan)?;
        let steps = Steps::of(&self.times.grid())?;
        if steps.first_ms < -TIME_MAX_MS || steps.last_ms > TIME_MAX_MS {
            return None;
        }
        let until_ms = self.engine.clock.now_ms().saturating_sub(SETTLED_AFTER_MS);
        let settled = steps.until(reach.settled_until(until_ms)?)?;
        let settings = self.settings();
        let key = Key {
            tenant: self.tenant.clone(),
            expr: tree.to_string(),
            step_ms: steps.step_ms,
            phase_ms: steps.first_ms.rem_euclid(steps.step_ms),
            lookback_ms: settings.lookback_ms,
            subquery_step_ms: settings.subquery_step_ms,
        };
        Some(Keepable { key, plan, reach, steps, until_ms, settled })
    }

    async fn answer_with(
        &self,
        cache: &ResultsCache,
        keepable: Keepable,
        context: &Arc<QueryContext>,
    ) -> Result<(Value, Duration), QueryError> {
        let Keepable { key, plan, reach, steps, until_ms, settled } = keepable;
        let before = cache.kept.lock().get(&key);
        let since = before.as_ref().map(|entry| &entry.basis);
        let relied = self.rely(context.snapshot.as_ref(), until_ms, since).await?;
        let known = before.map_or_else(Vec::new, |entry| entry.extents.clone());
        let gone = relied.amended.iter().filter_map(|samples| reach.steps_of(*samples));
        let known = gone.fold(known, extents::without);

        let gaps = gaps(&known, steps);
        let known = gaps.iter().fold(known, |known, gap| extents::without(known, range_of(*gap)));
        let used = extents::within(&known, steps);
        self.count(&used, &gaps);
        let mut computed = Vec::with_capacity(gaps.len());
        let mut sorting = Duration::ZERO;
        for gap in gaps {
            let prepared = self.prepare_rows(plan.clone(), gap.grid(), true, context).await?;
            let (value, sorted_in) = self.value(&prepared, context).await?;
            let Value::Matrix(series) = value else { unreachable!("the answer of steps is a matrix") };
            computed.push(Extent { steps: gap, series: Arc::new(series) });
            sorting += sorted_in;
        }

        // Nobody could say of which steps the remarks are.
        if context.annotations.is_empty() {
            let fresh: Vec<_> = computed.iter().filter_map(|extent| until(extent, settled.last_ms)).collect();
            if !fresh.is_empty() {
                let extents = extents::joined(extents::within_range(known, kept_around(steps)), fresh);
                self.keep(cache, key, Entry { basis: relied.basis, extents });
            }
        }
        let begun = self.now();
        let series = extents::answer(used.into_iter().chain(computed).collect());
        Ok((Value::Matrix(series), sorting + (self.now() - begun)))
    }

    fn count(&self, used: &[Extent], gaps: &[Steps]) {
        let metrics = &self.engine.metrics.results_cache;
        metrics.asked(match (used, gaps) {
            (_, []) => Outcome::Hit,
            ([], _) => Outcome::Miss,
            _ => Outcome::Partial,
        });
        let kept_steps = used.iter().map(|extent| extent.steps.grid().n).sum();
        metrics.answered(kept_steps, gaps.iter().map(|gap| gap.grid().n).sum());
    }

    fn keep(&self, cache: &ResultsCache, key: Key, entry: Entry) {
        let mut kept = cache.kept.lock();
        let evicted = kept.insert(key, entry);
        self.engine.metrics.results_cache.holds(kept.bytes(), evicted);
    }
}

/// What is to be evaluated.
fn gaps(known: &[Extent], steps: Steps) -> Vec<Steps> {
    let missing = extents::missing(known, steps);
    match (missing.first(), missing.last()) {
        (Some(first), Some(last)) if missing.len() > GAPS_MAX => vec![Steps { last_ms: last.last_ms, ..*first }],
        _ => missing,
    }
}

fn range_of(steps: Steps) -> TimeRange {
    TimeRange::new(steps.first_ms, steps.last_ms)
}

/// The steps of an extent at or before a time.
fn until(extent: &Extent, until_ms: TimestampMs) -> Option<Extent> {
    Some(extents::cut(extent, extent.steps.until(until_ms)?))
}

#[cfg(test)]
mod tests;
