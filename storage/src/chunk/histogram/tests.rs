use pharos_model::{CounterResetHint, FloatHistogram};
use proptest::prelude::*;

use super::*;
use crate::test_histograms::{counter, packed, series};

/// Appends to as many chunks as it takes.
fn chunks_of(samples: &[(i64, FloatHistogram)]) -> Vec<OpenHistogramChunk> {
    let mut chunks: Vec<OpenHistogramChunk> = Vec::new();
    for (ts, histogram) in samples {
        let histogram = packed(histogram);
        if !chunks.last_mut().is_some_and(|chunk| chunk.try_append(*ts, &histogram)) {
            chunks.push(OpenHistogramChunk::new(*ts, &histogram));
        }
    }
    chunks
}

fn read(chunk: &OpenHistogramChunk) -> Vec<(i64, PackedHistogram)> {
    let mut samples = Vec::new();
    decode(chunk.stream(), chunk.count(), |ts, histogram, _| samples.push((ts, histogram.clone()))).unwrap();
    samples
}

fn hints(samples: &[(i64, FloatHistogram)]) -> Vec<CounterResetHint> {
    chunks_of(samples).iter().flat_map(read).map(|(_, histogram)| histogram.hint).collect()
}

proptest! {
    #[test]
    fn every_histogram_survives(samples in series(1..300)) {
        let chunks = chunks_of(&samples);
        let back: Vec<_> = chunks.iter().flat_map(read).collect();
        prop_assert_eq!(back.len(), samples.len());
        for ((ts, histogram), (back_ts, back)) in samples.iter().zip(&back) {
            prop_assert_eq!(ts, back_ts);
            prop_assert!(back.has_data_of(&packed(histogram)));
        }
        for chunk in &chunks {
            prop_assert_eq!(&OpenHistogramChunk::restore(chunk.stream(), chunk.count()).unwrap(), chunk);
            prop_assert!(chunk.stream().len() <= HISTOGRAM_CHUNK_BYTES_MAX && chunk.count() <= CHUNK_SAMPLES_MAX);
        }
    }

    #[test]
    fn any_bytes_decode_to_samples_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..250), count in any::<u8>()) {
        let mut seen = 0;
        let result = decode(&bytes, count, |_, _, _| seen += 1);
        prop_assert!(result.is_err() || seen == usize::from(count));
        let _ = OpenHistogramChunk::restore(&bytes, count);
    }
}

#[test]
fn hints_are_those_of_prometheus_chunks() {
    use CounterResetHint::{Gauge, NotCounterReset, Unknown};
    let gauge = FloatHistogram { counter_reset_hint: Gauge, ..counter(9) };
    let samples = [counter(1), counter(2), counter(2), counter(1), counter(5), gauge.clone(), gauge, counter(9)];
    let samples: Vec<_> = samples.into_iter().zip(1..).map(|(histogram, ts)| (ts, histogram)).collect();
    let expected = [Unknown, NotCounterReset, NotCounterReset, Unknown, NotCounterReset, Gauge, Gauge, Unknown];
    assert_eq!(hints(&samples), expected);
}

#[test]
fn a_full_chunk_is_followed_by_one_that_knows_nothing_before_it() {
    let samples: Vec<_> = (0..=i64::from(CHUNK_SAMPLES_MAX)).map(|ts| (ts, counter(1))).collect();
    assert_eq!(chunks_of(&samples).len(), 2);
    assert_eq!(hints(&samples).last(), Some(&CounterResetHint::Unknown));
}

#[test]
fn chunks_of_noise_are_cut_by_size() {
    let noisy = |seed: i64| {
        let mut histogram = counter(1);
        let counts = (0..2_000_i64).map(|i| ((i + 1) * (seed + 3) * 2_654_435_761 % 1_000_000_007) as f64);
        histogram.positive_buckets = counts.collect();
        histogram.positive_spans[0].length = 2_000;
        histogram.count = 1e15;
        histogram
    };
    let samples: Vec<_> = (0..40).map(|ts| (ts, noisy(ts))).collect();
    let chunks = chunks_of(&samples);
    assert!(
        chunks.iter().all(|chunk| chunk.stream().len() <= HISTOGRAM_CHUNK_BYTES_MAX && chunk.count() <= SAMPLES_MIN)
    );
    assert_eq!(chunks.iter().flat_map(read).count(), samples.len());
}

#[test]
fn an_unchanged_histogram_takes_two_bytes() {
    let samples: Vec<_> = (0..i64::from(CHUNK_SAMPLES_MAX)).map(|i| (i * 15_000, counter(7))).collect();
    let chunks = chunks_of(&samples);
    assert_eq!(chunks.len(), 1);
    assert!(chunks[0].stream().len() < 2 * samples.len() + 60, "{} bytes", chunks[0].stream().len());
}
