//! Samples of a script into memory.

use hashbrown::HashMap;
use pharos_model::histogram::classic::{ClassicError, ClassicHistogram, ClassicPart};
use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::number::parse_float_checked;
use pharos_model::{LabelSet, TimestampMs};
use pharos_promql::script::{Load, LoadedSeries};
use pharos_promql::series::SequenceValue;

use crate::testing::{MemorySample, MemorySource};
use crate::value::Point;

/// Adds the samples of a load; the first value is at the epoch. Fails when classic series that are to be loaded as native
/// histograms make none.
pub(super) fn load(load: &Load, source: &MemorySource) -> Result<(), ClassicError> {
    for series in &load.series {
        source.append_points(&series.labels, samples(load, series));
    }
    if load.with_nhcb {
        load_native(load, source)?;
    }
    Ok(())
}

fn samples<'a>(load: &'a Load, series: &'a LoadedSeries) -> impl Iterator<Item = MemorySample> + 'a {
    series.values.iter().enumerate().filter_map(|(i, value)| {
        let point = match value {
            SequenceValue::Float(value) => Point::Float(*value),
            SequenceValue::Histogram { histogram, .. } => Point::from(std::sync::Arc::clone(histogram)),
            SequenceValue::Omitted => return None,
        };
        let ts = i as i64 * load.step_ms;
        let start_ts = series.start_offsets_ms.get(i).copied().flatten().map_or(0, |offset| ts + offset);
        Some(MemorySample { ts, start_ts, point })
    })
}

/// Series of native histograms with custom buckets, under way.
type Native = HashMap<LabelSet, std::collections::BTreeMap<TimestampMs, ClassicHistogram>>;

/// Adds the native histograms that the classic series of a load stand for.
fn load_native(load: &Load, source: &MemorySource) -> Result<(), ClassicError> {
    let mut native = Native::new();
    for series in &load.series {
        collect(load, series, &mut native);
    }
    for (labels, by_time) in native {
        let mut samples = Vec::with_capacity(by_time.len());
        for (ts, classic) in by_time {
            samples.push(MemorySample { ts, start_ts: 0, point: classic.to_native()?.into() });
        }
        source.append_points(&labels, samples);
    }
    Ok(())
}

fn collect(load: &Load, series: &LoadedSeries, native: &mut Native) {
    let Some((part, name)) = series.labels.metric_name().and_then(ClassicPart::of_name) else { return };
    let bound = parse_float_checked(series.labels.get_or_empty(BUCKET_LABEL)).ok().filter(|bound| !bound.is_nan());
    if part == ClassicPart::Bucket && bound.is_none() {
        return;
    }
    let mut labels = series.labels.to_builder();
    labels.set(METRIC_NAME, name).remove(BUCKET_LABEL);
    let by_time = native.entry(labels.build()).or_default();
    for sample in samples(load, series) {
        let Point::Float(value) = sample.point else { continue };
        let classic = by_time.entry(sample.ts).or_default();
        // The first error stays in the histogram, and is returned with it.
        let _ = match (part, bound) {
            (ClassicPart::Bucket, bound) => classic.set_bucket(bound.expect("looked at above"), value),
            (ClassicPart::Sum, _) => classic.set_sum(value),
            (ClassicPart::Count, _) => classic.set_count(value),
        };
    }
}
