//! Native histograms in answers: `[time, {"count":…,"sum":…,"buckets":[[rule,lower,upper,count],…]}]`.
//!
//! The rule says which bounds belong to the bucket, see [`pharos_model::histogram::Bucket::boundary_rule`].

use std::io::Write as _;

use pharos_model::{FloatHistogram, TimestampMs, number};

use super::write_timestamp;

pub(super) fn write_histogram(out: &mut Vec<u8>, ts: TimestampMs, histogram: &FloatHistogram) {
    out.push(b'[');
    write_timestamp(out, ts);
    out.extend_from_slice(br#",{"count":"#);
    write_float(out, histogram.count);
    out.extend_from_slice(br#","sum":"#);
    write_float(out, histogram.sum);
    let counted = histogram.disjoint_buckets().filter(|bucket| bucket.count != 0.0);
    let mut begin: &[u8] = br#","buckets":["#;
    for bucket in counted {
        out.extend_from_slice(begin);
        begin = b",";
        write!(out, "[{}", bucket.boundary_rule()).expect("a Vec takes every write");
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            write_float(out, value);
        }
        out.push(b']');
    }
    out.extend_from_slice(if begin == b"," { b"]}]" } else { b"}]" });
}

fn write_float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    number::push_json(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::histogram::Span;

    fn json(histogram: &FloatHistogram) -> String {
        let mut out = Vec::new();
        write_histogram(&mut out, 1500, histogram);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn buckets_that_count_are_listed_from_the_lowest_to_the_highest() {
        let histogram = FloatHistogram {
            zero_threshold: 0.5,
            zero_count: 2.0,
            count: 10.0,
            sum: 3.5,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![3.0, 0.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![5.0],
            ..FloatHistogram::default()
        };
        assert_eq!(
            json(&histogram),
            r#"[1.500,{"count":"10","sum":"3.5","buckets":[[1,"-2","-1","5"],[3,"-0.5","0.5","2"],[0,"1","2","3"]]}]"#
        );
    }

    #[test]
    fn without_observations_there_is_no_list() {
        assert_eq!(json(&FloatHistogram::default()), r#"[1.500,{"count":"0","sum":"0"}]"#);
    }
}
