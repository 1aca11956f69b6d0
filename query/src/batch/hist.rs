//! The bytes of the `hist` column: which steps of a row are native histograms, and these.
//!
//! Little-endian. First the words of a bitmap like `present`, then the histograms by ascending step. A series mostly keeps
//! its layout (schema, zero threshold, spans, custom bounds) from step to step, so that is written only where it changes.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use pharos_model::histogram::Span;
use pharos_model::{CounterResetHint, FloatHistogram};

use crate::functions::HistogramSteps;

/// The histogram has the layout of the one before.
const SAME_LAYOUT: u8 = 0;
const NEW_LAYOUT: u8 = 1;

/// Appends the histograms at steps that `present` has.
pub(super) fn encode(steps: &HistogramSteps, present: &[u64], out: &mut Vec<u8>) {
    for (at, present) in present.iter().enumerate() {
        out.extend_from_slice(&(steps.word(at) & present).to_le_bytes());
    }
    let mut before: Option<&FloatHistogram> = None;
    for (_, histogram) in steps.among(present) {
        if before.is_some_and(|before| has_layout_of(histogram, before)) {
            out.push(SAME_LAYOUT);
        } else {
            out.push(NEW_LAYOUT);
            encode_layout(histogram, out);
        }
        encode_counts(histogram, out);
        before = Some(histogram);
    }
}

fn has_layout_of(histogram: &FloatHistogram, before: &FloatHistogram) -> bool {
    let bits =
        |values: &[f64], others: &[f64]| values.iter().map(|v| v.to_bits()).eq(others.iter().map(|v| v.to_bits()));
    histogram.schema == before.schema
        && histogram.zero_threshold.to_bits() == before.zero_threshold.to_bits()
        && histogram.positive_spans == before.positive_spans
        && histogram.negative_spans == before.negative_spans
        && bits(&histogram.custom_values, &before.custom_values)
}

fn encode_layout(histogram: &FloatHistogram, out: &mut Vec<u8>) {
    out.extend_from_slice(&histogram.schema.to_le_bytes());
    out.extend_from_slice(&histogram.zero_threshold.to_le_bytes());
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        encode_length(spans.len(), out);
        for span in spans {
            out.extend_from_slice(&span.offset.to_le_bytes());
            out.extend_from_slice(&span.length.to_le_bytes());
        }
    }
    encode_length(histogram.custom_values.len(), out);
    encode_floats(&histogram.custom_values, out);
}

fn encode_counts(histogram: &FloatHistogram, out: &mut Vec<u8>) {
    out.push(match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    });
    encode_floats(&[histogram.count, histogram.sum, histogram.zero_count], out);
    encode_floats(&histogram.positive_buckets, out);
    encode_floats(&histogram.negative_buckets, out);
}

fn encode_length(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("spans and bounds of a histogram fit in memory many times over");
    out.extend_from_slice(&length.to_le_bytes());
}

fn encode_floats(values: &[f64], out: &mut Vec<u8>) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// Reads what [`encode`] wrote for a bitmap of `words` words.
pub(super) fn decode(bytes: &[u8], words: usize) -> Result<HistogramSteps> {
    let mut bytes = Bytes(bytes);
    let bits = (0..words).map(|_| bytes.array().map(u64::from_le_bytes)).collect::<Result<Vec<_>>>()?;
    let count: usize = bits.iter().map(|word| word.count_ones() as usize).sum();
    let mut list = Vec::with_capacity(count.min(bytes.0.len()));
    let mut layout = None;
    for _ in 0..count {
        let histogram = match (bytes.array()?, &layout) {
            ([SAME_LAYOUT], Some(before)) => decode_counts(before, &mut bytes)?,
            ([NEW_LAYOUT], _) => decode_counts(layout.insert(decode_layout(&mut bytes)?), &mut bytes)?,
            _ => return Err(malformed()),
        };
        list.push(Arc::new(histogram));
    }
    Ok(HistogramSteps::new(bits, list))
}

