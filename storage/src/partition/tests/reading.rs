//! What can be asked of a partition beside its samples.

use pharos_model::sample::STALE_NAN_BITS;
use pharos_model::{CounterResetHint, Exemplar, MatchOp};
use tempfile::TempDir;

use super::*;
use crate::record::{decode_delete_answer, delete_series, drop_covered, seal_floor};

#[test]
fn every_bit_of_a_value_is_kept() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let odd =
        [STALE_NAN_BITS, 0x7ff8_0000_0000_0001, 0xfff8_dead_beef_0000, (-0.0_f64).to_bits(), 0, 1, f64::MAX.to_bits()];
    let samples: Vec<_> = odd.iter().enumerate().map(|(i, &bits)| (0, i as i64, f64::from_bits(bits))).collect();
    append(&partition, 0, &samples);
    let expected: Vec<_> = odd.iter().enumerate().map(|(i, &bits)| (i as i64, bits)).collect();
    assert_eq!(dump(&partition), [(labels(0), expected)]);
}

#[test]
fn a_selection_does_not_see_what_comes_after_it() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 1_000);
    let before = dump(&partition);
    let selection = partition.select(&request(Vec::new(), TimeRange::ALL));
    append_run(&partition, 0, 1_000 * 15_000, 500);
    partition.apply(&drop_covered(&tenant(), 1_400 * 15_000));
    partition.checkpoint(b"1").unwrap();
    partition.checkpoint(b"2").unwrap();
    partition.checkpoint(b"3").unwrap();
    let mut samples = SampleColumns::default();
    selection.read(0, TimeRange::ALL, &mut samples).unwrap();
    let read: Vec<_> = samples.ts.iter().copied().zip(samples.values.iter().map(|v| v.to_bits())).collect();
    assert_eq!(read, before[0].1);
    assert_eq!(dump(&partition)[0].1.len(), 100);
}

#[test]
fn a_range_is_cut_on_both_sides() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 1_000);
    let selection = partition.select(&request(Vec::new(), TimeRange::new(3_000_000, 9_000_000)));
    let mut samples = SampleColumns::default();
    selection.read(0, TimeRange::new(3_015_000, 3_045_000), &mut samples).unwrap();
    assert_eq!(samples.ts, [3_015_000, 3_030_000, 3_045_000]);
    selection.read(0, TimeRange::ALL, &mut samples).unwrap();
    assert_eq!((samples.ts.first(), samples.ts.last()), (Some(&3_000_000), Some(&9_000_000)));
    selection.read(0, TimeRange::new(5, 4), &mut samples).unwrap();
    assert!(samples.is_empty());
}

#[test]
fn labels_series_and_stats_speak_of_matching_series() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    for i in 0..6 {
        append_run(&partition, i, i as i64 * 1_000_000, 10);
    }
    let all = request(Vec::new(), TimeRange::ALL);
    assert_eq!(Vec::from_iter(partition.label_names(&all).iter()), ["__name__", "i", "job"]);
    let some = request(vec![Matcher::new(MatchOp::Regex, "__name__", "m[01]").unwrap()], TimeRange::ALL);
    assert_eq!(Vec::from_iter(partition.label_values("i", &some).iter()), ["0", "1", "3", "4"]);
    assert_eq!(partition.series(&some, 3, &Caller::default()).unwrap().len(), 3);
    let nobody = partition.series(&some, 3, &Caller::gone()).unwrap_err();
    assert_eq!(nobody.to_string(), "reading stopped: nobody waits for it");
    let first_second = request(Vec::new(), TimeRange::new(0, 1_000));
    assert_eq!(partition.series(&first_second, 10, &Caller::default()).unwrap(), [labels(0)]);
    assert!(partition.label_names(&request(Vec::new(), TimeRange::new(100_000_000, 200_000_000))).is_empty());
    let stats = partition.stats(&tenant(), 2).unwrap();
    assert_eq!((stats.index.series, stats.extent.series, stats.extent.chunks), (6, 6, 6));
    assert_eq!(stats.index.series_by_metric, [("m0".into(), 2), ("m1".into(), 2)]);
    let other = SelectRequest { tenant: TenantId::new("other").unwrap(), ..all };
    assert!(partition.select(&other).is_empty() && partition.label_names(&other).is_empty());
}

#[test]
fn a_reference_of_one_tenant_is_stale_for_another() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let reference = append(&partition, 0, &[(0, 1, 1.0)]).fresh[0].unwrap();
    let mut builder = AppendRecordBuilder::new(TenantId::new("other").unwrap(), limits(0));
    builder.push_known(reference, 2, 2.0);
    let answer = AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap();
    assert_eq!(answer.stale, [0]);
    assert_eq!(dump(&partition)[0].1.len(), 1);
    assert_eq!(partition.tenants().len(), 2);
}

