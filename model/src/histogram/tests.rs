use proptest::prelude::*;

use super::*;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

fn exponential() -> FloatHistogram {
    FloatHistogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 19.0,
        sum: -2.5,
        positive_spans: vec![span(0, 2), span(1, 1)],
        positive_buckets: vec![3.0, 0.0, 4.0],
        negative_spans: vec![span(-1, 2)],
        negative_buckets: vec![4.0, 6.0],
        ..FloatHistogram::default()
    }
}

fn custom() -> FloatHistogram {
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 6.0,
        sum: 10.0,
        positive_spans: vec![span(0, 1), span(1, 1)],
        positive_buckets: vec![1.0, 5.0],
        custom_values: vec![1.0, 2.5],
        ..FloatHistogram::default()
    }
}

#[test]
fn histograms_print_like_prometheus() {
    assert_eq!(
        exponential().to_string(),
        "{count:19, sum:-2.5, [-1,-0.7071067811865476):6, [-0.7071067811865476,-0.5):4, [-0.001,0.001]:2, \
         (0.7071067811865476,1]:3, (2,2.8284271247461903]:4}"
    );
    assert_eq!(custom().to_string(), "{count:6, sum:10, [-Inf,1]:1, (2.5,+Inf]:5}");
    let large = FloatHistogram { count: 1e6, sum: f64::NAN, ..FloatHistogram::default() };
    assert_eq!(large.to_string(), "{count:1e+06, sum:NaN}");
}

#[test]
fn buckets_ascend() {
    let buckets: Vec<Bucket> = exponential().buckets().collect();
    assert_eq!(buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [6.0, 4.0, 2.0, 3.0, 0.0, 4.0]);
    assert!(buckets.windows(2).all(|pair| pair[0].upper <= pair[1].lower));
}

#[test]
fn compacting_leaves_no_empty_bucket() {
    let mut histogram = exponential();
    histogram.positive_spans = vec![span(-2, 1), span(0, 0), span(1, 3), span(0, 2), span(4, 1)];
    histogram.positive_buckets = vec![0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 0.0];
    histogram.negative_buckets = vec![0.0, 0.0];
    histogram.compact();
    assert_eq!(histogram.positive_spans, [span(0, 2), span(1, 2)]);
    assert_eq!(histogram.positive_buckets, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!((histogram.negative_spans, histogram.negative_buckets), (vec![], vec![]));
}

#[test]
fn what_is_inconsistent_is_refused() {
    assert_eq!(exponential().validate(), Ok(()));
    assert_eq!(custom().validate(), Ok(()));
    type Change = fn(&mut FloatHistogram);
    let changes: [(FloatHistogram, Change, &str); 14] = [
        (
            exponential(),
            |h| h.schema = 9,
            "invalid histogram schema 9: it has to be from -4 to 8, or -53 for custom buckets",
        ),
        (exponential(), |h| h.custom_values = vec![1.0], "custom bounds in a histogram with exponential schema"),
        (exponential(), |h| h.positive_spans[1].offset = -1, "positive side: span 1 has the negative offset -1"),
        (
            exponential(),
            |h| h.positive_spans[0].length = u32::MAX,
            "positive side: spans need 4294967296 buckets, have 3",
        ),
        (exponential(), |h| h.negative_buckets.truncate(1), "negative side: spans need 2 buckets, have 1"),
        (exponential(), |h| h.negative_buckets[1] = -1.0, "negative side: bucket 1 has the count -1"),
        (exponential(), |h| h.count = -1.0, "count of all observations is -1"),
        (exponential(), |h| h.zero_count = -1.0, "zero bucket has the count -1"),
        (custom(), |h| h.zero_count = 1.0, "histogram with custom buckets has a zero count"),
        (custom(), |h| h.negative_spans.push(span(0, 0)), "histogram with custom buckets has negative spans"),
        (
            custom(),
            |h| h.custom_values = vec![2.0, 1.0],
            "custom bound 1 is 1, which is not finite or not above the one before",
        ),
        (
            custom(),
            |h| h.custom_values[1] = f64::INFINITY,
            "custom bound 1 is inf, which is not finite or not above the one before",
        ),
        (custom(), |h| h.positive_spans[1].offset = 2, "spans reach to bucket 3, but there are 2 custom bounds"),
        (custom(), |h| h.positive_spans[0].offset = -1, "positive side: span 0 has the negative offset -1"),
    ];
    let mut lowest = custom();
    lowest.custom_values[0] = f64::NEG_INFINITY;
    assert_eq!(lowest.validate(), Ok(()));
    for (mut histogram, change, text) in changes {
        change(&mut histogram);
        assert_eq!(histogram.validate().map_err(|e| e.to_string()), Err(text.to_owned()));
    }
}

#[test]
fn a_few_empty_buckets_may_stay() {
    let mut histogram = FloatHistogram {
        positive_spans: vec![span(-2, 2), span(0, 4), span(1, 2), span(2, 1), span(3, 1)],
        positive_buckets: vec![0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0],
        ..FloatHistogram::default()
    };
    let text = histogram.to_string();
    histogram.compact_keeping(2);
    // Buckets -1, 1, 6, 9 and 13: one, four, two and three empty ones between them.
    assert_eq!(histogram.positive_spans, [span(-1, 3), span(4, 4), span(3, 1)]);
    assert_eq!(histogram.positive_buckets, [1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 4.0, 5.0]);
    assert_eq!(histogram.to_string(), text);
}

proptest! {
    #[test]
    fn compacting_changes_nothing_that_can_be_seen(
        schema in -4i32..=8,
        spans in prop::collection::vec((0i32..5, prop::collection::vec(prop::sample::select(vec![0.0, 1.0, 2.5]), 0..4)), 0..5),
        first in -10i32..10,
    ) {
        let mut histogram = FloatHistogram { schema, ..FloatHistogram::default() };
        for (at, (offset, counts)) in spans.into_iter().enumerate() {
            histogram.positive_spans.push(span(if at == 0 { first } else { offset }, counts.len() as u32));
            histogram.positive_buckets.extend(counts);
        }
        prop_assert_eq!(histogram.validate(), Ok(()));
        let mut compact = histogram.clone();
        compact.compact();
        prop_assert_eq!(compact.validate(), Ok(()));
        prop_assert_eq!(compact.to_string(), histogram.to_string());
        prop_assert!(compact.positive_buckets.iter().all(|count| *count != 0.0));
        prop_assert!(compact.positive_spans.iter().skip(1).all(|span| span.offset > 0 && span.length > 0));
    }
}
