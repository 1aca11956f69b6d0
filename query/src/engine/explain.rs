//! Shows how a query is evaluated: its operators with what they are reckoned to give and, when it is run, what they gave.

mod tree;

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use pharos_model::duration::format_ms;
use pharos_model::{TenantId, TimestampMs};

use self::tree::{Read, Tree, reads};
use super::run::{Prepared, Run};
use super::{Admitted, Engine, Expression, PHASE_EVALUATION, QueryOptions, QueryRange, Times, over_time};
use crate::distributed::{Snapshot, WorkerId, estimate_on_worker};
use crate::error::QueryError;
use crate::exec::{Measured, QueryContext, raw_request};
use crate::lower::Lowered;
use crate::plan::Figures;
use crate::source::{Estimate, estimate, partitions_of};
use crate::value::{Series, Value};

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct ExplainRequest<'a> {
    pub text: &'a str,
    pub times: ExplainTimes,
    /// Whether the query is run, and measured.
    pub analyze: bool,
}

/// When the query would be evaluated.
#[derive(Clone, Copy, Debug)]
pub enum ExplainTimes {
    Instant(TimestampMs),
    Range(QueryRange),
}

/// A query's plan, and what the query had to say if it was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub plan: Explained,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// An operator with those it takes its rows from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    pub operator: &'static str,
    pub detail: String,
    pub estimated: Figures,
    /// `None` unless the query was run.
    pub measured: Option<Measured>,
    /// The same of each worker; empty for what runs where the query was asked.
    pub workers: Vec<OnWorker>,
    pub children: Vec<Explained>,
}

/// Figures of an operator on one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct OnWorker {
    pub worker: WorkerId,
    pub estimated: Figures,
    pub measured: Option<Measured>,
}

impl Engine {
    /// Plans an expression, and runs it if that is asked for, within the limits of a query. Dropping the future cancels it.
    pub async fn explain(
        &self,
        tenant: &TenantId,
        request: ExplainRequest<'_>,
        options: QueryOptions,
    ) -> Result<Explanation, QueryError> {
        let times = match request.times {
            ExplainTimes::Instant(at) => Times::instant(at),
            ExplainTimes::Range(range) => Times::range(range),
        };
        let admitted = self.admit(&options).await?;
        let Admitted { started, deadline, .. } = admitted;
        let expression = Expression::text(request.text);
        let run = Run { engine: self, tenant, expression, times, options: &options, started, deadline };
        let explained = tokio::time::timeout_at(admitted.ends, run.explain(request.analyze)).await;
        explained.map_err(over_time(PHASE_EVALUATION))?
    }
}

impl Run<'_> {
    /// As a query is run: once more when a worker is lost, or this node cannot tell, without that one.
    async fn explain(&self, analyze: bool) -> Result<Explanation, QueryError> {
        let (_, lowered) = self.lowered()?;
        let first = self.explain_on(&lowered, self.snapshot(&[])?, analyze).await;
        let lost = first.as_ref().err().and_then(|error| self.lost_by(error));
        let Some(worker) = lost else { return first };
        match self.snapshot(std::slice::from_ref(&worker)) {
            Ok(snapshot) => self.explain_on(&lowered, snapshot, analyze).await,
            Err(_) => first,
        }
    }

    async fn explain_on(
        &self,
        lowered: &Lowered,
        snapshot: Option<Snapshot>,
        analyze: bool,
    ) -> Result<Explanation, QueryError> {
        let mut query = self.context(snapshot);
        query.measures = analyze;
        let query = Arc::new(query);
        let _waiting = query.cancel_on_drop();
        lowered.annotations.iter().for_each(|annotation| query.annotations.add(annotation.clone()));
        let prepared = self.prepare(lowered.query.clone(), &query).await?;
        let estimates = try_join_all(self.reads(&prepared, &query).into_iter().map(|read| self.estimate(read))).await?;
        let begun = self.now();
        let value = if analyze { Some(self.value(&prepared, &query).await?.0) } else { None };
        let took = self.now() - begun;
        self.engine.metrics.read(query.samples_read());
        let plan = match &prepared {
            Prepared::Rows(rows) => Tree { estimates: estimates.into(), analyze }.of(&rows.physical),
            other => {
                let estimated = estimates.into_iter().fold(Figures::default(), Figures::plus);
                leaf(other, estimated, value.as_ref().map(|value| (value, took)))
            }
        };
        let (warnings, infos) = query.annotations.render(self.expression.text);
        Ok(Explanation { plan, warnings, infos })
    }

    /// What is read, in the order of the plan.
    fn reads(&self, prepared: &Prepared, query: &QueryContext) -> Vec<Read> {
        match prepared {
            Prepared::Rows(rows) => reads(&rows.physical, self.tenant),
            Prepared::Raw { selector, range, .. } => {
                let request = raw_request(selector, *range, self.times.start_ms, self.tenant);
                let read = |share| Read { request: request.clone(), share };
                match &query.snapshot {
                    Some(snapshot) => snapshot.shares().iter().cloned().map(|share| read(Some(share))).collect(),
                    None => vec![read(None)],
                }
            }
            Prepared::Text(_) | Prepared::Nothing => Vec::new(),
        }
    }

    async fn estimate(&self, read: Read) -> Result<Figures, QueryError> {
        let Read { request, share } = read;
        let Estimate { series, samples, bytes } = match (share, &self.engine.workers) {
            (Some(share), Some(workers)) => estimate_on_worker(&*workers.channels, &share, request).await?,
            _ => {
                let source = &*self.engine.source;
                let partitions: Vec<usize> = partitions_of(source, &request).collect();
                estimate(source, &partitions, &request).await?
            }
        };
        Ok(Figures { series, samples, bytes })
    }
}

/// A query without operators.
fn leaf(prepared: &Prepared, estimated: Figures, answered: Option<(&Value, Duration)>) -> Explained {
    let measured = answered.map(|(value, took)| Measured { figures: figures(value), seconds: took.as_secs_f64() });
    let (operator, detail) = match prepared {
        Prepared::Raw { selector, range, .. } => {
            ("Samples", format!("[{}]{}", format_ms(range.range_ms), selector.shift))
        }
        Prepared::Text(_) => ("Text", String::new()),
        Prepared::Nothing | Prepared::Rows(_) => ("Empty", "no step to evaluate".into()),
    };
    Explained { operator, detail, estimated, measured, ..Explained::default() }
}

fn figures(value: &Value) -> Figures {
    let Value::Matrix(list) = value else { return Figures::default() };
    let of_series = |series: &Series| {
        let histograms = series.histograms.iter().map(|sample| &sample.histogram);
        let weight: usize = histograms.clone().map(|histogram| histogram.size_in_samples()).sum();
        let bytes: usize = histograms.map(|histogram| histogram.size_bytes()).sum();
        let floats = series.samples.len();
        (floats + weight, series.labels.as_bytes().len() + size_of_val(series.samples.as_slice()) + bytes)
    };
    list.iter().map(of_series).fold(Figures::default(), |sum, (samples, bytes)| Figures {
        series: sum.series + 1,
        samples: sum.samples + samples as u64,
        bytes: sum.bytes + bytes as u64,
    })
}

#[cfg(test)]
mod tests;