#[test]
fn the_series_limit_refuses_new_series_only() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let mut builder = AppendRecordBuilder::new(tenant(), AppendLimits { series_max: 2, ..limits(0) });
    for i in [0, 1, 2, 0] {
        builder.push_fresh(&labels(i), 10 + i as i64, 1.0);
    }
    builder.push_fresh(&labels(1), 20, 1.0);
    let answer = AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap();
    let refusals: Vec<_> = answer.refused.iter().map(|refused| refused.refusal).collect();
    assert_eq!(refusals, [Refusal::SeriesLimit]);
    assert_eq!((answer.duplicates, answer.fresh[2]), (1, None));
    assert_eq!(dump(&partition).len(), 2);
}

#[test]
fn exemplars_are_found_by_their_series_and_go_with_it() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append(&partition, 0, &[(0, 10, 1.0), (1, 10, 1.0)]);
    let exemplar = Exemplar { labels: LabelSet::from_pairs([("trace_id", "a")]), value: 2.0, ts: 10 };
    let mut builder = AppendRecordBuilder::new(tenant(), limits(0));
    for i in [0, 1, 77] {
        builder.push_exemplar(&labels(i), &exemplar);
    }
    assert!(partition.apply(&builder.finish()).is_empty());
    let matchers = [vec![Matcher::equal("i", "1")], vec![Matcher::equal("i", "77")]];
    let ask = |partition: &Partition, range| partition.exemplars(&tenant(), &matchers, range);
    let expected = [SeriesExemplars { labels: labels(1), exemplars: vec![exemplar] }];
    assert_eq!(ask(&partition, TimeRange::ALL), expected);
    assert_eq!(ask(&partition, TimeRange::new(0, 9)), []);
    partition.checkpoint(b"").unwrap();
    let partition = open(dir.path()).partition;
    assert_eq!(ask(&partition, TimeRange::ALL), expected);
    partition.apply(&drop_covered(&tenant(), 11));
    assert_eq!(ask(&partition, TimeRange::ALL), []);
}

#[test]
fn only_samples_make_a_head() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let delete = delete_series(&tenant(), &[Matcher::equal("i", "2")], TimeRange::ALL).unwrap();
    assert_eq!(decode_delete_answer(&partition.apply(&delete)), Ok(0));
    partition.apply(&seal_floor(&tenant(), 5));
    partition.apply(&drop_covered(&tenant(), 5));
    assert_eq!(partition.tenants(), []);
    append(&partition, 0, &[(1, 1, 1.0)]);
    assert_eq!(partition.tenants(), [tenant()]);
}

#[test]
fn a_slice_is_ordered_by_labels_and_leaves_out_its_end() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append(&partition, HOUR_MS, &[(5, 100, 1.0), (1, 99, 1.0), (3, 50, 1.0), (3, 100, 2.0), (2, 20, 0.0)]);
    partition.apply(&delete_series(&tenant(), &[Matcher::equal("i", "2")], TimeRange::ALL).unwrap());
    let span = BlockSpan::new(50, 100);
    let slice = partition.slice(&tenant(), span);
    let mut samples = SampleColumns::default();
    let mut read = Vec::new();
    for i in 0..slice.len() {
        slice.read(i, TimeRange::ALL, &mut samples).unwrap();
        read.push((slice.labels(i), samples.ts.clone()));
    }
    assert_eq!(read, [(labels(3), vec![50]), (labels(1), vec![99]), (labels(5), vec![])]);
}

#[test]
fn removed_series_leave_no_memory_behind() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    for round in 0..20_i64 {
        let ts = round * HOUR_MS;
        let samples: Vec<_> = (0..100).map(|i| (round as usize * 1_000 + i, ts, 1.0)).collect();
        append(&partition, 0, &samples);
        partition.apply(&drop_covered(&tenant(), ts));
        let stats = partition.stats(&tenant(), 1).unwrap();
        assert_eq!((stats.extent.series, stats.extent.chunks), (100, 100));
        let exported = partition.export_checkpoint().len();
        assert!(exported < 10_000, "{exported} bytes in round {round}");
    }
}

#[test]
fn the_oldest_time_jumps_over_a_gap_that_is_dropped() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append(&partition, 0, &[(0, 5, 1.0), (1, 900 * HOUR_MS + 1, 1.0)]);
    let min_ts = |partition: &Partition| partition.extent(&tenant()).unwrap().min_ts;
    assert_eq!(min_ts(&partition), Some(5));
    partition.apply(&drop_covered(&tenant(), 2 * HOUR_MS));
    assert_eq!(min_ts(&partition), Some(900 * HOUR_MS));
    partition.checkpoint(b"").unwrap();
    let partition = open(dir.path()).partition;
    partition.apply(&drop_covered(&tenant(), 900 * HOUR_MS + 1));
    assert_eq!(min_ts(&partition), Some(900 * HOUR_MS + 1));
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append(&partition, 0, &[(0, 1, 1.0)]);
    let before = partition.export_checkpoint();
    assert!(AppendAnswer::decode(&partition.apply(b"\x01garbage")).is_err());
    assert!(AppendAnswer::decode(&partition.apply(b"")).is_err());
    assert_eq!(partition.export_checkpoint(), before);
}

