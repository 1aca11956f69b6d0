//! A native histogram as a map of its buckets, and arithmetic written out.
//!
//! Of counter reset hints only that of gauges is kept: what the others say of neighbouring samples, their counts say too.

use std::collections::BTreeMap;

use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use pharos_model::{CounterResetHint, FloatHistogram};

/// Counts by index. A bucket that counts nothing may be there.
type Counts = BTreeMap<i32, f64>;

/// Counts that are taken for nothing, in comparisons of results only.
const NOTHING: f64 = 1e-9;

#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub is_gauge: bool,
    /// Bucket `i` of schema `s` ends at `2 ^ (i * 2 ^ -s)`, one with custom bounds at bound `i`.
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Counts,
    pub negative: Counts,
    pub bounds: Vec<f64>,
}

/// A bucket and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

impl From<&FloatHistogram> for Histogram {
    fn from(histogram: &FloatHistogram) -> Self {
        Self {
            is_gauge: histogram.counter_reset_hint == CounterResetHint::Gauge,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: histogram.zero_count,
            count: histogram.count,
            sum: histogram.sum,
            positive: counts(&histogram.positive_spans, &histogram.positive_buckets),
            negative: counts(&histogram.negative_spans, &histogram.negative_buckets),
            bounds: histogram.custom_values.clone(),
        }
    }
}

fn counts(spans: &[Span], buckets: &[f64]) -> Counts {
    let mut counts = Counts::new();
    let (mut index, mut buckets) = (0, buckets.iter());
    for span in spans {
        index += span.offset;
        for _ in 0..span.length {
            counts.insert(index, *buckets.next().expect("a count for each bucket"));
            index += 1;
        }
    }
    counts
}

impl Histogram {
    pub(super) fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Nothing counted, in the kind of buckets of another.
    pub(super) fn nothing_like(other: &Self) -> Self {
        let counts = Counts::new;
        Self {
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: counts(),
            negative: counts(),
            ..other.clone()
        }
    }

    /// All that makes it what it is, by name. Buckets that count nothing are nothing.
    pub(crate) fn fields(&self) -> Vec<(String, f64)> {
        let named = |name: &str, value| (name.to_owned(), value);
        let mut fields = vec![
            named("schema", f64::from(self.schema)),
            named("threshold", self.zero_threshold),
            named("zero", self.zero_count),
            named("count", self.count),
            named("sum", self.sum),
        ];
        fields.extend(self.bounds.iter().enumerate().map(|(i, bound)| (format!("bound {i}"), *bound)));
        for (side, counts) in [("positive", &self.positive), ("negative", &self.negative)] {
            // Not: is large. A count of NaN is one.
            let counted = counts.iter().filter(|(_, count)| count.abs() <= NOTHING).map(|(index, _)| *index);
            let empty: Vec<i32> = counted.collect();
            let counted = counts.iter().filter(|(index, _)| !empty.contains(index));
            fields.extend(counted.map(|(index, count)| (format!("{side} {index}"), *count)));
        }
        fields
    }

    /// The sum with `factor` times the other; nothing, if they have no buckets in common.
    pub(super) fn plus(&self, other: &Self, factor: f64) -> Option<Self> {
        if self.is_custom() != other.is_custom() {
            return None;
        }
        let (mut left, mut right) = (self.clone(), other.clone());
        if self.is_custom() {
            let shared: Vec<f64> = self.bounds.iter().copied().filter(|bound| other.bounds.contains(bound)).collect();
            left = left.with_bounds(&shared);
            right = right.with_bounds(&shared);
        } else {
            let schema = left.schema.min(right.schema);
            // Each may raise the threshold of the other.
            while left.zero_threshold != right.zero_threshold {
                let (narrow, wide) = match left.zero_threshold < right.zero_threshold {
                    true => (&mut left, &right),
                    false => (&mut right, &left),
                };
                *narrow = narrow.with_threshold(wide.zero_threshold);
            }
            left = left.with_schema(schema);
            right = right.with_schema(schema);
        }
        left.is_gauge |= right.is_gauge || factor < 0.0;
        left.zero_count += factor * right.zero_count;
        left.count += factor * right.count;
        left.sum += factor * right.sum;
        for (own, others) in [(&mut left.positive, right.positive), (&mut left.negative, right.negative)] {
            for (index, count) in others {
                *own.entry(index).or_default() += factor * count;
            }
        }
        Some(left)
    }

