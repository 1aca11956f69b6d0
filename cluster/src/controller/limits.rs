//! How fast, and how long something is waited for.

use std::time::Duration;

/// Bounds of what the controller does at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most moves at a time in the cluster. Default 8.
    pub moves_max: usize,
    /// Most moves at a time that a node takes part in as the one who comes or the one who sends: they share its disk and network
    /// with writes and queries. Default 2.
    pub moves_per_node_max: usize,
    /// Heard from within this, a node is alive. Default 3 s.
    pub alive_silence_max: Duration,
    /// A replica that lacks at most so many entries has caught up: the rest comes while it is taken in. Default 1000.
    pub lag_entries_max: u64,
    /// A move is given up when the node that comes is silent for so long, or so many of those who are to hold the partition that they
    /// cannot agree to it: long enough for a restart. Default 2 min.
    pub move_silence_max: Duration,
    /// Another node takes a silent one's vote in the metadata group after so long. That costs nothing, all have the
    /// metadata, and keeps the group able to lose the next one. Default 1 min.
    pub meta_voter_silence_max: Duration,
    /// A node that is silent for so long loses its replicas, as if it were drained; it stays a member. Default never: most nodes come
    /// back, and copying is dear. Half an hour and more makes sense where nobody is on call.
    pub dead_after: Option<Duration>,
    /// If more nodes than this are dead by `dead_after`, none loses anything: that is an outage to be waited out. Default 1.
    pub dead_at_a_time_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            moves_max: 8,
            moves_per_node_max: 2,
            alive_silence_max: Duration::from_secs(3),
            lag_entries_max: 1000,
            move_silence_max: Duration::from_secs(120),
            meta_voter_silence_max: Duration::from_secs(60),
            dead_after: None,
            dead_at_a_time_max: 1,
        }
    }
}
