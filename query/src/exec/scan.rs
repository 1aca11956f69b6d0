//! Reads series and evaluates each on the grid at once: the newest sample of each step, or a fused range function.
//!
//! One output partition reads several of the source's partitions, one after the other. A series lives in exactly one of
//! them, so no row appears twice.

mod request;

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pharos_model::FloatHistogram;

use self::request::Look;
pub use self::request::request_of;
use super::context::fail;
use super::input::RowStream;
use super::instant::{self, InstantRead, InstantSeries, References};
use super::measure::Counters;
use super::node::Call;
use super::range::{RangeEval, metric_name};
use super::select::{Selected, selections};
use crate::batch::{BatchBuilder, RowBatch};
use crate::functions::histogram::stats::reduce_to_totals;
use crate::functions::{HistogramSamples, Notes, PointsOut};
use crate::plan::{NameRule, Op, Read, Scan, TimeShift};
use crate::source::{SampleColumns, SeriesBatch};

pub(super) fn run(call: Call) -> Result<RowStream> {
    let batches = async move {
        let scanner = Scanner::new(call).await?;
        Ok::<_, DataFusionError>(futures::stream::try_unfold(scanner, |mut scanner| async move {
            Ok(scanner.next_batch().await?.map(|batch| (batch, scanner)))
        }))
    };
    Ok(futures::stream::once(batches).try_flatten().boxed())
}

struct Scanner {
    call: Call,
    /// Of the source's partitions that are this one's to read.
    selections: BoxStream<'static, Result<Selected>>,
    selected: Option<Selected>,
    /// Series that were read from the source but not evaluated yet.
    pending: Option<(Box<dyn SeriesBatch>, usize)>,
    read: Counters,
    evaluator: Evaluator,
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

/// What becomes of a series' samples.
enum Evaluator {
    Instant { read: InstantRead, shift: TimeShift },
    Range(Box<RangeEval>),
}

impl Scanner {
    async fn new(call: Call) -> Result<Self> {
        let op = Arc::clone(&call.op);
        let Op::Scan(scan) = &*op else { unreachable!("planned as a scan") };
        let evaluator = Evaluator::new(scan, &call).await?;
        let request = request_of(scan, &call.grid, &call.query.tenant);
        let read = call.read.clone().expect("a node that scans counts what it reads");
        Ok(Self {
            selections: selections(&call, request)?,
            selected: None,
            pending: None,
            read,
            evaluator,
            names: scan.names,
            totals_only: scan.totals_only,
            builder: BatchBuilder::new(call.grid.n),
            decoded: SampleColumns::default(),
            live: SampleColumns::default(),
            totals: Vec::new(),
            labels: Vec::new(),
            call,
        })
    }

    /// The next batch with at least one row.
    async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        loop {
            if self.builder.is_full() {
                return self.builder.finish().map(Some);
            }
            if let Some((series, first)) = self.pending.take() {
                self.evaluate(series, first)?;
                continue;
            }
            self.call.query.checkpoint().await?;
            if let Some(selected) = &mut self.selected {
                match selected.next_batch(&**self.call.query.clock()).await? {
                    Some(series) => self.pending = Some((series, 0)),
                    None => self.selected = None,
                }
                continue;
            }
            match self.selections.next().await {
                Some(selected) => self.selected = Some(selected?),
                None if self.builder.is_empty() => return Ok(None),
                None => return self.builder.finish().map(Some),
            }
        }
    }

    /// Evaluates series until the batch is full; what is left stays pending.
    fn evaluate(&mut self, series: Box<dyn SeriesBatch>, first: usize) -> Result<()> {
        for i in first..series.len() {
            if self.builder.is_full() {
                self.pending = Some((series, i));
                return Ok(());
            }
            self.call.query.check_awaited()?;
            self.evaluate_one(&*series, i)?;
        }
        Ok(())
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
        let evaluated = match &mut self.evaluator {
            Evaluator::Instant { read, shift } => self.builder.push_points(sent, marked, |mut out: PointsOut<'_>| {
                let mut notes = Notes::default();
                let series = InstantSeries { samples, metric_name: metric_name(labels) };
                instant::eval(*read, series, References { grid, shift }, &mut out, &mut notes);
                self.call.add_notes(notes);
                count_instant(&self.call, &out);
                Ok(())
            }),
            Evaluator::Range(range) => {
                let live = instant::without_stale(samples, &mut self.live);
                self.builder.push_points(sent, marked, |out: PointsOut<'_>| range.eval(live, labels, out, &self.call))
            }
        };
        query.release_samples(held);
        evaluated.map_err(fail)
    }
}

impl Evaluator {
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
