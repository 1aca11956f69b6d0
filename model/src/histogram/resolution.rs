//! Fewer, wider exponential buckets: each step down in schema joins two neighbours.

use std::iter;

use super::count::Count;
use super::spans::{cells, packed};
use super::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span, bounds};

/// The finest schema that formats may use one day.
const SCHEMA_RESERVED_MAX: i32 = 52;

/// Why the resolution cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    #[error("custom buckets have no resolution to reduce")]
    CustomBuckets,
    #[error("cannot reduce resolution from schema {from} to {to}")]
    NotCoarser { from: i32, to: i32 },
}

impl FloatHistogram {
    /// Joins buckets until the histogram has the coarser schema `target`. The same schema is an error, as in Prometheus'
    /// `ReduceResolution`.
    pub fn reduce_resolution(&mut self, target: i32) -> Result<(), ResolutionError> {
        let steps = steps(self.schema, target)?;
        coarsen(&mut self.positive_spans, &mut self.positive_buckets, steps);
        coarsen(&mut self.negative_spans, &mut self.negative_buckets, steps);
        self.schema = target;
        Ok(())
    }

    /// Reduces schemas 9 to 52, which formats reserve and nothing here keeps, to 8. For decoders, before they validate.
    pub fn reduce_reserved_resolution(&mut self) {
        if (bounds::SCHEMA_MAX + 1..=SCHEMA_RESERVED_MAX).contains(&self.schema) {
            self.reduce_resolution(bounds::SCHEMA_MAX).expect("the schema is exponential, and finer");
        }
    }

    /// A copy with the schema `target`, which may be the same. As Prometheus' `CopyToSchema`, which forgets the counter
    /// reset hint unless the schema stays.
    pub fn copy_to_schema(&self, target: i32) -> Result<Self, ResolutionError> {
        let mut copy = self.clone();
        if target != self.schema {
            copy.reduce_resolution(target)?;
            copy.counter_reset_hint = CounterResetHint::Unknown;
        }
        Ok(copy)
    }
}

/// How many times two neighbours are joined on the way from one schema to a coarser one.
pub(super) fn steps(from: i32, to: i32) -> Result<u32, ResolutionError> {
    if from == CUSTOM_BUCKETS_SCHEMA || to == CUSTOM_BUCKETS_SCHEMA {
        return Err(ResolutionError::CustomBuckets);
    }
    if to >= from {
        return Err(ResolutionError::NotCoarser { from, to });
    }
    Ok(from.abs_diff(to))
}

pub(super) fn coarsen<C: Count>(spans: &mut Vec<Span>, counts: &mut Vec<C>, steps: u32) {
    (*spans, *counts) = packed(coarsened(cells(spans, counts), steps));
}

/// The buckets of a schema that is coarser by `steps`. Zero steps change nothing.
pub(super) fn coarsened<C: Count>(cells: impl Iterator<Item = (i32, C)>, steps: u32) -> impl Iterator<Item = (i32, C)> {
    let mut cells = cells.map(move |(index, count)| (coarser_index(index, steps), count)).peekable();
    iter::from_fn(move || {
        let (index, mut count) = cells.next()?;
        while let Some((_, next)) = cells.next_if(|(at, _)| *at == index) {
            count = count.plus(next);
        }
        Some((index, count))
    })
}

/// Bucket 0 ends at 1 in all schemas, so it is the upper bound of a bucket that is divided, not its number.
fn coarser_index(index: i32, steps: u32) -> i32 {
    (index.saturating_sub(1) >> steps.min(31)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    #[test]
    fn neighbours_join_at_bounds_that_both_schemas_have() {
        let mut fine = exponential(2, &[(-4, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), (3, &[64.0])]);
        fine.negative_spans = fine.positive_spans.clone();
        fine.negative_buckets = fine.positive_buckets.clone();
        fine.reduce_resolution(0).unwrap();
        let coarse = exponential(0, &[(-1, &[1.0, 30.0, 32.0, 64.0])]);
        assert_eq!(fine.positive_spans, coarse.positive_spans);
        assert_eq!(fine.positive_buckets, coarse.positive_buckets);
        assert_eq!((&fine.negative_spans, &fine.negative_buckets), (&fine.positive_spans, &fine.positive_buckets));
        assert_eq!(fine.schema, 0);
    }

    #[test]
    fn many_steps_end_in_the_two_buckets_around_one() {
        assert_eq!([i32::MIN, -1, 0, 1, 2, i32::MAX].map(|index| coarser_index(index, 60)), [0, 0, 0, 1, 1, 1]);
        assert_eq!([-3, -1, 0, 1, 2, 3, 4].map(|index| coarser_index(index, 0)), [-3, -1, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn reserved_schemas_become_the_finest_one() {
        let mut reserved = exponential(52, &[(-1, &[1.0, 2.0, 4.0])]);
        reserved.reduce_reserved_resolution();
        assert_eq!(reserved, exponential(8, &[(0, &[3.0, 4.0])]));
        for schema in [8, 53, -53, -9] {
            let mut other = exponential(schema, &[(0, &[1.0])]);
            other.reduce_reserved_resolution();
            assert_eq!(other.schema, schema);
        }
    }

    #[test]
    fn a_copy_of_another_schema_has_no_hint() {
        let mut histogram = exponential(1, &[(0, &[1.0, 2.0])]);
        histogram.counter_reset_hint = CounterResetHint::NotCounterReset;
        assert_eq!(histogram.copy_to_schema(1), Ok(histogram.clone()));
        assert_eq!(histogram.copy_to_schema(0).unwrap().counter_reset_hint, CounterResetHint::Unknown);
    }

    #[test]
    fn finer_and_custom_are_refused() {
        let text =
            |histogram: &FloatHistogram, target| histogram.clone().reduce_resolution(target).unwrap_err().to_string();
        assert_eq!(text(&exponential(0, &[]), 1), "cannot reduce resolution from schema 0 to 1");
        assert_eq!(text(&exponential(0, &[]), 0), "cannot reduce resolution from schema 0 to 0");
        assert_eq!(text(&exponential(0, &[]), -53), "custom buckets have no resolution to reduce");
        assert_eq!(text(&custom(&[1.0], &[1.0]), -54), "custom buckets have no resolution to reduce");
        assert!(custom(&[1.0], &[1.0]).copy_to_schema(-53).is_ok());
    }
}
