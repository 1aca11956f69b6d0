//! Classic histograms, a series for each bucket, turned into native ones with custom buckets.
//!
//! One [`ClassicHistogram`] collects what the series say at one time. Which series belong together is the caller's to find;
//! [`ClassicPart`] tells the parts by the names of the series.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};

/// Empty buckets that are written out between others. With whole counts Prometheus keeps them.
const EMPTY_BUCKETS_KEPT: u32 = 2;
/// Floats from here on may be whole only because they have no digits left.
const WHOLE_BELOW: f64 = 9_223_372_036_854_775_808.0;

/// What a series of a classic histogram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicPart {
    /// `_bucket`: observations up to the bound in the label `le`.
    Bucket,
    /// `_sum`: the sum of all observations.
    Sum,
    /// `_count`: the number of all observations.
    Count,
}

impl ClassicPart {
    /// The part that a metric name stands for, and the name of the histogram. `_created` belongs to no part.
    pub fn of_name(name: &str) -> Option<(Self, &str)> {
        [("_bucket", Self::Bucket), ("_sum", Self::Sum), ("_count", Self::Count)]
            .into_iter()
            .find_map(|(suffix, part)| Some((part, name.strip_suffix(suffix)?)))
    }
}

/// Why classic series make no histogram.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ClassicError {
    #[error("bucket bound is NaN")]
    NanBound,
    #[error("bucket up to {le} has the negative count {count}")]
    NegativeBucket { le: f64, count: f64 },
    #[error("count of all observations is negative: {0}")]
    NegativeCount(f64),
    #[error("bucket up to {le} counts {count}, which does not fit between its neighbours")]
    NotCumulative { le: f64, count: f64 },
    #[error("count of all observations is {count}, but the bucket up to {le} counts {in_bucket}")]
    CountMismatch { count: f64, le: f64, in_bucket: f64 },
}

/// What the series of one classic histogram say at one time, in any order. As Prometheus' `convertnhcb.TempHistogram`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassicHistogram {
    /// By ascending bound.
    buckets: Vec<CumulativeBucket>,
    count: Option<f64>,
    sum: f64,
    /// The first error; nothing is taken after it.
    error: Option<ClassicError>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct CumulativeBucket {
    le: f64,
    count: f64,
}

impl ClassicHistogram {
    /// The observations up to `le`. A second count for a bound is ignored. Errors stay.
    pub fn set_bucket(&mut self, le: f64, count: f64) -> Result<(), ClassicError> {
        self.without_error()?;
        let at = self.buckets.partition_point(|bucket| bucket.le < le);
        let before = at.checked_sub(1).and_then(|before| self.buckets.get(before).copied());
        let after = self.buckets.get(at).copied();
        if le.is_nan() {
            return self.fail(ClassicError::NanBound);
        }
        if count < 0.0 {
            return self.fail(ClassicError::NegativeBucket { le, count });
        }
        if after.is_some_and(|after| after.le == le) {
            return Ok(());
        }
        if before.is_some_and(|before| count < before.count) || after.is_some_and(|after| count > after.count) {
            return self.fail(ClassicError::NotCumulative { le, count });
        }
        self.buckets.insert(at, CumulativeBucket { le, count });
        Ok(())
    }

    /// The number of all observations. Errors stay.
    pub fn set_count(&mut self, count: f64) -> Result<(), ClassicError> {
        self.without_error()?;
        if count < 0.0 {
            return self.fail(ClassicError::NegativeCount(count));
        }
        self.count = Some(count);
        Ok(())
    }

    /// The sum of all observations.
    pub fn set_sum(&mut self, sum: f64) -> Result<(), ClassicError> {
        self.without_error()?;
        self.sum = sum;
        Ok(())
    }

    fn without_error(&self) -> Result<(), ClassicError> {
        self.error.map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: ClassicError) -> Result<(), ClassicError> {
        self.error = Some(error);
        Err(error)
    }

    /// The native histogram. Without a count, the last bucket has all observations; without a `+Inf` bucket, the count is
    /// that bucket's. Its hint is unknown. Fails with the first error of the setters, or if the two counts of all
    /// observations differ.
    pub fn to_native(&self) -> Result<FloatHistogram, ClassicError> {
        self.without_error()?;
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|last| last.count)).unwrap_or_default();
        let all = last.filter(|last| last.le == f64::INFINITY).unwrap_or(CumulativeBucket { le: f64::INFINITY, count });
        // A NaN is never the same.
        if count != all.count {
            return Err(ClassicError::CountMismatch { count, le: all.le, in_bucket: all.count });
        }
        let bounded = &self.buckets[..self.buckets.partition_point(|bucket| bucket.le < f64::INFINITY)];
        let mut before = 0.0;
        let counts =
            bounded.iter().chain([&all]).map(|bucket| bucket.count - std::mem::replace(&mut before, bucket.count));
        let mut native = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: bounded.len() as u32 + 1 }],
            positive_buckets: counts.collect(),
            custom_values: bounded.iter().map(|bucket| bucket.le).collect(),
            ..FloatHistogram::default()
        };
        let is_whole = is_whole(count) && self.buckets.iter().all(|bucket| is_whole(bucket.count));
        native.compact_keeping(if is_whole { EMPTY_BUCKETS_KEPT } else { 0 });
        Ok(native)
    }
}

fn is_whole(count: f64) -> bool {
    count.fract() == 0.0 && count < WHOLE_BELOW
}

#[cfg(test)]
mod tests;
