//! A histogram as it is stored: its layout apart from its numbers, because from sample to sample of a series the layout
//! mostly stays and few numbers change. Bytes: [`super::wire`].
//!
//! Invariant: of a valid histogram, and one that fits [`HISTOGRAM_BYTES_MAX`]. Histograms with equal bits are equal in
//! this form, and come out of it with the same bits.

use std::sync::Arc;

use super::wire::encoded_len_max;
use super::{CounterResetHint, FloatHistogram, HistogramError, Span};

/// Largest wire form of one histogram: some 4,000 buckets with float counts.
pub const HISTOGRAM_BYTES_MAX: usize = 32 << 10;
/// Whole numbers up to here are exact in a float.
const WHOLE_MAX: i64 = 1 << 53;

/// Everything but the counts and the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub counts: CountKind,
    pub schema: i32,
    pub zero_threshold_bits: u64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    pub custom_bound_bits: Vec<u64>,
}

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountKind {
    /// Integers; a bucket is the difference to the one before it, the first of a side to 0.
    #[default]
    Whole,
    /// Bits of floats.
    Float,
}

/// One histogram: layout and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedHistogram {
    pub hint: CounterResetHint,
    pub layout: Arc<Layout>,
    pub sum_bits: u64,
    /// The count, the zero count, the positive and the negative buckets; what they are, the layout says.
    pub numbers: Vec<u64>,
}

/// Why a histogram cannot be stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackError {
    #[error(transparent)]
    Invalid(#[from] HistogramError),
    #[error("histogram of {bytes} bytes is over the limit of {HISTOGRAM_BYTES_MAX}")]
    TooLarge { bytes: usize },
}

impl Layout {
    fn of(histogram: &FloatHistogram, counts: CountKind) -> Self {
        Self {
            counts,
            schema: histogram.schema,
            zero_threshold_bits: histogram.zero_threshold.to_bits(),
            positive_spans: histogram.positive_spans.clone(),
            negative_spans: histogram.negative_spans.clone(),
            custom_bound_bits: histogram.custom_values.iter().map(|bound| bound.to_bits()).collect(),
        }
    }

    /// How many numbers a histogram of this layout has.
    pub fn number_count(&self) -> u64 {
        FIRST_BUCKET as u64 + buckets_of(&self.positive_spans) + buckets_of(&self.negative_spans)
    }

    /// Whether counts of both have the same meaning: buckets may be missing, but none has other bounds.
    fn has_bounds_of(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.zero_threshold_bits == other.zero_threshold_bits
            && self.custom_bound_bits == other.custom_bound_bits
    }
}

/// Place of the first positive bucket among the numbers.
const FIRST_BUCKET: usize = 2;

