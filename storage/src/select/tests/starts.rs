//! Start timestamps from the record to what a query reads: the same before a seal, after it, and across both.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::record::StartRule;
use crate::test_node::Started;

/// What is read of a series: times and starts of floats and of histograms.
type Found = BTreeMap<LabelSet, [Vec<(i64, i64)>; 2]>;

async fn read(node: &TestNode, range: TimeRange) -> Found {
    read_as(node, request(Vec::new(), range)).await
}

async fn read_as(node: &TestNode, request: SelectRequest) -> Found {
    let mut selection = node.reader().select(&request).await.unwrap();
    let (mut found, mut scratch) = (Found::new(), SampleColumns::default());
    while let Some(batch) = selection.next_batch().await.unwrap() {
        for i in 0..batch.len() {
            let samples = batch.samples(i, &mut scratch).unwrap();
            let of = |ts: &[i64], starts: &[i64]| -> Vec<_> {
                assert!(starts.is_empty() || starts.len() == ts.len());
                ts.iter().enumerate().map(|(i, ts)| (*ts, starts.get(i).copied().unwrap_or(0))).collect()
            };
            let both = [of(samples.ts, samples.start_ts), of(samples.histogram_ts, samples.histogram_start_ts)];
            if both.iter().any(|of| !of.is_empty()) {
                found.insert(LabelSet::from_canonical(batch.label_bytes(i)).unwrap(), both);
            }
        }
    }
    found
}

fn series(i: usize) -> LabelSet {
    labels(&[("__name__", "m"), ("i", &i.to_string())])
}

/// Samples of three series at multiples of a second, some late: series, second, whether a histogram, start in seconds before it (0: none).
fn samples() -> impl Strategy<Value = Vec<(usize, i64, bool, i64)>> {
    let at = (0..3_usize, 0..300_i64, any::<bool>(), prop_oneof![1 => Just(0), 2 => 1..40_i64]);
    prop::collection::vec(at, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_seal_changes_no_start(mut samples in samples(), hidden in prop::option::of(0..290_i64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = TestNode::new();
            // Late ones within the window.
            samples.sort_by_key(|(_, second, ..)| second / 8);
            for (i, second, is_histogram, before) in samples {
                let (ts, start) = (second * 1_000, if before == 0 { 0 } else { (second - before) * 1_000 + 1 });
                let histogram = is_histogram.then(|| packed(&counter(second as u32)));
                let rule = StartRule { stored: true, zero_samples: false };
                node.append_started(&series(i), rule, Started { ts, value: 1.0, histogram, start });
            }
            if let Some(second) = hidden {
                let range = TimeRange::new(second * 1_000, second * 1_000 + 10_000);
                let deletion = Deletion { tenant: &tenant(), matchers: &[Matcher::equal("i", "1")], range };
                deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap();
            }
            let ranges = [TimeRange::ALL, TimeRange::new(50_500, 150_500), TimeRange::new(100_000, 199_999)];
            let mut before = Vec::new();
            for range in ranges {
                before.push(read(&node, range).await);
            }
            node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
            for (range, before) in ranges.into_iter().zip(before) {
                assert_eq!(read(&node, range).await, before, "{range:?}");
            }
        });
    }

    #[test]
    fn starts_that_do_not_count_are_left_out_and_nothing_else(samples in samples(), is_sealed in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = TestNode::new();
            for (i, second, is_histogram, before) in samples {
                let histogram = is_histogram.then(|| packed(&counter(second as u32)));
                let rule = StartRule { stored: true, zero_samples: false };
                let (ts, start) = (second * 1_000, (second - before) * 1_000);
                node.append_started(&series(i), rule, Started { ts, value: 1.0, histogram, start });
            }
            if is_sealed {
                node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
            }
            for newest_only in [false, true] {
                let with = SelectRequest { newest_only, ..request(Vec::new(), TimeRange::ALL) };
                let mut expected = read_as(&node, with.clone()).await;
                expected.values_mut().flatten().flatten().for_each(|(_, start)| *start = 0);
                assert_eq!(read_as(&node, SelectRequest { starts: false, ..with }).await, expected);
            }
        });
    }
}

/// A deletion that comes after the seal hides rows of files when they are read.
#[tokio::test]
async fn starts_of_what_is_hidden_go_with_it() {
    let node = TestNode::new();
    let rule = StartRule { stored: true, zero_samples: false };
    for ts in (0..3 * SLICE_MS).step_by(10_000) {
        let histogram = (ts % 20_000 == 0).then(|| packed(&counter(ts as u32)));
        node.append_started(&series(1), rule, Started { ts, value: 1.0, histogram, start: ts - 7 });
    }
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let range = TimeRange::new(20_000, 120_000);
    let deletion = Deletion { tenant: &tenant(), matchers: &[Matcher::equal("i", "1")], range };
    deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap();
    let [floats, histograms] = read(&node, TimeRange::ALL).await.remove(&series(1)).unwrap();
    let expected = |odd: i64| {
        let times = (0..3 * SLICE_MS).step_by(10_000).filter(move |ts| ts / 10_000 % 2 == odd && !range.contains(*ts));
        times.map(|ts| (ts, ts - 7)).collect::<Vec<_>>()
    };
    assert_eq!((floats, histograms), (expected(1), expected(0)));
}

/// What lies in the past may be asked for again: the zero sample is noted as well as the sample behind it.
#[tokio::test]
async fn a_zero_sample_in_the_past_is_noted_as_a_change() {
    let node = TestNode::new();
    node.append(&labels(&[("__name__", "other")]), 195_000, 1.0);
    let zero = amended(&node, async {
        let rule = StartRule { stored: false, zero_samples: true };
        let sample = Started { ts: 205_000, value: 3.0, histogram: None, start: 190_000 };
        node.append_started(&series(1), rule, sample);
    });
    assert_eq!(zero.await, [TimeRange::new(190_000, 190_000)]);
}
