mod starts;
mod totals;

use std::sync::Arc;

use pharos_model::CounterResetHint::{NotCounterReset, Unknown};
use pharos_model::{FloatHistogram, LabelSet, MatchOp, Matcher, TenantId, Texts, TimeRange};

use super::batch::DecodedSeries;
use super::{PartitionReader, SampleColumns, SampleSlices, SelectRequest, SeriesBatch};
use crate::deletion::Deletion;
use crate::manifest::Edit;
use crate::test_histograms::{counter, packed};
use crate::test_node::{SLICE_MS, TestNode, labels, owner, request, tenant};

/// Three slices, the first two sealed. `old` lives in the first, `new` in the last, `both` throughout.
async fn sealed_node() -> TestNode {
    let node = TestNode::new();
    for ts in (0..3 * SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "both"), ("job", "x")]), ts, ts as f64);
        match ts / SLICE_MS {
            0 => node.append(&labels(&[("__name__", "old"), ("job", "x"), ("zone", "a")]), ts, 1.5),
            2 => node.append(&labels(&[("__name__", "new"), ("job", "y"), ("zone", "b")]), ts, 2.5),
            _ => {}
        }
    }
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(node.manifest().await.files.len(), 2);
    node
}

#[tokio::test]
async fn ranges_cross_the_border_of_head_and_files() {
    let node = sealed_node().await;
    let matchers = || vec![Matcher::equal("__name__", "both")];
    for (start, end) in
        [(0, 5), (95_000, 205_000), (-10, 1), (199_999, 200_000), (150_000, 150_000), (290_000, i64::MAX)]
    {
        let dump = node.dump_matching(matchers(), TimeRange::new(start, end)).await.unwrap();
        let expected: Vec<i64> = (0..3 * SLICE_MS).step_by(10_000).filter(|ts| start <= *ts && *ts <= end).collect();
        let found: Vec<i64> = dump.values().flatten().map(|(ts, _)| *ts).collect();
        assert_eq!(found, expected, "{start}..={end}");
    }
}

#[tokio::test]
async fn an_estimate_is_near_what_is_read() {
    let node = sealed_node().await;
    for (matchers, range) in [
        (vec![Matcher::equal("__name__", "both")], TimeRange::ALL),
        (vec![Matcher::equal("__name__", "old")], TimeRange::ALL),
        (Vec::new(), TimeRange::new(0, SLICE_MS / 2)),
        (Vec::new(), TimeRange::new(10 * SLICE_MS, 11 * SLICE_MS)),
    ] {
        let estimate = node.reader().select(&request(matchers.clone(), range)).await.unwrap().estimate();
        let read = node.dump_matching(matchers, range).await.unwrap();
        let samples: usize = read.values().map(Vec::len).sum();
        // A series of the head that begins after the range counts as well.
        assert!((read.len() as u64..=read.len() as u64 + 1).contains(&estimate.series), "{range:?}: {estimate:?}");
        // What lies evenly is rounded up, by file.
        let most = samples + 3 * read.len();
        assert!((samples..=most).contains(&(estimate.samples as usize)), "{range:?}: {samples} and {estimate:?}");
        assert_eq!(estimate.bytes > 0, samples > 0, "{estimate:?}");
    }
}

/// Where samples up to the end of the second slice have changed in the course of something.
async fn amended(node: &TestNode, change: impl Future<Output = ()>) -> Vec<TimeRange> {
    let (before, _) = node.reader().rely(&tenant(), 2 * SLICE_MS - 1, None).await.unwrap();
    change.await;
    node.reader().rely(&tenant(), TimeRange::ALL.start_ms, Some(before)).await.unwrap().1
}

#[tokio::test]
async fn changes_of_the_past_are_noted_and_new_samples_and_seals_are_not() {
    let mut node = sealed_node().await;
    let both = labels(&[("__name__", "both"), ("job", "x")]);
    let job_x = || vec![Matcher::equal("job", "x")];
    let grown = amended(&node, async {
        for ts in (3 * SLICE_MS..5 * SLICE_MS).step_by(10_000) {
            node.append(&both, ts, 1.0);
        }
        node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    });
    assert_eq!(grown.await, []);
    assert_eq!(node.manifest().await.files.len(), 4);

    let range = TimeRange::new(20_000, 30_000);
    let deleted = amended(&node, async {
        let deletion = Deletion { tenant: &tenant(), matchers: &job_x(), range };
        deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap();
    });
    // By the head, and by the files.
    assert_eq!(deleted.await, [range, range]);
    let of_other_tenant = amended(&node, async {
        let other = TenantId::new("other").unwrap();
        let deletion = Deletion { tenant: &other, matchers: &job_x(), range };
        deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap();
    });
    assert_eq!(of_other_tenant.await, []);

    node.retention.time_ms = Some(3 * SLICE_MS);
    let expired = amended(&node, async {
        node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    });
    assert_eq!(expired.await, [TimeRange::new(0, SLICE_MS - 10_000)]);
    assert_eq!(node.manifest().await.files.len(), 3);
}

