//! Sums and differences of histograms, in place.
//!
//! Both sides go to the coarser schema, to a zero bucket that holds both, or to the custom bounds that they share. Results
//! are not compacted: a bucket that became empty stays. Sums of many are in [`super::aggregate`].

use super::count::{Compensated, Count};
use super::parts::{Parts, Term};
use super::{FloatHistogram, Span, bounds};

/// One histogram has exponential buckets and the other one custom buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// What had to be settled between two histograms, for the annotations of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// One hint says that there was a counter reset, the other that there was none: a warning.
    pub hints_collided: bool,
    /// Custom bounds differ, and buckets were joined up to those that both have: an info.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Adds another histogram. On an error nothing has changed. As Prometheus' `FloatHistogram.Add`.
    pub fn add(&mut self, other: &Self) -> Result<Settled, IncompatibleSchemas> {
        self.combine(Term { histogram: other, sign: 1.0 })
    }

    /// Subtracts another histogram. The hint becomes that of a sum; where this is PromQL's `-`, the caller makes it a
    /// gauge. On an error nothing has changed. As Prometheus' `FloatHistogram.Sub`.
    pub fn sub(&mut self, other: &Self) -> Result<Settled, IncompatibleSchemas> {
        self.combine(Term { histogram: other, sign: -1.0 })
    }

    fn combine(&mut self, term: Term<'_>) -> Result<Settled, IncompatibleSchemas> {
        let (other, sign) = (term.histogram, term.sign);
        let hints_collided = self.combine_hints(other)?;
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if !self.has_layout_of(other) {
            let mut parts = Parts::take(self);
            let bounds_reconciled = parts.add(term);
            parts.put_back(self);
            return Ok(Settled { hints_collided, bounds_reconciled });
        }
        self.zero_count += sign * other.zero_count;
        for (sums, counts) in [
            (&mut self.positive_buckets, &other.positive_buckets),
            (&mut self.negative_buckets, &other.negative_buckets),
        ] {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += sign * count);
        }
        Ok(Settled { hints_collided, bounds_reconciled: false })
    }

    /// Adds another histogram and keeps what rounding loses in `lost`: nothing before the first addition, then a histogram of
    /// the same layout, whose counts may be negative. In the end the result is the sum plus `lost`. On an error nothing has
    /// changed. As Prometheus' `FloatHistogram.KahanAdd`.
    ///
    /// # Panics
    /// If `lost` does not come from additions to `self`, and so has other buckets.
    pub fn kahan_add(&mut self, other: &Self, lost: &mut Option<Self>) -> Result<Settled, IncompatibleSchemas> {
        let hints_collided = self.combine_hints(other)?;
        let lost = lost.get_or_insert_with(|| self.nothing_lost());
        add_float(&mut self.count, &mut lost.count, other.count);
        add_float(&mut self.sum, &mut lost.sum, other.sum);
        if !self.has_layout_of(other) {
            let mut parts = Parts::join(Parts::take(self), Parts::take(lost));
            let bounds_reconciled = parts.add(Term { histogram: other, sign: 1.0 });
            let (sum_parts, lost_parts) = parts.split();
            sum_parts.put_back(self);
            lost_parts.put_back(lost);
            return Ok(Settled { hints_collided, bounds_reconciled });
        }
        add_float(&mut self.zero_count, &mut lost.zero_count, other.zero_count);
        for (sums, lost, counts) in [
            (&mut self.positive_buckets, &mut lost.positive_buckets, &other.positive_buckets),
            (&mut self.negative_buckets, &mut lost.negative_buckets, &other.negative_buckets),
        ] {
            assert_eq!(sums.len(), lost.len(), "rounding errors have the layout of their sum");
            sums.iter_mut().zip(lost).zip(counts).for_each(|((sum, lost), count)| add_float(sum, lost, *count));
        }
        Ok(Settled { hints_collided, bounds_reconciled: false })
    }

    fn combine_hints(&mut self, other: &Self) -> Result<bool, IncompatibleSchemas> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let (hint, collided) = self.counter_reset_hint.combined(other.counter_reset_hint);
        self.counter_reset_hint = hint;
        Ok(collided)
    }

    /// Whether buckets can be added one by one. Not when the zero bucket overlaps one of them, which is then left out.
    fn has_layout_of(&self, other: &Self) -> bool {
        let is_apart = |spans: &[Span]| {
            self.uses_custom_buckets()
                || spans.first().is_none_or(|span| bounds::exponential(span.offset, self.schema) > self.zero_threshold)
        };
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.custom_values == other.custom_values
            && is_apart(&self.positive_spans)
            && is_apart(&self.negative_spans)
    }

    /// The rounding errors of a sum with one term.
    fn nothing_lost(&self) -> Self {
        Self {
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            ..self.clone()
        }
    }
}

fn add_float(sum: &mut f64, lost: &mut f64, value: f64) {
    let total = Compensated { value: *sum, lost: *lost }.plus(value.into());
    (*sum, *lost) = (total.value, total.lost);
}

#[cfg(test)]
mod tests;
