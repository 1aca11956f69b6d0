//! What the results cache says about itself.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

/// What the cache did for a range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing had to be computed.
    Hit,
    Partial,
    Miss,
    /// Not asked: the caller wanted it so, or the query is not one that can be kept.
    Bypass,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Partial => "partial",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// The cache's metrics; a [`Collector`].
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    steps: IntCounterVec,
    evictions: IntCounter,
    bytes: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        const VALID: &str = "names and help are constants that the library accepts";
        let by =
            |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID);
        Self {
            requests: by(
                "pharos_query_results_cache_requests_total",
                "Range queries by what the results cache did for them.",
                "outcome",
            ),
            steps: by(
                "pharos_query_results_cache_steps_total",
                "Steps of range queries that the results cache was asked for, by where they came from.",
                "from",
            ),
            evictions: IntCounter::new(
                "pharos_query_results_cache_evictions_total",
                "Entries that had to make room for others.",
            )
            .expect(VALID),
            bytes: IntGauge::new("pharos_query_results_cache_bytes", "Memory of the results that are kept.")
                .expect(VALID),
        }
    }
}

impl Metrics {
    pub fn asked(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.as_str()]).inc();
    }

    pub fn answered(&self, kept_steps: usize, computed_steps: usize) {
        self.steps.with_label_values(&["cache"]).inc_by(kept_steps as u64);
        self.steps.with_label_values(&["engine"]).inc_by(computed_steps as u64);
    }

    pub fn holds(&self, bytes: usize, evicted: usize) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.evictions.inc_by(evicted as u64);
    }

    fn parts(&self) -> [&dyn Collector; 4] {
        [&self.requests, &self.steps, &self.evictions, &self.bytes]
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}
