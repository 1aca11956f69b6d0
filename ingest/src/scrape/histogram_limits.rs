//! What a job allows native histograms to be: coarser ones are made of those with more buckets.

use pharos_model::FloatHistogram;

use super::ScrapeError;
use crate::config::ScrapeConfig;

const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;
/// The factor from one bucket to the next of the finest schema.
const FINEST_FACTOR: f64 = 1.00271;

/// `native_histogram_bucket_limit` and `native_histogram_min_bucket_factor` of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistogramLimits {
    /// Buckets of both sides; 0 for any number.
    buckets_max: u64,
    schema_max: i32,
}

impl HistogramLimits {
    pub(super) fn of(config: &ScrapeConfig) -> Self {
        Self {
            buckets_max: config.native_histogram_bucket_limit,
            schema_max: schema_of_factor(config.native_histogram_min_bucket_factor),
        }
    }

    /// Reduces the resolution until the histogram is within the limits; custom buckets have none to reduce.
    pub(super) fn apply(self, histogram: &mut FloatHistogram) -> Result<(), ScrapeError> {
        if !histogram.uses_custom_buckets() && histogram.schema > self.schema_max {
            coarsen(histogram, self.schema_max);
        }
        while self.buckets_max > 0 && buckets_of(histogram) > self.buckets_max {
            if histogram.uses_custom_buckets() || histogram.schema <= SCHEMA_MIN {
                return Err(ScrapeError::HistogramBuckets);
            }
            coarsen(histogram, histogram.schema - 1);
        }
        Ok(())
    }
}

fn buckets_of(histogram: &FloatHistogram) -> u64 {
    (histogram.positive_buckets.len() + histogram.negative_buckets.len()) as u64
}

fn coarsen(histogram: &mut FloatHistogram, schema: i32) {
    histogram.reduce_resolution(schema).expect("the schema is exponential, and finer");
}

/// The finest schema whose buckets grow at least by this factor. Any is allowed up to a factor of 1.
fn schema_of_factor(factor: f64) -> i32 {
    let factor = if factor <= 1.0 { FINEST_FACTOR } else { factor };
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(SCHEMA_MIN), f64::from(SCHEMA_MAX)) as i32
}

#[cfg(test)]
mod tests {
    use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    fn histogram(schema: i32, buckets: u32) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: f64::from(buckets),
            positive_spans: vec![Span { offset: 1, length: buckets }],
            positive_buckets: vec![1.0; buckets as usize],
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn factors_name_schemas() {
        for (factor, schema) in [
            (0.0, 8),
            (1.0, 8),
            (1.00271, 8),
            (1.01, 6),
            (1.1, 2),
            (1.2, 1),
            (2.0, 0),
            (4.0, -1),
            (65_536.0, -4),
            (1e30, -4),
        ] {
            assert_eq!(schema_of_factor(factor), schema, "{factor}");
        }
    }

    #[test]
    fn buckets_are_joined_until_they_are_few_and_wide_enough() {
        let limited = |mut histogram: FloatHistogram, buckets_max, schema_max| {
            HistogramLimits { buckets_max, schema_max }.apply(&mut histogram)?;
            Ok::<_, ScrapeError>((histogram.schema, histogram.positive_buckets.len()))
        };
        assert_eq!(limited(histogram(3, 16), 0, 8), Ok((3, 16)));
        assert_eq!(limited(histogram(3, 16), 16, 8), Ok((3, 16)));
        assert_eq!(limited(histogram(3, 16), 4, 8), Ok((1, 4)));
        assert_eq!(limited(histogram(3, 16), 0, 0), Ok((0, 2)));
        assert_eq!(limited(histogram(-4, 16), 4, 8), Err(ScrapeError::HistogramBuckets));
        let custom = FloatHistogram { custom_values: vec![1.0; 16], ..histogram(CUSTOM_BUCKETS_SCHEMA, 16) };
        assert_eq!(limited(custom.clone(), 0, -4), Ok((CUSTOM_BUCKETS_SCHEMA, 16)));
        assert_eq!(limited(custom, 4, 8), Err(ScrapeError::HistogramBuckets));
    }
}
