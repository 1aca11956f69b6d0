//! Native histograms: exponential buckets (schemas -4 to 8) and custom bucket bounds (schema -53).
//!
//! Buckets are stored sparsely: spans say which are present. What a histogram means is in [`FloatHistogram::buckets`]; what
//! keeps it consistent is in [`FloatHistogram::validate`], which decoders call, and which everything else here relies on.
//!
//! Beside that: arithmetic in [`add`], `scale`, [`resolution`] and `trim`, sums of many in [`aggregate`], counter resets in
//! `reset` and `hint`, what functions ask for in [`quantile`], [`fraction`] and `moments`, other forms of histograms
//! in [`integer`] and [`classic`], the form that is stored in [`packed`] and [`wire`].

pub mod add;
pub mod aggregate;
pub mod resolution;
mod scale;
mod trim;

mod hint;
mod reset;

pub mod fraction;
mod moments;
pub mod quantile;

pub mod classic;
pub mod integer;

pub mod packed;
pub mod wire;

mod compact;
mod equality;
mod size;

mod bounds;
mod count;
mod custom_bounds;
mod disjoint;
mod parts;
mod spans;
mod zero_bucket;

#[cfg(test)]
mod fixtures;

use std::fmt;

use crate::number::format_g;
use spans::cells;

/// Schema number of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// Whether a histogram is known to follow, or not to follow, a counter reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    #[default]
    Unknown,
    CounterReset,
    NotCounterReset,
    Gauge,
}

/// A run of consecutive buckets: `offset` empty ones after the run before (or from index 0), then `length` present ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// One histogram observation set with float counts; bucket counts are absolute, one for each bucket of the spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    pub counter_reset_hint: CounterResetHint,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of the custom buckets, without `+Inf`; only with [`CUSTOM_BUCKETS_SCHEMA`].
    pub custom_values: Vec<f64>,
}

/// One bucket and where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

/// What is wrong with a histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    #[error("invalid histogram schema {0}: it has to be from -4 to 8, or -53 for custom buckets")]
    Schema(i32),
    #[error("{side} side: span {at} has the negative offset {offset}")]
    SpanOffset { side: Side, at: usize, offset: i32 },
    #[error("{side} side: spans need {spans} buckets, have {buckets}")]
    SpansMismatch { side: Side, spans: u64, buckets: usize },
    #[error("{side} side: bucket {at} has the count {count}")]
    BucketCount { side: Side, at: usize, count: f64 },
    #[error("custom bounds in a histogram with exponential schema")]
    CustomBounds,
    #[error("histogram with custom buckets has {0}")]
    NotForCustomBuckets(&'static str),
    #[error("count of all observations is {0}")]
    Count(f64),
    #[error("zero bucket has the count {0}")]
    ZeroCount(f64),
    #[error("{in_buckets} observations in buckets, but the count is {count}")]
    Total { count: u64, in_buckets: i128 },
    #[error("custom bound {at} is {bound}, which is not finite or not above the one before")]
    CustomBound { at: usize, bound: f64 },
    #[error("spans reach to bucket {index}, but there are {bounds} custom bounds")]
    BeyondCustomBounds { index: i64, bounds: usize },
}

/// Buckets of positive or of negative observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Positive,
    Negative,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        })
    }
}

