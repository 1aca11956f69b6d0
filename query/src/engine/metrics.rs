//! What the engine says about itself, under the names that Prometheus has and its mixin uses.

use std::time::Duration;

use pharos_model::summary::SummaryVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts};

use crate::results_cache;

/// Quantiles of each slice's duration.
const QUANTILES: &[f64] = &[0.5, 0.9, 0.99];

/// The engine's metrics; a [`Collector`], to be put into the node's registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    queries: IntGauge,
    concurrent_max: IntGauge,
    samples: IntCounter,
    retries: IntCounter,
    durations: SummaryVec,
    pub(super) results_cache: results_cache::Metrics,
}

/// A part of a query's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slice {
    QueueTime,
    PrepareTime,
    InnerEval,
    ResultSort,
}

impl Slice {
    fn as_str(self) -> &'static str {
        match self {
            Self::QueueTime => "queue_time",
            Self::PrepareTime => "prepare_time",
            Self::InnerEval => "inner_eval",
            Self::ResultSort => "result_sort",
        }
    }
}

/// Counts a query as long as it lives.
pub(super) struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(super) fn new(concurrent_max: usize) -> Self {
        const VALID: &str = "names and help are constants that the library accepts";
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(name, help)).expect(VALID);
        let metrics = Self {
            queries: gauge("prometheus_engine_queries", "The current number of queries being executed or waiting."),
            concurrent_max: gauge("prometheus_engine_queries_concurrent_max", "The max number of concurrent queries."),
            samples: IntCounter::new(
                "prometheus_engine_query_samples_total",
                "The total number of samples loaded by all queries.",
            )
            .expect(VALID),
            retries: IntCounter::new(
                "pharos_query_retries_total",
                "Queries that were run again because a worker was lost.",
            )
            .expect(VALID),
            durations: SummaryVec::new(
                "prometheus_engine_query_duration_seconds",
                "Query timings.",
                "slice",
                QUANTILES,
            )
            .expect(VALID),
            results_cache: results_cache::Metrics::default(),
        };
        metrics.concurrent_max.set(i64::try_from(concurrent_max).unwrap_or(i64::MAX));
        metrics
    }

    pub(super) fn begin(&self) -> Counted {
        self.queries.inc();
        Counted(self.queries.clone())
    }

    /// Counts a slice, of a query that fails later too.
    pub(super) fn took(&self, slice: Slice, duration: Duration) {
        self.durations.observe(slice.as_str(), duration.as_secs_f64());
    }

    pub(super) fn read(&self, samples: u64) {
        self.samples.inc_by(samples);
    }

    /// Counts a query that is run again.
    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    fn parts(&self) -> [&dyn Collector; 6] {
        [&self.queries, &self.concurrent_max, &self.samples, &self.retries, &self.durations, &self.results_cache]
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
