//! Brings a state machine up to date from the log when its group is opened.

use std::sync::Arc;

use super::{GroupContext, GroupError, Restored};
use crate::log::GroupHandle;
use crate::raft::{AppliedState, Machine, from_entry};

/// Most bytes of entries that are read and applied at once.
const REPLAY_BYTES_MAX: usize = 4 << 20;

/// Brings a state machine to the last entry known to be committed, before the core starts: the library would apply the whole
/// backlog in one piece.
pub(super) async fn replay(
    context: &GroupContext,
    log: &GroupHandle,
    restored: Restored,
) -> Result<Arc<Machine>, GroupError> {
    let group = log.id();
    let state = match &restored.raft_state {
        Some(bytes) => Some(AppliedState::decode(bytes).ok_or(GroupError::Position { group })?),
        None => None,
    };
    let applied = state.as_ref().and_then(|state| state.applied).map(|id| id.index);
    let purged = log.hard_state().purged.map(|id| id.index);
    if let Some(purged) = purged.filter(|_| applied < purged) {
        return Err(GroupError::CheckpointLost { group, purged, applied });
    }
    let machine = Machine::new(restored.machine, state, context.metrics.clone(), Arc::clone(&context.clock));
    let Some(committed) = log.hard_state().committed.map(|id| id.index) else { return Ok(machine) };
    let from = applied.map_or(0, |applied| applied + 1);
    if from > committed {
        return Ok(machine);
    }
    let _permit = context.replays.acquire().await;
    let (log, replaying) = (log.clone(), Arc::clone(&machine));
    let replayed = crate::blocking::spawn(move || replay_range(&log, &replaying, from, committed)).await;
    let entries = replayed.map_err(|panicked| GroupError::Apply { group, reason: panicked.to_string() })??;
    context.metrics.replayed_entries.inc_by(entries);
    Ok(machine)
}

fn replay_range(log: &GroupHandle, machine: &Machine, from: u64, last: u64) -> Result<u64, GroupError> {
    let group = log.id();
    let mut next = from;
    while next <= last {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while next <= last && bytes < REPLAY_BYTES_MAX {
            let read = log.read(next, next + 1).map_err(|source| GroupError::Replay { group, source })?;
            let Some(entry) = read.into_iter().next() else { break };
            bytes += entry.payload.bytes();
            entries.push(from_entry(entry).map_err(|error| GroupError::Apply { group, reason: error.to_string() })?);
            next += 1;
        }
        if entries.is_empty() {
            return Err(GroupError::Apply { group, reason: format!("entry {next} is missing from the log") });
        }
        machine.apply(entries);
    }
    Ok(next - from)
}
