//! The series that a scrape writes about the target itself: `up` and `scrape_*`.

use pharos_model::labels::METRIC_NAME;
use pharos_model::{LabelSet, Sample, TimestampMs};

use crate::sink::{FreshSample, KnownSample, SampleBatch, SeriesHandle};

/// Names of the values of [`Values`], in its order. The last three are written with `extra_scrape_metrics` only.
const NAMES: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const PLAIN: usize = 5;

/// One value for each name.
pub(super) type Values = [f64; NAMES.len()];

/// Labels and handles of a target's own series.
#[derive(Debug)]
pub(super) struct Report {
    labels: [LabelSet; NAMES.len()],
    handles: [Option<SeriesHandle>; NAMES.len()],
}

/// Where in a batch the report's samples are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    known_from: usize,
    fresh_from: usize,
    count: usize,
}

impl Report {
    pub(super) fn new(target: &LabelSet) -> Self {
        let labels = NAMES.map(|name| target.to_builder().set(METRIC_NAME, name).build());
        Self { labels, handles: [None; NAMES.len()] }
    }

    /// Adds the samples to the end of a batch.
    pub(super) fn push(&self, batch: &mut SampleBatch, ts: TimestampMs, values: &Values, with_extra: bool) -> Placed {
        let count = if with_extra { NAMES.len() } else { PLAIN };
        let placed = Placed { known_from: batch.known.len(), fresh_from: batch.fresh.len(), count };
        for (i, value) in values.iter().copied().enumerate().take(count) {
            match self.handles[i] {
                Some(series) => batch.known.push(KnownSample { series, ts, value }),
                None => batch.fresh.push(FreshSample { labels: self.labels[i].clone(), sample: Sample { ts, value } }),
            }
        }
        placed
    }

    /// Takes handles of series that were fresh, and forgets those that went stale. Answers whether any went stale.
    pub(super) fn learn(&mut self, placed: Placed, handles: &[Option<SeriesHandle>], stale: &[usize]) -> bool {
        let (mut known, mut fresh) = (placed.known_from, placed.fresh_from);
        let mut went_stale = false;
        for handle in self.handles.iter_mut().take(placed.count) {
            if handle.is_none() {
                *handle = handles.get(fresh).copied().flatten();
                fresh += 1;
            } else {
                if stale.contains(&known) {
                    *handle = None;
                    went_stale = true;
                }
                known += 1;
            }
        }
        went_stale
    }

    /// Handles of the series that exist.
    pub(super) fn handles(&self) -> impl Iterator<Item = SeriesHandle> {
        self.handles.iter().copied().flatten()
    }
}