impl FloatHistogram {
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// All buckets that are present, the empty ones too, in ascending order. The zero bucket is among them when
    /// it counts anything.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let mut negative: Vec<Bucket> = self.side(Side::Negative).collect();
        negative.reverse();
        negative.into_iter().chain(self.zero_bucket()).chain(self.side(Side::Positive))
    }

    fn zero_bucket(&self) -> Option<Bucket> {
        (self.zero_count != 0.0).then_some(Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        })
    }

    fn spans_of(&self, side: Side) -> (&[Span], &[f64]) {
        match side {
            Side::Positive => (&self.positive_spans, &self.positive_buckets),
            Side::Negative => (&self.negative_spans, &self.negative_buckets),
        }
    }

    /// The buckets of one side, away from zero.
    fn side(&self, side: Side) -> impl Iterator<Item = Bucket> {
        let (spans, counts) = self.spans_of(side);
        cells(spans, counts).map(move |(index, count)| self.bucket(side, index, count))
    }

    fn bucket(&self, side: Side, index: i32, count: f64) -> Bucket {
        if self.uses_custom_buckets() {
            let bound = |at: i32| usize::try_from(at).ok().and_then(|at| self.custom_values.get(at)).copied();
            return Bucket {
                lower: bound(index.saturating_sub(1)).unwrap_or(f64::NEG_INFINITY),
                upper: bound(index).unwrap_or(f64::INFINITY),
                lower_inclusive: index == 0,
                upper_inclusive: true,
                count,
            };
        }
        let (inner, outer) = (bounds::inner(index, self.schema), bounds::exponential(index, self.schema));
        let (lower, upper) = match side {
            Side::Positive => (inner, outer),
            Side::Negative => (-outer, -inner),
        };
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }

    /// Checks what came from outside: known schema, spans that fit their buckets, no negative count, and no parts that the
    /// schema does not have. The total is not checked against the buckets, because float counts are rounded.
    pub fn validate(&self) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.validate_custom()?,
            bounds::SCHEMA_MIN..=bounds::SCHEMA_MAX if !self.custom_values.is_empty() => {
                return Err(HistogramError::CustomBounds);
            }
            bounds::SCHEMA_MIN..=bounds::SCHEMA_MAX => {}
            schema => return Err(HistogramError::Schema(schema)),
        }
        if self.count < 0.0 {
            return Err(HistogramError::Count(self.count));
        }
        if self.zero_count < 0.0 {
            return Err(HistogramError::ZeroCount(self.zero_count));
        }
        self.validate_side(Side::Positive)?;
        self.validate_side(Side::Negative)
    }

    fn validate_side(&self, side: Side) -> Result<(), HistogramError> {
        let (spans, buckets) = self.spans_of(side);
        // Only the first span may begin below zero.
        if let Some((at, span)) = spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0) {
            return Err(HistogramError::SpanOffset { side, at, offset: span.offset });
        }
        let needed: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if needed != buckets.len() as u64 {
            return Err(HistogramError::SpansMismatch { side, spans: needed, buckets: buckets.len() });
        }
        match buckets.iter().enumerate().find(|(_, count)| **count < 0.0) {
            Some((at, &count)) => Err(HistogramError::BucketCount { side, at, count }),
            None => Ok(()),
        }
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        for (part, present) in [
            ("a zero count", self.zero_count != 0.0),
            ("a zero threshold", self.zero_threshold != 0.0),
            ("negative spans", !self.negative_spans.is_empty()),
            ("negative buckets", !self.negative_buckets.is_empty()),
        ] {
            if present {
                return Err(HistogramError::NotForCustomBuckets(part));
            }
        }
        let mut before = f64::NEG_INFINITY;
        for (at, &bound) in self.custom_values.iter().enumerate() {
            // The first one may be -Inf, as in Prometheus.
            if bound.is_nan() || bound == f64::INFINITY || (at > 0 && bound <= before) {
                return Err(HistogramError::CustomBound { at, bound });
            }
            before = bound;
        }
        let end = self.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum::<i64>();
        // One bucket lies above the last bound.
        if end > self.custom_values.len() as i64 + 1 {
            return Err(HistogramError::BeyondCustomBounds { index: end - 1, bounds: self.custom_values.len() });
        }
        match self.positive_spans.first() {
            Some(span) if span.offset < 0 => {
                Err(HistogramError::SpanOffset { side: Side::Positive, at: 0, offset: span.offset })
            }
            _ => Ok(()),
        }
    }
}

/// As Prometheus prints it: `{count:3, sum:4.5, (1,2]:3}`, empty buckets left out.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_g(self.count), format_g(self.sum))?;
        self.buckets().filter(|bucket| bucket.count != 0.0).try_for_each(|bucket| write!(f, ", {bucket}"))?;
        f.write_str("}")
    }
}

/// Interval notation and the count: `[-0.5,0.5]:2`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        write!(f, "{open}{},{}{close}:{}", format_g(self.lower), format_g(self.upper), format_g(self.count))
    }
}

#[cfg(test)]
mod tests;
