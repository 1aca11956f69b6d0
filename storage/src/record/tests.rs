use pharos_model::{Exemplar, LabelSet, MatchOp, Matcher, TenantId, TimeRange};
use proptest::prelude::*;

use super::*;
use crate::test_histograms::{self, counter, packed};

const LIMITS: AppendLimits =
    AppendLimits { out_of_order_window_ms: 3_600_000, newest_allowed_ms: 1_700_000_600_000, series_max: 1_000 };

fn labels(i: usize) -> LabelSet {
    LabelSet::from_pairs([("__name__", format!("m{}", i % 7)), ("instance", format!("host{i}"))])
}

fn decode_append(bytes: &[u8]) -> AppendRecord {
    match Command::decode(bytes) {
        Ok(Command::Append(record)) => record,
        other => panic!("not an append record: {other:?}"),
    }
}

proptest! {
    #[test]
    fn append_records_round_trip(
        known in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..50),
        fresh in prop::collection::vec((0..40_usize, any::<i64>(), any::<u64>()), 0..20),
        exemplars in prop::collection::vec((0..40_usize, any::<i64>(), -1e9..1e9_f64), 0..5),
    ) {
        let tenant = TenantId::new("team-a").unwrap();
        let mut builder = AppendRecordBuilder::new(tenant.clone(), LIMITS);
        for &(series, ts, bits) in &known {
            builder.push_known(SeriesRef(series), ts, f64::from_bits(bits));
        }
        for &(i, ts, bits) in &fresh {
            builder.push_fresh(&labels(i), ts, f64::from_bits(bits));
        }
        let exemplars: Vec<_> = exemplars
            .into_iter()
            .map(|(i, ts, value)| {
                let exemplar = Exemplar { labels: LabelSet::from_pairs([("trace_id", "abc")]), value, ts };
                SeriesExemplar { series: labels(i), exemplar }
            })
            .collect();
        for SeriesExemplar { series, exemplar } in &exemplars {
            builder.push_exemplar(series, exemplar);
        }
        let bytes = builder.finish();
        prop_assert_eq!(bytes[0], KIND_APPEND);
        let record = decode_append(&bytes);
        prop_assert_eq!(&record.tenant, &tenant);
        prop_assert_eq!(record.limits, LIMITS);
        let back: Vec<_> = (0..record.known_refs.len())
            .map(|i| (record.known_refs[i].0, record.known_ts[i], record.known_value_bits[i]))
            .collect();
        prop_assert_eq!(back, known);
        let back: Vec<_> = record.fresh.iter().map(|f| (f.labels.clone(), f.ts, f.value_bits)).collect();
        let sent: Vec<_> = fresh.iter().map(|&(i, ts, bits)| (labels(i), ts, bits)).collect();
        prop_assert_eq!(back, sent);
        prop_assert_eq!(record.exemplars, exemplars);
    }

    #[test]
    fn histograms_round_trip_beside_floats(
        known in prop::collection::vec(any::<bool>(), 0..30), fresh in prop::collection::vec(any::<bool>(), 0..30),
        histograms in test_histograms::series(60..61),
    ) {
        let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
        let mut sent = Vec::new();
        for (at, is_histogram) in known.iter().chain(&fresh).enumerate() {
            let (ts, histogram) = (histograms[at].0, packed(&histograms[at].1));
            let series = SeriesRef(at as u32 * 3);
            match (at < known.len(), is_histogram) {
                (true, true) => builder.push_known_histogram(series, ts, &histogram),
                (true, false) => builder.push_known(series, ts, 1.0),
                (false, true) => builder.push_fresh_histogram(&labels(at), ts, &histogram),
                (false, false) => builder.push_fresh(&labels(at), ts, 1.0),
            }
            sent.extend(is_histogram.then_some((at as u32, histogram)));
        }
        let bytes = builder.finish();
        prop_assert_eq!(bytes[0], if sent.is_empty() { KIND_APPEND } else { KIND_APPEND_MIXED });
        let record = decode_append(&bytes);
        prop_assert_eq!(record.histograms, sent);
        prop_assert_eq!((record.known_ts.len(), record.fresh.len()), (known.len(), fresh.len()));
    }

    #[test]
    fn start_timestamps_round_trip_wherever_they_are(
        known in prop::collection::vec(prop::option::of(any::<i64>()), 0..30),
        fresh in prop::collection::vec(prop::option::of(any::<i64>()), 0..30),
        stored in any::<bool>(), zero_samples in any::<bool>(), histogram in any::<bool>(),
    ) {
        let rule = StartRule { stored, zero_samples };
        let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
        builder.use_starts(rule);
        for start in &known {
            builder.push_known(SeriesRef(7), 5, 1.0);
            start.iter().for_each(|start| builder.start_known(*start));
        }
        for (at, start) in fresh.iter().enumerate() {
            builder.push_fresh(&labels(at), 5, 1.0);
            start.iter().for_each(|start| builder.start_fresh(*start));
        }
        if histogram {
            builder.push_fresh_histogram(&labels(0), 6, &packed(&counter(1)));
        }
        let has_starts = rule != StartRule::default() && (known.iter().chain(&fresh).any(Option::is_some));
        let bytes = builder.finish();
        let without = if histogram { KIND_APPEND_MIXED } else { KIND_APPEND };
        prop_assert_eq!(bytes[0], if has_starts { KIND_APPEND_STARTED } else { without });
        let record = decode_append(&bytes);
        prop_assert_eq!(record.histograms.len(), usize::from(histogram));
        let all = known.into_iter().chain(fresh).map(Option::unwrap_or_default).chain(histogram.then_some(0));
        let expected = if has_starts { SampleStarts { rule, all: all.collect() } } else { SampleStarts::default() };
        prop_assert_eq!(record.starts, expected);
    }

    #[test]
    fn answers_round_trip(
        fresh in prop::collection::vec(prop::option::of(any::<u32>().prop_map(SeriesRef)), 0..20),
        stale in prop::collection::btree_set(any::<u32>(), 0..20),
        refused in prop::collection::vec((any::<u32>(), any::<bool>(), 0..5_usize), 0..20),
        duplicates in any::<u32>(),
    ) {
        let refused = refused
            .into_iter()
            .map(|(at, known, code)| Refused {
                place: if known { Place::Known(at) } else { Place::Fresh(at) },
                refusal: [
                    Refusal::OutOfOrder,
                    Refusal::TooOld,
                    Refusal::OutOfBounds,
                    Refusal::DuplicateTimestamp,
                    Refusal::SeriesLimit,
                ][code],
            })
            .collect();
        let answer = AppendAnswer { fresh, stale: stale.into_iter().collect(), refused, duplicates };
        prop_assert_eq!(AppendAnswer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..8_u8) {
        let mut command = begin(kind, &TenantId::anonymous());
        command.extend_from_slice(&bytes);
        let _ = Command::decode(&bytes);
        let _ = Command::decode(&command);
        let _ = AppendAnswer::decode(&bytes);
        let _ = decode_delete_answer(&bytes);
    }

    #[test]
    fn a_flipped_bit_never_panics_the_decoder(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
        for i in 0..50 {
            builder.push_known(SeriesRef(i), 1_000, f64::from(i));
            builder.push_fresh(&labels(i as usize), 1_000, f64::from(i));
            builder.push_known_histogram(SeriesRef(100 + i), 1_000, &packed(&counter(i)));
            builder.start_known(i64::from(i));
        }
        builder.use_starts(StartRule { stored: true, zero_samples: true });
        let mut bytes = builder.finish().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Command::decode(&bytes);
    }
}

