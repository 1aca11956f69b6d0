//! Aggregations that make one value of a group. Those that keep series are in [`super::pick`].

use pharos_model::LabelSet;
use pharos_model::number::format_f;
use pharos_promql::Expr;
use pharos_promql::ast::{Aggregate, AggregateOp};

use super::arithmetic::{mean, quantile, sum};
use super::labels::text_of;
use super::rows::{Element, Grid, Row, Rows, assemble, vector_at};
use super::{Plain, Refusal, Result, both};

impl Plain<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid) -> Result<Rows> {
        let param = aggregate.param.as_deref();
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, param.expect("count_values has a label"), grid);
        }
        let scalar = match param {
            Some(param) => self.scalar(param, grid).map(Some),
            None => Ok(None),
        };
        let (rows, scalar) = both(self.vector(&aggregate.expr, grid), scalar)?;
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                self.pick(aggregate, rows, &scalar.expect("a pick has a parameter"), grid)
            }
            _ => Ok(self.grouped(aggregate, &rows, scalar.as_deref(), grid)),
        }
    }

    /// One row for each group. Whether its name is to be dropped late is what its last step says.
    fn grouped(&self, aggregate: &Aggregate, rows: &Rows, param: Option<&[f64]>, grid: &Grid) -> Rows {
        if let (AggregateOp::Quantile, Some(phis), Some(arg)) = (aggregate.op, param, aggregate.param.as_deref()) {
            self.check_quantiles(phis, arg);
        }
        let mut groups: Vec<Row> = Vec::new();
        for step in 0..grid.steps {
            let elements = vector_at(rows, step);
            let mut done: Vec<LabelSet> = Vec::new();
            for element in &elements {
                let labels = group_labels(aggregate, &element.labels);
                if done.contains(&labels) {
                    continue;
                }
                let members = elements.iter().filter(|other| group_labels(aggregate, &other.labels) == labels);
                let values: Vec<f64> = members.clone().map(|member| member.value).collect();
                let at = groups.iter().position(|row| row.labels == labels).unwrap_or_else(|| {
                    groups.push(Row { labels: labels.clone(), drop_name: false, values: vec![None; grid.steps] });
                    groups.len() - 1
                });
                groups[at].values[step] = Some(reduce(aggregate.op, &values, param.map_or(0.0, |param| param[step])));
                groups[at].drop_name = members.clone().any(|member| member.drop_name);
                done.push(labels);
            }
        }
        groups
    }

    /// Of the quantiles of all steps only the smallest and the largest are complained of, and NaN.
    fn check_quantiles(&self, phis: &[f64], arg: &Expr) {
        let (min, max) = extremes(phis);
        let nan = phis.iter().copied().find(|phi| phi.is_nan());
        let wrong = [Some(min).filter(|min| *min < 0.0), Some(max).filter(|max| *max > 1.0), nan];
        wrong.into_iter().flatten().for_each(|phi| self.check_quantile(phi, arg));
    }

    fn count_values(&self, aggregate: &Aggregate, param: &Expr, grid: &Grid) -> Result<Rows> {
        let name = text_of(param);
        if name.is_empty() {
            return Err(Refusal::new("invalid label name"));
        }
        let mut by_value = aggregate.clone();
        if !by_value.without {
            by_value.grouping.push(name.clone());
        }
        let rows = self.vector(&aggregate.expr, grid)?;
        assemble(self, grid, |step| {
            let mut counts: Vec<Element> = Vec::new();
            for element in vector_at(&rows, step) {
                let mut builder = element.labels.to_builder();
                builder.set(&name, &format_f(element.value));
                let labels = group_labels(&by_value, &builder.build());
                match counts.iter_mut().find(|count| count.labels == labels) {
                    Some(count) => count.value += 1.0,
                    None => counts.push(Element { labels, drop_name: false, value: 1.0 }),
                }
            }
            Ok(counts)
        })
    }
}

/// Smallest and largest value; NaN is neither.
pub(super) fn extremes(values: &[f64]) -> (f64, f64) {
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max))
}

/// The labels of the group that a series belongs to.
pub(super) fn group_labels(aggregate: &Aggregate, labels: &LabelSet) -> LabelSet {
    let is_listed = |name: &str| aggregate.grouping.iter().any(|listed| listed == name);
    match aggregate.without {
        true => labels.filter(|name| !is_listed(name) && name != "__name__"),
        false => labels.filter(is_listed),
    }
}

pub(super) fn reduce(op: AggregateOp, values: &[f64], param: f64) -> f64 {
    let not_nan = || values.iter().copied().filter(|value| !value.is_nan());
    match op {
        AggregateOp::Sum => sum(values),
        AggregateOp::Avg => mean(values),
        AggregateOp::Count => values.len() as f64,
        AggregateOp::Group => 1.0,
        AggregateOp::Min => not_nan().reduce(f64::min).unwrap_or(f64::NAN),
        AggregateOp::Max => not_nan().reduce(f64::max).unwrap_or(f64::NAN),
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Stddev => variance(values).sqrt(),
        AggregateOp::Quantile => quantile(param, values),
        other => unreachable!("`{}` keeps series", other.as_str()),
    }
}

/// Mean square of the distance from the mean.
fn variance(values: &[f64]) -> f64 {
    if values.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    let (mut mean, mut squares) = (values[0], 0.0);
    for (i, value) in values.iter().enumerate().skip(1) {
        let delta = value - mean;
        mean += delta / (i + 1) as f64;
        squares += delta * (value - mean);
    }
    squares / values.len() as f64
}
