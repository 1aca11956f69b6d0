//! Rows that several places of a plan use: evaluated once, for whichever place asks first, and kept until all have had them.
//!
//! No place waits for another: one that needs a batch which nobody has had yet takes it out of the evaluation itself. So
//! places may be read in any order, such as one to its end before the next is begun. What the slowest has still to read is
//! paid for in the query's memory and samples, of which it may be an [eighth](BACKLOG_SHARE). Once it is more, places that have not
//! begun are left to evaluate for themselves, as if nothing were shared: a large result that one place streams costs time
//! rather than memory.
//!
//! Statistics count what was written, not what was evaluated; see [`super::context::counting`].

mod backlog;

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashMap;
use parking_lot::Mutex;

use self::backlog::{Backlog, Most};
use super::context::counting;
use super::input::{RowStream, rows};
use super::node::Call;
use crate::batch::RowBatch;
use crate::plan::{Op, Share};

/// The part of the query's memory, and of its samples, that rows may take which one place has had and another has not.
const BACKLOG_SHARE: usize = 8;

/// What the places of one [`Op::Share`] have in common.
pub(super) struct SharedRows {
    places: usize,
    /// The input of the place that asked first. It is evaluated, those of the others are not.
    evaluated: OnceLock<Arc<dyn ExecutionPlan>>,
    partitions: Mutex<HashMap<usize, Arc<Partition>>>,
}

struct Partition {
    /// `None` before the first batch is asked for and after the last. Locked while a batch is made.
    source: tokio::sync::Mutex<Option<RowStream>>,
    backlog: Mutex<Backlog>,
}

impl SharedRows {
    pub(super) fn new(share: &Share) -> Self {
        Self { places: share.places as usize, evaluated: OnceLock::new(), partitions: Mutex::default() }
    }

    fn partition(&self, call: &Call) -> Arc<Partition> {
        let limits = &call.query.limits;
        let most = Most {
            bytes: limits.memory_bytes_max / BACKLOG_SHARE / call.partitions,
            points: limits.samples_max / (BACKLOG_SHARE * call.partitions) as u64,
        };
        let new = || Partition {
            source: tokio::sync::Mutex::default(),
            backlog: Mutex::new(Backlog::new(self.places, most, call)),
        };
        Arc::clone(self.partitions.lock().entry(call.partition).or_insert_with(|| Arc::new(new())))
    }
}

impl fmt::Debug for SharedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRows").field("places", &self.places).finish_non_exhaustive()
    }
}

pub(super) fn run(call: Call) -> Result<RowStream> {
    let read = async move {
        let Op::Share(share) = *call.op else { unreachable!("planned as a share") };
        // A plan that came from elsewhere has none; parts that are sent elsewhere have no such places.
        let shared =
            call.shared.clone().ok_or_else(|| internal_datafusion_err!("a place of nothing that is shared"))?;
        let partition = shared.partition(&call);
        if !partition.backlog.lock().begin(share.place as usize) {
            // Counted by the evaluation that this place has no part in.
            return rows(call.input_plan(0), call.partition, &counting(&call.task, 0), &call.query);
        }
        let reader = Reader { call, share, shared, partition };
        let batches = futures::stream::try_unfold(reader, |reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        });
        Ok(batches.boxed())
    };
    Ok(futures::stream::once(read).try_flatten().boxed())
}

/// A place while it is read.
struct Reader {
    call: Call,
    share: Share,
    shared: Arc<SharedRows>,
    partition: Arc<Partition>,
}

impl Reader {
    async fn next(&self) -> Result<Option<RowBatch>> {
        let place = self.share.place as usize;
        loop {
            if let Some(next) = self.partition.backlog.lock().next(place) {
                return next;
            }
            let mut source = self.partition.source.lock().await;
            // While this one waited, another may have made what it wants.
            if self.partition.backlog.lock().has_next(place) {
                continue;
            }
            let stream = match &mut *source {
                Some(stream) => stream,
                None => source.insert(self.evaluate()?),
            };
            let made = stream.try_next().await;
            if !matches!(made, Ok(Some(_))) {
                *source = None;
            }
            self.partition.backlog.lock().push(made);
        }
    }

    fn evaluate(&self) -> Result<RowStream> {
        let plan = self.shared.evaluated.get_or_init(|| Arc::clone(self.call.input_plan(0)));
        rows(plan, self.call.partition, &counting(&self.call.task, self.share.written), &self.call.query)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.partition.backlog.lock().leave(self.share.place as usize);
    }
}