#[tokio::test]
async fn a_late_sample_is_noted_with_its_time() {
    let node = TestNode::new();
    let series = labels(&[("__name__", "late")]);
    node.append(&series, 195_000, 1.0);
    let late = amended(&node, async {
        node.append(&series, 205_000, 1.0);
        node.append(&series, 197_000, 1.0);
    });
    assert_eq!(late.await, [TimeRange::new(197_000, 197_000)]);
}

#[tokio::test]
async fn names_values_and_series_come_from_head_and_files_within_the_range() {
    let node = sealed_node().await;
    let readers = || vec![node.reader()];
    let names = async |request: &SelectRequest| {
        Texts::merge(&PartitionReader::label_names(readers(), request).await.unwrap(), 99)
    };
    let values = async |label: &str, request: &SelectRequest| {
        Texts::merge(&PartitionReader::label_values(readers(), label, request).await.unwrap(), 99)
    };
    let series =
        async |request: &SelectRequest, limit| PartitionReader::series(readers(), request, limit).await.unwrap();
    let texts = |list: &[&str]| list.iter().copied().collect::<Texts>();
    let all = request(Vec::new(), TimeRange::ALL);
    assert_eq!(names(&all).await, texts(&["__name__", "job", "zone"]));
    assert_eq!(values("zone", &all).await, texts(&["a", "b"]));
    assert_eq!(values("__name__", &all).await, texts(&["both", "new", "old"]));
    let first = request(Vec::new(), TimeRange::new(0, SLICE_MS - 1));
    assert_eq!(values("__name__", &first).await, texts(&["both", "old"]));
    let middle = request(Vec::new(), TimeRange::new(SLICE_MS, 2 * SLICE_MS - 1));
    assert_eq!(names(&middle).await, texts(&["__name__", "job"]));
    let of_job = request(vec![Matcher::equal("job", "x")], TimeRange::ALL);
    assert_eq!(values("__name__", &of_job).await, texts(&["both", "old"]));
    let found = series(&all, usize::MAX).await;
    assert_eq!(found.iter().map(|set| set.metric_name().unwrap()).collect::<Vec<_>>(), ["both", "new", "old"]);
    assert_eq!(series(&all, 2).await.len(), 2);
}

#[tokio::test]
async fn a_tombstone_hides_what_was_there_and_nothing_that_comes_later() {
    let node = sealed_node().await;
    let delete =
        Edit::Delete { matchers: vec![Matcher::equal("job", "x")], range: TimeRange::new(50_000, 10 * SLICE_MS) };
    node.catalog.change().await.commit(&tenant(), &delete, owner(1), 0).await.unwrap();
    let dump = node.dump().await;
    let both = &dump[&labels(&[("__name__", "both"), ("job", "x")])];
    let expected: Vec<i64> = (0..50_000).step_by(10_000).chain((2 * SLICE_MS..3 * SLICE_MS).step_by(10_000)).collect();
    assert_eq!(
        both.iter().map(|(ts, _)| *ts).collect::<Vec<_>>(),
        expected,
        "the head's own samples are the head's to delete"
    );
    let late = request(Vec::new(), TimeRange::new(60_000, SLICE_MS - 1));
    let readers = vec![node.reader()];
    let values = PartitionReader::label_values(readers, "__name__", &late).await.unwrap();
    assert!(values.iter().all(Texts::is_empty), "{values:?}");

    // Sealed after the deletion: not concerned by it.
    for ts in (3 * SLICE_MS..4 * SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "both"), ("job", "x")]), ts, 1.0);
    }
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(node.manifest().await.files.len(), 3);
    let after = node.dump_matching(Vec::new(), TimeRange::new(2 * SLICE_MS, 3 * SLICE_MS - 1)).await.unwrap();
    assert_eq!(after[&labels(&[("__name__", "both"), ("job", "x")])].len(), 10);
}

#[tokio::test]
async fn a_damaged_page_is_an_error_that_names_the_file() {
    let node = sealed_node().await;
    let file = node.manifest().await.files[0].clone();
    let mut bytes = node.bucket.get(&file.key).await.unwrap().to_vec();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    node.bucket.put(&file.key, bytes.into()).await.unwrap();
    let error = node.dump_matching(Vec::new(), TimeRange::ALL).await.unwrap_err().to_string();
    assert!(error.contains(&file.key), "{error}");
}

