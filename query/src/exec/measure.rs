//! What each node counts of itself, in one place: what it gives, how long it was busy, and, of a scan, what it reads.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::common::Result;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, Time};
use futures::Stream;
use pharos_model::Clock;

use super::input::RowStream;
use crate::batch::RowBatch;
use crate::plan::Figures;

/// Names of the metrics, for what a node gives and for what it reads.
struct Names {
    series: &'static str,
    samples: &'static str,
    bytes: &'static str,
    seconds: &'static str,
}

const GIVEN: Names = Names { series: "series", samples: "samples", bytes: "bytes", seconds: "busy" };
const READ: Names =
    Names { series: "read_series", samples: "read_samples", bytes: "read_bytes", seconds: "read_waiting" };

/// Figures of one node, all its partitions together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    pub figures: Figures,
    /// Of what a node gives: its own work, that of its inputs left out, of all threads. Of what it reads: waiting for the source.
    pub seconds: f64,
}

/// One partition's share of what a node gives, or reads.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    series: Count,
    samples: Count,
    bytes: Count,
    time: Time,
}

impl Counters {
    fn new(set: &ExecutionPlanMetricsSet, names: &Names, partition: usize) -> Self {
        let count = |name| MetricBuilder::new(set).counter(name, partition);
        Self {
            series: count(names.series),
            samples: count(names.samples),
            bytes: count(names.bytes),
            time: MetricBuilder::new(set).subset_time(names.seconds, partition),
        }
    }

    pub(super) fn given(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self::new(set, &GIVEN, partition)
    }

    pub(super) fn read(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self::new(set, &READ, partition)
    }

    /// Counts rows; `samples` are those that they hold.
    pub(super) fn add_rows(&self, batch: &RowBatch, samples: u64) {
        self.series.add(batch.len());
        self.samples.add(samples as usize);
        self.bytes.add(batch.bytes());
    }

    pub(super) fn add_series(&self, series: usize, bytes: usize) {
        self.series.add(series);
        self.bytes.add(bytes);
    }

    pub(super) fn add_samples(&self, samples: u64) {
        self.samples.add(samples as usize);
    }

    pub(super) fn add_time(&self, time: Duration) {
        self.time.add_duration(time);
    }

    /// Counts how long something takes, waiting included.
    pub(super) async fn waiting<T>(&self, clock: &dyn Clock, something: impl Future<Output = T>) -> T {
        let begun = clock.monotonic();
        let done = something.await;
        self.time.add_duration(clock.monotonic().saturating_sub(begun));
        done
    }
}

/// What a node has given so far, and what it has read if it is one that reads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OperatorFigures {
    pub given: Measured,
    pub read: Measured,
}

impl Measured {
    /// Of both together.
    pub fn plus(self, more: Self) -> Self {
        Self { figures: self.figures.plus(more.figures), seconds: self.seconds + more.seconds }
    }
}

pub fn measured(metrics: &MetricsSet) -> OperatorFigures {
    let sum = |name| metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64);
    let of = |names: Names| Measured {
        figures: Figures { series: sum(names.series), samples: sum(names.samples), bytes: sum(names.bytes) },
        seconds: Duration::from_nanos(sum(names.seconds)).as_secs_f64(),
    };
    OperatorFigures { given: of(GIVEN), read: of(READ) }
}

thread_local! {
    /// How long nodes below the one that is being polled were busy. A node polls its inputs on its own thread, or not at all.
    static BELOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A node's rows, timed while they are made.
pub(super) struct Timed {
    rows: RowStream,
    counters: Counters,
    clock: Arc<dyn Clock>,
}

impl Timed {
    pub(super) fn new(rows: RowStream, counters: Counters, clock: Arc<dyn Clock>) -> Self {
        Self { rows, counters, clock }
    }
}

impl Stream for Timed {
    type Item = Result<RowBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let beside = BELOW.replace(Duration::ZERO);
        let begun = self.clock.monotonic();
        let polled = self.rows.as_mut().poll_next(context);
        let took = self.clock.monotonic().saturating_sub(begun);
        self.counters.time.add_duration(took.saturating_sub(BELOW.get()));
        BELOW.set(beside + took);
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use pharos_model::clock::ManualClock;

    use super::*;

    #[test]
    fn a_node_is_not_charged_for_its_inputs() {
        let clock = Arc::new(ManualClock::default());
        let sets = [ExecutionPlanMetricsSet::new(), ExecutionPlanMetricsSet::new()];
        let busy = |mut below: Option<Timed>, millis: u64, set: &ExecutionPlanMetricsSet| {
            let (own, polls) = (Arc::clone(&clock), 3);
            let mut polled = 0;
            let rows = futures::stream::poll_fn(move |context| {
                own.advance(Duration::from_millis(millis));
                polled += 1;
                match &mut below {
                    Some(below) => below.poll_next_unpin(context),
                    None if polled < polls => {
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    None => Poll::Ready(None),
                }
            });
            let clock: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
            Timed::new(rows.boxed(), Counters::given(set, 0), clock)
        };
        let top = busy(Some(busy(None, 10, &sets[0])), 1, &sets[1]);
        assert!(futures::executor::block_on(top.collect::<Vec<_>>()).is_empty());
        let seconds = sets.map(|set| measured(&set.clone_inner()).given.seconds);
        assert_eq!(seconds, [0.030, 0.003]);
    }
}
