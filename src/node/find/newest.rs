//! The newest sample of each series.

use std::sync::Arc;

use pharos_model::sample::is_stale;
use pharos_model::{FloatHistogram, LabelSet, TimestampMs};
use pharos_storage::select::{PartitionReader, ReadError, SampleColumns, SampleSlices, SelectRequest};

/// The newest sample of a series.
#[derive(Clone, Debug)]
pub struct Newest {
    pub ts: TimestampMs,
    pub value: NewestValue,
}

#[derive(Clone, Debug)]
pub enum NewestValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Newest {
    /// `None` when the series has ended.
    fn of(samples: &SampleSlices<'_>) -> Option<Self> {
        let float = samples.ts.last().zip(samples.values.last());
        let float = float.map(|(&ts, &value)| Self { ts, value: NewestValue::Float(value) });
        let histogram = samples.histogram_ts.last().zip(samples.histograms.last());
        let histogram =
            histogram.map(|(&ts, histogram)| Self { ts, value: NewestValue::Histogram(Arc::clone(histogram)) });
        let newest = float.into_iter().chain(histogram).max_by_key(|newest| newest.ts)?;
        let is_end = match &newest.value {
            NewestValue::Float(value) => is_stale(*value),
            NewestValue::Histogram(histogram) => is_stale(histogram.sum),
        };
        (!is_end).then_some(newest)
    }
}

/// Of all series of some partitions that are selected.
pub(super) async fn of_all(
    readers: &[PartitionReader],
    select: &SelectRequest,
) -> Result<Vec<(LabelSet, Newest)>, ReadError> {
    let mut found = Vec::new();
    let mut scratch = SampleColumns::default();
    let mut left = readers;
    // A selection of all partitions may be more than is held together.
    while !left.is_empty() {
        let selections = PartitionReader::select_some(left.to_vec(), select).await?;
        left = &left[selections.len()..];
        for mut selection in selections {
            while let Some(batch) = selection.next_batch().await? {
                for i in 0..batch.len() {
                    if let Some(newest) = Newest::of(&batch.samples(i, &mut scratch)?) {
                        found.push((LabelSet::from_canonical_trusted(batch.label_bytes(i)), newest));
                    }
                }
            }
        }
    }
    Ok(found)
}
