//! Samples of a script into memory.

use pharos_model::Sample;
use pharos_promql::script::Load;
use pharos_promql::series::SequenceValue;

use crate::testing::MemorySource;

/// Adds the float samples of a load; the first value is at the epoch.
pub(super) fn load(load: &Load, source: &MemorySource) {
    for series in &load.series {
        let samples = series.values.iter().zip(0i64..).filter_map(|(value, i)| match value {
            SequenceValue::Float(value) => Some(Sample { ts: i * load.step_ms, value: *value }),
            SequenceValue::Omitted | SequenceValue::Histogram { .. } => None,
        });
        source.append(&series.labels, samples);
    }
}
