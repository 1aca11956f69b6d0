//! A snapshot as the library passes it around.

use std::fmt;
use std::sync::Arc;

use super::codec::AppliedState;
use super::machine::Machine;
use crate::state_machine::CheckpointError;

/// A copy of a state machine, made when it is asked for: the library wants the current snapshot often and its bytes only
/// when a peer has fallen behind. The copy may therefore be newer than the snapshot's metadata, so it carries how far it has
/// come, and is sent under that position.
pub(crate) struct SnapshotData(Source);

enum Source {
    Live(Arc<Machine>),
    Received(Copy),
    /// What the library hands out to be filled by whoever receives a snapshot.
    Blank,
}

/// A state machine's copy with its position.
pub(crate) struct Copy {
    pub state: AppliedState,
    pub bytes: Vec<u8>,
}

impl SnapshotData {
    pub(super) fn live(machine: Arc<Machine>) -> Self {
        Self(Source::Live(machine))
    }

    pub(super) fn received(copy: Copy) -> Self {
        Self(Source::Received(copy))
    }

    pub(super) fn blank() -> Self {
        Self(Source::Blank)
    }

    /// Takes as long as copying a state machine does; entries are not applied meanwhile.
    pub(super) fn into_copy(self) -> Result<Copy, CheckpointError> {
        match self.0 {
            Source::Live(machine) => machine.export(),
            Source::Received(copy) => Ok(copy),
            Source::Blank => Err(CheckpointError::Damaged { reason: "nothing was received".to_owned() }),
        }
    }
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::Live(_) => "SnapshotData::Live",
            Source::Received(_) => "SnapshotData::Received",
            Source::Blank => "SnapshotData::Blank",
        })
    }
}
