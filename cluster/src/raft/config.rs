//! The library's type parameters and its settings.

use std::fmt;

use bytes::Bytes;
use openraft::{BasicNode, Config, SnapshotPolicy};

use super::snapshot::SnapshotData;

openraft::declare_raft_types!(
    /// What groups are made of. Peers are addressed by [`BasicNode`].
    pub(crate) TypeConfig:
        D = Commands,
        R = Answers,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// The commands of one entry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Commands(pub Vec<Bytes>);

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.0.iter().map(Bytes::len).sum();
        write!(f, "{} commands of {bytes} bytes", self.0.len())
    }
}

/// One answer for each command of an entry; none for entries of the library itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answers(pub Vec<Bytes>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers", self.0.len())
    }
}

const HEARTBEAT_MS: u64 = 250;
const ELECTION_MS: std::ops::Range<u64> = 750..1500;
/// A partition's copy takes longer than the library's default of 200 ms.
const INSTALL_SNAPSHOT_MS: u64 = 60_000;

/// Settings of one group's core.
pub(crate) fn library_config(group: u32) -> Config {
    Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.start,
        election_timeout_max: ELECTION_MS.end,
        install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
        // Checkpoints and purges come from `crate::checkpoint`; left alone, the library would purge along with a snapshot.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}
