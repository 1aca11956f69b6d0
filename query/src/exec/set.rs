//! `and`, `or`, `unless`: bitmap operations within each match group.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashMap;

use super::context::QueryContext;
use super::input::{Gathered, Output, RowStream, batches, once};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowBatch};
use crate::plan::{Grouping, Op, SetOp};

pub(super) fn run(call: Call) -> Result<RowStream> {
    let Op::Set { op, .. } = &*call.op else { unreachable!("planned as a set operator") };
    Ok(match op {
        SetOp::And => filtered(call, |left, right| left & right),
        SetOp::Unless => filtered(call, |left, right| left & !right),
        SetOp::Or => once(async move { or(&call).await }),
    })
}

fn grouping(op: &Op) -> &Grouping {
    let Op::Set { grouping, .. } = op else { unreachable!("planned as a set operator") };
    grouping
}

/// Steps at which a match group has a row.
struct Presence {
    groups: HashMap<Vec<u8>, Vec<u64>>,
    /// What a group without rows has.
    none: Vec<u64>,
    key: Vec<u8>,
}

impl Presence {
    fn new(words: usize) -> Self {
        Self { groups: HashMap::new(), none: vec![0; words], key: Vec::new() }
    }

    fn add(&mut self, grouping: &Grouping, row: Row<'_>) {
        grouping.key_of(row.labels, &mut self.key);
        let present = self.groups.entry_ref(self.key.as_slice()).or_insert_with(|| self.none.clone());
        present.iter_mut().zip(row.present).for_each(|(own, more)| *own |= more);
    }

    fn of(&mut self, grouping: &Grouping, row: Row<'_>) -> &[u64] {
        grouping.key_of(row.labels, &mut self.key);
        self.groups.get(self.key.as_slice()).unwrap_or(&self.none)
    }

    fn bytes(&self) -> usize {
        self.groups.len() * (self.none.len() * 8 + 64)
    }
}

/// Left rows, at the steps that `keep` leaves of their bitmap and that of their group on the right. Only the bitmaps of the
/// right side are kept; the left side passes batch by batch.
fn filtered(call: Call, keep: fn(u64, u64) -> u64) -> RowStream {
    let left = async move {
        let mut filter = Filter::new(&call, keep).await?;
        let left = call.rows(0)?;
        Ok::<_, DataFusionError>(left.map(move |batch| filter.batch(&batch?).map(batches)).try_flatten())
    };
    futures::stream::once(left).try_flatten().boxed()
}

struct Filter {
    op: Arc<Op>,
    steps: usize,
    keep: fn(u64, u64) -> u64,
    right: Presence,
    /// Pays for `right`.
    _reservation: MemoryReservation,
}

impl Filter {
    async fn new(call: &Call, keep: fn(u64, u64) -> u64) -> Result<Self> {
        let mut right = Presence::new(call.grid.words());
        let reservation = QueryContext::reserve(&call.task, "set operator");
        let mut rows = call.rows(1)?;
        while let Some(batch) = rows.try_next().await? {
            batch.rows().for_each(|row| right.add(grouping(&call.op), row));
            reservation.try_resize(right.bytes())?;
        }
        Ok(Self { op: Arc::clone(&call.op), steps: call.grid.n, keep, right, _reservation: reservation })
    }

    fn batch(&mut self, left: &RowBatch) -> Result<Vec<RowBatch>> {
        let mut output = Output::new(self.steps);
        let mut present = Vec::with_capacity(self.right.none.len());
        for row in left.rows() {
            let other = self.right.of(grouping(&self.op), row);
            present.clear();
            present.extend(row.present.iter().zip(other).map(|(left, right)| (self.keep)(*left, *right)));
            output.builder()?.push(Row { present: &present, ..row });
        }
        output.finish()
    }
}

/// All left rows, and right rows at the steps where their group has no left row.
async fn or(call: &Call) -> Result<Vec<RowBatch>> {
    let grouping = grouping(&call.op);
    let left = Gathered::from_input(call, 0).await?;
    let mut presence = Presence::new(call.grid.words());
    let mut merger = RowMerger::new(call.grid.n);
    for row in left.rows.rows() {
        call.query.check_deadline()?;
        presence.add(grouping, row);
        merger.add(row)?;
    }
    let mut right = call.rows(1)?;
    let reservation = QueryContext::reserve(&call.task, "set operator");
    while let Some(batch) = right.try_next().await? {
        for row in batch.rows() {
            let other = presence.of(grouping, row);
            let present: Vec<u64> = row.present.iter().zip(other).map(|(right, left)| right & !left).collect();
            if present.iter().any(|word| *word != 0) {
                merger.add(Row { present: &present, ..row })?;
            }
        }
        reservation.try_resize(merger.bytes() + presence.bytes())?;
    }
    merger.finish(&call.query)
}
