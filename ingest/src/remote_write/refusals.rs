//! The samples of a request that can never be stored: how many for which reason, and the text for the sender.

use std::collections::BTreeMap;

use pharos_model::Sample;

use super::labels;
use crate::sink::Refusal;
use crate::wire::WireError;

/// Samples that can never be stored.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Why the first of them was refused, for the answer.
    pub first: Option<String>,
    pub samples: usize,
    /// Those of them that are histograms, but for those that are none.
    pub histograms: usize,
    /// Samples by the reason that metrics give.
    pub by_reason: BTreeMap<&'static str, usize>,
}

/// Reasons beside those of [`Refusal::reason`].
pub(super) const INVALID_LABELS: &str = "invalid_labels";
pub(super) const HISTOGRAM: &str = "histogram";
/// Of series that have none: counts no samples.
pub(super) const NO_SAMPLES: &str = "no_samples";

impl Refusals {
    pub(super) fn add(&mut self, reason: &'static str, samples: usize, text: impl FnOnce() -> String) {
        self.samples += samples;
        *self.by_reason.entry(reason).or_default() += samples;
        self.first.get_or_insert_with(text);
    }

    /// Adds one sample. Its series is looked up for the first text alone: that reads the series, which may be the whole request.
    pub(super) fn add_one(
        &mut self,
        refusal: Refusal,
        sample: Sample,
        label_fields: impl FnOnce() -> Result<Vec<u8>, WireError>,
    ) -> Result<(), WireError> {
        let fields = if self.first.is_none() { label_fields()? } else { Vec::new() };
        self.add(refusal.reason(), 1, || describe(refusal, &fields, sample));
        Ok(())
    }

    /// Samples whose series has labels that are refused.
    pub(super) fn invalid_labels(&self) -> usize {
        self.by_reason.get(INVALID_LABELS).copied().unwrap_or_default()
    }
}

fn describe(refusal: Refusal, fields: &[u8], sample: Sample) -> String {
    format!("{refusal}: series {}, timestamp {}", labels::series_name(fields), sample.ts)
}
