//! Sums and differences of histogram literals, for `{{...}}+{{...}}xN`.
//!
//! As Prometheus combines histograms: to the coarser schema, the wider zero bucket and the bounds that both
//! have. Results are not compacted: a bucket that became empty stays.

use std::collections::BTreeMap;

use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use pharos_model::{CounterResetHint, FloatHistogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    Add,
    Subtract,
}

/// Buckets by index.
type Buckets = BTreeMap<i32, f64>;

/// `base` plus or minus `step`. `Err` is the text for the user.
pub(crate) fn combine(base: &FloatHistogram, step: &FloatHistogram, how: Combine) -> Result<FloatHistogram, String> {
    if base.schema > step.schema {
        return Err(format!("error combining histograms: cannot merge from schema {} to {}", step.schema, base.schema));
    }
    if (base.schema == CUSTOM_BUCKETS_SCHEMA) != (step.schema == CUSTOM_BUCKETS_SCHEMA) {
        return Err(
            "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas".into()
        );
    }
    let sign = if how == Combine::Add { 1.0 } else { -1.0 };
    let mut out = base.clone();
    out.count += sign * step.count;
    out.sum += sign * step.sum;
    out.counter_reset_hint = combined_hint(base.counter_reset_hint, step.counter_reset_hint);
    if base.schema == CUSTOM_BUCKETS_SCHEMA {
        combine_custom(&mut out, base, step, sign);
    } else {
        combine_exponential(&mut out, base, step, sign);
    }
    Ok(out)
}

fn combined_hint(base: CounterResetHint, step: CounterResetHint) -> CounterResetHint {
    use CounterResetHint as Hint;
    match (base, step) {
        (a, b) if a == b => a,
        (Hint::Gauge, _) | (_, Hint::Gauge) => Hint::Gauge,
        _ => Hint::Unknown,
    }
}

fn combine_custom(out: &mut FloatHistogram, base: &FloatHistogram, step: &FloatHistogram, sign: f64) {
    let common: Vec<f64> =
        base.custom_values.iter().copied().filter(|bound| step.custom_values.contains(bound)).collect();
    let mut buckets = Buckets::new();
    for (side, sign) in [(base, 1.0), (step, sign)] {
        for (index, count) in indexed(&side.positive_spans, &side.positive_buckets) {
            let bound = usize::try_from(index).ok().and_then(|i| side.custom_values.get(i)).copied();
            let target = bound.map_or(common.len(), |bound| common.partition_point(|other| *other < bound));
            *buckets.entry(target as i32).or_default() += sign * count;
        }
    }
    (out.positive_spans, out.positive_buckets) = packed(&buckets);
    out.custom_values = common;
}

fn combine_exponential(out: &mut FloatHistogram, base: &FloatHistogram, step: &FloatHistogram, sign: f64) {
    let threshold = common_zero_threshold(base, step);
    out.zero_threshold = threshold;
    out.zero_count = 0.0;
    let (mut positive, mut negative) = (Buckets::new(), Buckets::new());
    for (side, sign) in [(base, 1.0), (step, sign)] {
        out.zero_count += sign * side.zero_count;
        let sides = [
            (&mut positive, &side.positive_spans, &side.positive_buckets),
            (&mut negative, &side.negative_spans, &side.negative_buckets),
        ];
        for (target, spans, counts) in sides {
            for (index, count) in indexed(spans, counts) {
                if upper_bound(index, side.schema) <= threshold {
                    out.zero_count += sign * count;
                } else {
                    let index = ((index - 1) >> (side.schema - base.schema)) + 1;
                    *target.entry(index).or_default() += sign * count;
                }
            }
        }
    }
    (out.positive_spans, out.positive_buckets) = packed(&positive);
    (out.negative_spans, out.negative_buckets) = packed(&negative);
}

