//! Aggregations that keep some of the series: `topk`, `bottomk`, `limitk`, `limit_ratio`.
//!
//! Which of several equal ones is kept PromQL leaves open. The engine promises the one whose canonical label bytes come first,
//! and so does this.

use std::cmp::Ordering;

use pharos_model::LabelSet;
use pharos_model::number::format_g;
use pharos_promql::ast::{Aggregate, AggregateOp};

use super::aggregate::{extremes, group_labels};
use super::arithmetic::nan_first;
use super::rows::{Element, Grid, Rows, assemble, vector_at};
use super::{Plain, Refusal, Result};

impl Plain<'_> {
    pub(super) fn pick(&self, aggregate: &Aggregate, rows: Rows, params: &[f64], grid: &Grid) -> Result<Rows> {
        let is_ratio = aggregate.op == AggregateOp::LimitRatio;
        let asks = if is_ratio { self.check_ratio(aggregate, params)? } else { check_count(params)? };
        if !asks {
            return Ok(Rows::new());
        }
        assemble(self, grid, |step| {
            let mut elements = vector_at(&rows, step);
            if is_ratio {
                elements.retain(|element| falls_into(&element.labels, params[step].clamp(-1.0, 1.0)));
                return Ok(elements);
            }
            let mut best = elements.clone();
            best.sort_by(|a, b| a.labels.as_bytes().cmp(b.labels.as_bytes()));
            match aggregate.op {
                AggregateOp::Topk => best.sort_by(|a, b| nan_first(b.value, a.value)),
                AggregateOp::Bottomk => best.sort_by(|a, b| nan_last(a.value, b.value)),
                _ => {}
            }
            let kept = first_of_groups(aggregate, best, params[step]);
            elements.retain(|element| kept.contains(&element.labels));
            Ok(elements)
        })
    }

    fn check_ratio(&self, aggregate: &Aggregate, params: &[f64]) -> Result<bool> {
        if params.iter().any(|ratio| ratio.is_nan()) {
            return Err(Refusal::new("Ratio value is NaN"));
        }
        let (min, max) = extremes(params);
        let about = aggregate.param.as_deref().expect("a pick has a parameter").without_parens().span;
        for (ratio, used) in [(max, 1.0), (min, -1.0)] {
            if ratio * used > 1.0 {
                let text = "ratio value should be between -1 and 1";
                self.warn(about, format!("{text}, got {}, capping to {used}", format_g(ratio)));
            }
        }
        Ok(min != 0.0 || max != 0.0)
    }
}

/// Whether any step asks for a series at all.
fn check_count(params: &[f64]) -> Result<bool> {
    if params.iter().any(|k| k.is_nan()) {
        return Err(Refusal::new("Parameter value is NaN"));
    }
    let (min, max) = extremes(params);
    match () {
        () if max < 1.0 => Ok(false),
        () if min <= -(2f64.powi(63)) => Err(Refusal::new(format!("Scalar value {} underflows", format_g(min)))),
        () if max >= 2f64.powi(63) => Err(Refusal::new(format!("Scalar value {} overflows", format_g(max)))),
        () => Ok(true),
    }
}

fn nan_last(a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| nan_first(a, b))
}

/// The labels of the first so many of each group.
fn first_of_groups(aggregate: &Aggregate, elements: Vec<Element>, k: f64) -> Vec<LabelSet> {
    let mut kept: Vec<LabelSet> = Vec::new();
    for element in elements {
        let group = group_labels(aggregate, &element.labels);
        let sofar = kept.iter().filter(|other| group_labels(aggregate, other) == group).count();
        if (sofar + 1) as f64 <= k.trunc() {
            kept.push(element.labels);
        }
    }
    kept
}

/// Whether the hash of the labels lies in the share; a negative share is counted from the end.
fn falls_into(labels: &LabelSet, share: f64) -> bool {
    let place = labels.hash64() as f64 / u64::MAX as f64;
    if share >= 0.0 { place < share } else { place >= 1.0 + share }
}
