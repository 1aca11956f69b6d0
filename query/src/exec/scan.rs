//! Reads series and evaluates each on the grid at once: the newest sample of each step, or a fused range function.
//!
//! One output partition reads several of the source's partitions, one after the other. A series lives in exactly one of
//! them, so no row appears twice. Where there are more threads than partitions to read, those of a large selection share it
//! ([`lanes`]).

mod evaluate;
mod lanes;
mod request;

use datafusion::common::{DataFusionError, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use self::evaluate::Evaluator;
pub use self::request::request_of;
use super::input::RowStream;
use super::node::Call;
use super::select::{Selected, selections, threads};
use crate::batch::RowBatch;
use crate::plan::Op;
use crate::source::SeriesBatch;

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
    evaluator: Evaluator,
    /// Threads for each selection.
    threads: usize,
    /// What several of them make of one.
    side_by_side: Option<RowStream>,
}

impl Scanner {
    async fn new(call: Call) -> Result<Self> {
        let Op::Scan(scan) = &*call.op else { unreachable!("planned as a scan") };
        let mut request = request_of(scan, &call.grid, &call.query.tenant);
        request.starts &= call.query.use_start_timestamps;
        Ok(Self {
            evaluator: Evaluator::new(&call).await?,
            threads: threads(&call, &request)?,
            selections: selections(&call, request)?,
            selected: None,
            pending: None,
            side_by_side: None,
            call,
        })
    }

    /// The next batch with at least one row.
    async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        loop {
            // Rows of the selections before come first.
            if self.evaluator.is_full() || self.side_by_side.is_some() && !self.evaluator.is_empty() {
                return self.evaluator.finish().map(Some);
            }
            if let Some(rows) = &mut self.side_by_side {
                match rows.try_next().await? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.side_by_side = None,
                }
            }
            if let Some((series, first)) = self.pending.take() {
                let stopped = self.evaluator.evaluate(&*series, first..series.len())?;
                self.pending = (stopped < series.len()).then_some((series, stopped));
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
                Some(selected) => self.begin(selected?).await?,
                None if self.evaluator.is_empty() => return Ok(None),
                None => return self.evaluator.finish().map(Some),
            }
        }
    }

    async fn begin(&mut self, selected: Selected) -> Result<()> {
        if self.threads == 1 || !lanes::pays(&selected) {
            self.selected = Some(selected);
            return Ok(());
        }
        let mut evaluators = Vec::with_capacity(self.threads);
        for _ in 0..self.threads {
            evaluators.push(Evaluator::new(&self.call).await?);
        }
        self.side_by_side = Some(lanes::rows(selected, evaluators, &self.call));
        Ok(())
    }
}
