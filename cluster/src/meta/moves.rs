//! Changes of a partition's placement: compare-and-set of its epoch, each at most once however often it is asked for.

use super::topology::{Move, PartitionPlacement, Topology};
use crate::peers::NodeId;

/// Why a placement is not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unplaced {
    /// The epoch was another one, or another move is under way.
    Conflict,
    /// It could not be right at any epoch.
    Refused(String),
}

impl Topology {
    /// Begins a move if the placement is still at `epoch` and nothing moves.
    pub(crate) fn begin_move(&mut self, partition: u16, epoch: u64, moving: Move) -> Result<(), Unplaced> {
        let placed = self.placed(partition)?;
        if placed.epoch != epoch {
            return Err(Unplaced::Conflict);
        }
        match placed.moving {
            Some(now) if now == moving => return Ok(()),
            Some(_) => return Err(Unplaced::Conflict),
            None => (),
        }
        let Move { add, remove } = moving;
        if (add.is_none() && remove.is_none()) || !self.move_fits(placed, moving) {
            return Err(Unplaced::Refused(format!("{moving:?} does not fit replicas {:?}", placed.replicas)));
        }
        if let Some(node) = add.filter(|node| !self.is_active(*node)) {
            return Err(Unplaced::Refused(format!("node {node:016x} is no active member")));
        }
        self.place(partition, |placed| placed.moving = Some(moving));
        Ok(())
    }

    /// Ends the move that began at `epoch`: who came is a replica, who went is none.
    pub(crate) fn finish_move(&mut self, partition: u16, epoch: u64, moving: Move) -> Result<(), Unplaced> {
        self.end_move(partition, epoch, moving, true)
    }

    /// Gives up the move that began at `epoch`.
    pub(crate) fn cancel_move(&mut self, partition: u16, epoch: u64, moving: Move) -> Result<(), Unplaced> {
        self.end_move(partition, epoch, moving, false)
    }

    fn end_move(&mut self, partition: u16, epoch: u64, moving: Move, finish: bool) -> Result<(), Unplaced> {
        let placed = self.placed(partition)?;
        // Asked again by somebody who did not learn how it ended.
        if epoch.checked_add(1) == Some(placed.epoch) && ended(placed, moving, finish) {
            return Ok(());
        }
        if placed.epoch != epoch || placed.moving != Some(moving) {
            return Err(Unplaced::Conflict);
        }
        let replicas = if finish { placed.after_move() } else { placed.replicas.clone() };
        self.place(partition, |placed| {
            *placed = PartitionPlacement { epoch: epoch + 1, revision: 0, replicas, moving: None };
        });
        Ok(())
    }

    /// Makes a replica the preferred leader, if the placement is still at `epoch` and nothing moves.
    pub(crate) fn prefer(&mut self, partition: u16, epoch: u64, leader: NodeId) -> Result<(), Unplaced> {
        let placed = self.placed(partition)?;
        if epoch.checked_add(1) == Some(placed.epoch) && placed.replicas.first() == Some(&leader) {
            return Ok(());
        }
        if placed.epoch != epoch || placed.moving.is_some() {
            return Err(Unplaced::Conflict);
        }
        let Some(at) = placed.replicas.iter().position(|node| *node == leader) else {
            return Err(Unplaced::Refused(format!("node {leader:016x} has no replica of partition {partition}")));
        };
        self.place(partition, |placed| {
            placed.epoch += 1;
            placed.replicas[..=at].rotate_right(1);
        });
        Ok(())
    }

    fn placed(&self, partition: u16) -> Result<&PartitionPlacement, Unplaced> {
        let reason = || Unplaced::Refused(format!("partition {partition} of {}", self.placement.len()));
        self.placement.get(usize::from(partition)).ok_or_else(reason)
    }

    fn place(&mut self, partition: u16, change: impl FnOnce(&mut PartitionPlacement)) {
        let revision = self.revise();
        let placed = &mut self.placement[usize::from(partition)];
        change(placed);
        placed.revision = revision;
    }
}

/// Whether these replicas are those after the move, or those before it.
fn ended(placed: &PartitionPlacement, moving: Move, finish: bool) -> bool {
    let has = |node: NodeId| placed.replicas.contains(&node);
    moving.add.is_none_or(|node| has(node) == finish) && moving.remove.is_none_or(|node| has(node) != finish)
}