    /// With every count and the sum changed; without the buckets that then count nothing.
    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        let all = |counts: &Counts| counts.iter().map(|(index, count)| (*index, change(*count))).collect();
        let (positive, negative) = (all(&self.positive), all(&self.negative));
        let [zero_count, count, sum] = [self.zero_count, self.count, self.sum].map(&change);
        Self { zero_count, count, sum, positive, negative, ..self.clone() }
    }

    pub(super) fn divided_by(&self, divisor: f64) -> Self {
        if divisor == 0.0 {
            let bare = Self { positive: Counts::new(), negative: Counts::new(), ..self.clone() };
            return bare.map(|value| value / divisor);
        }
        self.map(|value| value / divisor)
    }

    /// Without buckets that count nothing.
    pub(super) fn compact(mut self) -> Self {
        self.positive.retain(|_, count| *count != 0.0);
        self.negative.retain(|_, count| *count != 0.0);
        self
    }

    /// In coarser buckets: each two, four, ... become one.
    pub(super) fn with_schema(&self, schema: i32) -> Self {
        if self.is_custom() || schema == self.schema {
            return self.clone();
        }
        let together = 1 << (self.schema - schema);
        let coarse = |counts: &Counts| {
            let mut coarse = Counts::new();
            for (index, count) in counts {
                *coarse.entry((index + together - 1).div_euclid(together)).or_default() += count;
            }
            coarse
        };
        Self { schema, positive: coarse(&self.positive), negative: coarse(&self.negative), ..self.clone() }
    }

    /// With a zero bucket that reaches further, to the end of a bucket that it would cut in two.
    pub(super) fn with_threshold(&self, threshold: f64) -> Self {
        if threshold == self.zero_threshold {
            return self.clone();
        }
        let mut wider = Self { zero_threshold: threshold.max(self.zero_threshold), ..self.clone() };
        loop {
            let reach = wider.zero_threshold;
            let inside = |index: &i32| end_of(index - 1, self.schema) < reach;
            let sides = [&self.positive, &self.negative];
            let within = sides.iter().flat_map(|counts| counts.iter().filter(|(index, _)| inside(index)));
            let filled = within.filter(|(_, count)| **count != 0.0);
            let end = filled.map(|(index, _)| end_of(*index, self.schema)).fold(reach, f64::max);
            if end == reach {
                break;
            }
            wider.zero_threshold = end;
        }
        let reach = wider.zero_threshold;
        for counts in [&mut wider.positive, &mut wider.negative] {
            let inside = |index: &i32| end_of(index - 1, self.schema) < reach;
            wider.zero_count += counts.iter().filter(|(index, _)| inside(index)).map(|(_, count)| count).sum::<f64>();
            counts.retain(|index, _| !inside(index));
        }
        wider
    }

    /// In custom buckets of which some bounds are left out.
    pub(super) fn with_bounds(&self, bounds: &[f64]) -> Self {
        let mut positive = Counts::new();
        for (index, count) in &self.positive {
            let upper = self.upper_bound(*index);
            let target = bounds.iter().position(|bound| *bound >= upper).unwrap_or(bounds.len());
            *positive.entry(i32::try_from(target).expect("few bounds")).or_default() += count;
        }
        Self { positive, bounds: bounds.to_vec(), ..self.clone() }
    }

    fn upper_bound(&self, index: i32) -> f64 {
        let bound = usize::try_from(index).ok().and_then(|index| self.bounds.get(index));
        bound.copied().unwrap_or(f64::INFINITY)
    }

    /// Whether a counter that was `before` must have begun anew to be this.
    pub(super) fn is_reset_since(&self, before: &Self) -> bool {
        if self.count < before.count || self.is_custom() != before.is_custom() {
            return true;
        }
        let has_less = |now: &Self, before: &Self| {
            let missing = |now: &Counts, before: &Counts| {
                before.iter().any(|(index, count)| now.get(index).copied().unwrap_or_default() < *count)
            };
            missing(&now.positive, &before.positive) || missing(&now.negative, &before.negative)
        };
        if self.is_custom() {
            let shared: Vec<f64> = self.bounds.iter().copied().filter(|bound| before.bounds.contains(bound)).collect();
            return has_less(&self.with_bounds(&shared), &before.with_bounds(&shared));
        }
        if self.schema > before.schema || self.zero_threshold < before.zero_threshold {
            return true;
        }
        let before = before.with_threshold(self.zero_threshold);
        before.zero_threshold != self.zero_threshold
            || self.zero_count < before.zero_count
            || has_less(self, &before.with_schema(self.schema))
    }

    /// From the lowest to the highest.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        if self.is_custom() {
            let lower = |index: i32| if index == 0 { f64::NEG_INFINITY } else { self.upper_bound(index - 1) };
            let bucket = |(index, count): (&i32, &f64)| Bucket {
                lower: lower(*index),
                upper: self.upper_bound(*index),
                count: *count,
            };
            return self.positive.iter().map(bucket).collect();
        }
        let ends = |index: i32| (end_of(index - 1, self.schema), end_of(index, self.schema));
        let mut buckets = Vec::new();
        for (index, count) in self.negative.iter().rev() {
            let (inner, outer) = ends(*index);
            buckets.push(Bucket { lower: -outer, upper: -inner, count: *count });
        }
        if self.zero_count > 0.0 {
            let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
            buckets.push(Bucket { lower, upper, count: self.zero_count });
        }
        for (index, count) in &self.positive {
            let (lower, upper) = ends(*index);
            buckets.push(Bucket { lower, upper, count: *count });
        }
        buckets
    }

    /// Whether both hold the same, bucket by bucket.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let own = (self.schema, self.zero_threshold, self.zero_count, self.count, self.sum);
        own == (other.schema, other.zero_threshold, other.zero_count, other.count, other.sum)
            && (&self.positive, &self.negative, &self.bounds) == (&other.positive, &other.negative, &other.bounds)
    }
}

/// Where an exponential bucket ends.
fn end_of(index: i32, schema: i32) -> f64 {
    (f64::from(index) * (-f64::from(schema)).exp2()).exp2()
}
