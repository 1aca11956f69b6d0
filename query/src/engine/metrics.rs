//! What the engine says about itself, under the names that Prometheus has and its mixin uses.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts};

use crate::value::QueryStats;

/// Upper bounds of query durations in seconds.
const DURATION_BUCKETS: [f64; 8] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// The engine's metrics; a [`Collector`], to be put into the node's registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    queries: IntGauge,
    concurrent_max: IntGauge,
    samples: IntCounter,
    pub(super) queue_time: Histogram,
    prepare_time: Histogram,
    inner_eval: Histogram,
    result_sort: Histogram,
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
        let duration = |slice: &str| {
            let opts = HistogramOpts::new(
                "prometheus_engine_query_duration_seconds",
                "The duration of various parts of PromQL query execution.",
            );
            let opts = opts.const_label("slice", slice).buckets(DURATION_BUCKETS.to_vec());
            Histogram::with_opts(opts).expect(VALID)
        };
        let metrics = Self {
            queries: gauge("prometheus_engine_queries", "The current number of queries being executed or waiting."),
            concurrent_max: gauge("prometheus_engine_queries_concurrent_max", "The max number of concurrent queries."),
            samples: IntCounter::new(
                "prometheus_engine_query_samples_total",
                "The total number of samples loaded by all queries.",
            )
            .expect(VALID),
            queue_time: duration("queue_time"),
            prepare_time: duration("prepare_time"),
            inner_eval: duration("inner_eval"),
            result_sort: duration("result_sort"),
        };
        metrics.concurrent_max.set(i64::try_from(concurrent_max).unwrap_or(i64::MAX));
        metrics
    }

    pub(super) fn begin(&self) -> Counted {
        self.queries.inc();
        Counted(self.queries.clone())
    }

    pub(super) fn observe(&self, stats: &QueryStats) {
        self.samples.inc_by(stats.total_queryable_samples);
        self.prepare_time.observe(stats.query_preparation_secs);
        self.inner_eval.observe(stats.inner_eval_secs);
        self.result_sort.observe(stats.result_sort_secs);
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.queries,
            &self.concurrent_max,
            &self.samples,
            &self.queue_time,
            &self.prepare_time,
            &self.inner_eval,
            &self.result_sort,
        ]
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    /// Slices of one histogram are one family, as its exposition wants it.
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: Vec<MetricFamily> = Vec::new();
        for family in self.parts().into_iter().flat_map(Collector::collect) {
            match families.iter_mut().find(|known| known.name() == family.name()) {
                Some(known) => known.mut_metric().extend(family.get_metric().iter().cloned()),
                None => families.push(family),
            }
        }
        families
    }
}
