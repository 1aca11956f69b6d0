//! Shows how a query is evaluated: its operators with what they are reckoned to give and, when it is run, what they gave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pharos_model::duration::format_ms;
use pharos_model::{TenantId, TimestampMs};

use super::run::{Prepared, Run};
use super::{Admitted, Engine, Expression, PHASE_EVALUATION, QueryOptions, QueryRange, Times, over_time};
use crate::error::QueryError;
use crate::exec::node::{OperatorExec, Stage};
use crate::exec::{Measured, QueryContext, measured, raw_request, request_of};
use crate::plan::{Figures, Op};
use crate::source::{Estimate, SelectRequest, partitions_of};
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
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    pub operator: &'static str,
    pub detail: String,
    pub estimated: Figures,
    /// `None` unless the query was run.
    pub measured: Option<Measured>,
    pub children: Vec<Explained>,
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
    async fn explain(&self, analyze: bool) -> Result<Explanation, QueryError> {
        let (_, lowered) = self.lowered()?;
        // What this node has itself is explained; where else parts of it would run is not looked at.
        let query = self.context(None);
        let _waiting = query.cancel_on_drop();
        lowered.annotations.into_iter().for_each(|annotation| query.annotations.add(annotation));
        let prepared = self.prepare(lowered.query, &query).await?;
        let mut reads = VecDeque::new();
        for request in self.requests(&prepared) {
            reads.push_back(estimate(&query, &request).await?);
        }
        let begun = self.now();
        let value = if analyze { Some(self.value(&prepared, &query).await?.0) } else { None };
        let took = self.now() - begun;
        self.engine.metrics.read(query.samples_read());
        let plan = match &prepared {
            Prepared::Rows(rows) => explained(&rows.physical, &mut reads, analyze),
            other => leaf(other, reads.pop_front().unwrap_or_default(), value.as_ref().map(|value| (value, took))),
        };
        let (warnings, infos) = query.annotations.render(self.expression.text);
        Ok(Explanation { plan, warnings, infos })
    }

    /// What is read, in the order of the plan.
    fn requests(&self, prepared: &Prepared) -> Vec<SelectRequest> {
        let mut found = Vec::new();
        match prepared {
            Prepared::Rows(rows) => collect_requests(&rows.physical, self.tenant, &mut found),
            Prepared::Raw { selector, range, .. } => {
                found.push(raw_request(selector, *range, self.times.start_ms, self.tenant));
            }
            Prepared::Text(_) | Prepared::Nothing => {}
        }
        found
    }
}

/// Every scan below a node, itself first.
fn collect_requests(node: &Arc<dyn ExecutionPlan>, tenant: &TenantId, found: &mut Vec<SelectRequest>) {
    if let Some(operator) = node.downcast_ref::<OperatorExec>()
        && let Op::Scan(scan) = operator.op()
    {
        found.push(request_of(scan, &operator.operator().grid, tenant));
    }
    node.children().into_iter().for_each(|child| collect_requests(child, tenant, found));
}

async fn estimate(query: &QueryContext, request: &SelectRequest) -> Result<Figures, QueryError> {
    let partitions: Vec<usize> = partitions_of(&*query.source, request).collect();
    let selections = query.source.select(&partitions, request).await?;
    Ok(selections.iter().map(|selection| selection.estimate()).fold(
        Figures::default(),
        |sum, Estimate { series, samples, bytes }| Figures {
            series: sum.series + series,
            samples: sum.samples + samples,
            bytes: sum.bytes + bytes,
        },
    ))
}

/// The tree below a node. Takes the estimates of reads in the order in which [`collect_requests`] names them.
fn explained(node: &Arc<dyn ExecutionPlan>, reads: &mut VecDeque<Figures>, analyze: bool) -> Explained {
    let Some(operator) = node.downcast_ref::<OperatorExec>() else {
        // Brings partitions together, and changes nothing.
        return explained(node.children()[0], reads, analyze);
    };
    let (given, read) = node.metrics().map(|metrics| measured(&metrics)).unwrap_or_default();
    let mut children = Vec::new();
    if matches!(operator.op(), Op::Scan(_)) {
        let estimated = reads.pop_front().expect("there is an estimate for each scan");
        children.push(reading(estimated, analyze.then_some(read)));
    }
    children.extend(node.children().into_iter().map(|child| explained(child, reads, analyze)));
    let partitions = node.output_partitioning().partition_count();
    let inputs: Vec<Figures> = children.iter().map(|child| child.estimated).collect();
    Explained {
        operator: operator.op().name(),
        detail: detail(operator),
        estimated: operator.op().estimate(&inputs, operator.operator().grid.n, partitions),
        measured: analyze.then_some(given),
        children,
    }
}

fn detail(operator: &OperatorExec) -> String {
    let stage = match operator.operator().stage {
        Stage::Whole => "",
        Stage::Partial => "in each partition",
        Stage::Combine => "of some partitions",
        Stage::Final => "of all partitions",
    };
    let detail = operator.op().detail();
    [detail.as_str(), stage].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn reading(estimated: Figures, measured: Option<Measured>) -> Explained {
    Explained { operator: "Read", detail: "storage".into(), estimated, measured, children: Vec::new() }
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
    Explained { operator, detail, estimated, measured, children: Vec::new() }
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
