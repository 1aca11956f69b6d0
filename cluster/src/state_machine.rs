//! The port to what a group replicates.

use bytes::Bytes;

/// Writes out what [`StateMachine::begin_checkpoint`] captured. Runs on a blocking thread, while entries are applied.
pub type FinishCheckpoint = Box<dyn FnOnce() -> Result<(), CheckpointError> + Send>;

/// What a group replicates. Two implementations: a partition's store (in the node package), and the metadata
/// ([`crate::meta`]). One caller at a time applies, captures, installs; [`StateMachine::export`] is called between these.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies the commands of one committed entry in order and returns one answer for each. Must be a function of the
    /// state and the commands alone, for replicas to agree. Cannot fail: the entry is committed.
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes>;

    /// Captures everything applied so far together with `raft_state` (opaque, at most a few KiB), and returns the rest of
    /// the work: to make it durable, both or neither. When that has returned `Ok`, the log before it may go, and
    /// `raft_state` must be handed back when the state machine is opened the next time. Entries are not applied during the
    /// capture, so it should be short; an implementation that cannot split does all the work in it.
    fn begin_checkpoint(&self, raft_state: Bytes) -> Result<FinishCheckpoint, CheckpointError>;

    /// A self-contained copy of everything applied, for another node.
    fn export(&self) -> Result<Vec<u8>, CheckpointError>;

    /// Replaces everything by an exported copy and makes it durable together with `raft_state`, both or neither.
    fn install(&self, snapshot: &[u8], raft_state: Bytes) -> Result<(), CheckpointError>;
}

/// Why a state machine could not be made durable, copied or replaced. The group goes on with what it has and the log is kept, but
/// for [`CheckpointError::Lost`].
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("writing the checkpoint")]
    Io(#[from] std::io::Error),
    #[error("the snapshot is damaged: {reason}")]
    Damaged { reason: String },
    /// The replica is given up; whatever has its place now is another one.
    #[error("the group is closed")]
    Closed,
    #[error("checkpoint of the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The node has to end: the next start writes again, from the log, what is gone.
    #[error("the store may have lost what it wrote before a checkpoint")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
}
