//! Makes the groups' checkpoints. Which is due is [`crate::checkpoint`]'s to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::Clock;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::checkpoint::{CheckpointPolicy, GroupLoad, next_due};
use crate::group::Group;
use crate::groups::Groups;
use crate::log::Log;
use crate::log::entry::GroupId;
use crate::state_machine::CheckpointError;

/// Makes checkpoints as the policy says, one at a time.
pub(super) struct Checkpointer {
    pub groups: Arc<Groups>,
    pub log: Arc<Log>,
    pub policy: CheckpointPolicy,
    pub clock: Arc<dyn Clock>,
    /// Told when a store may have lost something.
    pub lost: watch::Sender<Option<String>>,
}

impl Checkpointer {
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut last: BTreeMap<GroupId, LastCheckpoint> = BTreeMap::new();
        let mut tick = tokio::time::interval(self.policy.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let groups = self.groups.all();
            last.retain(|id, _| groups.iter().any(|group| group.id() == *id));
            // At most one for each group: a checkpoint that makes no room must not be made again at once.
            for _ in 0..groups.len() {
                let Some(due) = self.due(&groups, &mut last) else { break };
                let made = tokio::select! {
                    made = due.checkpoint() => made,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                let now = self.clock.monotonic();
                let last = last.entry(due.id()).or_insert(LastCheckpoint { at: now, failed_at: None });
                match made {
                    Ok(()) => *last = LastCheckpoint { at: now, failed_at: None },
                    Err(error) => {
                        last.failed_at = Some(now);
                        self.report(due.id(), &error);
                    }
                }
            }
        }
    }

    fn report(&self, group: GroupId, error: &CheckpointError) {
        if let CheckpointError::Lost(source) = error {
            error!(%group, error = error as &dyn std::error::Error, "the process has to be started again");
            self.lost.send_replace(Some(format!("group {group}: {error}: {source}")));
        } else {
            warn!(%group, error = error as &dyn std::error::Error, "checkpoint failed, the log is kept");
        }
    }

    fn due(&self, groups: &[Arc<Group>], last: &mut BTreeMap<GroupId, LastCheckpoint>) -> Option<Arc<Group>> {
        let now = self.clock.monotonic();
        // Those that were closed since the round began have no place in it any more, and a new one at their place is due later.
        let is_open = |group: &&Arc<Group>| self.groups.get(group.id()).is_some_and(|open| Arc::ptr_eq(&open, group));
        let groups: Vec<&Arc<Group>> = groups.iter().filter(is_open).collect();
        let load = |group: &&Arc<Group>| {
            // A group that is new here counts as if it had one just now.
            let last = last.entry(group.id()).or_insert(LastCheckpoint { at: now, failed_at: None });
            GroupLoad {
                log_bytes: group.log_bytes(),
                oldest_segment: group.oldest_segment(),
                age: now.saturating_sub(last.at),
                failed_ago: last.failed_at.map(|at| now.saturating_sub(at)),
            }
        };
        let loads: Vec<GroupLoad> = groups.iter().map(load).collect();
        next_due(&loads, self.log.live_bytes(), &self.policy).map(|at| Arc::clone(groups[at]))
    }
}

#[derive(Clone, Copy)]
struct LastCheckpoint {
    at: Duration,
    failed_at: Option<Duration>,
}
