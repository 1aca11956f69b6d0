//! What a native histogram says as a single number, and histograms that keep no more than their totals.

use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{CounterResetHint, FloatHistogram};

/// A function from a histogram to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistogramStat {
    Count,
    Sum,
    Avg,
    Stddev,
    Stdvar,
}

impl HistogramStat {
    pub fn of(self, histogram: &FloatHistogram) -> f64 {
        match self {
            Self::Count => histogram.count,
            Self::Sum => histogram.sum,
            Self::Avg => histogram.average(),
            Self::Stddev => histogram.standard_deviation(),
            Self::Stdvar => histogram.variance(),
        }
    }

    /// Whether the buckets do not matter. Of other functions no bucket can be left out: a deviation is summed over all of them,
    /// and for a quantile or a fraction each one moves the rank. A reset shows in any.
    pub fn needs_totals_only(self) -> bool {
        matches!(self, Self::Count | Self::Sum | Self::Avg)
    }
}

/// Replaces `totals` by histograms of the same count, sum and schema without buckets. Resets that only the buckets show
/// are found before these are gone: from the second histogram on, the hint says whether there was one.
pub fn reduce_to_totals(list: &[Arc<FloatHistogram>], totals: &mut Vec<Arc<FloatHistogram>>) {
    totals.clear();
    let mut before: Option<&FloatHistogram> = None;
    for histogram in list {
        let hint = match (histogram.counter_reset_hint, before) {
            (CounterResetHint::Unknown, Some(before)) if histogram.detect_reset(before) => {
                CounterResetHint::CounterReset
            }
            (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotCounterReset,
            (hint, _) => hint,
        };
        totals.push(match has_totals_only(histogram) && hint == histogram.counter_reset_hint {
            true => Arc::clone(histogram),
            false => Arc::new(FloatHistogram {
                counter_reset_hint: hint,
                schema: histogram.schema,
                count: histogram.count,
                sum: histogram.sum,
                ..FloatHistogram::default()
            }),
        });
        if !is_stale(histogram.sum) {
            before = Some(histogram);
        }
    }
}

/// Whether a source has left out the rest.
fn has_totals_only(histogram: &FloatHistogram) -> bool {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len() + histogram.custom_values.len();
    spans == 0 && histogram.zero_count == 0.0 && histogram.zero_threshold == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::histogram::Span;

    fn histogram(buckets: [f64; 2]) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count: 3.0,
            sum: 4.5,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        })
    }

    #[test]
    fn totals_know_of_resets_that_only_the_buckets_show() {
        let list = [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]].map(histogram);
        let mut totals = Vec::new();
        reduce_to_totals(&list, &mut totals);
        let hints: Vec<_> = totals.iter().map(|histogram| histogram.counter_reset_hint).collect();
        assert_eq!(
            hints,
            [CounterResetHint::Unknown, CounterResetHint::NotCounterReset, CounterResetHint::CounterReset]
        );
        assert_eq!((totals[0].count, totals[0].sum, totals[0].positive_buckets.len()), (3.0, 4.5, 0));
    }

    #[test]
    fn stats_are_those_of_the_histogram() {
        let histogram = histogram([1.0, 2.0]);
        let stat = |stat: HistogramStat| stat.of(&histogram);
        assert_eq!((stat(HistogramStat::Count), stat(HistogramStat::Sum), stat(HistogramStat::Avg)), (3.0, 4.5, 1.5));
        assert_eq!(stat(HistogramStat::Stddev).powi(2), stat(HistogramStat::Stdvar));
    }
}
