//! The parts of a histogram that change when another one is added to it: zero bucket and buckets.
//!
//! Leaves the totals and the hint to [`super::add`].

use super::bounds;
use super::count::{Compensated, Count};
use super::custom_bounds::{intersection, mapped};
use super::resolution::{coarsen, coarsened};
use super::spans::{cells, packed};
use super::zero_bucket::absorbed;
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Side, Span};

/// Zero bucket and buckets of a sum under work.
pub(super) struct Parts<C> {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero: C,
    pub(super) positive: Buckets<C>,
    pub(super) negative: Buckets<C>,
    pub(super) custom_values: Vec<f64>,
}

/// The buckets of one side.
pub(super) struct Buckets<C> {
    pub(super) spans: Vec<Span>,
    pub(super) counts: Vec<C>,
}

/// What is added: a histogram, times 1 or -1.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    pub(super) histogram: &'a FloatHistogram,
    pub(super) sign: f64,
}

impl<'a> Term<'a> {
    fn cells<C: Count>(self, side: Side) -> impl Iterator<Item = (i32, C)> + Clone + use<'a, C> {
        let (spans, counts) = self.histogram.spans_of(side);
        cells(spans, counts).map(move |(index, count)| (index, C::from(self.sign * count)))
    }

    fn zero<C: Count>(self) -> C {
        C::from(self.sign * self.histogram.zero_count)
    }
}

impl<C: Count> Parts<C> {
    /// Adds what is of the same kind, exponential or custom. Returns whether the custom bounds had to be reconciled.
    pub(super) fn add(&mut self, term: Term<'_>) -> bool {
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            return self.add_custom(term);
        }
        let zero = self.reconcile_zero_buckets(term);
        self.zero = self.zero.plus(zero);
        let steps = self.reach_common_schema(term.histogram.schema);
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for (buckets, side) in [(&mut self.positive, Side::Positive), (&mut self.negative, Side::Negative)] {
            let term = coarsened(term.cells(side), steps);
            // Those are in the zero bucket already.
            buckets.merge(term.skip_while(|(index, _)| bounds::exponential(*index, schema) <= threshold));
        }
        false
    }

    fn add_custom(&mut self, term: Term<'_>) -> bool {
        let bounds = &term.histogram.custom_values;
        if self.custom_values == *bounds {
            self.positive.merge(term.cells(Side::Positive));
            return false;
        }
        let common = intersection(&self.custom_values, bounds);
        let mut counts = vec![C::from(0.0); common.len() + 1];
        mapped(self.positive.cells(), &self.custom_values, &common, &mut counts);
        mapped(term.cells(Side::Positive), bounds, &common, &mut counts);
        let counts = (0..).zip(counts).filter(|(_, count)| !count.is_empty());
        (self.positive.spans, self.positive.counts) = packed(counts);
        self.custom_values = common;
        true
    }

    /// Goes down to the coarser schema of the two. Returns how many steps the other one has to go.
    fn reach_common_schema(&mut self, other: i32) -> u32 {
        let steps = self.schema.abs_diff(other);
        if other >= self.schema {
            return steps;
        }
        coarsen(&mut self.positive.spans, &mut self.positive.counts, steps);
        coarsen(&mut self.negative.spans, &mut self.negative.counts, steps);
        self.schema = other;
        0
    }

    /// Widens the zero bucket until it holds both and cuts no filled bucket of either in two. Returns the zero count that
    /// the other one has with it.
    fn reconcile_zero_buckets(&mut self, term: Term<'_>) -> C {
        let (mut zero, mut threshold) = (term.zero(), term.histogram.zero_threshold);
        // Not `!=`, which would never end with a NaN.
        loop {
            if self.zero_threshold > threshold {
                let sides = [term.cells(Side::Positive), term.cells(Side::Negative)];
                (zero, threshold) = absorbed(term.histogram.schema, term.zero(), sides, self.zero_threshold);
            } else if threshold > self.zero_threshold {
                self.widen_zero_bucket(threshold);
            } else {
                return zero;
            }
        }
    }

    fn widen_zero_bucket(&mut self, threshold: f64) {
        let sides = [self.positive.cells(), self.negative.cells()];
        let (zero, threshold) = absorbed(self.schema, self.zero, sides, threshold);
        (self.zero, self.zero_threshold) = (zero, threshold);
        for buckets in [&mut self.positive, &mut self.negative] {
            // Buckets that count nothing go too, as in Prometheus; what is cut in two is one of them.
            let outside =
                |&(index, count): &(i32, C)| bounds::inner(index, self.schema) >= threshold && !count.is_empty();
            (buckets.spans, buckets.counts) = packed(buckets.cells().filter(outside));
        }
    }
}

