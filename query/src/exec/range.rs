//! Range functions: over the samples of a series inside a scan, and over the rows of a subquery.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use pharos_model::labels::{METRIC_NAME, TYPE_LABEL, iter_canonical};
use pharos_model::{CounterResetHint, FloatHistogram, LabelSet, TimestampMs};
use pharos_promql::Span;

use super::context::{QueryContext, fail};
use super::input::{Output, RowStream, batches};
use super::node::Call;
use crate::annotation::Annotation;
use crate::batch::{Row, RowBatch};
use crate::error::QueryError;
use crate::functions::{
    Grid, Notes, PointsOut, RangeFunction, RangeKernel, RangeWindow, ScalarArg, Selection, SeriesSamples, Surroundings,
    annotations,
};
use crate::plan::{NameRule, Op, RangeCall};
use crate::source::SampleColumns;

/// A kernel, and what surrounds it for each series.
#[derive(Debug)]
pub(super) struct RangeEval {
    kernel: RangeKernel,
    function: RangeFunction,
    arg_spans: Vec<Span>,
    /// Name and type of the metric that was last asked whether it is a counter.
    judged: Option<(String, String)>,
}

impl RangeEval {
    pub(super) fn new(call: &RangeCall, window: RangeWindow, grid: Grid, params: Vec<ScalarArg>) -> Self {
        let kernel = RangeKernel::new(call.function, grid, window, params);
        Self { kernel, function: call.function, arg_spans: call.arg_spans.clone(), judged: None }
    }

    /// Evaluates one series; `labels` are those it had before the function. Samples hold no staleness markers.
    pub(super) fn eval(
        &mut self,
        samples: SeriesSamples<'_>,
        labels: &[u8],
        out: PointsOut<'_>,
        call: &Call,
    ) -> Result<(), QueryError> {
        let query = &*call.query;
        let mut notes = Notes::default();
        let PointsOut { present, values, histograms } = out;
        let points = PointsOut { present: &mut *present, values, histograms: &mut *histograms };
        let go_on =
            || query.check_deadline().map_err(|e| QueryError::from_datafusion(&e, query.limits.memory_bytes_max));
        let around = Surroundings { metric_name: metric_name(labels), go_on: &go_on };
        self.kernel.eval_series(samples, around, points, &mut notes)?;
        let has_floats = (0..present.len()).any(|at| present[at] & !histograms.word(at) != 0);
        if self.function.wants_counter() && has_floats {
            self.check_counter(labels, query);
        }
        if !notes.is_empty() {
            query.annotations.add_notes(notes, &self.arg_spans);
        }
        if self.kernel.window().selection == Selection::Plain && !query.counts_per_step() {
            call.count_read(self.kernel.samples_read());
        } else {
            self.count(samples.floats.ts, |range| range.len() as u64, call);
        }
        if !samples.histograms.is_empty() {
            self.count(samples.histograms.ts, |range| samples.histograms.slice(range).weight(), call);
        }
        Ok(())
    }

    /// Says if the series does not look like a counter. Series of one metric follow each other: they are judged once.
    fn check_counter(&mut self, labels: &[u8], query: &QueryContext) {
        let value_of =
            |name: &str| iter_canonical(labels).find(|label| label.name == name).map_or("", |label| label.value);
        let name = value_of(METRIC_NAME);
        let metric_type = if query.type_and_unit_labels { value_of(TYPE_LABEL) } else { "" };
        if self.judged.as_ref().is_some_and(|judged| (judged.0.as_str(), judged.1.as_str()) == (name, metric_type)) {
            return;
        }
        self.judged = Some((name.to_owned(), metric_type.to_owned()));
        let labels = LabelSet::from_canonical_trusted(labels);
        if let Some(note) = annotations::counter_check(&labels, query.type_and_unit_labels) {
            let span = self.arg_spans.first().copied().unwrap_or_default();
            query.annotations.add(Annotation { note, span });
        }
    }

