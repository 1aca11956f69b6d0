//! Histograms without buckets: what is left out cannot be missed.

use pharos_model::sample::{is_stale, stale_nan};
use proptest::prelude::*;

use super::*;
use crate::record::delete_series;
use crate::test_histograms::series;

type Histograms = Vec<(i64, Arc<FloatHistogram>)>;

fn node_of(samples: &[(i64, FloatHistogram)]) -> TestNode {
    let node = TestNode::new();
    samples.iter().for_each(|(ts, histogram)| node.append_histogram(&labels(&[("__name__", "h")]), *ts, histogram));
    node
}

async fn read(node: &TestNode, range: TimeRange, totals_only: bool) -> Histograms {
    read_as(node, SelectRequest { totals_only, ..request(Vec::new(), range) }).await
}

async fn read_as(node: &TestNode, asked: SelectRequest) -> Histograms {
    let mut selection = node.reader().select(&asked).await.unwrap();
    let mut scratch = SampleColumns::default();
    let mut found = Vec::new();
    while let Some(batch) = selection.next_batch().await.unwrap() {
        let samples = batch.samples(0, &mut scratch).unwrap();
        found.extend(samples.histogram_ts.iter().copied().zip(samples.histograms.iter().cloned()));
    }
    found
}

fn stale() -> FloatHistogram {
    FloatHistogram { sum: stale_nan(), ..FloatHistogram::default() }
}

fn has_buckets(histogram: &FloatHistogram) -> bool {
    !histogram.positive_spans.is_empty()
}

/// Says where `totals` lacks something of `whole` that count, sum, schema or the resets between samples hang on.
fn missing(whole: &Histograms, totals: &Histograms) -> Option<String> {
    if whole.len() != totals.len() {
        return Some(format!("{} of {} samples", totals.len(), whole.len()));
    }
    let mut before: Option<usize> = None;
    for (at, ((ts, whole_at), (totals_ts, totals_at))) in whole.iter().zip(totals).enumerate() {
        let numbers = |h: &FloatHistogram| (h.count.to_bits(), h.sum.to_bits(), h.schema, h.counter_reset_hint);
        if (ts, numbers(whole_at)) != (totals_ts, numbers(totals_at)) {
            return Some(format!("{whole_at} is {totals_at} at {ts}"));
        }
        let compared = (whole_at.counter_reset_hint == Unknown).then_some([Some(at), before]);
        for at in compared.into_iter().flatten().flatten().filter(|_| before.is_some()) {
            if !totals[at].1.has_same_data(&whole[at].1) {
                return Some(format!("{} is {} at {}", whole[at].1, totals[at].1, whole[at].0));
            }
        }
        if !is_stale(whole_at.sum) {
            before = Some(at);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn resets_are_still_to_be_found(
        (samples, is_sealed) in prop_oneof![
            (series(1..300), Just(false)),
            (series(20..60), Just(true)),
        ],
        ended in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        (from, to) in (0..100_i64, 0..120_i64),
    ) {
        let mut samples = samples;
        for at in ended {
            let at = at.index(samples.len());
            samples[at].1 = stale();
        }
        let last = samples.last().map_or(0, |(ts, _)| *ts);
        let range = TimeRange::new(last * from / 100, last * to / 100);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = node_of(&samples);
            if is_sealed {
                node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
            }
            let (whole, totals) = (read(&node, range, false).await, read(&node, range, true).await);
            prop_assert_eq!(missing(&whole, &totals), None);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn buckets_are_left_out_where_nothing_is_compared() {
    let grown: Vec<_> = [1, 2, 3, 4, 1, 2, 3].into_iter().enumerate().collect();
    let samples: Vec<_> = grown.iter().map(|(at, in_bucket)| (*at as i64 * 10_000, counter(*in_bucket))).collect();
    let node = node_of(&samples);
    let buckets = |found: Histograms| found.iter().map(|(_, histogram)| has_buckets(histogram)).collect::<Vec<_>>();
    // The first and the last of a chunk have them, those around the reset, and none else.
    assert_eq!(buckets(read(&node, TimeRange::ALL, true).await), [true, false, false, true, true, false, true]);
    assert_eq!(buckets(read(&node, TimeRange::ALL, false).await), [true; 7]);
    let newest = SelectRequest { newest_only: true, totals_only: true, ..request(Vec::new(), TimeRange::ALL) };
    assert_eq!(buckets(read_as(&node, newest).await), [false]);
}

#[tokio::test]
async fn files_leave_buckets_out_unless_they_overlap_with_the_head() {
    let samples: Vec<_> = (0..30_u32).map(|at| (i64::from(at) * 10_000, counter(at))).collect();
    let node = node_of(&samples);
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let found = read(&node, TimeRange::ALL, true).await;
    let in_files = (2 * SLICE_MS / 10_000) as usize;
    let with_buckets: Vec<_> = (0..in_files).filter(|at| has_buckets(&found[*at].1)).collect();
    // The ends of each row.
    assert_eq!(with_buckets, [0, 9, 10, 19]);
    assert!(found[in_files..].iter().all(|(_, histogram)| has_buckets(histogram)));
}

#[tokio::test]
async fn what_comes_late_or_goes_is_compared_anew() {
    let samples: Vec<_> = (1..8_u32).map(|at| (i64::from(at) * 10_000, counter(at))).collect();
    let name = labels(&[("__name__", "h")]);
    let node = node_of(&samples);
    node.append_histogram(&name, 65_000, &counter(1));
    assert!(read(&node, TimeRange::ALL, true).await.iter().all(|(_, histogram)| has_buckets(histogram)));
    let node = node_of(&samples);
    let range = TimeRange::new(30_000, 40_000);
    node.partition.apply(&delete_series(&tenant(), &[], range).unwrap());
    assert_eq!(read(&node, TimeRange::ALL, true).await.len(), 5);
    assert!(read(&node, TimeRange::ALL, true).await.iter().all(|(_, histogram)| has_buckets(histogram)));
}