#[test]
fn every_cut_of_a_record_is_refused() {
    let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
    builder.push_known(SeriesRef(3), 1_000, 1.5);
    builder.push_fresh(&labels(1), 1_000, 2.5);
    builder.push_fresh_histogram(&labels(2), 1_000, &packed(&counter(3)));
    builder.start_fresh(500);
    builder.use_starts(StartRule { stored: true, zero_samples: false });
    let bytes = builder.finish();
    for cut in 0..bytes.len() {
        assert!(Command::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn the_labels_of_many_samples_of_a_series_are_written_once() {
    let long = |name: &str| LabelSet::from_pairs([("__name__", name.to_owned()), ("path", "x".repeat(60_000))]);
    let exemplar = Exemplar { labels: LabelSet::empty(), value: 1.0, ts: 5 };
    let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
    for name in ["a", "b", "a"] {
        for ts in 0..1_000 {
            builder.push_fresh(&long(name), ts, 1.0);
            builder.push_exemplar(&long(name), &exemplar);
        }
    }
    assert!(!builder.is_full(), "six copies of the labels, not six thousand");
    let record = decode_append(&builder.finish());
    let sent: Vec<_> = ["a", "b", "a"].iter().flat_map(|name| (0..1_000).map(|ts| (long(name), ts))).collect();
    assert_eq!(record.fresh.iter().map(|fresh| (fresh.labels.clone(), fresh.ts)).collect::<Vec<_>>(), sent);
    assert!(record.exemplars.iter().zip(&sent).all(|(found, (series, _))| found.series == *series));
}

#[test]
fn the_first_series_of_a_record_cannot_be_that_of_the_one_before() {
    let mut body = crate::wire::zigzag(7).to_le_bytes()[..1].to_vec();
    body.extend_from_slice(&[0; 8]);
    body.push(0);
    let mut bytes = begin(KIND_APPEND, &TenantId::anonymous());
    bytes.extend_from_slice(&[0, 0, 9, 0, 1, 0, body.len() as u8]);
    bytes.extend_from_slice(&lz4_flex::block::compress(&body));
    assert_eq!(Command::decode(&bytes).unwrap_err().to_string(), "malformed labels of a fresh series");
}

#[test]
fn a_small_record_cannot_claim_a_large_body() {
    let mut bytes = begin(KIND_APPEND, &TenantId::anonymous());
    bytes.extend_from_slice(&[0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
    let mut huge = bytes.clone();
    crate::wire::put_varint(&mut huge, RECORD_BODY_BYTES_MAX + 1);
    assert!(matches!(Command::decode(&huge), Err(RecordError::BodyTooLarge { .. })));
    crate::wire::put_varint(&mut bytes, RECORD_BODY_BYTES_MAX);
    assert!(matches!(Command::decode(&bytes), Err(RecordError::Malformed(_))));
}

#[test]
fn a_steady_scrape_takes_few_bytes_a_sample() {
    let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
    for i in 0..800_u32 {
        let value = if i % 10 < 3 { 0.0 } else { f64::from(i.wrapping_mul(2_654_435_761) >> 12) };
        builder.push_known(SeriesRef(1_000 + i), 1_700_000_000_000, value);
    }
    let bytes = builder.finish().len();
    assert!(bytes < 800 * 5, "{bytes} bytes for 800 samples");
}

/// All counters of a process began with it.
#[test]
fn one_start_for_all_samples_takes_a_few_bytes() {
    let of = |start: Option<i64>| {
        let mut builder = AppendRecordBuilder::new(TenantId::anonymous(), LIMITS);
        builder.use_starts(StartRule { stored: true, zero_samples: false });
        for i in 0..800 {
            builder.push_known(SeriesRef(i), 1_700_000_000_000, 1.0);
            start.iter().for_each(|start| builder.start_known(*start));
        }
        builder.finish().len()
    };
    assert!(of(Some(1_699_999_000_000)) <= of(None) + 16, "{} and {} bytes", of(Some(1_699_999_000_000)), of(None));
}

#[test]
fn a_fully_stored_record_answers_nothing() {
    assert!(AppendAnswer::default().encode().is_empty());
    assert_eq!(AppendAnswer::decode(&[]), Ok(AppendAnswer::default()));
    assert_eq!(AppendAnswer::decode(&encode_malformed_answer()), Err(RecordError::RefusedAsMalformed));
}

#[test]
fn control_commands_round_trip() {
    let tenant = TenantId::anonymous();
    let matchers = vec![Matcher::equal("job", "a"), Matcher::new(MatchOp::NotRegex, "pod", "x.*").unwrap()];
    let range = TimeRange::new(-5, i64::MAX);
    match Command::decode(&delete_series(&tenant, &matchers, range).unwrap()).unwrap() {
        Command::DeleteSeries(delete) => assert_eq!(delete, DeleteCommand { tenant: tenant.clone(), matchers, range }),
        other => panic!("{other:?}"),
    }
    assert!(matches!(Command::decode(&seal_floor(&tenant, -7)), Ok(Command::SealFloor { until_ms: -7, .. })));
    assert!(matches!(Command::decode(&drop_covered(&tenant, 9)), Ok(Command::DropCovered { until_ms: 9, .. })));
    assert_eq!(decode_delete_answer(&encode_delete_answer(300)), Ok(300));
}