    /// Each step has read the samples in its window, which weigh what `weight` says.
    fn count(&self, ts: &[TimestampMs], weight: impl Fn(Range<usize>) -> u64, call: &Call) {
        let (grid, window) = (self.kernel.grid(), self.kernel.window());
        let (mut first, mut end, mut total) = (0, 0, 0u64);
        let mut read_at = |step: usize| {
            let window_end = window.at_ms.unwrap_or(grid.at(step)).saturating_sub(window.offset_ms);
            while end < ts.len() && ts[end] <= window_end {
                end += 1;
            }
            while first < end && ts[first] <= window_end.saturating_sub(window.range_ms) {
                first += 1;
            }
            weight(first..end)
        };
        if call.query.counts_per_step() {
            let reads: Vec<(usize, u64)> = (0..grid.n).map(|step| (step, read_at(step))).collect();
            total = reads.iter().map(|(_, samples)| samples).sum();
            call.count_read_at(reads.into_iter());
        } else {
            (0..grid.n).for_each(|step| total += read_at(step));
        }
        call.count_read(total);
    }
}

/// A range function whose samples are the rows of a subquery.
pub(super) fn over_subquery(call: Call) -> Result<RowStream> {
    let rows = call.rows(0)?;
    let evaluated = async move {
        let op = Arc::clone(&call.op);
        let Op::RangeOverSubquery { window, call: range_call, names } = &*op else {
            unreachable!("planned as a subquery")
        };
        let inner = window.grid(&call.grid).expect("the grid was made when the plan was bound");
        let params = call.params(&range_call.params).await?;
        let kernel_window = RangeWindow {
            range_ms: window.range_ms,
            offset_ms: window.shift.offset_ms,
            at_ms: window.shift.at,
            selection: Selection::Plain,
            lookback_ms: 0,
        };
        let mut rows_eval = RowsEval {
            range: RangeEval::new(range_call, kernel_window, call.grid, params),
            inner,
            names: *names,
            samples: SampleColumns::default(),
            labels: Vec::new(),
        };
        let steps = call.grid.n;
        Ok::<_, DataFusionError>(
            rows.map(move |batch| rows_eval.eval(&batch?, steps, &call).map(batches)).try_flatten(),
        )
    };
    Ok(futures::stream::once(evaluated).try_flatten().boxed())
}

struct RowsEval {
    range: RangeEval,
    inner: Grid,
    names: NameRule,
    /// Of the row under way.
    samples: SampleColumns,
    labels: Vec<u8>,
}

impl RowsEval {
    fn eval(&mut self, batch: &RowBatch, steps: usize, call: &Call) -> Result<Vec<RowBatch>> {
        let mut output = Output::new(steps);
        for row in batch.rows() {
            self.gather(row);
            let (labels, marked) = self.names.apply(row.labels, row.drop_name, &mut self.labels);
            let (samples, range) = (SeriesSamples::from(&self.samples), &mut self.range);
            let evaluated = output
                .builder()?
                .push_points(labels, marked, |out: PointsOut<'_>| range.eval(samples, row.labels, out, call));
            evaluated.map_err(fail)?;
        }
        output.finish()
    }

    /// The steps of an inner row as samples.
    fn gather(&mut self, row: Row<'_>) {
        self.samples.clear();
        for step in row.float_steps() {
            self.samples.ts.push(self.inner.at(step));
            self.samples.values.push(row.values[step]);
        }
        for (step, histogram) in row.histogram_steps() {
            self.samples.histogram_ts.push(self.inner.at(step));
            self.samples.histograms.push(without_hint(histogram));
        }
    }
}

/// The hint of a counter is about the sample before it in storage, which need not be the step before.
fn without_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
        CounterResetHint::CounterReset | CounterResetHint::NotCounterReset => {
            let counter_reset_hint = CounterResetHint::Unknown;
            Arc::new(FloatHistogram { counter_reset_hint, ..(**histogram).clone() })
        }
    }
}

/// The metric name for what there is to say, empty when there is none.
pub(super) fn metric_name(labels: &[u8]) -> &str {
    iter_canonical(labels).find(|label| label.name == METRIC_NAME).map_or("", |label| label.value)
}