fn decode_layout(bytes: &mut Bytes<'_>) -> Result<FloatHistogram> {
    let schema = i32::from_le_bytes(bytes.array()?);
    let zero_threshold = f64::from_le_bytes(bytes.array()?);
    let (positive_spans, negative_spans) = (decode_spans(bytes)?, decode_spans(bytes)?);
    let bounds = bytes.length()?;
    let custom_values = bytes.floats(bounds)?;
    let layout = FloatHistogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        custom_values,
        ..FloatHistogram::default()
    };
    Ok(layout)
}

fn decode_spans(bytes: &mut Bytes<'_>) -> Result<Vec<Span>> {
    let count = bytes.length()?;
    let span = |bytes: &mut Bytes<'_>| {
        Ok(Span { offset: i32::from_le_bytes(bytes.array()?), length: u32::from_le_bytes(bytes.array()?) })
    };
    (0..count).map(|_| span(bytes)).collect()
}

fn decode_counts(layout: &FloatHistogram, bytes: &mut Bytes<'_>) -> Result<FloatHistogram> {
    let counter_reset_hint = match bytes.array()? {
        [0] => CounterResetHint::Unknown,
        [1] => CounterResetHint::CounterReset,
        [2] => CounterResetHint::NotCounterReset,
        [3] => CounterResetHint::Gauge,
        _ => return Err(malformed()),
    };
    let buckets = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum();
    Ok(FloatHistogram {
        counter_reset_hint,
        count: f64::from_le_bytes(bytes.array()?),
        sum: f64::from_le_bytes(bytes.array()?),
        zero_count: f64::from_le_bytes(bytes.array()?),
        positive_buckets: bytes.floats(buckets(&layout.positive_spans))?,
        negative_buckets: bytes.floats(buckets(&layout.negative_spans))?,
        ..layout.clone()
    })
}

fn malformed() -> DataFusionError {
    internal_datafusion_err!("not the native histograms of a row")
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn length(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f64>> {
        let bytes = count.checked_mul(8).filter(|bytes| *bytes <= self.0.len()).ok_or_else(malformed)?;
        let (floats, rest) = self.0.split_at(bytes);
        self.0 = rest;
        Ok(floats.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().expect("eight bytes"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(offset: i32, buckets: &[f64]) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: 3,
            zero_threshold: 1e-3,
            zero_count: 2.0,
            count: 9.0,
            sum: -4.5,
            positive_spans: vec![Span { offset, length: 1 }, Span { offset: 2, length: buckets.len() as u32 - 1 }],
            positive_buckets: buckets.to_vec(),
            negative_spans: vec![Span { offset: -3, length: 1 }],
            negative_buckets: vec![7.0],
            ..FloatHistogram::default()
        })
    }

    fn custom() -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            schema: pharos_model::histogram::CUSTOM_BUCKETS_SCHEMA,
            custom_values: vec![1.0, 2.5],
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![3.0, 4.0],
            ..FloatHistogram::default()
        })
    }

    fn steps() -> HistogramSteps {
        let mut steps = HistogramSteps::default();
        for (step, histogram) in
            [(0, histogram(0, &[1.0, 2.0])), (1, histogram(0, &[3.0, 4.0])), (65, custom()), (99, histogram(5, &[6.0]))]
        {
            steps.set(step, histogram);
        }
        steps
    }

    fn encoded(present: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&steps(), present, &mut bytes);
        bytes
    }

    #[test]
    fn histograms_come_back_as_they_were_written() {
        let all = decode(&encoded(&[u64::MAX; 2]), 2).unwrap();
        assert!(all.iter().eq(steps().iter()));
        let some = decode(&encoded(&[2, 2]), 2).unwrap();
        assert!(some.iter().eq(steps().among(&[2, 2])));
    }

    #[test]
    fn a_layout_that_stays_is_written_once() {
        let two = encoded(&[3, 0]).len();
        let one = encoded(&[1, 0]).len();
        // A tag, a hint, three totals and three buckets.
        assert_eq!(two - one, 2 + 6 * 8);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let whole = encoded(&[u64::MAX; 2]);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end], 2).is_err(), "{end}");
        }
        for at in 16..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            let _ = decode(&damaged, 2);
        }
    }
}
