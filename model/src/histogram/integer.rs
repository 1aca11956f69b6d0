//! Histograms with whole counts, as targets expose them and remote write sends them.

use super::{CounterResetHint, FloatHistogram, HistogramError, Span};

/// A histogram whose buckets are differences: each to the bucket before it, the first one of a side to 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerHistogram {
    pub counter_reset_hint: CounterResetHint,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub count: u64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    pub positive_deltas: Vec<i64>,
    pub negative_deltas: Vec<i64>,
    /// Upper bounds of the custom buckets, without `+Inf`; only with [`super::CUSTOM_BUCKETS_SCHEMA`].
    pub custom_values: Vec<f64>,
}

impl IntegerHistogram {
    /// The same histogram with absolute counts. Those above 2^53 are rounded. As Prometheus' `Histogram.ToFloat`.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: running_sums(&self.positive_deltas),
            negative_buckets: running_sums(&self.negative_deltas),
            custom_values: self.custom_values.clone(),
        }
    }

    /// Checks that the buckets count all observations; fewer are allowed if the sum is NaN, because observations of NaN
    /// are in no bucket. The rest is left to [`FloatHistogram::validate`] on [`Self::to_float`]; together they are
    /// Prometheus' `Histogram.Validate`.
    pub fn validate_total(&self) -> Result<(), HistogramError> {
        let counts = absolute(&self.positive_deltas).chain(absolute(&self.negative_deltas));
        let in_buckets = counts.fold(i128::from(self.zero_count), i128::saturating_add);
        let count = i128::from(self.count);
        if in_buckets > count || (in_buckets < count && !self.sum.is_nan()) {
            return Err(HistogramError::Total { count: self.count, in_buckets });
        }
        Ok(())
    }
}

fn absolute(deltas: &[i64]) -> impl Iterator<Item = i128> {
    deltas.iter().scan(0, |count, delta| {
        *count += i128::from(*delta);
        Some(*count)
    })
}

/// Summed as floats, as Prometheus does.
fn running_sums(deltas: &[i64]) -> Vec<f64> {
    let sums = deltas.iter().scan(0.0, |count, delta| {
        *count += *delta as f64;
        Some(*count)
    });
    sums.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn integer() -> IntegerHistogram {
        IntegerHistogram {
            counter_reset_hint: CounterResetHint::NotCounterReset,
            schema: 1,
            zero_threshold: 0.001,
            zero_count: 5,
            count: 24,
            sum: 18.5,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
            negative_spans: vec![Span { offset: 0, length: 2 }],
            positive_deltas: vec![3, -1, 4, -5],
            negative_deltas: vec![5, -3],
            ..IntegerHistogram::default()
        }
    }

    #[test]
    fn buckets_become_absolute() {
        let float = integer().to_float();
        assert_eq!(float.positive_buckets, [3.0, 2.0, 6.0, 1.0]);
        assert_eq!(float.negative_buckets, [5.0, 2.0]);
        assert_eq!((float.count, float.zero_count, float.sum, float.schema), (24.0, 5.0, 18.5, 1));
        assert_eq!(float.counter_reset_hint, CounterResetHint::NotCounterReset);
        assert_eq!(float.validate(), Ok(()));
    }

    #[test]
    fn the_total_is_that_of_the_buckets() {
        let with =
            |count, sum| IntegerHistogram { count, sum, ..integer() }.validate_total().map_err(|e| e.to_string());
        assert_eq!(with(24, 18.5), Ok(()));
        assert_eq!(with(26, 18.5), Err("24 observations in buckets, but the count is 26".into()));
        assert_eq!(with(26, f64::NAN), Ok(()));
        assert_eq!(with(23, f64::NAN), Err("24 observations in buckets, but the count is 23".into()));
    }

    #[test]
    fn hostile_deltas_do_not_overflow() {
        let spans = vec![Span { offset: 0, length: 3 }];
        let histogram = IntegerHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans: spans,
            positive_deltas: vec![i64::MAX; 3],
            custom_values: vec![1.0, 2.0],
            zero_count: u64::MAX,
            ..IntegerHistogram::default()
        };
        assert!(histogram.validate_total().is_err());
        assert_eq!(histogram.to_float().positive_buckets[2], 3.0 * i64::MAX as f64);
    }
}