fn buckets_of(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

impl TryFrom<&FloatHistogram> for PackedHistogram {
    type Error = PackError;

    fn try_from(histogram: &FloatHistogram) -> Result<Self, PackError> {
        histogram.validate()?;
        let whole = whole_numbers(histogram);
        let counts = if whole.is_some() { CountKind::Whole } else { CountKind::Float };
        let packed = Self {
            hint: histogram.counter_reset_hint,
            layout: Arc::new(Layout::of(histogram, counts)),
            sum_bits: histogram.sum.to_bits(),
            numbers: whole.unwrap_or_else(|| counts_of(histogram).map(f64::to_bits).collect()),
        };
        match encoded_len_max(&packed) {
            bytes if bytes > HISTOGRAM_BYTES_MAX => Err(PackError::TooLarge { bytes }),
            _ => Ok(packed),
        }
    }
}

fn counts_of(histogram: &FloatHistogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    [histogram.count, histogram.zero_count].into_iter().chain(buckets.copied())
}

/// The numbers as integers, if all of them are.
fn whole_numbers(histogram: &FloatHistogram) -> Option<Vec<u64>> {
    let mut numbers = counts_of(histogram).map(whole).collect::<Option<Vec<u64>>>()?;
    let (positive, negative) = numbers[FIRST_BUCKET..].split_at_mut(histogram.positive_buckets.len());
    for side in [positive, negative] {
        let mut before = 0;
        for number in side {
            let count = std::mem::replace(&mut before, *number);
            *number = number.wrapping_sub(count);
        }
    }
    Some(numbers)
}

fn whole(count: f64) -> Option<u64> {
    let rounded = count as i64;
    // Compared by bits, because -0 is not 0.
    let exact = (rounded as f64).to_bits() == count.to_bits() && (0..=WHOLE_MAX).contains(&rounded);
    exact.then_some(rounded as u64)
}

impl PackedHistogram {
    /// The histogram that was packed.
    pub fn to_float(&self) -> FloatHistogram {
        let layout = &*self.layout;
        let mut counts = self.counts();
        let (count, zero_count) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
        let positive = buckets_of(&layout.positive_spans) as usize;
        FloatHistogram {
            counter_reset_hint: self.hint,
            schema: layout.schema,
            zero_threshold: f64::from_bits(layout.zero_threshold_bits),
            zero_count,
            count,
            sum: f64::from_bits(self.sum_bits),
            positive_spans: layout.positive_spans.clone(),
            negative_spans: layout.negative_spans.clone(),
            positive_buckets: counts.by_ref().take(positive).collect(),
            negative_buckets: counts.collect(),
            custom_values: layout.custom_bound_bits.iter().map(|bits| f64::from_bits(*bits)).collect(),
        }
    }

    /// Count, sum, schema and hint of it, without buckets.
    pub fn totals(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.hint,
            schema: self.layout.schema,
            count: self.counts().next().unwrap_or_default(),
            sum: f64::from_bits(self.sum_bits),
            ..FloatHistogram::default()
        }
    }

    /// One of the same buckets before anything was observed, which is a reset by definition.
    pub fn emptied(&self) -> Self {
        let layout = Layout {
            counts: CountKind::Whole,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            ..Layout::clone(&self.layout)
        };
        let numbers = vec![0; layout.number_count() as usize];
        let (hint, sum_bits) = (CounterResetHint::CounterReset, 0.0_f64.to_bits());
        Self { hint, layout: Arc::new(layout), sum_bits, numbers }
    }

    /// The numbers as counts: absolute, and floats.
    fn counts(&self) -> impl Iterator<Item = f64> {
        let whole = self.layout.counts == CountKind::Whole;
        let first_negative = FIRST_BUCKET + buckets_of(&self.layout.positive_spans) as usize;
        let mut before = 0_u64;
        self.numbers.iter().enumerate().map(move |(at, &number)| {
            if !whole {
                return f64::from_bits(number);
            }
            let is_difference = at > FIRST_BUCKET && at != first_negative;
            before = if is_difference { before.wrapping_add(number) } else { number };
            before as i64 as f64
        })
    }

    /// Whether both have the same data; the hint is none.
    pub fn has_data_of(&self, other: &Self) -> bool {
        self.sum_bits == other.sum_bits && self.numbers == other.numbers && self.layout == other.layout
    }

    /// The hint that a reader gets, if this sample of a series follows `before` in one chunk. Where there might have
    /// been a reset it is unknown, as it is in Prometheus: what lies between the two may be gone or come later.
    pub fn hint_after(&self, before: &Self) -> CounterResetHint {
        if self.hint == CounterResetHint::Gauge {
            return CounterResetHint::Gauge;
        }
        let continues = before.hint != CounterResetHint::Gauge
            && self.hint != CounterResetHint::CounterReset
            && self.layout.has_bounds_of(&before.layout)
            && !self.has_less_than(before);
        if continues { CounterResetHint::NotCounterReset } else { CounterResetHint::Unknown }
    }

    /// The hint that a reader gets of the first sample in a chunk.
    pub fn hint_alone(&self) -> CounterResetHint {
        if self.hint == CounterResetHint::Gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown }
    }

    fn has_less_than(&self, before: &Self) -> bool {
        if self.layout == before.layout {
            return self.counts().zip(before.counts()).any(|(now, before)| now < before);
        }
        FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..self.to_float() }
            .detect_reset(&before.to_float())
    }
}

#[cfg(test)]
mod tests;
