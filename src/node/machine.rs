//! A partition's store as the state machine of its Raft group.

use std::sync::Arc;

use bytes::Bytes;
use pharos_cluster::{CheckpointError, FinishCheckpoint, StateMachine};
use pharos_storage::partition::{self, Partition};

/// Hands committed commands to the store.
#[derive(Debug)]
pub struct Machine(pub Arc<Partition>);

impl StateMachine for Machine {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        commands.iter().map(|command| Bytes::from(self.0.apply(command))).collect()
    }

    fn begin_checkpoint(&self, raft_state: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        let capture = self.0.capture_checkpoint(&raft_state).map_err(store_error)?;
        let partition = Arc::clone(&self.0);
        Ok(Box::new(move || partition.save_checkpoint(capture).map_err(store_error)))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        // The group's own state travels beside the export; the receiver gets it with `install`.
        Ok(self.0.export_checkpoint())
    }

    fn install(&self, snapshot: &[u8], raft_state: Bytes) -> Result<(), CheckpointError> {
        self.0.install_checkpoint(snapshot, &raft_state).map_err(store_error)
    }
}

fn store_error(error: partition::CheckpointError) -> CheckpointError {
    match error {
        partition::CheckpointError::Sync(_) => CheckpointError::Lost(Box::new(error)),
        _ => CheckpointError::Store(Box::new(error)),
    }
}