#[test]
fn metrics_tell_what_happened() {
    let registry = Registry::new();
    let dir = TempDir::new().unwrap();
    let metrics = Metrics::register(&registry).unwrap();
    let partition = Partition::open(dir.path(), Arc::new(OsFileSystem), small(), &metrics).unwrap().partition;
    append(&partition, HOUR_MS, &[(0, 5_000, 1.0), (0, 5_000, 1.0), (0, 5_000, 2.0), (0, 4_000, 1.0), (1, 6_000, 1.0)]);
    append(&partition, 10, &[(0, 1_000, 1.0)]);
    append(&partition, 0, &[(0, 1_000, 1.0), (0, i64::MAX, 1.0)]);
    let value = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no {name}"));
        let metric = &family.get_metric()[0];
        if family.get_field_type() == prometheus::proto::MetricType::COUNTER {
            metric.get_counter().get_value()
        } else {
            metric.get_gauge().get_value()
        }
    };
    for (name, expected) in [
        ("prometheus_tsdb_head_samples_appended_total", 3.0),
        ("prometheus_tsdb_head_out_of_order_samples_appended_total", 1.0),
        ("pharos_storage_duplicate_samples_total", 1.0),
        ("pharos_storage_conflicting_samples_total", 1.0),
        ("prometheus_tsdb_too_old_samples_total", 1.0),
        ("prometheus_tsdb_out_of_order_samples_total", 1.0),
        ("prometheus_tsdb_out_of_bound_samples_total", 1.0),
        ("prometheus_tsdb_head_series_created_total", 2.0),
        ("prometheus_tsdb_head_series", 2.0),
        ("prometheus_tsdb_head_chunks", 2.0),
        ("prometheus_tsdb_head_min_time", 4_000.0),
        ("prometheus_tsdb_head_max_time_seconds", 6.0),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    drop(partition);
    assert_eq!(value("prometheus_tsdb_head_series"), 0.0);
}

/// Hints of the histograms of series 1, as a reader gets them.
fn hints(partition: &Partition) -> Vec<(i64, CounterResetHint)> {
    let selection = partition.select(&request(Vec::new(), TimeRange::ALL));
    let mut samples = SampleColumns::default();
    selection.read(0, TimeRange::ALL, &mut samples).unwrap();
    samples.histogram_ts.iter().copied().zip(samples.histograms.iter().map(|h| h.counter_reset_hint)).collect()
}

#[test]
fn hints_hold_for_the_sample_that_is_read_before() {
    use CounterResetHint::{NotCounterReset, Unknown};
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let append = |ts, in_bucket| {
        let mut builder = AppendRecordBuilder::new(tenant(), limits(HOUR_MS));
        builder.push_fresh_histogram(&labels(1), ts, &packed(&counter(in_bucket)));
        assert_eq!(AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap().refused, []);
    };
    for (ts, in_bucket) in [(10, 1), (20, 2), (30, 1), (40, 1), (50, 9)] {
        append(ts, in_bucket);
    }
    let expected = [(10, Unknown), (20, NotCounterReset), (30, Unknown), (40, NotCounterReset), (50, NotCounterReset)];
    assert_eq!(hints(&partition), expected);
    // The reset at 30 is gone, so what was known at 40 says nothing about 20.
    partition.apply(&delete_series(&tenant(), &[Matcher::equal("i", "1")], TimeRange::new(30, 30)).unwrap());
    assert_eq!(hints(&partition), [(10, Unknown), (20, NotCounterReset), (40, Unknown), (50, NotCounterReset)]);
    // A late one may be a reset before any other.
    append(45, 3);
    assert!(hints(&partition).iter().all(|(_, hint)| *hint == Unknown));
}

#[test]
fn a_histogram_where_a_float_is_is_a_duplicate_timestamp() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    let refusals = |samples: &[(i64, Option<u32>)]| {
        let mut builder = AppendRecordBuilder::new(tenant(), limits(HOUR_MS));
        for &(ts, in_bucket) in samples {
            match in_bucket {
                Some(in_bucket) => builder.push_fresh_histogram(&labels(1), ts, &packed(&counter(in_bucket))),
                None => builder.push_fresh(&labels(1), ts, 0.0),
            }
        }
        let answer = AppendAnswer::decode(&partition.apply(&builder.finish())).unwrap();
        (answer.duplicates, answer.refused.iter().map(|refused| refused.refusal).collect::<Vec<_>>())
    };
    assert_eq!(refusals(&[(10, None), (20, Some(1)), (30, None), (40, Some(2))]), (0, vec![]));
    let twice = [Refusal::DuplicateTimestamp; 4];
    assert_eq!(refusals(&[(10, Some(0)), (20, None), (20, Some(3)), (40, None)]), (0, twice.to_vec()));
    assert_eq!(refusals(&[(10, None), (20, Some(1)), (30, None), (40, Some(2))]), (4, vec![]));
}