#[tokio::test]
async fn a_missing_index_is_rebuilt_from_the_file() {
    let mut node = sealed_node().await;
    let before = node.dump().await;
    let file = node.manifest().await.files[0].clone();
    node.bucket.delete(&file.index_key()).await.unwrap();
    node.restart();
    assert_eq!(node.dump().await, before);
    assert_eq!(node.metrics.index_rebuilds.get(), 1);
}

#[tokio::test]
async fn many_series_come_in_several_batches_each_once() {
    let node = TestNode::new();
    for series in 0..6_000 {
        let labels = labels(&[("__name__", "m"), ("i", &series.to_string())]);
        node.append(&labels, 5_000 + i64::from(series % 7), f64::from(series));
    }
    node.append(&labels(&[("__name__", "clock")]), 3 * SLICE_MS, 1.0);
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let matchers = vec![Matcher::new(MatchOp::Regex, "__name__", "m|x").unwrap()];
    let mut selection = node.reader().select(&request(matchers, TimeRange::ALL)).await.unwrap();
    assert_eq!(selection.series_count(), 6_000);
    let mut sizes = Vec::new();
    while let Some(batch) = selection.next_batch().await.unwrap() {
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [super::BATCH_SERIES_MAX, 6_000 - super::BATCH_SERIES_MAX]);
}

#[tokio::test]
async fn a_selection_outlives_the_seal_that_begins_after_it() {
    let node = TestNode::new();
    for ts in (0..3 * SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "m")]), ts, 1.0);
    }
    let mut selection = node.reader().select(&request(Vec::new(), TimeRange::ALL)).await.unwrap();
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let batch = selection.next_batch().await.unwrap().unwrap();
    assert_eq!(batch.samples(0, &mut SampleColumns::default()).unwrap().ts.len(), 30);
}

#[test]
fn merging_keeps_order_and_the_first_of_equal_times() {
    let mut batch = DecodedSeries::default();
    let floats = |ts, values| SampleSlices { ts, values, ..NOTHING };
    batch.merge(floats(&[10, 20, 30], &[1.0, 2.0, 3.0]));
    batch.merge(floats(&[40], &[4.0]));
    batch.merge(floats(&[5, 20, 35, 50], &[0.5, -2.0, 3.5, 5.0]));
    batch.end_series(&LabelSet::empty());
    batch.end_series(&labels(&[("gone", "x")]));
    batch.merge(floats(&[1], &[9.0]));
    batch.end_series(&labels(&[("a", "b")]));
    let batch = SeriesBatch::Decoded(batch);
    assert_eq!(batch.len(), 2, "a series without samples is left out");
    let mut scratch = SampleColumns::default();
    let expected = floats(&[5, 10, 20, 30, 35, 40, 50], &[0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0]);
    assert_eq!(batch.samples(0, &mut scratch).unwrap(), expected);
    assert_eq!(batch.samples(1, &mut scratch).unwrap(), floats(&[1], &[9.0]));
}

const NOTHING: SampleSlices<'_> =
    SampleSlices { ts: &[], values: &[], start_ts: &[], histogram_ts: &[], histograms: &[], histogram_start_ts: &[] };

#[test]
fn merged_histograms_forget_what_was_known_of_the_one_before() {
    let known = |in_bucket| {
        let histogram = FloatHistogram { counter_reset_hint: NotCounterReset, ..counter(in_bucket) };
        Arc::new(histogram)
    };
    let mut batch = DecodedSeries::default();
    let (two, one) = ([known(1), known(2)], [known(3)]);
    batch.merge(SampleSlices { histogram_ts: &[10, 20], histograms: &two, ..NOTHING });
    batch.merge(SampleSlices { histogram_ts: &[30], histograms: &one, ..NOTHING });
    batch.end_series(&labels(&[("a", "behind")]));
    batch.merge(SampleSlices { histogram_ts: &[10, 20], histograms: &two, ..NOTHING });
    batch.merge(SampleSlices { histogram_ts: &[15], histograms: &one, ..NOTHING });
    batch.end_series(&labels(&[("a", "between")]));
    let read = |i| {
        let samples = batch.samples(i);
        let histograms = samples.histograms.iter().map(|h| (h.count as u32 / 4, h.counter_reset_hint));
        (samples.histogram_ts.to_vec(), histograms.collect::<Vec<_>>())
    };
    assert_eq!(read(0), (vec![10, 20, 30], vec![(1, NotCounterReset), (2, NotCounterReset), (3, NotCounterReset)]));
    assert_eq!(read(1), (vec![10, 15, 20], vec![(1, Unknown), (3, Unknown), (2, Unknown)]));
}