impl<C: Count> Buckets<C> {
    pub(super) fn cells(&self) -> impl Iterator<Item = (i32, C)> + Clone + use<'_, C> {
        cells(&self.spans, &self.counts)
    }

    /// Adds buckets that come by ascending index. A bucket that only one has stays as it is, empty or not.
    fn merge(&mut self, other: impl Iterator<Item = (i32, C)>) {
        let mut mine = self.cells().peekable();
        let mut other = other.peekable();
        let merged = std::iter::from_fn(move || match (mine.peek(), other.peek()) {
            (Some((a, _)), Some((b, _))) if a == b => {
                let ((index, count), (_, more)) = (mine.next()?, other.next()?);
                Some((index, count.plus(more)))
            }
            (Some((a, _)), Some((b, _))) if a > b => other.next(),
            (None, _) => other.next(),
            _ => mine.next(),
        });
        (self.spans, self.counts) = packed(merged);
    }
}

impl Parts<f64> {
    /// Takes the parts out of a histogram, to be put back.
    pub(super) fn take(histogram: &mut FloatHistogram) -> Self {
        Self {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero: histogram.zero_count,
            positive: Buckets {
                spans: std::mem::take(&mut histogram.positive_spans),
                counts: std::mem::take(&mut histogram.positive_buckets),
            },
            negative: Buckets {
                spans: std::mem::take(&mut histogram.negative_spans),
                counts: std::mem::take(&mut histogram.negative_buckets),
            },
            custom_values: std::mem::take(&mut histogram.custom_values),
        }
    }

    pub(super) fn put_back(self, histogram: &mut FloatHistogram) {
        histogram.schema = self.schema;
        histogram.zero_threshold = self.zero_threshold;
        histogram.zero_count = self.zero;
        (histogram.positive_spans, histogram.positive_buckets) = (self.positive.spans, self.positive.counts);
        (histogram.negative_spans, histogram.negative_buckets) = (self.negative.spans, self.negative.counts);
        histogram.custom_values = self.custom_values;
    }
}

impl Parts<Compensated> {
    /// A sum and its rounding errors, which have the same layout.
    pub(super) fn join(sum: Parts<f64>, lost: Parts<f64>) -> Self {
        Self {
            schema: sum.schema,
            zero_threshold: sum.zero_threshold,
            zero: Compensated { value: sum.zero, lost: lost.zero },
            positive: Buckets::join(sum.positive, &lost.positive),
            negative: Buckets::join(sum.negative, &lost.negative),
            custom_values: sum.custom_values,
        }
    }

    pub(super) fn split(self) -> (Parts<f64>, Parts<f64>) {
        let (positive, lost_positive) = self.positive.split();
        let (negative, lost_negative) = self.negative.split();
        let lost = Parts {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero: self.zero.lost,
            positive: lost_positive,
            negative: lost_negative,
            custom_values: self.custom_values.clone(),
        };
        let sum = Parts {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero: self.zero.value,
            positive,
            negative,
            custom_values: self.custom_values,
        };
        (sum, lost)
    }
}

impl Buckets<Compensated> {
    fn join(sum: Buckets<f64>, lost: &Buckets<f64>) -> Self {
        assert_eq!(sum.counts.len(), lost.counts.len(), "rounding errors have the layout of their sum");
        let counts = sum.counts.iter().zip(&lost.counts).map(|(&value, &lost)| Compensated { value, lost }).collect();
        Self { spans: sum.spans, counts }
    }

    fn split(self) -> (Buckets<f64>, Buckets<f64>) {
        let lost = self.counts.iter().map(|count| count.lost).collect();
        let counts = self.counts.iter().map(|count| count.value).collect();
        (Buckets { spans: self.spans.clone(), counts }, Buckets { spans: self.spans, counts: lost })
    }
}
