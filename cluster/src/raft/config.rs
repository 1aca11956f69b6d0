//! The library's type parameters and its settings.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use openraft::{BasicNode, Config, SnapshotPolicy};

use super::snapshot::SnapshotData;
#[cfg(test)]
use crate::simulation::random::Runtime;
#[cfg(not(test))]
use openraft::TokioRuntime as Runtime;

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
        AsyncRuntime = Runtime,
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

/// How soon a group without a leader gets one. Shorter times find a dead leader sooner and take a slow one for dead.
#[derive(Clone, Copy, Debug)]
pub struct RaftTimes {
    /// A leader is heard about so often, at most half as long again. An append has to be answered within it. Default 250 ms.
    pub heartbeat: Duration,
    /// A group does not elect before so long without a leader. Default 750 ms.
    pub election_min: Duration,
    /// Followers are true to a leader for so long; then each waits between the two times. Default 1.5 s.
    pub election_max: Duration,
}

impl Default for RaftTimes {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { heartbeat: ms(250), election_min: ms(750), election_max: ms(1500) }
    }
}

/// A partition's copy takes longer than the library's default of 200 ms.
const INSTALL_SNAPSHOT_MS: u64 = 60_000;

/// Settings of one group's core.
pub(crate) fn library_config(group: u32, times: RaftTimes) -> Config {
    Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: times.heartbeat.as_millis() as u64,
        election_timeout_min: times.election_min.as_millis() as u64,
        election_timeout_max: times.election_max.as_millis() as u64,
        // Until [`crate::gate`] allows it.
        enable_elect: false,
        install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
        // Checkpoints and purges come from `crate::checkpoint`; left alone, the library would purge along with a snapshot.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}