/// The narrowest zero bucket that holds both and cuts no filled bucket in two.
fn common_zero_threshold(base: &FloatHistogram, step: &FloatHistogram) -> f64 {
    let mut threshold = base.zero_threshold.max(step.zero_threshold);
    if base.zero_threshold == step.zero_threshold {
        return threshold;
    }
    loop {
        let cut = [base, step]
            .into_iter()
            .flat_map(|side| {
                let positive = indexed(&side.positive_spans, &side.positive_buckets);
                let negative = indexed(&side.negative_spans, &side.negative_buckets);
                positive.chain(negative).map(|(index, count)| (index, count, side.schema))
            })
            .filter(|(index, count, schema)| *count != 0.0 && upper_bound(index - 1, *schema) < threshold)
            .map(|(index, _, schema)| upper_bound(index, schema))
            .fold(threshold, f64::max);
        if cut == threshold {
            return threshold;
        }
        threshold = cut;
    }
}

fn upper_bound(index: i32, schema: i32) -> f64 {
    (f64::from(index) * f64::from(-schema).exp2()).exp2()
}

/// Each bucket with its index.
fn indexed(spans: &[Span], counts: &[f64]) -> impl Iterator<Item = (i32, f64)> {
    let mut next = 0i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.length as i32);
        first..next
    });
    indexes.zip(counts.iter().copied())
}

/// Spans of adjacent buckets.
fn packed(buckets: &Buckets) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == end => span.length += 1,
            _ => spans.push(Span { offset: index - end, length: 1 }),
        }
        end = index + 1;
    }
    (spans, buckets.values().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(schema: i32, offset: i32, buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: buckets.iter().sum(),
            sum: 10.0,
            positive_spans: vec![Span { offset, length: buckets.len() as u32 }],
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn buckets_add_at_their_index() {
        let sum = combine(&histogram(0, 0, &[1.0, 2.0]), &histogram(0, 1, &[4.0, 8.0]), Combine::Add).unwrap();
        assert_eq!(sum.positive_buckets, [1.0, 6.0, 8.0]);
        assert_eq!(sum.positive_spans, [Span { offset: 0, length: 3 }]);
        assert_eq!((sum.count, sum.sum), (15.0, 20.0));
        let difference = combine(&sum, &histogram(0, 1, &[4.0, 8.0]), Combine::Subtract).unwrap();
        assert_eq!(difference.positive_buckets, [1.0, 2.0, 0.0]);
    }

    #[test]
    fn the_finer_schema_is_coarsened_and_a_coarser_step_refused() {
        let sum = combine(&histogram(0, 1, &[1.0]), &histogram(1, 1, &[2.0, 4.0, 8.0]), Combine::Add).unwrap();
        assert_eq!(sum.positive_buckets, [7.0, 8.0]);
        let error = combine(&histogram(1, 0, &[1.0]), &histogram(0, 0, &[1.0]), Combine::Add).unwrap_err();
        assert_eq!(error, "error combining histograms: cannot merge from schema 0 to 1");
    }

    #[test]
    fn a_wider_zero_bucket_swallows_what_it_covers() {
        let mut wide = histogram(0, 3, &[1.0]);
        (wide.zero_threshold, wide.zero_count) = (2.0, 5.0);
        let sum = combine(&histogram(0, 0, &[1.0, 2.0, 4.0]), &wide, Combine::Add).unwrap();
        assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 8.0));
        assert_eq!(sum.positive_buckets, [4.0, 1.0]);
        assert_eq!(sum.positive_spans, [Span { offset: 2, length: 2 }]);
    }

    #[test]
    fn custom_bounds_meet_at_those_both_have() {
        let custom = |bounds: &[f64], counts: &[f64]| FloatHistogram {
            custom_values: bounds.to_vec(),
            ..histogram(CUSTOM_BUCKETS_SCHEMA, 0, counts)
        };
        let (a, b) = (custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0]), custom(&[2.0, 4.0], &[10.0, 20.0, 30.0]));
        let sum = combine(&a, &b, Combine::Add).unwrap();
        assert_eq!(sum.custom_values, [2.0, 4.0]);
        assert_eq!(sum.positive_buckets, [13.0, 23.0, 34.0]);
    }
}
