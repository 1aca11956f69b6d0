//! `and`, `or`, `unless`: bitmap operations within each match group.

use datafusion::common::Result;
use futures::TryStreamExt;
use hashbrown::HashMap;

use super::context::QueryContext;
use super::input::{Gathered, Output, RowStream, once};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowBatch};
use crate::plan::{Grouping, Op, SetOp};

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Set { op, grouping } = &*call.op else { unreachable!("planned as a set operator") };
        match op {
            SetOp::And => filter(&call, grouping, |left, right| left & right).await,
            SetOp::Unless => filter(&call, grouping, |left, right| left & !right).await,
            SetOp::Or => or(&call, grouping).await,
        }
    }))
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

/// Left rows, at the steps that `keep` leaves of their bitmap and that of their group on the right.
async fn filter(call: &Call, grouping: &Grouping, keep: impl Fn(u64, u64) -> u64) -> Result<Vec<RowBatch>> {
    let mut presence = Presence::new(call.grid.words());
    let mut right = call.rows(1)?;
    let reservation = QueryContext::reserve(&call.task, "set operator");
    while let Some(batch) = right.try_next().await? {
        batch.rows().for_each(|row| presence.add(grouping, row));
        reservation.try_resize(presence.bytes())?;
    }
    let mut left = call.rows(0)?;
    let mut output = Output::new(call.grid.n);
    while let Some(batch) = left.try_next().await? {
        for row in batch.rows() {
            let other = presence.of(grouping, row);
            let present: Vec<u64> = row.present.iter().zip(other).map(|(left, right)| keep(*left, *right)).collect();
            output.builder()?.push(Row { present: &present, ..row });
        }
    }
    output.finish()
}

/// All left rows, and right rows at the steps where their group has no left row.
async fn or(call: &Call, grouping: &Grouping) -> Result<Vec<RowBatch>> {
    let left = Gathered::from_input(call, 0).await?;
    let mut presence = Presence::new(call.grid.words());
    let mut merger = RowMerger::new(call.grid.n);
    for row in left.rows.rows() {
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
    merger.finish()
}
