//! Carries a step out that the controller decided, perhaps long ago: at the node that it is for, if it still is right there.

use std::time::Duration;

use pharos_model::PartitionId;

use super::messages::{Condition, Task};
use crate::group::{At, Group};
use crate::log::entry::GroupId;
use crate::node::{META_GROUP, Node, group_of, partition_of};

/// Why a step was not carried out; said to the controller.
type Refusal = String;

/// `lead_silence`: a replica is not dropped while a leader was heard within that.
pub(super) async fn carry_out(node: &Node, task: Task, lead_silence: Duration) -> Result<(), Refusal> {
    match task {
        Task::Change { at, step } => {
            let group = guarded(node, at)?;
            group.step(At { term: at.term, config: at.config }, step).await.map_err(|error| error.to_string())
        }
        Task::Transfer { at, to } => {
            let group = guarded(node, at)?;
            group.check(At { term: at.term, config: at.config }).map_err(|error| error.to_string())?;
            group.transfer(to).await.map_err(|error| error.to_string())
        }
        Task::Drop { partition, epoch, config } => {
            let partition = PartitionId(partition);
            may_drop(node, partition, epoch, config, lead_silence)?;
            node.drop_replica(partition, config).await.map_err(|error| error.to_string())
        }
    }
}

/// The group that a step is for, if the placement here is that of the step.
fn guarded(node: &Node, at: Condition) -> Result<std::sync::Arc<Group>, Refusal> {
    let id = GroupId(at.group);
    if let Some(partition) = partition_of(id) {
        check_epoch(node, partition, at.epoch)?;
    }
    let open =
        if id == META_GROUP { Some(node.meta_group()) } else { partition_of(id).and_then(|at| node.replica(at)) };
    open.ok_or_else(|| format!("this node has no replica of group {id}"))
}

fn check_epoch(node: &Node, partition: PartitionId, epoch: u64) -> Result<(), Refusal> {
    let topology = node.meta().topology();
    let here = topology.borrow().placement.get(usize::from(partition.0)).map(|placed| placed.epoch);
    if here == Some(epoch) {
        return Ok(());
    }
    Err(format!("the placement of partition {partition} is of epoch {here:?} here, the step of {epoch}"))
}

fn may_drop(
    node: &Node,
    partition: PartitionId,
    epoch: u64,
    config: u64,
    lead_silence: Duration,
) -> Result<(), Refusal> {
    check_epoch(node, partition, epoch)?;
    let topology = node.meta().topology();
    let named = topology.borrow().placement.get(usize::from(partition.0)).is_some_and(|at| at.names(node.node_id()));
    if named {
        return Err(format!("the placement gives partition {partition} to this node"));
    }
    let Some(group) = node.replica(partition) else { return Ok(()) };
    if group.config() > config {
        return Err(format!("group {} has a configuration that is newer than the step", group_of(partition)));
    }
    let lately = group.leader_silence().is_some_and(|silence| silence < lead_silence);
    if lately || group.standing().leads {
        return Err(format!("group {} has a leader that counts on this replica", group_of(partition)));
    }
    Ok(())
}
