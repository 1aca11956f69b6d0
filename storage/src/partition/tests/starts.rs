//! Start timestamps in the head, beyond what the model says: where they end a selection, and samples of value 0 at them.

use super::*;
use crate::record::StartRule;

const STORED: StartRule = StartRule { stored: true, zero_samples: false };
const ZEROS: StartRule = StartRule { stored: false, zero_samples: true };

/// Appends samples of a series, each with its start.
fn append_started(partition: &Partition, rule: StartRule, samples: &[(i64, u64, i64)]) -> AppendAnswer {
    let mut builder = AppendRecordBuilder::new(tenant(), limits(HOUR_MS));
    builder.use_starts(rule);
    for &(ts, bits, start) in samples {
        match histogram_of(bits) {
            Some(histogram) => builder.push_fresh_histogram(&labels(1), ts, &histogram),
            None => builder.push_fresh(&labels(1), ts, f64::from_bits(bits)),
        }
        builder.start_fresh(start);
    }
    AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap()
}

fn read(partition: &Partition, range: TimeRange, newest_only: bool) -> SampleColumns {
    let selection = partition.select(&SelectRequest { newest_only, ..request(Vec::new(), range) });
    let mut samples = SampleColumns::default();
    selection.read(0, range, &mut samples).unwrap();
    samples
}

fn float(value: f64) -> u64 {
    value.to_bits()
}

#[test]
fn ranges_cut_starts_with_their_samples() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path()).partition;
    // Several chunks of floats, then several of histograms.
    let value = |i: i64| if i < 400 { float(i as f64) } else { histogram_bits(i as u32) };
    let samples: Vec<_> = (0..700).map(|i| (i * 1_000, value(i), i * 1_000 - 300)).collect();
    append_started(&partition, STORED, &samples);
    for (from, to) in [(0, 700_000), (5_500, 130_000), (119_000, 120_000), (390_000, 410_000), (399_500, 699_000)] {
        let found = starts_of(read(&partition, TimeRange::new(from, to), false).slices());
        let expected = samples.iter().filter(|(ts, ..)| (from..=to).contains(ts)).map(|(ts, _, start)| (*ts, *start));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{from}..={to}");
    }
    assert_eq!(starts_of(read(&partition, TimeRange::ALL, true).slices()), [(699_000, 698_700)]);
}

#[test]
fn the_newest_sample_alone_brings_its_start_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path()).partition;
    for (ts, start) in [(1_000, 500), (2_000, 0), (3_000, 2_500)] {
        append_started(&partition, STORED, &[(ts, float(1.0), start)]);
        assert_eq!(starts_of(read(&partition, TimeRange::ALL, true).slices()), [(ts, start)]);
    }
}

#[test]
fn starts_that_are_not_to_be_stored_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path()).partition;
    append_started(&partition, StartRule::default(), &[(1_000, float(1.0), 500)]);
    let samples = read(&partition, TimeRange::ALL, false);
    assert_eq!((samples.ts, samples.start_ts), (vec![1_000], vec![]));
    assert!(!partition.select(&request(Vec::new(), TimeRange::ALL)).has_starts());
}

#[test]
fn a_zero_sample_is_added_once_for_each_start() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path()).partition;
    let steady: Vec<_> = (1..4).map(|i| (i * 1_000, float(i as f64), 500)).collect();
    assert_eq!(append_started(&partition, ZEROS, &steady).refused, []);
    // A restart between two samples; a start that is not before its sample; one before the sample that is there.
    append_started(
        &partition,
        ZEROS,
        &[(4_000, float(1.0), 3_500), (5_000, float(2.0), 5_000), (6_000, float(3.0), 4_500)],
    );
    let samples = read(&partition, TimeRange::ALL, false);
    let zeros = [(500, 0.0), (1_000, 1.0), (2_000, 2.0), (3_000, 3.0), (3_500, 0.0), (4_000, 1.0), (5_000, 2.0)];
    let expected: Vec<_> = zeros.into_iter().chain([(6_000, 3.0)]).collect();
    assert_eq!(samples.ts.into_iter().zip(samples.values).collect::<Vec<_>>(), expected);
    assert!(samples.start_ts.is_empty());
}

#[test]
fn a_zero_histogram_has_the_schema_of_the_one_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path()).partition;
    let both = StartRule { stored: true, zero_samples: true };
    append_started(&partition, both, &[(1_000, histogram_bits(3), 400)]);
    let samples = read(&partition, TimeRange::ALL, false);
    assert_eq!((samples.histogram_ts, samples.histogram_start_ts), (vec![400, 1_000], vec![0, 400]));
    let [zero, counted] = &samples.histograms[..] else { panic!("two histograms") };
    assert_eq!((zero.schema, zero.zero_threshold), (counted.schema, counted.zero_threshold));
    assert_eq!((zero.count, zero.sum, zero.positive_buckets.len()), (0.0, 0.0, 0));
}
