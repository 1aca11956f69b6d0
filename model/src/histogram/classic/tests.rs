use super::*;

enum Set {
    Bucket(f64, f64),
    Count(f64),
    Sum(f64),
}
use Set::{Bucket, Count, Sum};

const INFINITY: f64 = f64::INFINITY;

fn converted(parts: &[Set]) -> Result<FloatHistogram, String> {
    let mut classic = ClassicHistogram::default();
    for part in parts {
        let _ = match *part {
            Bucket(le, count) => classic.set_bucket(le, count),
            Count(count) => classic.set_count(count),
            Sum(sum) => classic.set_sum(sum),
        };
    }
    let native = classic.to_native().map_err(|error| error.to_string())?;
    assert_eq!(native.validate(), Ok(()));
    Ok(native)
}

#[test]
fn cumulative_buckets_become_custom_ones_in_whatever_order_they_come() {
    let expected = "{count:1000, sum:1000.25, [-Inf,0.5]:50, (0.5,1]:900, (1,+Inf]:50}";
    let parts = [Count(1000.0), Sum(1000.25), Bucket(0.5, 50.0), Bucket(1.0, 950.0), Bucket(INFINITY, 1000.0)];
    assert_eq!(converted(&parts).unwrap().to_string(), expected);
    let parts = [Bucket(0.5, 50.0), Bucket(INFINITY, 1000.0), Bucket(1.0, 950.0), Bucket(0.5, 7.0), Sum(1000.25)];
    let native = converted(&parts).unwrap();
    assert_eq!(native.to_string(), expected);
    assert_eq!(native.custom_values, [0.5, 1.0]);
}

#[test]
fn what_is_missing_is_taken_from_the_rest() {
    let native = converted(&[Sum(1000.25), Bucket(0.5, 1337.42)]).unwrap();
    assert_eq!(native.to_string(), "{count:1337.42, sum:1000.25, [-Inf,0.5]:1337.42}");
    assert_eq!((native.custom_values, native.positive_spans[0].length), (vec![0.5], 1));
    let native = converted(&[Bucket(0.5, 3.0), Count(5.0)]).unwrap();
    assert_eq!(native.to_string(), "{count:5, sum:0, [-Inf,0.5]:3, (0.5,+Inf]:2}");
    assert_eq!(converted(&[]).unwrap().to_string(), "{count:0, sum:0}");
    assert_eq!(converted(&[Sum(2.0)]).unwrap().to_string(), "{count:0, sum:2}");
}

#[test]
fn few_empty_buckets_stay_if_counts_are_whole() {
    let of = |count: f64| {
        let parts = [1.0, 2.0, 3.0, 4.0].map(|le| Bucket(le, if le < 4.0 { 1.0 } else { count }));
        converted(&parts).unwrap().positive_spans
    };
    assert_eq!(of(2.0), [Span { offset: 0, length: 4 }]);
    assert_eq!(of(2.5), [Span { offset: 0, length: 1 }, Span { offset: 2, length: 1 }]);
}

#[test]
fn the_first_error_stays() {
    for (parts, text) in [
        (
            vec![Count(1000.0), Bucket(0.5, 50.0), Bucket(1.0, 950.0), Bucket(INFINITY, 900.0)],
            "bucket up to inf counts 900, which does not fit between its neighbours",
        ),
        (
            vec![Bucket(0.5, 50.0), Bucket(INFINITY, 900.0), Bucket(1.0, 950.0)],
            "bucket up to 1 counts 950, which does not fit between its neighbours",
        ),
        (vec![Count(-1.0), Bucket(f64::NAN, 1.0)], "count of all observations is negative: -1"),
        (vec![Bucket(1.0, 5.0), Bucket(f64::NAN, 10.0)], "bucket bound is NaN"),
        (vec![Bucket(1.0, -5.0)], "bucket up to 1 has the negative count -5"),
        (vec![Count(4.0), Bucket(INFINITY, 5.0)], "count of all observations is 4, but the bucket up to inf counts 5"),
        (vec![Count(f64::NAN)], "count of all observations is NaN, but the bucket up to inf counts NaN"),
    ] {
        assert_eq!(converted(&parts), Err(text.to_owned()));
    }
}

#[test]
fn names_tell_the_parts() {
    assert_eq!(ClassicPart::of_name("a_bucket"), Some((ClassicPart::Bucket, "a")));
    assert_eq!(ClassicPart::of_name("a_count_sum"), Some((ClassicPart::Sum, "a_count")));
    assert_eq!(ClassicPart::of_name("_count"), Some((ClassicPart::Count, "")));
    assert_eq!(ClassicPart::of_name("a_created"), None);
}