#[tokio::test]
async fn histograms_are_the_same_from_the_head_and_from_files() {
    let node = TestNode::new();
    let mixed = labels(&[("__name__", "mixed")]);
    for (i, ts) in (0..3 * SLICE_MS).step_by(10_000).enumerate() {
        if i % 7 == 6 {
            node.append(&mixed, ts, i as f64);
        } else {
            node.append_histogram(&mixed, ts, &counter(i as u32 % 5));
        }
    }
    let read = async || {
        let mut selection = node.reader().select(&request(Vec::new(), TimeRange::ALL)).await.unwrap();
        let batch = selection.next_batch().await.unwrap().unwrap();
        let mut scratch = SampleColumns::default();
        let samples = batch.samples(0, &mut scratch).unwrap();
        let histograms: Vec<_> = samples.histograms.iter().map(|histogram| packed(histogram)).collect();
        (samples.ts.to_vec(), samples.values.to_vec(), samples.histogram_ts.to_vec(), histograms)
    };
    let from_head = read().await;
    assert_eq!((from_head.0.len(), from_head.2.len()), (4, 26));
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    assert_eq!(node.manifest().await.files.len(), 2);
    let from_both = read().await;
    assert_eq!((&from_both.0, &from_both.1, &from_both.2), (&from_head.0, &from_head.1, &from_head.2));
    for ((ts, before), after) in from_head.2.iter().zip(&from_head.3).zip(&from_both.3) {
        assert!(after.has_data_of(before));
        // A slice knows nothing of the sample before its first one.
        let expected = if ts % SLICE_MS == 0 { before.hint_alone() } else { before.hint };
        assert_eq!(after.hint, expected, "at {ts}");
    }
}

#[tokio::test]
async fn series_of_the_head_alone_are_not_decoded_before_they_are_asked_for() {
    let node = TestNode::new();
    for ts in (0..SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "m"), ("i", "0")]), ts, 1.0);
    }
    node.append(&labels(&[("__name__", "m"), ("i", "1")]), 5_000, 2.0);
    let range = TimeRange::new(10_000, 30_000);
    let mut selection = node.reader().select(&request(Vec::new(), range)).await.unwrap();
    let batch = selection.next_batch().await.unwrap().unwrap();
    assert!(matches!(batch, SeriesBatch::Head(_)));
    assert_eq!(batch.memory_bytes(), 0);
    let mut scratch = SampleColumns::default();
    assert_eq!(batch.samples(0, &mut scratch).unwrap().ts, [10_000, 20_000, 30_000]);
    assert!(selection.next_batch().await.unwrap().is_none());
}

#[tokio::test]
async fn the_newest_sample_is_read_alone_unless_it_is_too_new() {
    let node = TestNode::new();
    for ts in (0..SLICE_MS).step_by(10_000) {
        node.append(&labels(&[("__name__", "m")]), ts, ts as f64);
    }
    let read = async |end_ms| {
        let asked = SelectRequest { newest_only: true, ..request(Vec::new(), TimeRange::new(end_ms - 25_000, end_ms)) };
        let mut selection = node.reader().select(&asked).await.unwrap();
        let batch = selection.next_batch().await.unwrap().unwrap();
        batch.samples(0, &mut SampleColumns::default()).unwrap().ts.to_vec()
    };
    assert_eq!(read(SLICE_MS).await, [SLICE_MS - 10_000]);
    assert_eq!(read(50_000).await, [30_000, 40_000, 50_000]);
}

#[test]
fn selections_are_made_together_as_long_as_their_indexes_fit() {
    let mib = 1 << 20;
    assert_eq!(super::reader::count_within([0; 24].into_iter()), 24);
    assert_eq!(super::reader::count_within([10 * mib, 10 * mib, 10 * mib].into_iter()), 2);
    assert_eq!(super::reader::count_within([90 * mib, mib].into_iter()), 1);
    assert_eq!(super::reader::count_within([24 * mib, 1].into_iter()), 1);
}

#[tokio::test]
async fn heads_are_selected_together_as_long_as_they_fit() {
    let node = TestNode::new();
    let long = "x".repeat(100_000);
    for i in 0..100 {
        node.append(&labels(&[("__name__", "m"), ("i", &i.to_string()), ("long", &long)]), 1_000, 1.0);
    }
    let readers = |count: usize| vec![node.reader(); count];
    let count = async |count, matchers| {
        let selections =
            PartitionReader::select_some(readers(count), &request(matchers, TimeRange::ALL)).await.unwrap();
        selections.iter().for_each(|selection| assert!(selection.series_count() > 0));
        selections.len()
    };
    assert_eq!(count(6, vec![Matcher::equal("i", "7")]).await, 6);
    // Ten megabytes each: the second one is beyond what is held together.
    assert_eq!(count(6, Vec::new()).await, 2);
    assert_eq!(count(1, Vec::new()).await, 1);
}
