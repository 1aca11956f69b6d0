//! `sum_over_time` and `avg_over_time` of a window of native histograms.

use std::sync::Arc;

use pharos_model::FloatHistogram;
use pharos_model::histogram::add::{IncompatibleSchemas, Settled};
use pharos_model::histogram::aggregate::{Mean, Sum};

use super::Report;
use crate::functions::annotations::{self, Operation};

/// Not compacted, as upstream's.
pub(in crate::functions) fn sum(list: &[Arc<FloatHistogram>], report: &mut Report<'_>) -> Option<FloatHistogram> {
    let (first, rest) = list.split_first()?;
    let mut sum = Sum::new((**first).clone());
    let added = rest.iter().try_for_each(|histogram| sum.add(histogram));
    settled(added.map(|()| sum.settled()), report).then(|| sum.finish())
}

/// Not compacted, as upstream's.
pub(in crate::functions) fn mean(list: &[Arc<FloatHistogram>], report: &mut Report<'_>) -> Option<FloatHistogram> {
    let (first, rest) = list.split_first()?;
    let mut mean = Mean::new((**first).clone());
    let added = rest.iter().try_for_each(|histogram| mean.add(histogram));
    settled(added.map(|()| mean.settled()), report).then(|| mean.finish())
}

fn settled(result: Result<Settled, IncompatibleSchemas>, report: &mut Report<'_>) -> bool {
    if result.is_ok_and(|settled| settled.hints_collided) {
        report.notes.add(annotations::hints_collided(Operation::Aggregation));
    }
    report.combined(result, Operation::Aggregation)
}
