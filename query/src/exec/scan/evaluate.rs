//! What becomes of the samples of a series: evaluated on the grid, one row for each.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::Result;
use pharos_model::FloatHistogram;

use super::request::Look;
use crate::batch::{BatchBuilder, RowBatch};
use crate::exec::context::fail;
use crate::exec::instant::{self, InstantRead, InstantSeries, References};
use crate::exec::measure::Counters;
use crate::exec::node::Call;
use crate::exec::range::{RangeEval, metric_name};
use crate::functions::histogram::stats::reduce_to_totals;
use crate::functions::{HistogramSamples, Notes, PointsOut};
use crate::plan::{NameRule, Op, Read, Scan, TimeShift};
use crate::source::{SampleColumns, SeriesBatch};

/// Evaluates one series after the other.
pub(super) struct Evaluator {
    call: Call,
    read: Counters,
    kernel: Kernel,
    names: NameRule,
    /// Whether the buckets of native histograms are left out.
    totals_only: bool,
    builder: BatchBuilder,
    /// Where the source decodes a series.
    decoded: SampleColumns,
    /// A series without its staleness markers.
    live: SampleColumns,
    /// Its native histograms without their buckets.
    totals: Vec<Arc<FloatHistogram>>,
    labels: Vec<u8>,
}

enum Kernel {
    Instant { read: InstantRead, shift: TimeShift },
    Range(Box<RangeEval>),
}

impl Evaluator {
    pub(super) async fn new(call: &Call) -> Result<Self> {
        let Op::Scan(scan) = &*call.op else { unreachable!("planned as a scan") };
        Ok(Self {
            kernel: Kernel::new(scan, call).await?,
            read: call.read.clone().expect("a node that scans counts what it reads"),
            names: scan.names,
            totals_only: scan.totals_only,
            builder: BatchBuilder::new(call.grid.n),
            decoded: SampleColumns::default(),
            live: SampleColumns::default(),
            totals: Vec::new(),
            labels: Vec::new(),
            call: call.clone(),
        })
    }

    /// Whether there are rows that were not taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Takes the rows so far.
    pub(super) fn finish(&mut self) -> Result<RowBatch> {
        self.builder.finish()
    }

    /// Evaluates series until the batch is full. Where it stopped.
    pub(super) fn evaluate(&mut self, series: &dyn SeriesBatch, some: Range<usize>) -> Result<usize> {
        for i in some.clone() {
            if self.builder.is_full() {
                return Ok(i);
            }
            self.call.query.check_awaited()?;
            self.evaluate_one(series, i)?;
        }
        Ok(some.end)
    }

    fn evaluate_one(&mut self, series: &dyn SeriesBatch, i: usize) -> Result<()> {
        let labels = series.label_bytes(i);
        let mut samples = series.samples(i, &mut self.decoded).map_err(fail)?;
        let (query, grid) = (&self.call.query, &self.call.grid);
        let held = samples.weight();
        query.hold_samples(held)?;
        self.read.add_samples(held);
        if !query.use_start_timestamps {
            samples = samples.without_starts();
        }
        if self.totals_only && !samples.histograms.is_empty() {
            reduce_to_totals(samples.histograms.list, &mut self.totals);
            samples.histograms = HistogramSamples { list: &self.totals, ..samples.histograms };
        }
        let (sent, marked) = self.names.apply(labels, false, &mut self.labels);
        let evaluated = match &mut self.kernel {
            Kernel::Instant { read, shift } => self.builder.push_points(sent, marked, |mut out: PointsOut<'_>| {
                let mut notes = Notes::default();
                let series = InstantSeries { samples, metric_name: metric_name(labels) };
                instant::eval(*read, series, References { grid, shift }, &mut out, &mut notes);
                self.call.add_notes(notes);
                count_instant(&self.call, &out);
                Ok(())
            }),
            Kernel::Range(range) => {
                let live = instant::without_stale(samples, &mut self.live);
                self.builder.push_points(sent, marked, |out: PointsOut<'_>| range.eval(live, labels, out, &self.call))
            }
        };
        query.release_samples(held);
        evaluated.map_err(fail)
    }
}

impl Kernel {
    async fn new(scan: &Scan, call: &Call) -> Result<Self> {
        Ok(match (Look::of(scan), &scan.read) {
            (Look::Range(window), Read::Range { call: range_call, .. }) => {
                let params = call.params(&range_call.params).await?;
                Self::Range(Box::new(RangeEval::new(range_call, window, call.grid, params)))
            }
            (Look::Instant(read), _) => Self::Instant { read, shift: scan.selector.shift },
            (Look::Range(_), _) => unreachable!("only a range is looked at as one"),
        })
    }
}

/// Each step that found a sample has read one, or a histogram.
fn count_instant(call: &Call, out: &PointsOut<'_>) {
    let floats: u64 = out.present.iter().map(|word| u64::from(word.count_ones())).sum();
    let weight = |histogram: &FloatHistogram| histogram.size_in_samples() as u64;
    call.count_read(floats + out.histograms.iter().map(|(_, histogram)| weight(histogram) - 1).sum::<u64>());
    if call.query.counts_per_step() {
        let weight_at = |step| out.histograms.get(step).map_or(1, |histogram| weight(histogram));
        call.count_read_at(crate::functions::grid::set_steps(out.present).map(|step| (step, weight_at(step))));
    }
}
