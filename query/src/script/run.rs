//! Runs one evaluation in all the ways it has.

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
use pharos_model::Clock;
use pharos_model::clock::SystemClock;
use pharos_model::{Sample, TenantId, TimestampMs};
use pharos_promql::script::{Command, CommandKind, Eval, EvalTime};

use super::compare::{self, Difference};
use super::{Failure, RunError, load, variants};
use crate::engine::{Engine, EngineOptions, Expression, QueryOptions, QueryRange, Times};
use crate::error::QueryError;
#[cfg(test)]
use crate::source::SeriesSource;
#[cfg(test)]
use crate::testing::Cluster;
use crate::testing::MemorySource;
use crate::value::{Point, QueryOutcome, Series, Value, VectorElement};

/// Partitions that the series of a script are spread over.
const PARTITIONS: usize = 3;
/// Half the range around an instant, and its step.
const AROUND_MS: i64 = 60_000;

/// An engine over the samples that the script has loaded so far.
pub(super) struct Runner {
    source: MemorySource,
    engine: Engine,
}

impl Runner {
    pub(super) fn new(options: EngineOptions) -> Result<Self, QueryError> {
        let source = MemorySource::new(PARTITIONS);
        let engine = Engine::new(Arc::new(source.clone()), options, Arc::new(SystemClock::default()))?;
        Ok(Self { source, engine })
    }

    /// A runner whose series are read through another source over its own.
    #[cfg(test)]
    pub(super) fn over(
        options: EngineOptions,
        source: impl FnOnce(MemorySource) -> Arc<dyn SeriesSource>,
    ) -> Result<Self, QueryError> {
        let memory = MemorySource::new(PARTITIONS);
        let engine = Engine::new(source(memory.clone()), options, Arc::new(SystemClock::default()))?;
        Ok(Self { source: memory, engine })
    }

    /// A runner whose series are with workers.
    #[cfg(test)]
    pub(super) fn over_workers(
        options: EngineOptions,
        cluster: impl FnOnce(MemorySource, &Arc<dyn Clock>) -> Cluster,
    ) -> Result<(Self, Cluster), QueryError> {
        let source = MemorySource::new(2 * PARTITIONS);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let cluster = cluster(source.clone(), &clock);
        Ok((Self { source, engine: cluster.engine(options, clock)? }, cluster))
    }

    /// Clears or loads samples, or hands out the evaluation that a command is.
    pub(super) fn prepare<'a>(&self, command: &'a Command) -> Result<Option<&'a Eval>, RunError> {
        match &command.kind {
            CommandKind::Clear => self.source.clear(),
            CommandKind::Load(load) => {
                load::load(load, &self.source).map_err(|source| RunError::Classic { line: command.line, source })?
            }
            CommandKind::Eval(eval) => return Ok(Some(eval)),
        }
        Ok(None)
    }

    pub(super) async fn eval(&self, eval: &Eval) -> Result<(), Failure> {
        let failure = |how: String| {
            move |Difference { expected, got }| Failure {
                line: eval.line,
                eval: if how.is_empty() { eval.text.clone() } else { format!("{} ({how})", eval.text) },
                expected,
                got,
            }
        };
        let written = Expression { text: &eval.text, tree: Some(&eval.expr) };
        match eval.time {
            EvalTime::Range { start_ms, end_ms, step_ms } => {
                let times = times(start_ms, end_ms, step_ms);
                let outcome = self.query(written, times).await;
                let checked = check(eval, outcome);
                checked.map(drop).map_err(failure(String::new()))
            }
            EvalTime::Instant { at_ms } => {
                self.instant(eval, written, at_ms).await.map_err(failure(String::new()))?;
                let Some((pinned, at_times)) = variants::pinned(&eval.expr, at_ms) else { return Ok(()) };
                let pinned = Expression { text: &eval.text, tree: Some(&pinned) };
                for at in at_times {
                    let how = format!("pinned with @ {at_ms}ms and evaluated at {at}ms");
                    self.instant(eval, pinned, at).await.map_err(failure(how))?;
                }
                Ok(())
            }
        }
    }

    async fn query(&self, expression: Expression<'_>, times: Times) -> Result<QueryOutcome, QueryError> {
        self.engine.query(&TenantId::anonymous(), expression, times, QueryOptions::default()).await
    }

    /// Runs at an instant, and as the middle of a range where that means the same.
    async fn instant(&self, eval: &Eval, expression: Expression<'_>, at: TimestampMs) -> Result<(), Difference> {
        let outcome = self.query(expression, Times::instant(at)).await;
        let Some(value) = check(eval, outcome)? else { return Ok(()) };
        if !eval.may_run_as_range() || !variants::means_the_same_over_a_range(&eval.text) {
            return Ok(());
        }
        let in_range = |difference: Difference| Difference::new(difference.expected, difference.got + " (as a range)");
        let around = times(at - AROUND_MS, at + AROUND_MS, AROUND_MS);
        let ranged = self.query(expression, around).await;
        let ranged = ranged.map_err(|error| in_range(Difference::new("a matrix", error.to_string())))?;
        if eval.ordered {
            return Ok(());
        }
        let elements = middle(&ranged.value, at);
        match (value, elements.first()) {
            (Value::Scalar(_), Some(VectorElement { ts, point: Point::Float(value), .. })) => {
                compare::value(eval, &Value::Scalar(Sample { ts: *ts, value: *value })).map_err(in_range)
            }
            _ => compare::value(eval, &Value::Vector(elements)).map_err(in_range),
        }
    }
}

fn times(start_ms: TimestampMs, end_ms: TimestampMs, step_ms: i64) -> Times {
    Times::range(QueryRange { start_ms, end_ms, step: Duration::from_millis(step_ms.max(1) as u64) })
}

/// Checks errors, annotations and value. Returns the value, if there is to be one.
fn check(eval: &Eval, outcome: Result<QueryOutcome, QueryError>) -> Result<Option<Value>, Difference> {
    match (outcome, &eval.fail) {
        (Err(error), Some(expected)) if expected.matches(&error.to_string()) => Ok(None),
        (Err(error), Some(expected)) => Err(Difference::new(format!("error {expected:?}"), error.to_string())),
        (Err(error), None) => Err(Difference::new("a result", format!("error {error}"))),
        (Ok(_), Some(expected)) => Err(Difference::new(format!("error {expected:?}"), "a result")),
        (Ok(outcome), None) => {
            compare::annotations("warning", &eval.warnings, &outcome.warnings)?;
            compare::annotations("info", &eval.infos, &outcome.infos)?;
            compare::value(eval, &outcome.value)?;
            Ok(Some(outcome.value))
        }
    }
}

/// The elements of a matrix at one time.
fn middle(value: &Value, at: TimestampMs) -> Vec<VectorElement> {
    let Value::Matrix(series) = value else { return Vec::new() };
    let float =
        |series: &Series| series.samples.iter().find(|sample| sample.ts == at).map(|sample| sample.value.into());
    let histogram = |series: &Series| {
        let found = series.histograms.iter().find(|sample| sample.ts == at)?;
        Some(Point::Histogram(Arc::clone(&found.histogram)))
    };
    let element = |series: &Series| {
        let point = float(series).or_else(|| histogram(series))?;
        Some(VectorElement { labels: series.labels.clone(), ts: at, point })
    };
    series.iter().filter_map(element).collect()
}
